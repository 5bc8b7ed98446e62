"""Writing the card: what its front matter says, and where it goes."""

from __future__ import annotations

import itertools
import logging
import math
import re
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.modelcard.frontmatter import front_matter
from drivetrain.modelcard.history import Evaluation, chosen_evaluation, evaluations
from drivetrain.modelcard.sections import MARKER, describe
from drivetrain.parallel_wrappers import unwrap

if TYPE_CHECKING:
    from torch import nn

    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)

Texts = str | Sequence[str] | None

CARD = "README.md"
CARD_BESIDE = "README.drivetrain.md"
"""Where the card goes if a person has written the `CARD` that is there."""

_FORM_HEADING = "# Model Card for Model ID\n"
"""The heading of the form that PEFT saves beside a model, as long as nobody has filled it in."""

_IDENTIFIER = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


def write_model_card(
    trainer: Trainer,
    *,
    language: Texts = None,
    license: str | None = None,
    tags: Texts = None,
    model_name: str | None = None,
    finetuned_from: str | None = None,
    tasks: Texts = None,
    dataset_tags: Texts = None,
    dataset: Texts = None,
    dataset_args: Texts = None,
    find_license: Callable[[str], str | None] | None = None,
) -> Path | None:
    """Write the card into the output folder, on the first process of all.

    A ``README.md`` that is no draft is left as it is: the card goes beside it, as
    ``README.drivetrain.md``.

    Args:
        trainer: What trained the model.
        language: The model's language or languages.
        license: Its licence; by default that of the model that it was made of, if that can be found.
        tags: Tags besides those of drivetrain and of the model itself.
        model_name: Its name; by default that of the output folder.
        finetuned_from: The model that it was made of; by default what the model says itself.
        tasks: Identifiers of what it is for; the first is the card's ``pipeline_tag``.
        dataset_tags: Identifiers of the data sets.
        dataset: Names of the data sets, in the same order.
        dataset_args: What of each was used, in the same order.
        find_license: From a model's identifier to its licence, if there is one.

    Returns:
        The file; None on the other processes.
    """
    if not trainer.is_world_process_zero():
        return None
    rows = evaluations(trainer.state.log_history)
    chosen = chosen_evaluation(trainer, rows)
    base = finetuned_from or _base_model(unwrap(trainer.model))
    if license is None and base is not None and find_license is not None:
        license = find_license(base)
    name = model_name or Path(trainer.args.output_dir).resolve().name
    all_tasks, names, identifiers = _listed(tasks), _listed(dataset), _listed(dataset_tags)
    metadata = {
        "library_name": _library(unwrap(trainer.model)),
        "language": language,
        "license": license,
        "base_model": base,
        "pipeline_tag": next(iter(all_tasks), None),
        "tags": _all_tags(unwrap(trainer.model), [*_listed(tags), *all_tasks[1:]]),
        "datasets": identifiers,
        "metrics": [] if chosen is None else list(_scores(chosen)),
        "model-index": _index(
            name, chosen, all_tasks, _datasets(identifiers, names, _listed(dataset_args))
        ),
    }
    text = (
        front_matter(metadata) + "\n" + describe(trainer, name, base, names or identifiers, rows, chosen)
    )
    return _write(Path(trainer.args.output_dir), text)


def _write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CARD
    if file.is_file() and not _is_draft(file.read_text(encoding="utf-8", errors="replace")):
        file = folder / CARD_BESIDE
        if not file.exists():
            logger.warning("%s is not a draft of drivetrain's and stays: the card is in %s.", CARD, file)
    file.write_text(text, encoding="utf-8")
    return file


def _is_draft(text: str) -> bool:
    return MARKER in text or _FORM_HEADING in text


def _listed(texts: Texts) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts or [])


def _base_model(model: nn.Module) -> str | None:
    """What the model says that it was made of, unless that is a folder of this machine."""
    adapters = getattr(model, "peft_config", None)
    config = next(iter(adapters.values()), None) if isinstance(adapters, dict) else None
    said = (
        getattr(config, "base_model_name_or_path", None)
        or getattr(getattr(model, "config", None), "_name_or_path", None)
        or getattr(model, "name_or_path", None)
    )
    if isinstance(said, str) and _IDENTIFIER.fullmatch(said) and not Path(said).exists():
        return said
    return None


def _library(model: nn.Module) -> str | None:
    """The library whose model it is, as hubs call it."""
    packages = [cls.__module__.partition(".")[0] for cls in type(model).__mro__]
    return next((name for name in ("peft", "transformers") if name in packages), None)


def _all_tags(model: nn.Module, given: list[str]) -> list[str]:
    own = getattr(model, "model_tags", None)
    return list(dict.fromkeys(["generated_from_trainer", "drivetrain", *_listed(own), *given]))


def _scores(evaluation: Evaluation) -> dict[str, float]:
    """The metrics of an evaluation besides its losses: those that are finite numbers."""
    return {
        name.removeprefix("eval_"): float(value)
        for name, value in evaluation.metrics.items()
        if not name.endswith("loss") and isinstance(value, Real) and math.isfinite(value)
    }


def _datasets(identifiers: list[str], names: list[str], used: list[str]) -> list[dict[str, str]]:
    filled = itertools.zip_longest(identifiers, names, used[: max(len(identifiers), len(names))])
    return [
        {"type": identifier or name, "name": name or identifier, **({"args": args} if args else {})}
        for identifier, name, args in filled
    ]


def _index(
    name: str, evaluation: Evaluation | None, tasks: list[str], datasets: list[dict[str, str]]
) -> list[dict[str, Any]]:
    """Results as hubs list them: only complete ones, with a task, a data set and a metric."""
    scores = {} if evaluation is None else _scores(evaluation)
    if not (scores and tasks and datasets):
        return []
    metrics = [{"type": metric, "name": metric, "value": value} for metric, value in scores.items()]
    results = [
        {"task": {"type": task, "name": task}, "dataset": dataset, "metrics": metrics}
        for task in tasks
        for dataset in datasets
    ]
    return [{"name": name, "results": results}]
