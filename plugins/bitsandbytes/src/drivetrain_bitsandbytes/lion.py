"""`lion_32bit`, `lion_8bit`, `paged_lion_32bit` and `paged_lion_8bit`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from drivetrain.plugin import refuse_given_twice
from drivetrain_bitsandbytes import options
from drivetrain_bitsandbytes.optimizer import BitsAndBytes


class Lion32bit(BitsAndBytes):
    """Lion: every weight moves by the rate, in the direction of a momentum's sign.

    It wants a rate 3 to 10 times below that of AdamW, and as many times its weight decay. The paper's betas
    are (0.9, 0.99); those of the arguments are (0.9, 0.999).
    """

    Options: ClassVar[type[Any]] = options.LionOptions
    unused_arguments = ("adam_epsilon",)
    paper = "Symbolic Discovery of Optimization Algorithms, arXiv:2302.06675"
    state_bytes = 4.0
    optimizer = "Lion"

    def problems(self) -> Iterable[str]:
        """Refuse a value that is given twice, too."""
        yield from super().problems()
        yield from refuse_given_twice(self, betas=("adam_beta1", "adam_beta2"))

    def _method_keywords(self) -> dict[str, Any]:
        return {"betas": self.options.betas or (self.args.adam_beta1, self.args.adam_beta2)}


class Lion8bit(Lion32bit):
    """Lion with state in 8 bits (arXiv:2110.02861)."""

    Options = options.Lion8bitOptions
    state_bytes = 1.02
    suits = ("little memory",)
    bits = 8


class PagedLion32bit(Lion32bit):
    """Lion with state that leaves a GPU's memory while there is no room for it (arXiv:2305.14314)."""

    is_paged = True
    unpaged = "lion_32bit"


class PagedLion8bit(Lion8bit):
    """Lion with state in 8 bits that leaves a GPU's memory while there is no room for it."""

    is_paged = True
    unpaged = "lion_8bit"
