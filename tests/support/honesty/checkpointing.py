"""Rows of the arguments of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
from small import are_equal, weights_of

from drivetrain import EvalPrediction, ExportableState, TrainerCallback
from honesty.observations import checkpoints, files_of_checkpoint
from honesty.processes import SECOND_MACHINE
from honesty.table import Case, row, seen

PARTS = {
    "manifest.json",
    "model.safetensors",
    "optimizer.pt",
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
]
