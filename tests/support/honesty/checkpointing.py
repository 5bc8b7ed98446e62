"""Rows of the arguments of checkpoints."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from small import Net, are_equal, weights_of

from drivetrain import EvalPrediction, ExportableState, Trainer, TrainerCallback, UsageError
from honesty.observations import checkpoints, checkpoints_in, files_of_checkpoint
from honesty.processes import SECOND_MACHINE
from honesty.table import Case, row, seen

PARTS = {
    "manifest.json",
    "model.safetensors",
    "optimizer.pt",
    "progress.json",
    "rng_state.pth",
    "scheduler.pt",
    "trainer_state.json",
    "training_args.json",
}
ONLY_MODEL = PARTS - {"optimizer.pt", "rng_state.pth", "scheduler.pt"}


class Remembering(TrainerCallback, ExportableState):
    """Keeps a number in checkpoints."""

    def __init__(self, number: int) -> None:
        self.number = number

    def state(self) -> dict[str, Any]:
        return {"args": {"number": self.number}, "attributes": {}}


@row("restore_callback_states_from_checkpoint", True)
def restore_callback_states(case: Case) -> None:
    earlier = case.plain(
        output_dir="earlier", save_strategy="steps", save_steps=4, callbacks=[Remembering(1)]
    )
    earlier.train()
    for make, number in ((case.plain, 2), (case.changed, 1)):
        callback = Remembering(2)
        make(callbacks=[callback]).train(resume_from_checkpoint="earlier/checkpoint-4")
        assert callback.number == number


@row("save_on_each_node", True, strategy=SECOND_MACHINE)
def save_on_each_node(case: Case) -> None:
    case.plain().save_model("one")
    assert not Path("one").exists()
    case.changed().save_model("two")
    assert Path("two", "model.safetensors").is_file()
    assert "has no effect with" in case.warnings(**case.setting)[0]


@row("low_cpu_mem_usage", False)
def low_cpu_mem_usage(case: Case) -> None:
    whole = case.plain(output_dir="earlier", save_strategy="steps", save_steps=4)
    whole.train()
    read: list[int] = []
    load = safetensors.torch.load

    def load_and_note(data: bytes) -> Any:
        read.append(len(data))
        return load(data)

    case.monkeypatch.setattr(safetensors.torch, "load", load_and_note)
    file = Path("earlier", "checkpoint-4", "model.safetensors")
    for make, expected in ((case.plain, []), (case.changed, [file.stat().st_size])):
        trainer = make()
        trainer.train(resume_from_checkpoint="earlier/checkpoint-4")
        assert read == expected  # the whole file at once, or no file as bytes
        assert are_equal(weights_of(trainer), weights_of(whole))


@row("load_best_model_at_end", True, eval_strategy="steps", eval_steps=2, metric_for_best_model="score")
def load_best_model_at_end(case: Case) -> None:
    for make, step in ((case.plain, 6), (case.changed, 4)):
        scores = iter([0.2, 0.5, 0.1])

        def score(prediction: EvalPrediction, scores: Any = scores) -> dict[str, float]:
            return {"score": next(scores)}

        trainer = make(save_strategy="steps", save_steps=2, compute_metrics=score)
        trainer.train()
        saved = Path(trainer.args.output_dir, f"checkpoint-{step}", "model.safetensors")
        assert are_equal(weights_of(trainer), safetensors.torch.load_file(saved))


class SendsSignal(TrainerCallback):
    """Sends this process a signal in the second update, if that is not its end."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 1 and signal.getsignal(signal.SIGUSR2) != signal.SIG_DFL:
            os.kill(os.getpid(), signal.SIGUSR2)


@row("preemption_signals", ["SIGUSR2"])
def preemption_signals(case: Case) -> None:
    assert case.plain(callbacks=[SendsSignal()]).train().global_step == 6
    with pytest.raises(SystemExit) as left:
        case.changed(callbacks=[SendsSignal()]).train()
    assert left.value.code == 75
    assert checkpoints_in("changed") == [2]


class NotesThreads(Net):
    """Notes in which threads it is saved."""

    threads: list[str]

    def save_pretrained(self, folder: str, state_dict: Any = None) -> None:
        self.threads.append(threading.current_thread().name)
        safetensors.torch.save_file(dict(state_dict or self.state_dict()), f"{folder}/model.safetensors")


@row("async_save", True)
def async_save(case: Case) -> None:
    for make, expected in ((case.plain, "MainThread"), (case.changed, "drivetrain-checkpoint-6")):
        model = NotesThreads()
        model.threads = []
        make(model=model, save_strategy="epoch").train()
        assert model.threads == [expected]


class FullDisk(Trainer):
    """Its disk is full."""

    def save_model(self, output_dir: Any = None, _internal_call: bool = False) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@row("save_on_error", "stop")
def save_on_error(case: Case) -> None:
    for make, step in ((case.plain, 4), (case.changed, 2)):
        trainer = make(cls=FullDisk, save_strategy="steps", save_steps=2)
        with pytest.raises(OSError, match="No space left on device. It takes about .* are free there"):
            trainer.train()
        assert trainer.state.global_step == step


@row("allow_partial_resume", True)
def allow_partial_resume(case: Case) -> None:
    case.plain(output_dir="earlier", save_strategy="epoch", save_only_model=True).train()
    with pytest.raises(UsageError, match="allow_partial_resume=True"):
        case.plain().train(resume_from_checkpoint="earlier/checkpoint-6")
    assert case.changed().train(resume_from_checkpoint="earlier/checkpoint-6").global_step == 6


ROWS = [
    seen("save_strategy", "epoch", checkpoints, [], [6]),
    seen("save_steps", 2, checkpoints, [6], [2, 4, 6], save_strategy="steps"),
    seen("save_total_limit", 1, checkpoints, [2, 4, 6], [6], save_strategy="steps", save_steps=2),
    seen("save_only_model", True, files_of_checkpoint, PARTS, ONLY_MODEL, save_strategy="epoch"),
    seen(
        "save_safetensors",
        False,
        files_of_checkpoint,
        PARTS,
        PARTS - {"model.safetensors"} | {"pytorch_model.bin"},
        save_strategy="epoch",
    ),
    save_on_each_node,
    restore_callback_states,
    low_cpu_mem_usage,
    load_best_model_at_end,
    preemption_signals,
    async_save,
    save_on_error,
    allow_partial_resume,
]
