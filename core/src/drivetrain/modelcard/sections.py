"""The text of the card, section by section."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import drivetrain
from drivetrain.modelcard.history import Evaluation
from drivetrain.parallel_wrappers import unwrap

if TYPE_CHECKING:
    from torch import nn

    from drivetrain.arguments import TrainingArguments
    from drivetrain.trainer import Trainer

MARKER = (
    "<!-- A draft by drivetrain, written anew at each push. Delete this line to keep your changes. -->"
)
"""The line by which a card is known to be a draft that may be replaced."""

_ALWAYS_SHOWN = (
    "learning_rate",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_train_epochs",
    "optim",
    "lr_scheduler_type",
    "seed",
)
_NEVER_SHOWN = re.compile(
    r"output_dir|overwrite_output_dir|logging_dir|run_name|report_to|disable_tqdm|resume_from_checkpoint"
    r"|push_to_hub.*|hub_.*|.*_token"
)
"""Arguments that say nothing of the model, or what is nobody's business."""

_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "datasets", "accelerate")


def describe(
    trainer: Trainer,
    name: str,
    base: str | None,
    datasets: Sequence[str],
    rows: Sequence[Evaluation],
    chosen: Evaluation | None,
) -> str:
    """The card below its front matter."""
    blocks = [MARKER, f"# {_line(name)}", _introduction(unwrap(trainer.model), base, datasets)]
    if chosen is not None:
        blocks += ["## Results", *_results(chosen)]
    blocks += ["## Training", *_arguments(trainer.args)]
    if rows:
        blocks += ["### Progress", _table(rows)]
    blocks += ["## Versions", _items(_versions())]
    return "\n\n".join(blocks) + "\n"


def _introduction(model: nn.Module, base: str | None, datasets: Sequence[str]) -> str:
    made_of = f", fine-tuned from `{base}`," if base else ""
    data = f" on {' and '.join(map(_line, datasets))}" if datasets else ""
    parameters = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    total = sum(number for number, _ in parameters)
    trained = sum(number for number, is_trained in parameters if is_trained)
    return (
        f"A `{type(model).__name__}`{made_of} trained with drivetrain{data}.\n"
        f"It has {total:,} parameters; {trained:,} of them were trained."
    )


def _results(evaluation: Evaluation) -> list[str]:
    return [
        f"On the evaluation data, after update {evaluation.step}:",
        _items((_title(name), _value(value)) for name, value in evaluation.metrics.items()),
    ]


def _arguments(args: TrainingArguments) -> list[str]:
    shown = {
        name: f"`{json.dumps(value)}`"
        for name, value in args.to_dict().items()
        if (name in _ALWAYS_SHOWN or not args.is_default(name)) and not _NEVER_SHOWN.fullmatch(name)
    }
    in_update = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    processes = f"{args.world_size} processes" if args.world_size > 1 else "one process"
    return [
        f"{in_update} samples in each update, on {processes}. Arguments, the others being the defaults:",
        _items((f"`{name}`", value) for name, value in shown.items()),
    ]


def _table(rows: Sequence[Evaluation]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    header = ["Training loss", "Epoch", "Step", *map(_title, names)]
    lines = [header, ["---:"] * len(header), *([*_row(row, names)] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _row(row: Evaluation, names: Sequence[str]) -> Iterator[str]:
    yield _value(row.training_loss)
    yield _value(row.epoch)
    yield str(row.step)
    for name in names:
        yield _value(row.metrics.get(name))


def _title(name: str) -> str:
    """``eval_loss`` is the validation loss, ``eval_f1_macro`` F1 macro."""
    if name == "eval_loss":
        return "Validation loss"
    words = _line(name.removeprefix("eval_").replace("_", " "))
    return words[:1].upper() + words[1:]


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"
    return _line(str(value))


def _versions() -> Iterator[tuple[str, str]]:
    """Versions of the libraries that this process uses."""
    yield "drivetrain", drivetrain.__version__
    yield "Python", platform.python_version()
    for library in _LIBRARIES:
        if library in sys.modules:
            yield library, metadata.version(library)


def _items(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in pairs)


def _line(text: str) -> str:
    """A text on one line, with nothing in it that ends a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")
