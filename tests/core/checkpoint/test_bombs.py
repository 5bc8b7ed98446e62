"""A pickle that runs code when it is read, in any file of a checkpoint: it is refused or not read."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small import are_equal, make_net, make_trainer, weights_of

from drivetrain import Trainer
from drivetrain.checkpoint.manifest import describe, manifest_text
from drivetrain.checkpoint.tensors import load_weights

pytestmark = pytest.mark.slow

OPTIONS: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2, "precision": "fp16"}
"""With fp16 there is a scaler to be read."""
READ = ["optimizer.pt", "rng_state.pth", "scaler.pt", "scheduler.pt"]
WEIGHTS = ["model.safetensors", "pytorch_model.bin"]
TEXTS = ["progress.json", "trainer_state.json", "training_args.json"]
UNREAD = [
    "adapter_model.bin",
    "training_args.bin",
    "user_notes.pt",
    "vocabulary.bin",
]
READ_IF_NEEDED = ["dataloader.pt", "gradients.pt", "rng_state_0.pth", "rng_state_1.pth"]


class Bomb:
    """Makes the folder 'exploded' when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


def bare_pickle(file: Path) -> None:
    file.write_bytes(pickle.dumps(Bomb()))


def archive_of_torch(file: Path) -> None:
    torch.save({"state": Bomb()}, file)


def earlier_file_of_torch(file: Path) -> None:
    torch.save({"state": Bomb()}, file, _use_new_zipfile_serialization=False)


FORMS = [bare_pickle, archive_of_torch, earlier_file_of_torch]
Form = Callable[[Path], None]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trainer]:
    """A finished run and its folder."""
    folder = tmp_path_factory.mktemp("run")
    trainer = make_trainer(output_dir=folder, **OPTIONS)
    trainer.train()
    return folder, trainer


