"""A run that goes on with another batch size: what is left of it is trained on, once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from small import are_equal, make_samples, make_trainer, weights_of
from whole_runs import Run, compare, compare_events, run_from, run_whole, with_every_step

from drivetrain import Trainer, TrainerCallback

pytestmark = pytest.mark.slow

COUNT = 24
TRACKED = ("step", "epoch", "learning_rate")


class Noting(TrainerCallback):
    """Is the collator, too: notes the samples of each pass."""

    def __init__(self) -> None:
        self.passes: list[list[int]] = []
        self.updates = 0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.passes.append([])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.updates += 1

    def collate(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        self.passes[-1] += [feature["number"] for feature in features]
        rows = torch.stack([feature["x"] for feature in features])
        return {"x": rows, "labels": torch.tensor([feature["labels"] for feature in features])}


def run_noting(folder: Path, resume_from: int | None = None, **arguments: Any) -> tuple[Noting, Trainer]:
    noting = Noting()
    samples = [{**sample, "number": number} for number, sample in enumerate(make_samples(COUNT))]
    given = with_every_step(remove_unused_columns=False, **{"num_train_epochs": 2, **arguments})
    trainer = make_trainer(
        output_dir=folder,
        train_dataset=samples,
        data_collator=noting.collate,
        callbacks=[noting],
        **given,
    )
    checkpoint = None if resume_from is None else folder / f"checkpoint-{resume_from}"
    trainer.train(resume_from_checkpoint=checkpoint)
    return noting, trainer


def sized(batch: int, accumulation: int = 1) -> dict[str, int]:
    return {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}


SIZES = {
    "twice": (sized(4), sized(8)),
    "half": (sized(8), sized(4)),
    "accumulating": (sized(4), sized(4, 2)),
    "not accumulating any more": (sized(4, 2), sized(4)),
    "accumulating what does not divide": (sized(4), sized(2, 5)),
    "a size that does not divide": (sized(8), sized(5)),
    "from a size that does not divide": (sized(5), sized(8)),
}


@pytest.mark.parametrize("name", SIZES)
def test_each_sample_that_is_left_is_trained_on_once_in_each_pass(name: str, tmp_path: Path) -> None:
    before, after = SIZES[name]
    whole, _ = run_noting(tmp_path / "whole", **before)
    size = before["per_device_train_batch_size"] * before["gradient_accumulation_steps"]
    per_epoch = -(-COUNT // size)
    for step in range(1, 2 * per_epoch + 1):
        resumed, _ = run_noting(tmp_path / "whole", step, **after, save_strategy="no")
        done = whole.passes[(step - 1) // per_epoch][: ((step - 1) % per_epoch + 1) * size]
        first, *others = resumed.passes
        assert Counter(done + first) == Counter(range(COUNT)), f"from update {step}"
        assert all(sorted(numbers) == list(range(COUNT)) for numbers in others)
        assert len(others) == 1 - (step - 1) // per_epoch


LENGTHS: dict[str, dict[str, Any]] = {
    "epochs": {"num_train_epochs": 2},
    "a fraction of an epoch": {"num_train_epochs": 1.75},
    "updates": {"max_steps": 7},
}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", ["twice", "half", "a size that does not divide"])
def test_a_run_of_another_size_can_itself_be_resumed(name: str, length: str, tmp_path: Path) -> None:
    before, after = (Run(with_every_step(**size, **LENGTHS[length])) for size in SIZES[name])
    whole = run_whole(before, tmp_path / "whole")
    resized = run_from(after, whole, 2, tmp_path / "resized")
    assert resized.events != whole.events
    for step in range(3, resized.values["global_step"] + 1):
        again = run_from(after, resized, step, tmp_path / f"again-{step}")
        assert compare(resized, again) == [], f"from update {step}"
        assert compare_events(resized, again, step) == []


@pytest.mark.parametrize(
    ("name", "step", "num_updates"),
    [("twice", 3, 3 + 2 + 3), ("twice", 6, 6 + 3), ("half", 1, 1 + 4 + 6), ("half", 3, 3 + 6)],
)
def test_a_run_measured_in_epochs_is_as_long_as_it_was_meant_to_be(
    name: str, step: int, num_updates: int, tmp_path: Path
) -> None:
    before, after = SIZES[name]
    run_noting(tmp_path, **before)
    noting, trainer = run_noting(tmp_path, step, **after, save_strategy="no")
    assert (step + noting.updates, trainer.state.max_steps) == (num_updates, num_updates)
    assert set(trainer.get_learning_rates()) == {0.0}  # the end of the schedule is that of the run


def test_a_run_measured_in_updates_has_as_many(tmp_path: Path) -> None:
    run_noting(tmp_path, **sized(4), max_steps=8)
    noting, trainer = run_noting(tmp_path, 3, **sized(8), max_steps=8, save_strategy="no")
    assert (noting.updates, trainer.state.max_steps) == (5, 8)


def test_data_that_is_not_to_be_skipped_begins_anew(tmp_path: Path) -> None:
    whole, _ = run_noting(tmp_path, **sized(4), num_train_epochs=2)
    resumed, trainer = run_noting(
        tmp_path, 8, **sized(4), num_train_epochs=2, ignore_data_skip=True, save_strategy="no"
    )
    assert resumed.updates == 4
    assert resumed.passes == [whole.passes[1][:16]]
    assert trainer.state.global_step == 12


def test_what_a_checkpoint_of_the_model_alone_lacks_starts_afresh(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, expected = run_noting(tmp_path, save_only_model=True, num_train_epochs=2)
    resumed, trainer = run_noting(
        tmp_path, 4, allow_partial_resume=True, num_train_epochs=2, save_strategy="no"
    )
    assert resumed.passes == [whole.passes[1][8:]]
    assert (resumed.updates, trainer.state.global_step, trainer.state.epoch) == (2, 6, 2.0)
    logs = [[e for e in t.state.log_history if "loss" in e] for t in (expected, trainer)]
    assert logs[0][:4] == logs[1][:4]
    for before, now in zip(*logs, strict=True):
        assert [before[key] for key in TRACKED] == [now[key] for key in TRACKED]
    assert not are_equal(weights_of(expected), weights_of(trainer))
    for part in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        assert part in caplog.text
