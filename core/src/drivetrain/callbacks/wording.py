"""Numbers and logs as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drivetrain.state import TrainerState

_NOT_ON_LINES = ("epoch", "total_flos")
_STAGES = {"eval": "evaluation", "test": "prediction", "train": "training"}


def number(value: Any) -> str:
    """A value as text: floats with four digits, whole numbers in groups of three."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return " ".join(str(value).split())


def rough(value: float) -> str:
    """A number with three digits: ``12.3k``, ``124M``."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{value / size:#.3g}".rstrip(".") + letter
    return f"{value:.3g}"


def clock(seconds: float) -> str:
    """A time as ``3:07`` or ``1:02:03``, with days before it where it takes any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def shorten(text: str, max_len: int) -> str:
    """A text, cut off if it is longer than that."""
    return text if len(text) <= max_len else f"{text[:max_len]}... ({len(text)} characters)"


def stage_of(logs: Mapping[str, Any]) -> str | None:
    """What the names of a stage's metrics begin with (``eval``, ``eval_news``); None for other logs."""
    ending = "_runtime"
    return next((name.removesuffix(ending) for name in logs if name.endswith(ending)), None)


def stage_line(metrics: Mapping[str, Any], max_len: int) -> str:
    """The metrics of an evaluation, and how long it took."""
    stage = stage_of(metrics) or ""
    kind, _, name = stage.partition("_")
    title = " ".join(filter(None, (_STAGES.get(kind, kind), name)))
    own = {name.removeprefix(f"{stage}_"): value for name, value in metrics.items()}
    runtime, speed = own.pop("runtime", None), own.pop("samples_per_second", None)
    own.pop("steps_per_second", None)
    took = [] if runtime is None else [f"{number(runtime)} s"]
    took += [] if speed is None else [f"{rough(speed)} samples/s"]
    values = values_line(own, max_len) or "done"
    return f"{title}: {values}" + (f" ({', '.join(took)})" if took else "")


def values_line(logs: Mapping[str, Any], max_len: int) -> str:
    """Names and values, without those that are said elsewhere."""
    return ", ".join(
        f"{name} {shorten(number(value), max_len)}"
        for name, value in logs.items()
        if name not in _NOT_ON_LINES
    )


def step_line(state: TrainerState) -> str:
    """Where a run is: ``step 450/1000, epoch 1.35``; nothing without one."""
    if not state.max_steps:
        return ""
    return f"step {state.global_step}/{state.max_steps}, epoch {state.epoch or 0:.2f}"
