"""Two sets of arguments, compared by name, and how their differences are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from drivetrain.plugin.options import parse_options
from drivetrain_registry import UsageError
from drivetrain_registry.messages import join

_OPTIONS = ("optim_args", "lr_scheduler_kwargs")
_LONGEST = 100
NOT_EXACT = "the weights will not be bit for bit those of the uninterrupted run"


class Changes:
    """Two sets of arguments and facts, compared by name.

    Args:
        saved: Those of the checkpoint.
        now: Those of the run that resumes.
    """

    def __init__(self, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        self.saved, self.now = _flat(saved), _flat(now)

    def among(self, names: Iterable[str]) -> list[str]:
        """Those of the names whose values are known of both and are not the same."""
        return [
            name
            for name in names
            if name in self.saved
            and name in self.now
            and not _is_same(name, self.saved[name], self.now[name])
        ]

    def both(self, name: str, default: Any = None) -> tuple[Any, Any]:
        """The value before and the value now."""
        return self.saved.get(name, default), self.now.get(name, default)

    @property
    def pair(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """All values before and all now."""
        return self.saved, self.now

    def class_of(self, part: str) -> tuple[str | None, str | None]:
        """The class of a part before and now."""
        before, now = self.both("classes")
        return (before or {}).get(part), (now or {}).get(part)

    def package_of(self, part: str) -> tuple[str | None, str | None]:
        """The package that the class of a part is from, before and now."""
        before, now = self.both("packages")
        return (before or {}).get(part), (now or {}).get(part)

    def taken_up(self, names: Iterable[str]) -> str:
        """Tell new values that hold from now on."""
        return "; ".join(
            f"`{name}`: {show(self.now[name])} goes on where {show(self.saved[name])} was"
            for name in names
        )

    def passed_over(self, names: Iterable[str]) -> str:
        """Tell new values that have no effect."""
        return "; ".join(
            f"`{name}`: {show(self.saved[name])} goes on, and {show(self.now[name])} has no effect"
            for name in names
        )

    def typed(self, names: Iterable[str]) -> str:
        """What to type to have the earlier values."""
        return join([_typed(name, self.saved[name]) for name in names])


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, those of `accelerator_config` by names of their own."""
    config = values.get("accelerator_config")
    inner = config.items() if isinstance(config, Mapping) else ()
    return {**values, **{f"accelerator_config.{key}": value for key, value in inner}}


def _is_same(name: str, first: Any, second: Any) -> bool:
    if name in _OPTIONS:
        first, second = as_options(first), as_options(second)
    if name == "metric_for_best_model":
        first, second = (str(metric).removeprefix("eval_") for metric in (first, second))
    first, second = _plain(first), _plain(second)
    if isinstance(first, str) != isinstance(second, str):
        first, second = _number(first), _number(second)
    return bool(first == second)


def as_options(given: Any) -> Any:
    """Options as a dict, where they are text that can be read."""
    if not isinstance(given, str):
        return given or {}
    try:
        return parse_options(given, option="optim_args")
    except UsageError:
        return {"text": given}


def _plain(value: Any) -> Any:
    """A value in the one way of all in which it can be written."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()} or None
    if isinstance(value, (list, tuple)):
        items = [_plain(item) for item in value]
        return items[0] if len(items) == 1 else items or None
    return None if value == "" else value


def _number(value: Any) -> Any:
    """A number that is written as text; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def show(value: Any) -> str:
    """A value as it is typed, cut short if it is long."""
    text = repr(value.value if isinstance(value, Enum) else value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def as_sentence(text: str) -> str:
    """The text with a capital letter."""
    return f"{text[:1].upper()}{text[1:]}"


def _typed(name: str, value: Any) -> str:
    outer, _, key = name.partition(".")
    return f"{outer}={{{key!r}: {show(value)}}}" if key else f"{name}={show(value)}"
