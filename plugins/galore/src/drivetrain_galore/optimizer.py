"""`galore_adamw`, `galore_adamw_8bit` and `galore_adafactor`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from torch import nn
from torch.optim import Optimizer

from drivetrain.plugin import (
    AdamPlugin,
    OptimizerPlugin,
    UsageError,
    explain_useless_rank,
    find_target_weights,
    split_groups,
    target_problems,
)
from drivetrain_galore import options, state
from drivetrain_galore.projector import SETTINGS

logger = logging.getLogger(__name__)


class GaLore(OptimizerPlugin):
    """What all of them share: the weights that are projected get groups of their own.

    Attributes:
        optimizer: The class that `build` returns.
    """

    optimizer: ClassVar[type[Optimizer]]
    paper = "GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection, arXiv:2403.03507"
    suits = ("little memory",)
    targets_modules = True

    def group_parameters(self, model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Split each group into what is projected and what is not; both keep their weight decay.

        The published trainer makes two groups without weight decay, so that `weight_decay` has no
        effect there. Here it has.

        Raises:
            UsageError: `optim_target_modules` leads to no weight, or `rank` does not fit one.
        """
        weights = find_target_weights(model, self.args.optim_target_modules or (), "GaLore")
        self._check_rank(weights)
        if useless := explain_useless_rank(self.options.rank, weights):
            logger.warning("%s", useless)
        settings = {name: getattr(self.options, name) for name in SETTINGS}
        return split_groups(groups, weights.values(), settings)

    def problems(self) -> Iterable[str]:
        """Refuse missing targets and values out of range."""
        yield from super().problems()
        yield from target_problems(self.args.optim_target_modules, "GaLore")
        yield from options.find_problems(self.options)

    def _check_rank(self, weights: Mapping[str, nn.Parameter]) -> None:
        """Raise where galore-torch cannot compute with a rank."""
        rank = self.options.rank
        for name, weight in weights.items():
            out_features, in_features = weight.shape
            if self.options.proj_type == "reverse_std" and rank >= out_features < in_features:
                raise UsageError(
                    f"`optim_args`: rank={rank} with proj_type='reverse_std' must be below the "
                    f"{out_features} output features of {name!r}. Type rank={out_features - 1} or less, "
                    "or proj_type='std'."
                )


class GaLoreAdamW(AdamPlugin, GaLore):
    """AdamW with moments of low-rank projections of the gradients (arXiv:2403.03507)."""

    Options: ClassVar[type[Any]] = options.AdamWOptions
    optimizer: ClassVar[type[Optimizer]] = state.AdamW
    state_bytes = 1.5

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer of galore-torch and its keyword arguments."""
        return self.optimizer, {
            **self.adam_arguments(),
            "correct_bias": self.options.correct_bias,
            "no_deprecation_warning": True,
        }


class GaLoreAdamW8bit(GaLoreAdamW):
    """The same with moments in 8 bits (arXiv:2110.02861), by bitsandbytes."""

    Options = options.AdamW8bitOptions
    optimizer: ClassVar[type[Optimizer]] = state.AdamW8bit
    state_bytes = 0.756

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer of galore-torch and its keyword arguments."""
        return self.optimizer, {**self.adam_arguments(), "min_8bit_size": self.options.min_8bit_size}

    def problems(self) -> Iterable[str]:
        """Refuse a device for which bitsandbytes is not known to have 8-bit updates, too."""
        yield from super().problems()
        if self.args.device.type not in ("cpu", "cuda"):
            in_full = self.name.replace("_8bit", "")
            yield (
                f"`optim`: {self.name!r} runs on a CPU or a CUDA GPU, and this run is on {self.args.device}: "
                "bitsandbytes has no 8-bit updates for it. "
                f"Type optim={in_full!r}, which keeps its state in the gradients' format."
            )


class GaLoreAdafactor(GaLore):
    """Adafactor (arXiv:1804.04235) with statistics of low-rank projections of the gradients."""

    Options = options.AdafactorOptions
    optimizer: ClassVar[type[Optimizer]] = state.Adafactor
    state_bytes = 0.504
    unused_arguments = ("adam_beta1", "adam_beta2", "adam_epsilon")

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer of galore-torch and its keyword arguments."""
        return self.optimizer, {
            "lr": self.args.learning_rate,
            "eps": self.options.eps,
            "clip_threshold": self.options.clip_threshold,
            "decay_rate": self.options.decay_rate,
            "beta1": self.options.beta1,
            "scale_parameter": self.options.scale_parameter,
            "relative_step": False,
            "warmup_init": False,
        }
