"""Which keys of the samples the model takes, and leaving out the others."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from drivetrain.parallel_wrappers import unwrap
from drivetrain_registry import UsageError

logger = logging.getLogger(__name__)

_DICTS = {dict}


def forward_parameters(model: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a model's forward, by name; those of what is wrapped (by PEFT, say)."""
    model = unwrap(model)
    if hasattr(model, "get_base_model"):
        model = model.get_base_model()
    return dict(inspect.signature(model.forward).parameters)


def find_label_names(model: Any) -> list[str]:
    """Parameters of forward that are labels: with 'label' in the name, or a span for question answering."""
    names = list(forward_parameters(model))
    is_about_spans = "QuestionAnswering" in type(unwrap(model)).__name__
    spans = ("start_positions", "end_positions") if is_about_spans else ()
    return [name for name in names if "label" in name or name in spans]


def has_keyword_parameters(model: Any) -> bool:
    """Whether forward takes any keyword."""
    return any(p.kind is p.VAR_KEYWORD for p in forward_parameters(model).values())


def argument_of(description: str) -> str:
    """The argument that data came in, by what the data is called in logs."""
    names = {"training": "train_dataset", "evaluation": "eval_dataset", "test": "test_dataset"}
    return names.get(description, "dataset")


class ColumnFilter:
    """Leaves out what the model's forward does not take, and says once what that is.

    Args:
        model: The model.
        label_names: Keys that are kept besides forward's parameters.
    """

    def __init__(self, model: Any, label_names: Sequence[str]) -> None:
        self._model_name = type(unwrap(model)).__name__
        self.kept = [*forward_parameters(model), "label", "label_ids", *label_names]
        self._kept = frozenset(self.kept)
        self._said: set[tuple[str, ...]] = set()

    def filter_dataset(self, dataset: Any, description: str) -> Any:
        """Remove columns of a data set that has them (``column_names`` and ``remove_columns``).

        Raises:
            UsageError: No column is left.
        """
        dropped = [name for name in dataset.column_names if name not in self.kept]
        if len(dropped) == len(dataset.column_names):
            raise UsageError(
                f"`{argument_of(description)}`: none of its columns ({', '.join(dropped)}) is a parameter of "
                f"{self._model_name}.forward ({', '.join(self.kept)}). Rename the columns, or pass "
                "`remove_unused_columns=False` and a `data_collator` that makes what forward takes."
            )
        self._say(dropped, description)
        return dataset.remove_columns(dropped) if dropped else dataset

    def wrap_collator(self, collator: Callable[[list[Any]], Any], description: str) -> FilteringCollator:
        """A collator that gets samples without what forward does not take."""
        return FilteringCollator(self, collator, description)

    def takes_all(self, samples: list[Any]) -> bool:
        """Whether samples are dicts with nothing to leave out.

        Asked for each batch, and so without a loop of Python's (`benchmarks/loop.py`).
        """
        return set(map(type, samples)) == _DICTS and self._kept.issuperset(chain.from_iterable(samples))

    def filter_sample(self, sample: Any, description: str) -> Any:
        """A sample without what forward does not take; anything but a mapping as it is."""
        if not isinstance(sample, Mapping):
            return sample
        dropped = [name for name in sample if name not in self.kept]
        if not dropped:
            return sample
        self._say(dropped, description)
        return {name: value for name, value in sample.items() if name not in dropped}

    def _say(self, dropped: Sequence[str], description: str) -> None:
        names = (description, *sorted(dropped))
        if dropped and names not in self._said:
            self._said.add(names)
            logger.info(
                "Left out of the %s data, for %s.forward does not take them: %s.",
                description,
                self._model_name,
                ", ".join(sorted(dropped)),
            )


class FilteringCollator:
    """A collator behind a `ColumnFilter`; a class, so that loading processes can be sent it."""

    def __init__(
        self, column_filter: ColumnFilter, collator: Callable[[list[Any]], Any], description: str
    ) -> None:
        self.column_filter = column_filter
        self.collator = collator
        self.description = description

    def __call__(self, features: list[Any]) -> Any:
        """Collate the samples without what forward does not take."""
        features = list(features)  # the data set may go on with what it handed over
        if not self.column_filter.takes_all(features):
            features = [self.column_filter.filter_sample(f, self.description) for f in features]
        return self.collator(features)
