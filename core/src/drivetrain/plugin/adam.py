"""What variants of Adam share: its arguments, and the options that override them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from drivetrain.plugin.optimizer import OptimizerPlugin, refuse_given_twice


@dataclass(frozen=True)
class AdamOptions:
    """The options of an `AdamPlugin`; derive from it to add others.

    A ``__post_init__`` that checks those begins with ``super().__post_init__()``.

    Attributes:
        betas: Overrides `adam_beta1` and `adam_beta2`.
        eps: Overrides `adam_epsilon`.
    """

    betas: tuple[float, float] | None = None
    eps: float | None = None

    def __post_init__(self) -> None:
        if not all(0.0 <= beta < 1.0 for beta in self.betas or ()):
            raise ValueError(f"betas={self.betas} must both be in [0, 1): type betas=(0.9, 0.999), say.")
        if self.eps is not None and not self.eps >= 0.0:
            raise ValueError(f"eps={self.eps} must be 0 or more: type eps=1e-8, say.")


class AdamPlugin(OptimizerPlugin):
    """An optimizer that takes Adam's arguments, or the options that override them.

    A whole plugin::

        @dataclass(frozen=True)
        class NAdamOptions(AdamOptions):
            momentum_decay: float = 4e-3

        class NAdam(AdamPlugin):
            Options = NAdamOptions

            def build(self):
                decay = {"momentum_decay": self.options.momentum_decay}
                return torch.optim.NAdam, {**self.adam_arguments(), **decay}

    Attributes:
        Options: A dataclass whose ``betas`` and ``eps`` are None where the arguments hold: `AdamOptions`,
            or one that derives from it.
    """

    Options: ClassVar[type[Any]] = AdamOptions

    def adam_arguments(self) -> dict[str, Any]:
        """``lr``, ``betas`` and ``eps``, as optimizers of torch call them."""
        args, betas, eps = self.args, self.options.betas, self.options.eps
        return {
            "lr": args.learning_rate,
            "betas": (args.adam_beta1, args.adam_beta2) if betas is None else betas,
            "eps": args.adam_epsilon if eps is None else eps,
        }

    def problems(self) -> Iterable[str]:
        """Refuse a value that is given twice, in the arguments and in the options, too."""
        yield from super().problems()
        yield from refuse_given_twice(self, betas=("adam_beta1", "adam_beta2"), eps=("adam_epsilon",))
