"""Damaged checkpoints: what is found, what is said, and what is resumed from instead."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small import make_net, make_trainer

from drivetrain import TrainerCallback, UsageError
from drivetrain.checkpoint.reading import find_checkpoint, find_damage, missing_parts

STEPS = {"save_strategy": "steps", "save_steps": 2}
WRITTEN = [
    "manifest.json",
    "model.safetensors",
    "optimizer.pt",
    "progress.json",
    "rng_state.pth",
    "scheduler.pt",
    "trainer_state.json",
    "training_args.json",
]
NEEDED = ["optimizer.pt", "scheduler.pt", "trainer_state.json"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with three checkpoints; tests damage copies of it."""
    folder = tmp_path_factory.mktemp("finished")
    make_trainer(output_dir=folder, **STEPS).train()
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of a run's folder: checkpoint-2, checkpoint-4, checkpoint-6."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def resume(run: Path, resume_from: Path | bool, **options: Any) -> int:
    """Resume for real; return the update that training ended with."""
    trainer = make_trainer(output_dir=run, **options)
    return trainer.train(resume_from_checkpoint=resume_from).global_step


def refusal(run: Path, resume_from: Path | bool, **options: Any) -> str:
    """What is said when training is not resumed."""
    with pytest.raises(UsageError) as error:
        resume(run, resume_from, **options)
    return str(error.value)


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def forget_manifests(run: Path) -> None:
    """Leave the checkpoints as transformers' Trainer would, which writes no manifest."""
    for manifest in run.glob("checkpoint-*/manifest.json"):
        manifest.unlink()


# -- every file, damaged in every way -----------------------------------------------------------------


def test_these_are_all_the_files_of_a_checkpoint(run: Path) -> None:
    assert sorted(path.name for path in (run / "checkpoint-6").iterdir()) == WRITTEN


