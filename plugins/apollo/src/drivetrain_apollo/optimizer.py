"""`apollo_adamw`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, ClassVar

from torch import nn
from torch.optim import Optimizer

from drivetrain.plugin import (
    AdamPlugin,
    explain_useless_rank,
    find_target_weights,
    split_groups,
    target_problems,
)
from drivetrain_apollo.apollo import Apollo
from drivetrain_apollo.options import GROUP_SETTINGS, ApolloOptions

logger = logging.getLogger(__name__)


class ApolloAdamW(AdamPlugin):
    """APOLLO (arXiv:2412.05270): gradients scaled by what AdamW does in a small random space.

    Targeted weights are updated so; all other parameters by AdamW.

    Attributes:
        optimizer: The class that `build` returns.
    """

    Options = ApolloOptions
    optimizer: ClassVar[type[Optimizer]] = Apollo
    paper = "APOLLO: SGD-like Memory, AdamW-level Performance, arXiv:2412.05270"
    state_bytes = 1.0
    suits = ("little memory",)
    targets_modules = True

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """`Apollo` and its keyword arguments."""
        return self.optimizer, {**self.adam_arguments(), "seed": self.args.seed}

    def group_parameters(self, model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Split each group into what is scaled and what is not; both keep their weight decay.

        Raises:
            UsageError: `optim_target_modules` leads to no weight.
        """
        weights = find_target_weights(model, self.args.optim_target_modules or (), "APOLLO")
        if useless := explain_useless_rank(self.options.rank, weights):
            logger.warning("%s", useless)
        settings = {name: getattr(self.options, name) for name in GROUP_SETTINGS}
        return split_groups(groups, weights.values(), settings)

    def problems(self) -> Iterable[str]:
        """Refuse missing targets, too."""
        yield from super().problems()
        yield from target_problems(self.args.optim_target_modules, "APOLLO")
