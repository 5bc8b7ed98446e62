"""`lomo` and `adalomo`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from torch.optim import Optimizer

from drivetrain.plugin import LayerwisePlugin
from drivetrain_lomo import fused


@dataclass(frozen=True)
class LomoOptions:
    """Options of `lomo`.

    Attributes:
        clip_grad_value: Each element of a gradient is limited to this, up and down. None: it is not.
    """

    clip_grad_value: float | None = None

    def __post_init__(self) -> None:
        _require_above_zero("clip_grad_value", self.clip_grad_value, "1.0")


@dataclass(frozen=True)
class AdaLomoOptions(LomoOptions):
    """Options of `adalomo`.

    Attributes:
        eps: Added to squared gradients; least root mean square of a weight that multiplies the rate.
        clip_threshold: Root mean square that an update is scaled down to.
        decay_rate: Exponent with which the memory for squared gradients grows.
    """

    eps: tuple[float, float] = (1e-30, 1e-3)
    clip_threshold: float = 1.0
    decay_rate: float = -0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_above_zero("clip_threshold", self.clip_threshold, "1.0")
        if not all(number > 0.0 for number in self.eps):
            raise ValueError(f"eps={self.eps} must both be above 0: type eps=(1e-30, 1e-3), say.")
        if not self.decay_rate < 0.0:
            raise ValueError(f"decay_rate={self.decay_rate} must be below 0: type decay_rate=-0.8, say.")


def _require_above_zero(name: str, value: float | None, example: str) -> None:
    if value is not None and not value > 0.0:
        raise ValueError(f"{name}={value} must be above 0: type {name}={example}, say.")


class _FusedBackward(LayerwisePlugin):
    """What both share."""

    optimizer: ClassVar[type[Optimizer]]
    suits = ("little memory",)
    unused_arguments = ("adam_beta1", "adam_beta2", "adam_epsilon")
    cannot = {
        **LayerwisePlugin.cannot,
        "gradient_clipping": (
            "it updates each parameter before the gradients of all others are there, without which there "
            "is no total norm (optim_args='clip_grad_value=1.0' limits each element instead)"
        ),
    }

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer and its keyword arguments."""
        return self.optimizer, {"lr": self.args.learning_rate, **asdict(self.options)}


class Lomo(_FusedBackward):
    """Gradient descent inside backward: no gradients of the whole model, no state (`lomo_optim.Lomo`)."""

    Options: ClassVar[type[Any]] = LomoOptions
    optimizer = fused.Lomo
    paper = (
        "Full Parameter Fine-tuning for Large Language Models with Limited Resources, arXiv:2306.09782"
    )
    state_bytes = 0.0


class AdaLomo(_FusedBackward):
    """Adafactor's statistics and updates, made inside backward (`pytorch_optimizer.AdaLOMO`)."""

    Options = AdaLomoOptions
    optimizer = fused.AdaLomo
    paper = "AdaLomo: Low-memory Optimization with Adaptive Learning Rate, arXiv:2310.10195"
    state_bytes = 8 * 1024 / 1024**2  # a row and a column
