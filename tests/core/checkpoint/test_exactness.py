"""A run that was killed and resumed is the uninterrupted one to the last bit: its loop and its data."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import Net, Stream, make_samples
from torch.utils.data import DataLoader
from whole_runs import (
    MIDDLES,
    Run,
    compare,
    compare_events,
    differences,
    few_samples,
    finish,
    run_from,
    run_whole,
    scatter,
    with_every_step,
)

from drivetrain import Trainer, TrainerCallback

pytestmark = pytest.mark.slow


class DrawsRandomNumbers:
    """A collator that adds noise from all three generators."""

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        noise = torch.rand(1) + random.random() + float(np.random.rand())
        rows = torch.stack([feature["x"] for feature in features])
        labels = torch.tensor([feature["labels"] for feature in features])
        return {"x": rows + 0.1 * noise, "labels": labels}


class SometimesNan(Net):
    """Its loss is no number where the first feature of the batch is large."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        outputs = super().forward(x, labels)
        if self.training and labels is not None and x[:, 0].max() > 2.0:
            outputs["loss"] = outputs["loss"] + torch.tensor(math.nan)
        return outputs


def make_sometimes_nan(seed: int) -> SometimesNan:
    torch.manual_seed(seed)
    return SometimesNan()


class At(TrainerCallback):
    """Sets switches of the control at updates: ``{3: ["should_save"]}``."""

    def __init__(self, event: str, switches: dict[int, list[str]]) -> None:
        def set_switches(args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            for switch in switches.get(state.global_step, ()):
                setattr(control, switch, True)

        setattr(self, event, set_switches)


class LeavingByChance(TrainerCallback):
    """Leaves passes where gradients wait for their update."""

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_epoch_stop = random.random() < 0.3


def at(event: str, switches: dict[int, list[str]]) -> Any:
    return lambda: {"callbacks": [At(event, switches)]}


class OwnLoader(Trainer):
    """Its loader draws the order from the global generator."""

    def get_train_dataloader(self) -> Any:
        return DataLoader(
            self.train_dataset,
            batch_size=self.args.train_batch_size,
            shuffle=True,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
        )


class Shuffling(Stream):
    """A stream that shuffles by `random` at each pass, and skips a few at random."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        samples = list(self.samples)
        random.shuffle(samples)
        return (sample for sample in samples if random.random() < 0.9)


class Keeping(Stream):
    """A stream that keeps its place, and the sum of what it gave, and can be put there."""

    def __init__(self, samples: list[dict[str, Any]]) -> None:
        super().__init__(samples)
        self.place, self.sum = 0, 0.0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while self.place < len(self.samples):
            sample = self.samples[self.place]
            self.place += 1
            self.sum += float(sample["x"][0])
            yield {**sample, "x": sample["x"] + 0.01 * self.sum}
        self.place = 0

    def state_dict(self) -> dict[str, Any]:
        return {"place": self.place, "sum": self.sum}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.place, self.sum = state["place"], state["sum"]


def accumulating(batches: int, **arguments: Any) -> dict[str, Any]:
    return with_every_step(
        per_device_train_batch_size=4, gradient_accumulation_steps=batches, **arguments
    )


EVALUATING = {"eval_strategy": "steps", "eval_steps": 2}
BY_EPOCH = {"eval_strategy": "epoch", "logging_strategy": "epoch", "save_strategy": "epoch"}
STREAM: dict[str, Any] = {"make_data": lambda: Stream(few_samples())}

LOOPS: dict[str, Run] = {
    "saving at every update": Run(),
    "saving at every second update": Run(with_every_step(save_steps=2)),
    "saving by epoch": Run(with_every_step(save_strategy="epoch", num_train_epochs=3)),
    "saving the best": Run(
        with_every_step(save_strategy="best", metric_for_best_model="loss", **EVALUATING)
    ),
    "saving the best by epoch": Run(
        with_every_step(save_strategy="best", metric_for_best_model="loss", eval_strategy="epoch")
    ),
    "logging at every third": Run(with_every_step(logging_steps=3)),
    "logging at every fourth": Run(
        with_every_step(logging_steps=4, num_train_epochs=3), starts=[2, 3, 5, 6]
    ),
    "shares of all updates": Run(
        with_every_step(save_steps=0.3, logging_steps=0.5, eval_strategy="steps", eval_steps=0.4)
    ),
    "logging by epoch": Run(with_every_step(logging_strategy="epoch")),
    "logging the first and every fourth": Run(with_every_step(logging_first_step=True, logging_steps=4)),
    "not logging": Run(with_every_step(logging_strategy="no"), starts=MIDDLES),
    "all by epoch": Run(with_every_step(num_train_epochs=3, **BY_EPOCH)),
    "logging and evaluating by epoch": Run(with_every_step(**{**BY_EPOCH, "save_strategy": "steps"})),
    "evaluating by updates": Run(with_every_step(logging_steps=2, **EVALUATING)),
    "evaluating at the start": Run(with_every_step(eval_on_start=True, **EVALUATING)),
    "evaluating later": Run(with_every_step(eval_delay=3, **EVALUATING)),
    "evaluating later by epoch": Run(with_every_step(eval_delay=2, eval_strategy="epoch")),
    "the best at the end": Run(
        with_every_step(
            load_best_model_at_end=True, metric_for_best_model="loss", save_steps=2, **EVALUATING
        )
    ),
    "the best by epoch at the end": Run(
        with_every_step(load_best_model_at_end=True, num_train_epochs=3, **BY_EPOCH)
    ),
    "few checkpoints kept": Run(
        with_every_step(
            load_best_model_at_end=True, metric_for_best_model="loss", save_total_limit=2, **EVALUATING
        )
    ),
    "a loss that is no number": Run(with_every_step(logging_steps=3), make_sometimes_nan),
    "one that is summed up": Run(
        with_every_step(logging_steps=3, logging_nan_inf_filter=False), make_sometimes_nan
    ),
    "accumulating two": Run(accumulating(2)),
    "accumulating three": Run(accumulating(3, logging_steps=2)),
    "accumulating all": Run(accumulating(5)),
    "accumulating more than there is": Run(accumulating(7, num_train_epochs=3)),
    "leaving out the last batch": Run(with_every_step(dataloader_drop_last=True, num_train_epochs=3)),
    "leaving out and accumulating": Run(
        accumulating(2, dataloader_drop_last=True), make_data=lambda: make_samples(23)
    ),
    "max_steps across passes": Run(with_every_step(max_steps=5)),
    "max_steps at a pass's end": Run(
        with_every_step(max_steps=6, **BY_EPOCH | {"save_strategy": "steps"})
    ),
    "half a pass at the end": Run(with_every_step(num_train_epochs=1.5)),
    "part of a pass": Run(with_every_step(num_train_epochs=0.5)),
    "saving in the background": Run(with_every_step(async_save=True, logging_steps=2)),
    "in the background, by epoch": Run(
        with_every_step(async_save=True, num_train_epochs=3, load_best_model_at_end=True, **BY_EPOCH)
    ),
    "in the background, accumulating": Run(accumulating(2, async_save=True)),
}

ENDINGS: dict[str, Run] = {
    "leaving a pass where it is saved": Run(
        with_every_step(), make_parts=at("on_step_end", {2: ["should_epoch_stop", "should_save"]})
    ),
    "leaving a pass where all is by epoch": Run(
        with_every_step(num_train_epochs=3, **BY_EPOCH | {"save_strategy": "steps"}),
        make_parts=at("on_step_end", {2: ["should_epoch_stop"], 5: ["should_epoch_stop"]}),
        starts=[1, 2, 3, 5],
    ),
    "leaving passes within updates": Run(
        accumulating(2, num_train_epochs=5, **BY_EPOCH),
        make_parts=lambda: {"callbacks": [LeavingByChance()]},
    ),
    "leaving a pass within an update": Run(
        accumulating(2, num_train_epochs=3), make_parts=at("on_substep_end", {1: ["should_epoch_stop"]})
    ),
    "a save at a pass's end": Run(
        with_every_step(save_strategy="no"), make_parts=at("on_epoch_end", {3: ["should_save"]})
    ),
    "a save when a pass begins": Run(
        with_every_step(save_strategy="no"), make_parts=at("on_evaluate", {3: ["should_save"]})
    ),
    "stopping": Run(
        with_every_step(restore_callback_states_from_checkpoint=True),
        make_parts=at("on_step_end", {4: ["should_training_stop"]}),
    ),
    "stopping at a pass's end": Run(
        with_every_step(restore_callback_states_from_checkpoint=True, num_train_epochs=3),
        make_parts=at("on_epoch_end", {6: ["should_training_stop"]}),
    ),
}
ENDINGS["a save when a pass begins"].arguments["eval_strategy"] = "epoch"

DATA: dict[str, Run] = {
    "a collator that draws": Run(with_every_step(data_collator=DrawsRandomNumbers())),
    "one that draws, accumulating": Run(accumulating(3, data_collator=DrawsRandomNumbers())),
    "an order of its own seed": Run(with_every_step(data_seed=5), starts=MIDDLES),
    "orders from one generator": Run(
        with_every_step(accelerator_config={"use_seedable_sampler": False}), starts=MIDDLES
    ),
    "an own loader": Run(with_every_step(data_collator=DrawsRandomNumbers()), trainer=OwnLoader),
    "an own loader, by epoch": Run(
        with_every_step(num_train_epochs=3, **BY_EPOCH), trainer=OwnLoader, make_data=few_samples
    ),
    "a stream": Run(with_every_step(max_steps=8), starts=[1, 3, 4, 8], **STREAM),
    "a stream, by epoch": Run(with_every_step(max_steps=8, **BY_EPOCH), **STREAM),
    "a stream, accumulating": Run(accumulating(2, max_steps=5), **STREAM),
    "a stream that runs dry within an update": Run(
        accumulating(2, max_steps=5, **BY_EPOCH, data_collator=DrawsRandomNumbers()), **STREAM
    ),
    "one that runs dry, accumulating three": Run(
        accumulating(3, max_steps=5, eval_strategy="epoch", save_strategy="epoch", async_save=True),
        **STREAM,
    ),
    "a stream that shuffles": Run(
        with_every_step(max_steps=7, data_collator=DrawsRandomNumbers()),
        starts=[2, 4, 5, 7],
        make_data=lambda: Shuffling(few_samples()),
    ),
    "one that shuffles, by epoch": Run(
        with_every_step(max_steps=8, **BY_EPOCH), make_data=lambda: Shuffling(few_samples())
    ),
    "a stream that keeps its place": Run(
        with_every_step(max_steps=8), make_data=lambda: Keeping(few_samples()), starts=[2, 3, 4, 8]
    ),
    "one that keeps its place, accumulating": Run(
        accumulating(2, max_steps=7, async_save=True),
        make_data=lambda: Keeping(few_samples()),
        starts=[2, 3, 5],
    ),
}

WORKERS = {"dataloader_num_workers": 2, "data_collator": DrawsRandomNumbers()}
PROCESSES: dict[str, Run] = {
    "two": Run(with_every_step(**WORKERS), starts=MIDDLES),
    "two that live on": Run(
        with_every_step(dataloader_persistent_workers=True, **WORKERS), starts=MIDDLES
    ),
    "two, by epoch": Run(with_every_step(num_train_epochs=3, **BY_EPOCH, **WORKERS)),
    "two, accumulating": Run(accumulating(2, **WORKERS), starts=MIDDLES),
    "two of an own loader": Run(with_every_step(**WORKERS), trainer=OwnLoader, starts=MIDDLES),
    "two over a stream": Run(with_every_step(max_steps=7, **WORKERS), starts=[1, 4, 5], **STREAM),
    "two over a stream that shuffles": Run(
        with_every_step(max_steps=7, **WORKERS),
        starts=[1, 4, 5],
        make_data=lambda: Shuffling(few_samples()),
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_run_goes_on_as_if_it_had_not_stopped(name: str, tmp_path: Path) -> None:
    assert differences(LOOPS[name], tmp_path) == {}


@pytest.mark.parametrize("name", ENDINGS)
def test_what_a_callback_decided_about_the_pass_or_the_run_is_taken_up(
    name: str, tmp_path: Path
) -> None:
    assert differences(ENDINGS[name], tmp_path) == {}


@pytest.mark.parametrize("name", DATA)
def test_the_data_goes_on_where_it_was(name: str, tmp_path: Path) -> None:
    assert differences(DATA[name], tmp_path) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
def test_so_does_what_loading_processes_draw(name: str, tmp_path: Path) -> None:
    assert differences(PROCESSES[name], tmp_path) == {}


class Killed(Exception):
    pass


class KilledAt(TrainerCallback):
    """Ends the run when an update begins."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise Killed


DRAWING = {"data_collator": DrawsRandomNumbers()}
IN_A_ROW: dict[str, Run] = {
    "accumulating": Run(accumulating(2, logging_steps=4, **EVALUATING, **DRAWING)),
    "in the background": Run(with_every_step(async_save=True, logging_strategy="epoch", **DRAWING)),
    "a stream that shuffles": Run(
        with_every_step(max_steps=6, **DRAWING), make_data=lambda: Shuffling(few_samples())
    ),
    "an own loader": Run(with_every_step(logging_steps=4, **DRAWING), trainer=OwnLoader),
    "leaving passes": Run(
        with_every_step(num_train_epochs=3, **DRAWING),
        make_parts=at("on_step_end", {2: ["should_epoch_stop"], 4: ["should_epoch_stop"]}),
    ),
}


@pytest.mark.parametrize("name", IN_A_ROW)
def test_a_run_that_is_killed_again_and_again_is_the_uninterrupted_one(
    name: str, tmp_path: Path
) -> None:
    run, folder = IN_A_ROW[name], tmp_path / "killed"
    whole = run_whole(run, tmp_path / "whole")
    for number, step in enumerate([2, 4, 5]):
        scatter(number + 50)
        trainer = run.make_trainer(
            folder, seed=number or 7
        )  # the first has the weights of the whole run
        trainer.add_callback(KilledAt(step))
        with pytest.raises(Killed):
            trainer.train(resume_from_checkpoint=number > 0)
    scatter(99)
    last = finish(run.make_trainer(folder, seed=99), folder / "checkpoint-5")
    assert compare(whole, last) == []


def test_a_trainer_can_go_on_from_its_own_earlier_checkpoint(tmp_path: Path) -> None:
    run = Run(with_every_step(load_best_model_at_end=True, eval_strategy="epoch", **DRAWING))
    trainer = run.make_trainer(tmp_path)
    whole = finish(trainer)
    trainer.recorder.events = []  # type: ignore[attr-defined]
    again = finish(trainer, tmp_path / "checkpoint-2")
    assert [*compare(whole, again), *compare_events(whole, again, 2)] == []


@pytest.mark.parametrize("is_in_background", [False, True])
def test_saving_changes_nothing(is_in_background: bool, tmp_path: Path) -> None:
    run = Run(accumulating(2, async_save=is_in_background, logging_steps=4, **EVALUATING, **DRAWING))
    saved = run_whole(run, tmp_path / "saved")
    not_saved = run_whole(run, tmp_path / "not", save_strategy="no", async_save=False)
    del saved.values["stateful_callbacks"]  # which are those of the last checkpoint
    assert compare(saved, not_saved) == []


def test_the_checkpoints_of_a_resumed_run_are_those_of_the_uninterrupted_one(tmp_path: Path) -> None:
    run = Run(accumulating(2, **DRAWING))
    whole = run_whole(run, tmp_path / "whole")
    resumed = run_from(run, whole, 2, tmp_path / "resumed")
    exact = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")
    for step, checkpoint in whole.checkpoints.items():
        first, second = checkpoint, resumed.checkpoints[step]
        assert [f.name for f in sorted(first.iterdir())] == [f.name for f in sorted(second.iterdir())]
        for name in exact:
            assert (first / name).read_bytes() == (second / name).read_bytes(), (
                f"{name} of update {step}"
            )


@pytest.mark.parametrize(
    "run", [ENDINGS["leaving passes within updates"], DATA["a stream that runs dry within an update"]]
)
def test_gradients_that_wait_for_their_update_are_saved(run: Run, tmp_path: Path) -> None:
    whole = run_whole(run, tmp_path)
    assert any((checkpoint / "gradients.pt").is_file() for checkpoint in whole.checkpoints.values())