@pytest.fixture
def checkpoint(run: tuple[Path, Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the second of its three checkpoints, as transformers would have left it: no manifest."""
    monkeypatch.chdir(tmp_path)
    copy = shutil.copytree(run[0] / "checkpoint-4", tmp_path / "checkpoint-4")
    (copy / "manifest.json").unlink()
    return copy


def resume(checkpoint: Path) -> Trainer:
    """Go on from a checkpoint, and say whether anything that was read ran."""
    trainer = make_trainer(model=make_net(seed=99), output_dir=checkpoint.parent, **OPTIONS)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint))
    finally:
        assert not Path("exploded").exists()
    return trainer


def refusal(checkpoint: Path, default: str) -> str:
    """Why a checkpoint is refused, or what was given if training goes on from it."""
    try:
        resume(checkpoint)
    except ValueError as error:
        return str(error)
    return default


@pytest.mark.parametrize("form", FORMS)
def test_the_bomb_would_explode(form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    form(tmp_path / "bomb.pt")
    if form is bare_pickle:
        pickle.loads((tmp_path / "bomb.pt").read_bytes())
    else:
        torch.load(tmp_path / "bomb.pt", weights_only=False)
    assert Path("exploded").is_dir()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [*READ, *TEXTS, *WEIGHTS])
def test_one_in_a_file_that_is_read_is_refused(name: str, form: Form, checkpoint: Path) -> None:
    if name == "pytorch_model.bin":
        (checkpoint / "model.safetensors").unlink()
    form(checkpoint / name)
    with pytest.raises(ValueError, match=f"`resume_from_checkpoint`: .*{name}"):
        resume(checkpoint)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", UNREAD)
def test_one_in_a_file_that_is_not_read_does_nothing(
    name: str, form: Form, checkpoint: Path, run: tuple[Path, Trainer]
) -> None:
    form(checkpoint / name)
    assert are_equal(weights_of(resume(checkpoint)), weights_of(run[1]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", READ_IF_NEEDED)
def test_one_in_a_file_that_some_runs_read_is_refused_or_does_nothing(
    name: str, form: Form, checkpoint: Path
) -> None:
    form(checkpoint / name)
    assert name in refusal(checkpoint, default=name)


@pytest.mark.parametrize("form", FORMS)
def test_every_file_of_a_checkpoint_with_a_manifest_is_guarded(
    form: Form, run: tuple[Path, Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = sorted(path.name for path in (run[0] / "checkpoint-4").iterdir())
    assert {*READ, "manifest.json", "model.safetensors", "trainer_state.json"} <= set(names)
    for name in names:
        checkpoint = shutil.copytree(run[0] / "checkpoint-4", tmp_path / name / "checkpoint-4")
        form(checkpoint / name)
        with pytest.raises(ValueError, match=f"`resume_from_checkpoint`: .*{name}"):
            resume(checkpoint)


@pytest.mark.parametrize("form", FORMS)
def test_a_manifest_that_lists_it_does_not_make_it_run(
    form: Form, run: tuple[Path, Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can write a file can write a manifest."""
    monkeypatch.chdir(tmp_path)
    for name in [*READ, *TEXTS, *UNREAD, *READ_IF_NEEDED, "model.safetensors"]:
        checkpoint = shutil.copytree(run[0] / "checkpoint-4", tmp_path / name / "checkpoint-4")
        form(checkpoint / name)
        list_in_manifest(checkpoint / name)
        is_passed_over = name in {*UNREAD, *READ_IF_NEEDED}
        text = refusal(checkpoint, default=name if is_passed_over else "")
        assert name in text or (name in TEXTS and text)
        assert "checksum" not in text


def list_in_manifest(file: Path) -> None:
    manifest = file.with_name("manifest.json")
    facts = json.loads(manifest.read_text())
    files = {**facts.pop("files"), file.name: describe(file)}
    del facts["format_version"], facts["checksum"]
    manifest.write_text(manifest_text(facts, files))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shard", ["one.safetensors", "one.bin"])
def test_one_in_a_shard_is_refused(shard: str, form: Form, checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    names = list(load_file(weights))
    index = "model.safetensors.index.json" if shard.endswith("s") else "pytorch_model.bin.index.json"
    (checkpoint / index).write_text(json.dumps({"weight_map": dict.fromkeys(names, shard)}))
    weights.unlink()
    form(checkpoint / shard)
    with pytest.raises(ValueError, match=f"`resume_from_checkpoint`: .*{shard}"):
        resume(checkpoint)
    with pytest.raises(ValueError, match=f"{shard} is not read"):
        load_weights(make_net(), checkpoint)
    assert not Path("exploded").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("form", FORMS)
def test_one_in_an_adapter_is_refused(
    form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import LoraConfig, get_peft_model

    monkeypatch.chdir(tmp_path)
    model = get_peft_model(make_net(), LoraConfig(target_modules=["inner"]))
    model.save_pretrained(str(tmp_path))
    load_weights(model, tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    form(tmp_path / "adapter_model.bin")
    with pytest.raises(ValueError, match="adapter_model.bin is not read"):
        load_weights(model, tmp_path)
    assert not Path("exploded").exists()


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and its optimizer as several processes write them together."""
    from torch.distributed.checkpoint.state_dict_saver import save

    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is one process only
        save(state_in_parts(1), checkpoint_id=tmp_path / "parts")
    return tmp_path / "parts"


def state_in_parts(seed: int) -> dict[str, Any]:
    model = make_net(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1 * seed)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


def load_quietly(state: dict[str, Any], folder: Path) -> None:
    from drivetrain.checkpoint.sharded_reading import load_parts

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is one process only
        load_parts(state, folder)


def test_parts_of_several_processes_are_read(parts: Path) -> None:
    loaded, saved = state_in_parts(2), state_in_parts(1)
    load_quietly(loaded, parts)
    assert are_equal(loaded["model"], saved["model"])
    assert loaded["optimizer"]["param_groups"] == saved["optimizer"]["param_groups"]
    assert all(
        torch.equal(value, saved["optimizer"]["state"][index][name])
        for index, values in loaded["optimizer"]["state"].items()
        for name, value in values.items()
    )


@pytest.mark.parametrize("name", [".metadata", "__0.metadata"])
@pytest.mark.parametrize("form", [bare_pickle, earlier_file_of_torch])
def test_one_in_the_list_of_parts_is_refused(form: Form, name: str, parts: Path) -> None:
    form(parts / name)
    with pytest.raises(ValueError, match=rf"`resume_from_checkpoint`: .*{name} is not read"):
        load_quietly(state_in_parts(2), parts)
    assert not Path("exploded").exists()


def test_one_among_the_parts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed.checkpoint.state_dict_saver import save

    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save({"lr": Bomb()}, checkpoint_id=tmp_path / "parts")
    with pytest.raises(ValueError, match=r"parts is not read: .*would run code .*\(lr\)"):
        load_quietly({"lr": 1.0}, tmp_path / "parts")
    assert not Path("exploded").exists()
