"""Arguments of sequence-to-sequence models: how texts are generated in evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivetrain.arguments.composed import TrainingArguments
from drivetrain.arguments.fields import argument

_READ_BY_GENERATE = ("generation_max_length", "generation_num_beams")


@dataclass
class Seq2SeqTrainingArguments(TrainingArguments):
    """`TrainingArguments`, and how `Seq2SeqTrainer` generates in evaluations and predictions.

    Example:
        >>> args = Seq2SeqTrainingArguments("out", predict_with_generate=True, generation_num_beams=4)
    """

    predict_with_generate: bool = argument(
        False, "Predict with the model's `generate`, for metrics of what it writes (ROUGE, BLEU)."
    )
    generation_max_length: int | None = argument(
        None, "The `max_length` of `generate`. By default: that of the model's generation configuration."
    )
    generation_num_beams: int | None = argument(
        None, "The `num_beams` of `generate`. By default: that of the model's generation configuration."
    )
    generation_config: str | Path | dict[str, Any] | Any | None = argument(
        None,
        "The generation configuration to use instead of the model's own: an object, or the id of a "
        "pretrained one, or the path of a file or folder with one.",
    )

    def check(self, problems: Sequence[str] = ()) -> list[str]:
        """Complete and check the arguments; see `TrainingArguments.check`."""
        return [*super().check([*problems, *self._generation_problems()]), *self._idle_generation()]

    def _generation_problems(self) -> Iterator[str]:
        for name in _READ_BY_GENERATE:
            value = getattr(self, name)
            if isinstance(value, int) and value < 1:
                yield f"`{name}`: {value!r} is no whole number from 1 up. Type {name}=4, say."

    def _idle_generation(self) -> Iterator[str]:
        if self.predict_with_generate and self.prediction_loss_only:
            yield (
                "`predict_with_generate`: True has no effect with `prediction_loss_only`=True. "
                "Leave out one of them."
            )
        for name in _READ_BY_GENERATE:
            if getattr(self, name) is not None and not self.predict_with_generate:
                yield (
                    f"`{name}`: {getattr(self, name)} has no effect without `predict_with_generate`. "
                    "Type predict_with_generate=True."
                )
