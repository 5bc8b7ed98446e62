"""Arguments of the optimizer and of its schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from drivetrain.arguments.fields import argument, argument_factory


@dataclass(init=False, repr=False, eq=False)
class OptimizationArguments:
    """How weights change."""

    optim: str = argument(
        "adamw_torch",
        "The optimizer: an installed name (`drivetrain plugins`), a dotted path, or a registered name.",
    )
    optim_args: str | dict[str, Any] | None = argument(
        None, 'Options of the optimizer: "rank=64, betas=(0.9, 0.95)" or a dict.'
    )
    optim_target_modules: str | list[str] | None = argument(
        None,
        "The nn.Linear modules that a low-rank optimizer works on: names, regular expressions, full "
        "paths, or 'all-linear'.",
    )
    learning_rate: float = argument(5e-5, "The learning rate at its highest.")
    weight_decay: float = argument(
        0.0, "Weight decay of all parameters but biases and the weights of normalization layers."
    )
    adam_beta1: float = argument(0.9, "Decay of the first moment in Adam and its variants.")
    adam_beta2: float = argument(0.999, "Decay of the second moment in Adam and its variants.")
    adam_epsilon: float = argument(1e-8, "What keeps the denominator of Adam from being zero.")
    adam_bias_correction: bool = argument(
        True, "Divide Adam's moments by what they lack in the first updates. Of AdamW in torch only."
    )
    optim_target_precision: str | None = argument(
        None, "Was announced and never published. Name the optimizer that keeps its state in fewer bits."
    )
    max_grad_norm: float = argument(
        1.0, "The total 2-norm that the gradients of an update are clipped to. 0: not clipped."
    )
    lr_scheduler_type: str = argument(
        "linear", "The learning-rate schedule: an installed name, a dotted path, or a registered name."
    )
    lr_scheduler_kwargs: dict[str, Any] | str | None = argument_factory(
        dict, "Options of the schedule: a dict, or text as for `optim_args`."
    )
    warmup_ratio: float = argument(0.0, "Updates during which the rate rises, as a share of all.")
    warmup_steps: int = argument(
        0, "Updates during which the rate rises; overrides `warmup_ratio` if positive."
    )

    label_smoothing_factor: float = argument(0.0, "Share of each label that is spread over all classes.")
    average_tokens_across_devices: bool = argument(
        False, "Divide losses by the labels that all processes have in an update, not by each one's own."
    )

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """The number of warm-up updates in a run of ``num_training_steps``."""
        if self.warmup_steps > 0:
            return self.warmup_steps
        return math.ceil(num_training_steps * self.warmup_ratio)
