"""What all optimizers of the family share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from drivetrain.plugin import BareOptimizer
from drivetrain_pytorch_optimizer.peculiarities import Caution


class Member(BareOptimizer):
    """An optimizer of pytorch_optimizer.

    Attributes:
        caution: What will be otherwise than one may expect; logged once.
        divides_by_rate: It fails where the rate is 0.
        own_rate: The rate that the class has by default; None if it has none.
    """

    caution: ClassVar[Caution | None] = None
    divides_by_rate: ClassVar[bool] = False
    own_rate: ClassVar[float | None] = None

    def problems(self) -> Iterable[str]:
        """Refuse warm-up where the rate must not be 0."""
        yield from super().problems()
        if self.divides_by_rate and (self.args.warmup_steps or self.args.warmup_ratio):
            yield (
                f"`warmup_steps`: {self.name!r} divides by the rate, which is 0 where warm-up begins. "
                "Type warmup_steps=0 and warmup_ratio=0, or choose another optimizer."
            )

    def warnings(self) -> Iterable[str]:
        """Say so if the rate is a default that the class does not share, and what else is peculiar."""
        yield from super().warnings()
        rate, own = self.args.learning_rate, self.own_rate
        if own is not None and own != rate and self.args.is_default("learning_rate"):
            yield (
                f"`learning_rate`: {rate:g} is the default of all optimizers; that of "
                f"{self.optimizer.__name__} is {own:g}. Type learning_rate={own:g} for that."
            )
        if self.caution and not self._is_settled(self.caution):
            yield f"`optim`: {self.name!r} {self.caution.text}"

    def _is_settled(self, caution: Caution) -> bool:
        chosen = {name: getattr(self.options, name) for name in caution.unless}
        return bool(chosen) and chosen == caution.unless
