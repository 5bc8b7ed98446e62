"""Writes `docs/arguments.md` from the arguments themselves. Type: python docs/generate_arguments.py"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drivetrain import Seq2SeqTrainingArguments, TrainingArguments
from drivetrain.arguments.checkpointing import CheckpointArguments
from drivetrain.arguments.data import DataArguments
from drivetrain.arguments.devices import DeviceArguments
from drivetrain.arguments.distributed import DistributedArguments
from drivetrain.arguments.evaluation import EvaluationArguments
from drivetrain.arguments.hub import HubArguments
from drivetrain.arguments.logging import LoggingArguments
from drivetrain.arguments.model import ModelTreatmentArguments
from drivetrain.arguments.optimization import OptimizationArguments
from drivetrain.arguments.precision import PrecisionArguments
from drivetrain.arguments.search import SearchArguments
from drivetrain.arguments.spellings import OLD_SPELLINGS, OldSpelling
from drivetrain.arguments.training import RunArguments
from drivetrain.plugin.options import show_type

PAGE = Path(__file__).with_name("arguments.md")
THEMES: dict[str, type[Any]] = {
    "The run": RunArguments,
    "Optimizer and schedule": OptimizationArguments,
    "Data": DataArguments,
    "Evaluation": EvaluationArguments,
    "Logging": LoggingArguments,
    "Checkpoints": CheckpointArguments,
    "Model": ModelTreatmentArguments,
    "Number formats": PrecisionArguments,
    "Devices": DeviceArguments,
    "Several processes": DistributedArguments,
    "Model hub": HubArguments,
    "Searches": SearchArguments,
    "Generation (`Seq2SeqTrainingArguments`)": Seq2SeqTrainingArguments,
}
INTRODUCTION = """\
# Arguments

Every argument of `TrainingArguments`, by theme. Each is a keyword of the class and a flag of
[command lines](command-line.md): `learning_rate=1e-4` is `--learning_rate 1e-4`. An argument that cannot
work is an error when the arguments are made, and one that has no effect beside the others, or on this
machine, is warned of.
"""
OLD = """\
## Old spellings

They are taken as keywords and as flags, with a warning that says what to type, and can be read as attributes.

| spelling | today |
|---|---|"""


def render() -> str:
    """The page."""
    return "\n".join([INTRODUCTION, *_themes(), OLD, *_old_spellings()]) + "\n"


def _themes() -> Iterator[str]:
    for title, theme in THEMES.items():
        yield f"## {title}\n"
        yield "| argument | type | default | meaning |\n|---|---|---|---|"
        hints = typing.get_type_hints(theme)
        for field in _fields_of(theme):
            kind, default = _cell(show_type(hints[field.name])), _cell(repr(_default_of(field)))
            yield f"| `{field.name}` | `{kind}` | `{default}` | {_cell(_meaning_of(field))} |"
        yield ""


def _fields_of(theme: type[Any]) -> list[dataclasses.Field[Any]]:
    """The fields that the theme adds to those of all."""
    inherited = {field.name for field in dataclasses.fields(TrainingArguments)}
    fields = dataclasses.fields(theme)
    is_added_to = issubclass(theme, TrainingArguments)
    return [field for field in fields if not (is_added_to and field.name in inherited)]


def _default_of(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _meaning_of(field: dataclasses.Field[Any]) -> str:
    choices = field.metadata.get("choices")
    listed = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
    return f"{field.metadata['help']}{listed}"


def _old_spellings() -> Iterator[str]:
    for name, spelling in OLD_SPELLINGS.items():
        yield f"| `{name}` | {_cell(_today(spelling))} |"


def _today(spelling: OldSpelling) -> str:
    example = {bool: True, int: 1, float: 1.0}.get(spelling.hint, "text")
    if spelling.note:
        return f"nothing: {spelling.note}"
    new = spelling.translate(example, {})
    return " and ".join(f"`{name}`{_keys_in(value)}" for name, value in new.items())


def _keys_in(value: Any) -> str:
    return f", key {', '.join(f'`{key}`' for key in value)}" if isinstance(value, dict) else ""


def _cell(text: str) -> str:
    """A text as a cell of a table, in which a bar would end it."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
