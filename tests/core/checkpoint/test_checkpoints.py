"""Checkpoints: what is in them, that they are whole, and that resuming goes on exactly."""

from __future__ import annotations

import json
import logging
import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import are_equal, make_net, make_trainer, weights_of

from drivetrain import TrainerCallback, TrainerState, UsageError
from drivetrain.checkpoint.reading import find_damage

FILES = {
    "manifest.json",
    "model.safetensors",
    "optimizer.pt",
    "progress.json",
    "rng_state.pth",
    "scheduler.pt",
    "trainer_state.json",
    "training_args.json",
}
STEPS = {"save_strategy": "steps", "save_steps": 2}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*") if path.name.startswith(("checkpoint", ".")))


def test_a_checkpoint_has_the_published_files_and_a_manifest(tmp_path: Path) -> None:
    make_trainer(output_dir=tmp_path, **STEPS).train()
    assert names_in(tmp_path) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    checkpoint = tmp_path / "checkpoint-4"
    assert {path.name for path in checkpoint.iterdir()} == FILES
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    assert set(manifest["files"]) == FILES - {"manifest.json"}
    for name, facts in manifest["files"].items():
        assert facts["size"] == (checkpoint / name).stat().st_size
    assert manifest["step"] == 4
    assert manifest["parts"]["optim"] == "adamw_torch"
    state = TrainerState.load_from_json(checkpoint / "trainer_state.json")
    assert (state.global_step, state.max_steps, len(state.log_history)) == (4, 6, 4)


def test_saving_only_the_model_leaves_out_the_rest(tmp_path: Path) -> None:
    make_trainer(output_dir=tmp_path, save_only_model=True, **STEPS).train()
    files = {path.name for path in (tmp_path / "checkpoint-6").iterdir()}
    assert files == FILES - {"optimizer.pt", "scheduler.pt", "rng_state.pth"}
    with pytest.raises(ValueError, match=r"it has no optimizer.pt .*save_only_model"):
        make_trainer(output_dir=tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))


class DrawsRandomNumbers:
    """A collator that adds noise from all three generators."""

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        x = torch.stack([feature["x"] for feature in features])
        noise = torch.rand(1) + random.random() + float(np.random.rand())
        return {
            "x": x + 0.1 * noise,
            "labels": torch.tensor([feature["labels"] for feature in features]),
        }


RESUMING: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "a collator that draws random numbers": {"data_collator": DrawsRandomNumbers()},
    "accumulation": {"gradient_accumulation_steps": 2, "save_steps": 1},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "muon": {"optim": "muon"},
    "adafactor and cosine": {"optim": "adafactor", "lr_scheduler_type": "cosine"},
    "evaluation": {"eval_strategy": "steps", "eval_steps": 2},
    "two loading processes": {"dataloader_num_workers": 2},
}


@pytest.mark.parametrize("name", RESUMING)
@pytest.mark.parametrize("step", [2, 4, 6, 8])
def test_resuming_gives_the_weights_of_the_uninterrupted_run_bit_for_bit(
    name: str, step: int, tmp_path: Path
) -> None:
    arguments = RESUMING[name]
    options = {"output_dir": tmp_path, "num_train_epochs": 2, **STEPS, **arguments}
    if "gradient_accumulation_steps" in arguments and step > 5:
        step -= 3  # there are six updates only
    whole = make_trainer(**options)
    whole.train()
    resumed = make_trainer(model=make_net(seed=99), **options)
    random.seed(step)  # whatever happened before must not matter
    output = resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
    assert are_equal(weights_of(whole), weights_of(resumed))
    assert output.global_step == whole.state.global_step
    steps = [entry["step"] for entry in resumed.state.log_history if "loss" in entry]
    assert steps == [entry["step"] for entry in whole.state.log_history if "loss" in entry]


def test_resuming_reads_none_of_the_samples_before(tmp_path: Path) -> None:
    from small import make_samples

    class Counting(list[Any]):
        reads = 0

        def __getitem__(self, index: Any) -> Any:
            type(self).reads += 1
            return super().__getitem__(index)

    make_trainer(output_dir=tmp_path, **STEPS).train()
    resumed = make_trainer(output_dir=tmp_path, train_dataset=Counting(make_samples()), **STEPS)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert Counting.reads == 8


