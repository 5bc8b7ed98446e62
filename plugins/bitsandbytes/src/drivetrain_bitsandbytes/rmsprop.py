"""`rmsprop_bnb`, `rmsprop_bnb_32bit` and `rmsprop_bnb_8bit`."""

from __future__ import annotations

from typing import Any, ClassVar

from drivetrain_bitsandbytes import options
from drivetrain_bitsandbytes.optimizer import BitsAndBytes


class RMSprop32bit(BitsAndBytes):
    """RMSprop: a rate for each weight, divided by the root of its average squared gradient.

    Weight decay is added to the gradient, as in `torch.optim.RMSprop`.
    """

    Options: ClassVar[type[Any]] = options.RMSpropOptions
    unused_arguments = ("adam_beta1", "adam_beta2", "adam_epsilon")
    paper = "Neural Networks for Machine Learning, lecture 6e (G. Hinton, 2012)"
    state_bytes = 4.0
    optimizer = "RMSprop"

    def _method_keywords(self) -> dict[str, Any]:
        return {"alpha": self.options.alpha, "eps": self.options.eps}


class RMSprop8bit(RMSprop32bit):
    """RMSprop with state in 8 bits (arXiv:2110.02861)."""

    Options = options.RMSprop8bitOptions
    state_bytes = 1.02
    bits = 8
