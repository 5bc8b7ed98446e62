"""Rows of the arguments of what is done to the model."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small import Net, make_args
from torch import nn

from drivetrain import Trainer, UsageError
from honesty.observations import Words, make_words
from honesty.table import Case, Row, row, seen


class Counted(nn.Linear):
    """Counts how often it is computed."""

    num_calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.num_calls += 1
        return super().forward(x)


class Layered(Net):
    """Says which of its modules' activations need not be kept."""

    gradient_checkpointing_modules = ("inner",)

    def __init__(self) -> None:
        super().__init__()
        self.inner = Counted(6, 16)


def calls_of_inner(trainer: Trainer) -> int:
    """How often a module is computed in a training."""
    model: Any = trainer.model
    trainer.train()
    return int(model.inner.num_calls)


class Offering(Net):
    """Does it itself, and notes how."""

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any]) -> None:
        self.options = gradient_checkpointing_kwargs


def checkpointing_options(trainer: Trainer) -> Any:
    trainer.train()
    return trainer.model.options


def compiler_row(name: str, value: Any, before: Any, after: Any, **beside: Any) -> Row:
    """A row: how the model is handed to torch.compile by a training, if at all."""

    def check(case: Case) -> None:
        calls: list[dict[str, Any]] = []
        case.monkeypatch.setattr(nn.Module, "compile", lambda self, **options: calls.append(options))
        case.plain().train()
        assert calls == before
        calls.clear()
        case.changed().train()
        assert calls == after

    return row(name, value, **beside)(check)


def is_noisy(trainer: Trainer) -> bool:
    """Whether a training's embeddings are something else than their table's rows."""
    model = trainer.model
    assert isinstance(model, Words)
    trainer.train()
    return not any(torch.equal(table, embedded) for table, embedded in model.embedded)


class Llama(Net):
    """A model that says that it is a Llama."""

    config = SimpleNamespace(model_type="llama")


LIGER = """
def apply_to_llama(rope=True, rms_norm=True, model=None):
    model.patched = {"rope": rope, "rms_norm": rms_norm}

MODEL_TYPE_TO_APPLY_LIGER_FN = {"llama": apply_to_llama}
"""


def patched_by_liger(case: Case, make: Any) -> Any:
    """What a library in place of liger-kernel, which needs a GPU, was asked to do to the model."""
    folder = Path("library", "liger_kernel", "transformers")
    folder.mkdir(parents=True, exist_ok=True)
    for package in (folder.parent, folder):
        Path(package, "__init__.py").touch()
    Path(folder, "monkey_patch.py").write_text(LIGER, encoding="utf-8")
    with case.monkeypatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == "liger_kernel"]:
            patch.delitem(sys.modules, name)
        patch.syspath_prepend(folder.parents[1].resolve())
        patch.setenv("TRITON_INTERPRET", "1")
        trainer = make()
        trainer.train()
        for name in [name for name in sys.modules if name.partition(".")[0] == "liger_kernel"]:
            del sys.modules[name]
    return getattr(trainer.model, "patched", None)


@row("use_liger_kernel", True, model=Llama)
def use_liger_kernel(case: Case) -> None:
    with pytest.raises(UsageError, match=r"^`use_liger_kernel`: .*(not installed|needs a GPU)"):
        make_args(use_liger_kernel=True)
    assert patched_by_liger(case, case.plain) is None
    assert patched_by_liger(case, case.changed) == {"rope": True, "rms_norm": True}


@row("liger_kernel_config", {"rope": False}, model=Llama)
def liger_kernel_config(case: Case) -> None:
    made = patched_by_liger(case, lambda: case.changed(use_liger_kernel=True))
    assert made == {"rope": False, "rms_norm": True}
    (said,) = case.warnings(**case.setting)
    assert said.startswith(
        "`liger_kernel_config`: {'rope': False} has no effect without `use_liger_kernel`"
    )


class Recurrent(nn.Module):
    """Returns what the next batch is to remember, and takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.outer = nn.Linear(6, 3)
        self.was_given: list[bool] = []

    def forward(self, x: torch.Tensor, labels: torch.Tensor, mems: torch.Tensor | None = None) -> Any:
        self.was_given.append(mems is not None)
        logits = self.outer(x if mems is None else x + mems)
        return nn.functional.cross_entropy(logits, labels), logits, x


def batches_with_mems(trainer: Trainer) -> list[bool]:
    model: Any = trainer.model
    trainer.train()
    return list(model.was_given)


INDUCTOR, EAGER = {"backend": "inductor"}, {"backend": "eager"}

ROWS = [
    seen("gradient_checkpointing", True, calls_of_inner, 6, 12, model=Layered),
    seen(
        "gradient_checkpointing_kwargs",
        {"use_reentrant": True},
        checkpointing_options,
        {"use_reentrant": False},
        {"use_reentrant": True},
        gradient_checkpointing=True,
        model=Offering,
    ),
    compiler_row("torch_compile", True, [], [INDUCTOR]),
    compiler_row("torch_compile_backend", "eager", [], [EAGER]),
    compiler_row("torch_compile_mode", "reduce-overhead", [], [{**INDUCTOR, "mode": "reduce-overhead"}]),
    seen(
        "neftune_noise_alpha",
        5.0,
        is_noisy,
        False,
        True,
        model=Words,
        train_dataset=make_words(),
        eval_dataset=make_words(),
    ),
    use_liger_kernel,
    liger_kernel_config,
    seen("past_index", 2, batches_with_mems, [False] * 6, [False] + [True] * 5, model=Recurrent),
]
