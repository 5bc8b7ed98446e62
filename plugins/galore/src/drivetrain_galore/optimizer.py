"""`galore_adamw`, `galore_adamw_8bit` and `galore_adafactor`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from torch import nn
from torch.optim import Optimizer

from drivetrain.plugin import OptimizerPlugin, UsageError, refuse_given_twice
from drivetrain_galore import options, state, targets
from drivetrain_galore.projector import SETTINGS

logger = logging.getLogger(__name__)


class GaLore(OptimizerPlugin):
    """What all of them share: the weights that are projected get groups of their own.

    Attributes:
        optimizer: The class that `build` returns.
    """

    optimizer: ClassVar[type[Optimizer]]
    targets_modules = True

    def group_parameters(self, model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Split each group into what is projected and what is not; both keep their weight decay.

        The published trainer makes two groups without weight decay, so that `weight_decay` has no
        effect there. Here it has.

        Raises:
            UsageError: `optim_target_modules` leads to no weight, or `rank` does not fit one.
        """
        weights = targets.find_weights(model, self.args.optim_target_modules or ())
        self._check_rank(weights)
        projected = {id(weight) for weight in weights.values()}
        settings = {name: getattr(self.options, name) for name in SETTINGS}
        split = []
        for group in groups:
            whole = [p for p in group["params"] if id(p) not in projected]
            low_rank = [p for p in group["params"] if id(p) in projected]
            split.append({**group, "params": whole})
            split.append({**group, "params": low_rank, **settings})
        return [group for group in split if group["params"]]

    def problems(self) -> Iterable[str]:
        """Refuse missing targets and values out of range."""
        yield from super().problems()
        yield from targets.find_problems(self.args.optim_target_modules)
        yield from options.find_problems(self.options)

    def _check_rank(self, weights: Mapping[str, nn.Parameter]) -> None:
        """Warn where a rank saves nothing; raise where galore-torch cannot compute with it."""
        rank, proj_type = self.options.rank, self.options.proj_type
        useless = [name for name, weight in weights.items() if rank >= min(weight.shape)]
        for name in useless:
            out_features, in_features = weights[name].shape
            if proj_type == "reverse_std" and out_features < in_features:
                raise UsageError(
                    f"`optim_args`: rank={rank} with proj_type='reverse_std' must be below the "
                    f"{out_features} output features of {name!r}. Type rank={out_features - 1} or less, "
                    "or proj_type='std'."
                )
        if useless:
            logger.warning(
                "`optim_args`: rank=%d saves no memory for %d of %d targeted modules, whose smaller "
                "side is no longer than that: %s. Type a lower rank, or leave them out of "
                "`optim_target_modules`.",
                rank,
                len(useless),
                len(weights),
                ", ".join(useless[:4]) + (", ..." if len(useless) > 4 else ""),
            )


class GaLoreAdamW(GaLore):
    """AdamW with moments of low-rank projections of the gradients (arXiv:2403.03507)."""

    Options: ClassVar[type[Any]] = options.AdamWOptions
    optimizer: ClassVar[type[Optimizer]] = state.AdamW

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer of galore-torch and its keyword arguments."""
        return self.optimizer, {
            **self._adam_arguments(),
            "correct_bias": self.options.correct_bias,
            "no_deprecation_warning": True,
        }

    def problems(self) -> Iterable[str]:
        """Refuse a value that is given twice, too."""
        yield from super().problems()
        yield from refuse_given_twice(self, betas=("adam_beta1", "adam_beta2"), eps=("adam_epsilon",))

    def _adam_arguments(self) -> dict[str, Any]:
        betas, eps = self.options.betas, self.options.eps
        return {
            "lr": self.args.learning_rate,
            "betas": (self.args.adam_beta1, self.args.adam_beta2) if betas is None else betas,
            "eps": self.args.adam_epsilon if eps is None else eps,
        }


class GaLoreAdamW8bit(GaLoreAdamW):
    """The same with moments in 8 bits, by bitsandbytes. Needs a CUDA GPU."""

    Options = options.AdamW8bitOptions
    optimizer: ClassVar[type[Optimizer]] = state.AdamW8bit

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer of galore-torch and its keyword arguments."""
        return self.optimizer, {**self._adam_arguments(), "min_8bit_size": self.options.min_8bit_size}

    def problems(self) -> Iterable[str]:
        """Refuse any device but a CUDA GPU, too."""
        yield from super().problems()
        if self.args.device.type != "cuda":
            in_full = self.name.replace("_8bit", "")
            yield (
                f"`optim`: {self.name!r} needs a CUDA GPU, and this run is on {self.args.device}: "
                "galore-torch's 8-bit step (over bitsandbytes) calls CUDA. "
                f"Type optim={in_full!r}, which keeps its state in the gradients' format."
            )


class GaLoreAdafactor(GaLore):
    """Adafactor (arXiv:1804.04235) with statistics of low-rank projections of the gradients."""

    Options = options.AdafactorOptions
    optimizer: ClassVar[type[Optimizer]] = state.Adafactor
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
