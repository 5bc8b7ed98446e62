"""The plugin `grokadamw`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch.optim import Optimizer

from drivetrain.plugin import AdamOptions, AdamPlugin, hookimpl
from drivetrain_grokadamw.grokadamw import GrokAdamW, set_signal

if TYPE_CHECKING:
    from drivetrain import Trainer


@dataclass(frozen=True)
class GrokOptions(AdamOptions):
    """Options of `grokadamw`, beside those of Adam; the defaults are those of the published trainer.

    Attributes:
        alpha_init: How much of the slow part of the gradients each update keeps.
        lamb: What the slow part is multiplied by before it is added.
        gamma: By how much the first beta falls from one parameter of a group to the next.
        grokking_signal: What tells how far generalization is behind: 'losses', by how much the loss of an
            evaluation is above the last logged loss of training, as a share of the latter.
        grokking_signal_decay_rate: How fast ``alpha_init`` falls with that signal.
        gradient_clipping: The largest norm of the gradient of one parameter; 0: any.
    """

    alpha_init: float = 0.98
    lamb: float = 2.0
    gamma: float = 0.1
    grokking_signal: Literal["none", "losses"] = "none"
    grokking_signal_decay_rate: float = 0.1
    gradient_clipping: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, example in {"alpha_init": "0.98", "gamma": "0.1"}.items():
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be in [0, 1): type {name}={example}, say."
                )
        for name in ("lamb", "grokking_signal_decay_rate", "gradient_clipping"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be 0 or more: type {name}=0 to do without, say."
                )


class Grok(AdamPlugin):
    """AdamW that amplifies the slow part of the gradients, so that a model generalizes sooner.

    Each parameter has a mean of its gradients over many updates added to them (Grokfast), and the first
    beta falls from layer to layer. Made for small models that learn their data by heart long before they
    see the rule in it.
    """

    Options = GrokOptions
    paper = "Grokfast: Accelerated Grokking by Amplifying Slow Gradients, arXiv:2405.20233"
    state_bytes = 12.0

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """`GrokAdamW` and its keyword arguments."""
        options = self.options
        return GrokAdamW, {
            **self.adam_arguments(),
            "alpha_init": options.alpha_init,
            "lamb": options.lamb,
            "gamma": options.gamma,
            "grokking_signal_decay_rate": options.grokking_signal_decay_rate,
            "gradient_clipping": options.gradient_clipping,
        }

    def problems(self) -> Iterable[str]:
        """Refuse a signal that nothing would give, too."""
        yield from super().problems()
        if self.options.grokking_signal == "losses":
            for needed in ("eval_strategy", "logging_strategy"):
                if getattr(self.args, needed) == "no":
                    yield (
                        "`optim_args`: grokking_signal='losses' compares losses of evaluation and training, "
                        f"and with `{needed}`='no' there is none. Type {needed}='steps', or leave it out."
                    )

    def warnings(self) -> Iterable[str]:
        """Say that a rate was given to something that does not happen."""
        yield from super().warnings()
        rate = self.options.grokking_signal_decay_rate
        if self.options.grokking_signal == "none" and rate != GrokOptions.grokking_signal_decay_rate:
            yield (
                f"`optim_args`: grokking_signal_decay_rate={rate} has no effect without a signal. "
                "Type grokking_signal='losses', or leave it out."
            )

    @hookimpl
    def on_metrics(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        """Tell the optimizer how far the loss of an evaluation is above that of training."""
        if self.options.grokking_signal == "none":
            return
        trained = [logs["loss"] for logs in trainer.state.log_history if "loss" in logs]
        evaluated = _mean_loss(metrics)
        if trained and trained[-1] > 0.0 and evaluated is not None:
            set_signal(trainer.optimizer, (evaluated - trained[-1]) / trained[-1])


def _mean_loss(metrics: Mapping[str, float]) -> float | None:
    """The loss of an evaluation; of one on several data sets the mean of theirs."""
    if "eval_loss" in metrics:
        return metrics["eval_loss"]
    losses = [value for name, value in metrics.items() if name.endswith("_loss")]
    return sum(losses) / len(losses) if losses else None