def test_resuming_a_stream_passes_over_what_was_trained_on(tmp_path: Path) -> None:
    from small import Stream, make_samples

    options: dict[str, Any] = {"output_dir": tmp_path, "max_steps": 9, **STEPS}
    whole = make_trainer(train_dataset=Stream(make_samples(60)), **options)
    whole.train()
    resumed = make_trainer(train_dataset=Stream(make_samples(60)), **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert are_equal(weights_of(whole), weights_of(resumed))


def test_true_takes_the_newest_whole_checkpoint_and_says_what_it_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(output_dir=tmp_path, **STEPS).train()
    (tmp_path / "checkpoint-6" / "optimizer.pt").unlink()
    content = bytearray((tmp_path / "checkpoint-4" / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "checkpoint-4" / "model.safetensors").write_bytes(content)
    resumed = make_trainer(output_dir=tmp_path)
    resumed.train(resume_from_checkpoint=True)
    assert f"Resuming from {tmp_path / 'checkpoint-2'}" in caplog.text
    assert "checkpoint-6 (optimizer.pt is missing)" in caplog.text
    assert "checkpoint-4 (model.safetensors has changed since it was saved (checksum))" in caplog.text


def test_a_path_to_a_damaged_checkpoint_is_refused_with_the_reason(tmp_path: Path) -> None:
    make_trainer(output_dir=tmp_path, **STEPS).train()
    file = tmp_path / "checkpoint-6" / "optimizer.pt"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(
        ValueError, match=r"`resume_from_checkpoint`: .*checkpoint-6.*optimizer.pt has \d+ bytes"
    ):
        make_trainer(output_dir=tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))


def test_true_without_any_checkpoint_and_a_path_to_nothing_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no whole checkpoint.*Leave it out"):
        make_trainer(output_dir=tmp_path).train(resume_from_checkpoint=True)
    with pytest.raises(ValueError, match="is no folder"):
        make_trainer(output_dir=tmp_path).train(resume_from_checkpoint=str(tmp_path / "nothing"))
    make_trainer(output_dir=tmp_path).train(resume_from_checkpoint=False)


def test_a_manifest_of_a_later_format_is_refused(tmp_path: Path) -> None:
    make_trainer(output_dir=tmp_path, **STEPS).train()
    manifest = tmp_path / "checkpoint-6" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format_version": 99}))
    assert "its format is version 99" in str(find_damage(tmp_path / "checkpoint-6"))


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_nothing_is_unpickled(name: str, tmp_path: Path) -> None:
    make_trainer(output_dir=tmp_path, **STEPS).train()
    checkpoint = tmp_path / "checkpoint-4"
    (checkpoint / "manifest.json").unlink()
    torch.save({"state": Bomb()}, checkpoint / name)
    with pytest.raises(ValueError, match=rf"{name} is not read.*would run code"):
        make_trainer(output_dir=tmp_path).train(resume_from_checkpoint=str(checkpoint))
    (checkpoint / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=rf"{name} is not read"):
        make_trainer(output_dir=tmp_path).train(resume_from_checkpoint=str(checkpoint))
    assert not Path("exploded").exists()


def test_an_error_while_saving_leaves_the_last_checkpoint_and_no_half_one(tmp_path: Path) -> None:
    class FailingAtSix(TrainerCallback):
        pass

    trainer = make_trainer(output_dir=tmp_path, **STEPS)
    save_model = trainer.save_model

    def failing(folder: Any = None, _internal_call: bool = False) -> None:
        save_model(folder, _internal_call)
        if trainer.state.global_step == 6:
            raise OSError("No space left on device")

    trainer.save_model = failing  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space left"):
        trainer.train()
    assert names_in(tmp_path) == ["checkpoint-2", "checkpoint-4"]
    assert find_damage(tmp_path / "checkpoint-4") is None


def test_leftovers_of_a_killed_process_are_cleared_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (".saving-checkpoint-2-abc", ".deleting-checkpoint-1-abc"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text("half")
    (tmp_path / ".hidden").mkdir()
    make_trainer(output_dir=tmp_path, **STEPS).train()
    assert names_in(tmp_path) == [".hidden", "checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert caplog.text.count("which an interrupted process left") == 2


def test_old_checkpoints_are_deleted_and_the_best_is_kept(tmp_path: Path) -> None:
    make_trainer(output_dir=tmp_path, save_strategy="steps", save_steps=1, save_total_limit=2).train()
    assert names_in(tmp_path) == ["checkpoint-5", "checkpoint-6"]
    from drivetrain.checkpoint.rotation import rotate

    best = tmp_path / "best"
    for step in (1, 2, 3, 10):
        (best / f"checkpoint-{step}").mkdir(parents=True)
    rotate(best, 2, [best / "checkpoint-1"])
    assert names_in(best) == ["checkpoint-1", "checkpoint-10"]
    rotate(best, 1, [best / "checkpoint-1"])
    assert names_in(best) == ["checkpoint-1", "checkpoint-10"]
    rotate(best, 1, [None])
    assert names_in(best) == ["checkpoint-10"]


def test_the_checkpoint_that_was_just_written_is_kept_whatever_an_earlier_run_left(
    tmp_path: Path,
) -> None:
    make_trainer(output_dir=tmp_path, save_strategy="steps", save_steps=6).train()
    make_trainer(
        output_dir=tmp_path, save_strategy="steps", save_steps=2, max_steps=4, save_total_limit=1
    ).train()
    assert names_in(tmp_path) == ["checkpoint-4"]


def test_a_rate_of_numpys_can_be_saved_and_resumed_from(tmp_path: Path) -> None:
    options: dict[str, Any] = {"output_dir": tmp_path, "learning_rate": np.float64(1e-2), **STEPS}
    whole = make_trainer(**options)
    whole.train()
    resumed = make_trainer(**options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert are_equal(weights_of(whole), weights_of(resumed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optim": "sgd"}, r"`optim`: .*saved with 'adamw_torch' \(AdamW\).*'sgd' \(SGD\)"),
        (
            {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "epoch"},
            r"`lr_scheduler_type`: .*saved with 'linear' \(LambdaLR\).*ReduceLROnPlateau",
        ),
        ({"model": "frozen"}, r"`resume_from_checkpoint`: the state of the optimizer .* does not fit"),
    ],
    ids=["optimizer", "schedule", "parameters"],
)
def test_what_cannot_go_on_from_a_checkpoint_is_said(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    make_trainer(output_dir=tmp_path, **STEPS).train()
    if "model" in changed:
        changed = {"model": make_net()}
        changed["model"].inner.requires_grad_(False)
    resumed = make_trainer(output_dir=tmp_path, **changed)
    with pytest.raises(UsageError, match=message):
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))


def test_another_schedule_of_the_same_sort_goes_on_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(output_dir=tmp_path, **STEPS).train()
    options: dict[str, Any] = {"optim": "adamw_torch_fused", "lr_scheduler_type": "cosine"}
    resumed = make_trainer(output_dir=tmp_path, **options)
    assert resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4")).global_step == 6
    assert "`lr_scheduler_type`: 'cosine' goes on where 'linear' was" in caplog.text


def test_saving_an_update_again_replaces_its_checkpoint(tmp_path: Path) -> None:
    make_trainer(output_dir=tmp_path, **STEPS).train()
    first = (tmp_path / "checkpoint-6" / "model.safetensors").read_bytes()
    make_trainer(output_dir=tmp_path, learning_rate=0.5, **STEPS).train()
    assert (tmp_path / "checkpoint-6" / "model.safetensors").read_bytes() != first
    assert find_damage(tmp_path / "checkpoint-6") is None
    assert names_in(tmp_path) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


def test_tied_weights_are_saved_once_and_loaded_tied(tmp_path: Path) -> None:
    def tied() -> Any:
        model = make_net()
        model.inner2 = torch.nn.Linear(6, 16)
        model.inner2.weight = model.inner.weight
        return model

    trainer = make_trainer(model=tied(), output_dir=tmp_path, **STEPS)
    trainer.train()
    resumed = make_trainer(model=tied(), output_dir=tmp_path, **STEPS)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert resumed.model.inner2.weight is resumed.model.inner.weight
    assert are_equal(weights_of(trainer), weights_of(resumed))


def test_weights_of_another_model_are_refused_with_what_differs(tmp_path: Path) -> None:
    make_trainer(output_dir=tmp_path, **STEPS).train()
    with pytest.raises(
        ValueError, match=r"do not fit Linear: missing weight, bias; not in the model .*inner"
    ):
        make_trainer(model=torch.nn.Linear(6, 3), output_dir=tmp_path).train(resume_from_checkpoint=True)


def test_save_model_writes_what_can_be_loaded_again(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    trainer = make_trainer(output_dir=tmp_path / "out")
    trainer.train()
    trainer.save_model()
    trainer.save_model(tmp_path / "elsewhere")
    trainer.save_state()
    assert are_equal(load_file(tmp_path / "out" / "model.safetensors"), weights_of(trainer))
    assert (tmp_path / "elsewhere" / "training_args.json").is_file()
    assert (tmp_path / "out" / "trainer_state.json").is_file()


def test_a_model_and_a_tokenizer_that_save_themselves_do(tmp_path: Path) -> None:
    class Saving(type(make_net())):  # type: ignore[misc]
        def save_pretrained(self, folder: str) -> None:
            Path(folder, "config.json").write_text("{}")

    class Tokenizer:
        def save_pretrained(self, folder: str) -> None:
            Path(folder, "vocabulary.txt").write_text("a b c")

        def pad(self, features: Any, **kwargs: Any) -> Any:
            from drivetrain import default_data_collator

            return default_data_collator(features)

    trainer = make_trainer(model=Saving(), processing_class=Tokenizer())
    trainer.train()
    trainer.save_model(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "vocabulary.txt",
        "training_args.json",
    }


def test_where_it_resumes_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_trainer(output_dir=tmp_path, num_train_epochs=2, **STEPS).train()
    with caplog.at_level(logging.INFO, logger="drivetrain"):
        make_trainer(output_dir=tmp_path, num_train_epochs=2).train(
            resume_from_checkpoint=str(tmp_path / "checkpoint-8")
        )
    assert "update 8, in epoch 1" in caplog.text