def truncations(size: int) -> list[int]:
    return [0, 1, size // 2, size - 1]


@pytest.mark.parametrize("name", WRITTEN)
def test_true_passes_over_a_checkpoint_with_a_truncated_file_and_says_why(
    name: str, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = run / "checkpoint-6" / name
    whole = file.read_bytes()
    for size in truncations(len(whole)):
        caplog.clear()
        file.write_bytes(whole[:size])
        if name == "manifest.json" and size == len(whole) - 1:  # it lacks a line's end
            assert find_checkpoint(True, run) == run / "checkpoint-6"
            continue
        assert resume(run, True) == 6
        assert f"Resuming from {run / 'checkpoint-4'}. Passed over: checkpoint-6 ({name} " in caplog.text
        if name != "manifest.json":
            assert f"{name} has {size} bytes instead of {len(whole)}" in caplog.text


@pytest.mark.parametrize("name", WRITTEN)
def test_a_path_to_a_checkpoint_with_a_flipped_bit_is_refused_with_the_file_and_the_reason(
    name: str, run: Path
) -> None:
    file = run / "checkpoint-6" / name
    whole = file.read_bytes()
    num_bits = 8 * len(whole)
    drawn = random.Random(0).sample(range(num_bits), 40)
    last = num_bits - 9 if name == "manifest.json" else num_bits - 1  # its last byte is a line's end
    for bit in (0, 7, last, *drawn):
        flip(file, bit)
        assert find_checkpoint(True, run) == run / "checkpoint-4", f"bit {bit}"
        with pytest.raises(UsageError) as error:
            find_checkpoint(file.parent, run)
        said = str(error.value)
        assert said.startswith(
            f"`resume_from_checkpoint`: {str(file.parent)!r} cannot be resumed from: "
        )
        assert name in said or "its format is version" in said, f"bit {bit}: {said}"
        assert f"Whole in {str(run)!r}: checkpoint-2, checkpoint-4. Type the path of one of them" in said
        file.write_bytes(whole)
    assert find_damage(file.parent) is None


def test_a_flipped_bit_in_a_manifest_does_not_go_unnoticed(run: Path) -> None:
    manifest = run / "checkpoint-6" / "manifest.json"
    original = manifest.read_bytes()
    content = json.loads(original)
    for bit in range(0, 8 * len(original), 27):  # each bit of a byte has its turn
        flip(manifest, bit)
        if find_damage(manifest.parent) is None:
            assert json.loads(manifest.read_bytes()) == content, f"bit {bit}"
        manifest.write_bytes(original)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_missing_file_is_found(name: str, run: Path) -> None:
    (run / "checkpoint-6" / name).unlink()
    if name == "manifest.json":  # as transformers' Trainer leaves it
        assert find_checkpoint(True, run) == run / "checkpoint-6"
    else:
        assert find_checkpoint(True, run) == run / "checkpoint-4"
        assert f"{name} is missing" in refusal(run, run / "checkpoint-6")


@pytest.mark.parametrize("name", WRITTEN)
def test_a_folder_a_dead_link_and_a_pipe_are_no_files(name: str, run: Path, tmp_path: Path) -> None:
    file = run / "checkpoint-6" / name
    kept = file.rename(tmp_path / "kept")
    file.mkdir()
    assert find_damage(file.parent) == f"{name} is a folder"
    file.rmdir()
    file.symlink_to(tmp_path / "nothing")
    assert find_damage(file.parent) == f"{name} is a link to nothing"
    file.unlink()
    file.symlink_to(kept)  # as the Hub's cache has them
    assert find_damage(file.parent) is None
    file.unlink()
    os.mkfifo(file)
    assert find_damage(file.parent) == f"{name} is no file"


def test_what_else_lies_in_a_checkpoint_does_not_matter(run: Path) -> None:
    (run / "checkpoint-6" / "notes.json").write_text("{ to be continued")
    (run / "checkpoint-6" / "mine").mkdir()
    assert find_checkpoint(True, run) == run / "checkpoint-6"


# -- manifests ----------------------------------------------------------------------------------------


def rewrite(manifest: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a manifest as one who knows how to sum it up."""
    from drivetrain.checkpoint.manifest import checksum_of

    content = json.loads(manifest.read_text())
    content = change(content) or content
    if isinstance(content, dict):
        content["checksum"] = checksum_of(content)
    manifest.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: ["a list"], "it holds no JSON object"),
        (lambda content: content.pop("format_version") and None, "it is no manifest"),
        (lambda content: content.update(format_version="2"), "it is no manifest"),
        (lambda content: content.update(format_version=True), "it is no manifest"),
        (lambda content: content.update(files=["optimizer.pt"]), "it is no manifest"),
        (lambda content: content.update(format_version=99), "its format is version 99"),
        (lambda content: content["files"].update({"optimizer.pt": 3}), "optimizer.pt has no size"),
        (lambda content: content["files"]["optimizer.pt"].clear(), "optimizer.pt has no size"),
        (lambda content: content["files"]["optimizer.pt"].update(size="1"), "optimizer.pt has no size"),
        (
            lambda content: content["files"].update({"../optimizer.pt": {"size": 1, "xxh3_64": "0"}}),
            "lists '../optimizer.pt', which lies outside",
        ),
        (
            lambda content: content["files"].update({"/etc/passwd": {"size": 1, "xxh3_64": "0"}}),
            "lists '/etc/passwd', which lies outside",
        ),
        (
            lambda content: content["files"].update({"C:\\a": {"size": 1, "xxh3_64": "0"}}),
            "which lies outside",
        ),
        (lambda content: content["files"].update({"": {"size": 1, "xxh3_64": "0"}}), "is a folder"),
        (lambda content: content["files"].update({"a\0b": {"size": 1, "xxh3_64": "0"}}), "is missing"),
        (lambda content: content["files"].update({"\ud800": {"size": 1, "xxh3_64": "0"}}), "is missing"),
        (
            lambda content: content["files"].update({"a" * 999: {"size": 1, "xxh3_64": "0"}}),
            "cannot be read (File name too long)|is missing",
        ),
    ],
)
def test_a_manifest_of_another_shape_is_refused_with_a_reason(
    change: Callable[[dict[str, Any]], Any], reason: str, run: Path
) -> None:
    rewrite(run / "checkpoint-6" / "manifest.json", change)
    damage = find_damage(run / "checkpoint-6")
    assert any(text in str(damage) for text in reason.split("|")), damage
    assert find_checkpoint(True, run) == run / "checkpoint-4"


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"files": {}, "files": {}}', "9" * 5000])
def test_a_manifest_that_is_no_json_is_refused(text: str, run: Path) -> None:
    (run / "checkpoint-6" / "manifest.json").write_text(text)
    assert "manifest.json is not readable" in str(find_damage(run / "checkpoint-6"))


def test_a_manifest_of_the_first_format_is_read(run: Path) -> None:
    checkpoint = run / "checkpoint-6"
    content = json.loads((checkpoint / "manifest.json").read_text())
    files = {
        name: {"size": facts["size"], "crc32": f"{zlib.crc32((checkpoint / name).read_bytes()):08x}"}
        for name, facts in content["files"].items()
    }
    del content["checksum"]
    first = {**content, "format_version": 1, "files": files}
    (checkpoint / "manifest.json").write_text(json.dumps(first, indent=2) + "\n")
    assert find_damage(checkpoint) is None
    flip(checkpoint / "optimizer.pt", 1000)
    assert find_damage(checkpoint) == "optimizer.pt has changed since it was saved (checksum)"


# -- no manifest --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "manifest.json"])
def test_truncations_are_found_without_a_manifest(name: str, run: Path) -> None:
    forget_manifests(run)
    assert find_checkpoint(True, run) == run / "checkpoint-6"
    file = run / "checkpoint-6" / name
    whole = file.read_bytes()
    end = len(whole) - 2 if name.endswith(".json") else len(whole) - 1  # they end with a line's end
    for size in (0, 1, 7, 8, 9, len(whole) // 2, end):
        file.write_bytes(whole[:size])
        assert find_checkpoint(True, run) == run / "checkpoint-4"
        assert f"{name} " in refusal(run, file.parent)


def write_shards(checkpoint: Path) -> list[str]:
    """Write the weights in two files with an index, as large models are."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(checkpoint / "model.safetensors")
    names = sorted(tensors)
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for shard, part in zip(shards, (names[:2], names[2:]), strict=True):
        save_file({name: tensors[name] for name in part}, checkpoint / shard)
    index = {"weight_map": {name: shards[name not in names[:2]] for name in names}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    (checkpoint / "model.safetensors").unlink()
    return shards


def test_shards_of_the_weights_have_to_be_there_and_whole(run: Path) -> None:
    forget_manifests(run)
    checkpoint = run / "checkpoint-6"
    first, second = (checkpoint / name for name in write_shards(checkpoint))
    assert find_checkpoint(True, run) == checkpoint
    os.truncate(first, first.stat().st_size - 1)
    assert f"{first.name} has" in str(find_damage(checkpoint))
    write_shards_again = second.rename(run / "kept")
    assert find_checkpoint(True, run, allow_partial=True) == run / "checkpoint-4"
    first.write_bytes(write_shards_again.read_bytes())
    assert find_damage(checkpoint) == f"{second.name} is missing"
    with pytest.raises(UsageError, match=f"{second.name} is missing"):
        find_checkpoint(checkpoint, run, allow_partial=True)
    index = checkpoint / "model.safetensors.index.json"
    for text in (
        "{",
        "{}",
        '{"weight_map": 3}',
        '{"weight_map": {"a": "../x"}}',
        '{"weight_map": {"a": 1}}',
    ):
        index.write_text(text)
        assert "model.safetensors.index.json is not readable" in str(find_damage(checkpoint))


def header(text: str, length: int | None = None) -> bytes:
    return (len(text) if length is None else length).to_bytes(8, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header("{}", length=3), "it ends within its header"),
        (header("{}", length=2**63), "it ends within its header"),
        (header("{ "), "its header is no header of safetensors"),
        (header("[]"), "its header is no header of safetensors"),
        (header('{"a": {}}'), "its header is no header of safetensors"),
        (header('{"a": {"data_offsets": [0, "4"]}}'), "its header is no header of safetensors"),
        (header('{"a": {"data_offsets": [0, 4]}}') + b"123", "has 42 bytes instead of the 43"),
    ],
)
def test_an_unreadable_header_of_safetensors_is_told(content: bytes, reason: str, run: Path) -> None:
    forget_manifests(run)
    (run / "checkpoint-6" / "model.safetensors").write_bytes(content)
    assert reason in str(find_damage(run / "checkpoint-6"))


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


def test_looking_for_damage_unpickles_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forget_manifests(run)
    for name in (
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "model.safetensors",
        "trainer_state.json",
    ):
        file = run / "checkpoint-6" / name
        whole = file.read_bytes()
        for write in (lambda f: torch.save(Bomb(), f), lambda f: f.write_bytes(pickle.dumps(Bomb()))):
            write(file)
            assert name in refusal(run, run / "checkpoint-6")
        file.write_bytes(whole)
    assert not (tmp_path / "exploded").exists()


def test_pickled_weights_are_looked_at_too(run: Path) -> None:
    forget_manifests(run)
    checkpoint = run / "checkpoint-6"
    from safetensors.torch import load_file

    torch.save(load_file(checkpoint / "model.safetensors"), checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    assert find_damage(checkpoint) is None
    whole = checkpoint / "pytorch_model.bin"
    shard = whole.rename(checkpoint / "pytorch_model-00001-of-00001.bin")
    index = {"weight_map": {"inner.weight": shard.name}}
    (checkpoint / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert find_damage(checkpoint) is None
    os.truncate(shard, shard.stat().st_size - 1)
    assert f"{shard.name} is not readable as what torch.save writes" in str(find_damage(checkpoint))


def test_adapters_are_looked_at_too(run: Path) -> None:
    forget_manifests(run)
    checkpoint = run / "checkpoint-6"
    other = checkpoint / "other"
    other.mkdir()
    shutil.copy(checkpoint / "model.safetensors", other / "adapter_model.safetensors")
    first = (checkpoint / "model.safetensors").rename(checkpoint / "adapter_model.safetensors")
    assert find_damage(checkpoint) is None
    os.truncate(other / "adapter_model.safetensors", 100)
    assert "other/adapter_model.safetensors is not readable" in str(find_damage(checkpoint))
    os.truncate(first, 100)
    assert str(find_damage(checkpoint)).startswith("adapter_model.safetensors is not readable")


def write_sharded(checkpoint: Path, contents: list[str]) -> list[str]:
    """Put a folder in the place of weights and optimizer, as several processes write it together."""
    from drivetrain.checkpoint.manifest import describe, manifest_text

    for name in ("model.safetensors", "optimizer.pt", "manifest.json"):
        (checkpoint / name).unlink(missing_ok=True)
    (checkpoint / "distributed").mkdir(exist_ok=True)
    parts = ["distributed/.metadata", "distributed/__0_0.distcp", "distributed/__1_0.distcp"]
    for part in parts:
        (checkpoint / part).write_bytes(b"parts of tensors")
    files = {
        path.relative_to(checkpoint).as_posix(): describe(path)
        for path in checkpoint.rglob("*")
        if path.is_file()
    }
    (checkpoint / "manifest.json").write_text(manifest_text({"contents": contents}, files))
    return parts


def test_what_several_processes_wrote_has_to_be_whole(run: Path) -> None:
    checkpoint = run / "checkpoint-6"
    for part in write_sharded(checkpoint, ["model", "optimizer"]):
        assert find_damage(checkpoint) is None
        assert missing_parts(checkpoint) == []
        flip(checkpoint / part, 3)
        assert find_damage(checkpoint) == f"{part} has changed since it was saved (checksum)"
        (checkpoint / part).unlink()
        with pytest.raises(UsageError, match=rf"{part} is missing.*Type the path of one of them\.$"):
            find_checkpoint(checkpoint, run, allow_partial=True)
        write_sharded(checkpoint, ["model", "optimizer"])
    write_sharded(checkpoint, ["model"])
    assert find_damage(checkpoint) == "it has no optimizer.pt"
    assert find_checkpoint(checkpoint, run, allow_partial=True) == checkpoint


@pytest.fixture(scope="module")
def of_transformers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that transformers' Trainer saved."""
    import transformers
    from small import make_samples

    folder = tmp_path_factory.mktemp("transformers")
    args = transformers.TrainingArguments(
        str(folder), max_steps=4, save_steps=2, report_to="none", use_cpu=True, disable_tqdm=True
    )
    transformers.Trainer(make_net(), args, train_dataset=make_samples()).train()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]
)
def test_a_checkpoint_of_transformers_whose_save_was_killed_is_passed_over(
    name: str, of_transformers: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(of_transformers, run)
    assert find_checkpoint(True, run) == run / "checkpoint-4"
    file = run / "checkpoint-4" / name
    os.truncate(file, file.stat().st_size // 2)
    assert resume(run, True, max_steps=3) == 3
    assert f"Resuming from {run / 'checkpoint-2'}. Passed over: checkpoint-4 ({name} " in caplog.text
    file.unlink()
    expected = "checkpoint-4" if name == "rng_state.pth" else "checkpoint-2"
    assert find_checkpoint(True, run) == run / expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth", "scheduler.pt"])
def test_a_flipped_bit_in_a_tensor_of_transformers_is_found(
    name: str, of_transformers: Path, tmp_path: Path
) -> None:
    """Without a manifest: torch.save writes checksums of tensors, which torch.load does not look at."""
    run = tmp_path / "run"
    shutil.copytree(of_transformers, run)
    file = run / "checkpoint-4" / name
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    header = file.read_bytes()[largest.header_offset :][:30]
    begin = largest.header_offset + 30 + sum(struct.unpack("<HH", header[26:]))  # after name and padding
    flip(file, 8 * (begin + largest.file_size // 2))
    assert f"{name} is not readable as what torch.save writes (Bad CRC-32" in str(
        find_damage(file.parent)
    )


# -- parts that are missing ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_part_is_refused_unless_that_is_allowed(
    name: str, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forget_manifests(run)
    checkpoint = run / "checkpoint-4"
    (checkpoint / name).unlink()
    said = refusal(run, checkpoint)
    assert f"it has no {name}. Whole in {str(run)!r}: checkpoint-2, checkpoint-6. Type the path" in said
    assert "or allow_partial_resume=True to take what this one has." in said
    assert missing_parts(checkpoint)[0] == name
    assert find_checkpoint(checkpoint, run, allow_partial=True) == checkpoint
    assert f"Resuming from {checkpoint} in part, for `allow_partial_resume` is True" in caplog.text
    held = {"optimizer.pt": "the optimizer's state", "scheduler.pt": "the schedule of the learning rate"}
    assert f"What starts afresh: {held.get(name, 'the count of updates')}" in caplog.text
    told: list[int] = []

    class Count(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            told.append(state.global_step)

    assert resume(run, checkpoint, allow_partial_resume=True, callbacks=[Count()]) == 6
    assert told == ([1, 2, 3, 4, 5, 6] if name == "trainer_state.json" else [5, 6])


def test_nothing_is_missing_in_a_whole_checkpoint(run: Path) -> None:
    assert missing_parts(run / "checkpoint-6") == []
    forget_manifests(run)
    assert missing_parts(run / "checkpoint-6") == []
    (run / "checkpoint-6" / "rng_state.pth").unlink()
    assert missing_parts(run / "checkpoint-6") == ["rng_state.pth"]
    assert find_damage(run / "checkpoint-6") is None


def test_training_goes_on_from_a_model_alone_if_that_is_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(output_dir=tmp_path, save_only_model=True, **STEPS).train()
    said = refusal(tmp_path, True)
    assert (
        "Leave it out to start from the beginning. Type allow_partial_resume=True to take what" in said
    )
    said = refusal(tmp_path, tmp_path / "checkpoint-4")
    assert "it has no optimizer.pt and no scheduler.pt, as if saved with `save_only_model`=True" in said
    assert "Type allow_partial_resume=True to take what this one has, or leave" in said
    assert resume(tmp_path, True, allow_partial_resume=True, num_train_epochs=2) == 12
    assert f"Resuming from {tmp_path / 'checkpoint-6'} in part" in caplog.text
    assert (
        "What starts afresh: the optimizer's state, the schedule of the learning rate, "
        "which is moved to the update, the random numbers." in caplog.text
    )


def test_true_prefers_a_whole_checkpoint_to_a_newer_one_in_part(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (run / "checkpoint-6" / "optimizer.pt").unlink()
    assert find_checkpoint(True, run, allow_partial=True) == run / "checkpoint-4"
    assert "Passed over: checkpoint-6 (optimizer.pt is missing)" in caplog.text
    for step in (2, 4):
        (run / f"checkpoint-{step}" / "model.safetensors").unlink()
    assert find_checkpoint(True, run, allow_partial=True) == run / "checkpoint-6"
    assert (
        "Passed over: checkpoint-4 (model.safetensors is missing); checkpoint-2 (model.saf"
        in caplog.text
    )


@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "manifest.json"])
def test_a_listed_file_may_be_missing_but_not_damaged_where_parts_may_be(
    name: str, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = run / "checkpoint-6" / name
    flip(file, 8 * (file.stat().st_size // 2))
    with pytest.raises(UsageError, match=rf"{name} has changed .*Type the path of one of them\.$"):
        find_checkpoint(file.parent, run, allow_partial=True)
    file.unlink()
    if name == "model.safetensors":
        with pytest.raises(UsageError, match=rf"{name} is missing.*Type the path of one of them\.$"):
            find_checkpoint(file.parent, run, allow_partial=True)
    else:
        assert find_checkpoint(file.parent, run, allow_partial=True) == file.parent
        assert missing_parts(file.parent) == [name]
        assert f"{name} is missing. What starts afresh: " in caplog.text


# -- what is typed ------------------------------------------------------------------------------------


def test_the_output_folder_itself_is_no_checkpoint(run: Path) -> None:
    make_trainer(output_dir=run).save_model()
    for options in ({}, {"allow_partial_resume": True}):
        said = refusal(run, run, **options)
        assert f"{str(run)!r} is no checkpoint, but a folder with some" in said
        assert "one of them (checkpoint-2, checkpoint-4, checkpoint-6), or True for the newest" in said


def test_a_path_never_falls_back_and_a_file_or_an_unknown_user_is_no_folder(run: Path) -> None:
    os.truncate(run / "checkpoint-6" / "model.safetensors", 0)
    assert "model.safetensors has 0 bytes" in refusal(run, run / "checkpoint-6")
    assert "is no folder" in refusal(run, run / "checkpoint-4" / "model.safetensors")
    assert "'~nobody-of-that-name/x' is no folder" in refusal(run, Path("~nobody-of-that-name/x"))


def test_nothing_whole_is_said_with_what_to_do(run: Path) -> None:
    for step in (2, 4, 6):
        os.truncate(run / f"checkpoint-{step}" / "model.safetensors", 0)
    said = refusal(run, True)
    assert said.count("model.safetensors has 0 bytes") == 3
    assert said.endswith("Leave it out to start from the beginning.")
    said = refusal(run, run / "checkpoint-6")
    assert f"No other in {str(run)!r} is whole. Leave `resume_from_checkpoint` out to start" in said


def test_a_checkpoint_that_was_about_to_be_replaced_is_put_back(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = run / "checkpoint-6"
    for resume_from in (True, checkpoint):
        checkpoint.rename(run / ".replaced-checkpoint-6-0a1b2c3d")
        assert find_checkpoint(resume_from, run) == checkpoint
        assert "an interrupted process was about to replace it" in caplog.text
        caplog.clear()


# -- what may not be read -----------------------------------------------------------------------------

NOBODY = 65534
LOOK = f"""
import logging, os, sys
from pathlib import Path
from drivetrain.checkpoint.reading import find_checkpoint
if os.geteuid() == 0:  # who may read everything
    try:
        os.setgroups([])
        os.setgid({NOBODY})
        os.setuid({NOBODY})
    except PermissionError as error:
        sys.exit("cannot become another user: " + str(error))
logging.basicConfig(format="%(message)s", stream=sys.stdout)
for run in map(Path, sys.argv[1:]):
    for resume_from in (run / "checkpoint-6", True):
        try:
            print("found", find_checkpoint(resume_from, run).name)
        except ValueError as error:
            print(error)
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user of this machine may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def look_as_nobody(*runs: Path) -> list[str]:
    """Look for a checkpoint by its path, then for the newest, as a user who may not read everything."""
    done = subprocess.run([sys.executable, "-c", LOOK, *map(str, runs)], capture_output=True, text=True)
    if "cannot become another user" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_what_may_not_be_read_is_passed_over_or_refused_without_a_traceback(
    finished: Path, public: Path
) -> None:
    runs = [public / "file", public / "checkpoint", public / "run"]
    for run in runs:
        shutil.copytree(finished, run)
        for file in run.rglob("*"):  # safetensors writes files that nobody else may read
            file.chmod(0o755)
        run.chmod(0o755)
    locked = [
        runs[0] / "checkpoint-6" / "optimizer.pt",
        runs[1] / "checkpoint-6",
        runs[2],
    ]
    for path in locked:
        path.chmod(0)
    try:
        said = look_as_nobody(*runs)
    finally:
        for path in locked:
            path.chmod(0o755)
    file, file_true, found, checkpoint, checkpoint_true, found_too, run_path, run_true = said
    assert "cannot be resumed from: optimizer.pt cannot be read (Permission denied)" in file
    assert "Passed over: checkpoint-6 (optimizer.pt cannot be read (Permission denied))" in file_true
    assert "cannot be resumed from: manifest.json cannot be read (Permission denied)" in checkpoint
    assert "Passed over: checkpoint-6 (manifest.json cannot be read (Permission" in checkpoint_true
    assert found == found_too == "found checkpoint-4"
    for line in (run_path, run_true):
        assert line.startswith("`resume_from_checkpoint`: ")
        assert "cannot be read (Permission denied). Give this process's user the right" in line
