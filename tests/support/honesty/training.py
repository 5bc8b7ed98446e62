"""Rows of the arguments of the run as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import Net, make_args, make_trainer

from drivetrain import HfArgumentParser, Trainer, TrainingArguments
from drivetrain.plugin import Plugin, hookimpl
from honesty.observations import (
    checkpoints,
    checkpoints_in,
    inputs_of,
    train_batches,
    updates,
)
from honesty.table import Case, row, seen


class Greedy(Net):
    """Has no memory for more than two samples."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        if len(x) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(x, labels)


class Counting(Plugin):
    """Notes the updates of every run that it is part of."""

    updates: list[int] = []

    @hookimpl
    def on_step_end(self, trainer: Trainer) -> None:
        self.updates.append(trainer.state.global_step)


@row("output_dir", "elsewhere", save_strategy="epoch")
def output_dir(case: Case) -> None:
    assert checkpoints(case.changed()) == checkpoints_in("elsewhere") == [6]
    assert not Path("trainer_output").exists()
    assert TrainingArguments(report_to="none").output_dir == "trainer_output"


@row("overwrite_output_dir", True)
def overwrite_output_dir(case: Case) -> None:
    def checkpoints_of_two_runs(make: Any) -> list[int]:
        make(save_strategy="steps", save_steps=4).train()
        make(save_strategy="steps", save_steps=5, max_steps=5).train()
        return checkpoints_in(make().args.output_dir)

    assert checkpoints_of_two_runs(case.plain) == [4, 5, 6]
    assert checkpoints_of_two_runs(case.changed) == [5]


def done_by_a_script(*words: str) -> list[str]:
    """What a script of the usual kind does with a command line."""
    line = ["--output_dir", "out", "--report_to", "none", "--save_strategy", "no", "--use_cpu"]
    (args,) = HfArgumentParser(TrainingArguments).parse_args_into_dataclasses([*line, *words])
    trainer, done = make_trainer(), []
    if args.do_train:
        done.append(f"{trainer.train().global_step} updates")
    if args.do_eval:
        done.extend(name for name in trainer.evaluate() if name == "eval_loss")
    if args.do_predict:
        done.append(f"{len(trainer.predict(trainer.eval_dataset).predictions)} predictions")
    return done


@row("do_train", True)
def do_train(case: Case) -> None:
    assert done_by_a_script() == []
    assert done_by_a_script(*case.words) == ["6 updates"]


@row("do_eval", True)
def do_eval(case: Case) -> None:
    assert done_by_a_script() == []
    assert done_by_a_script(*case.words) == ["eval_loss"]
    assert done_by_a_script("--eval_strategy", "epoch") == ["eval_loss"]


@row("do_predict", True)
def do_predict(case: Case) -> None:
    assert done_by_a_script() == []
    assert done_by_a_script(*case.words) == ["10 predictions"]


@row("resume_from_checkpoint", "earlier/checkpoint-4")
def resume_from_checkpoint(case: Case) -> None:
    make_trainer(output_dir="earlier", save_strategy="steps", save_steps=4).train()

    def updates_of_a_script(trainer: Trainer) -> int:
        return len(
            inputs_of(trainer, lambda: trainer.train(trainer.args.resume_from_checkpoint)),
        )

    assert updates_of_a_script(case.plain()) == 6
    assert updates_of_a_script(case.changed()) == 2
    case.changed().train()  # by a script that does not pass it on
    assert (
        "`resume_from_checkpoint`: 'earlier/checkpoint-4' is for scripts to pass on" in case.caplog.text
    )


@row("auto_find_batch_size", True, model=Greedy)
def auto_find_batch_size(case: Case) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        case.plain().train()
    assert set(train_batches(case.changed())) == {4, 2}
    assert updates(case.changed()) == 12


@row("full_determinism", True)
def full_determinism(case: Case) -> None:
    case.plain()
    assert not torch.are_deterministic_algorithms_enabled()
    case.changed()
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic
    assert torch.initial_seed() == 42


@row("plugins", ["honesty.training.Counting"])
def plugins(case: Case) -> None:
    Counting.updates.clear()
    case.plain().train()
    assert Counting.updates == []
    case.changed().train()
    assert Counting.updates == [1, 2, 3, 4, 5, 6]
    assert make_args(**case.setting).plugins == case.row.value


ROWS = [
    output_dir,
    overwrite_output_dir,
    do_train,
    do_eval,
    do_predict,
    resume_from_checkpoint,
    seen("per_device_train_batch_size", 6, train_batches, [4] * 6, [6] * 4),
    seen("gradient_accumulation_steps", 2, updates, 6, 3),
    auto_find_batch_size,
    seen("num_train_epochs", 1.5, updates, 6, 9),
    seen("max_steps", 2, updates, 6, 2),
    seen("seed", 7, lambda trainer: torch.initial_seed(), 42, 7),
    full_determinism,
    plugins,
]
