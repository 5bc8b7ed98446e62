"""What suits an optimizer here: read from the optimizer's own plugin, and for the rate from a table."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain import UsageError
from drivetrain.plugin import OptimizerPlugin
from drivetrain_registry import default_registry


@dataclass(frozen=True)
class Rate:
    """A learning rate for the `GPT` of this folder, and why it is that one.

    Attributes:
        value: The rate at its highest.
        reason: Why it differs from AdamW's.
        optim_args: Options that go with it.
    """

    value: float
    reason: str
    optim_args: str | None = None


_QUARTER = "a rank of a quarter of the width, as in the papers"
_SIGN = "every weight moves by the whole rate: a third to a tenth of AdamW's (arXiv:2302.06675)"
_PLAIN = "steps are as long as gradients are, and those are short"
_ESTIMATED = "a factor: it finds the rate by itself (arXiv:2306.06101)"
_ADAMW = Rate(4e-3, "AdamW's, found by trying")

RATES = {
    "galore": Rate(4e-3, _QUARTER, "rank=32, update_proj_gap=100, scale=1.0"),
    "apollo": Rate(1e-2, f"the paper's; {_QUARTER}", "rank=32, update_proj_gap=100"),
    "lion": Rate(1.2e-3, _SIGN),
    "paged_lion": Rate(1.2e-3, _SIGN),
    "po_lion": Rate(1.2e-3, _SIGN),
    "sgd": Rate(0.5, _PLAIN),
    "lomo": Rate(0.2, f"{_PLAIN}; nothing clips them"),
    "adalomo": Rate(4e-2, "steps are that share of a weight's size, which is below 1"),
    "po_came": Rate(1e-3, "found by trying: it divides by how sure it is, which makes steps longer"),
    "adagrad": Rate(2e-2, "its steps only ever shrink, so it has to begin with long ones"),
    "rmsprop": Rate(1e-3, "its first steps are ten times as long: nothing corrects its young averages"),
    "schedule_free_sgd": Rate(5.0, "averages of weights bear, and want, a higher rate than SGD's"),
    "po_prodigy": Rate(1.0, _ESTIMATED),
    "po_dadapt": Rate(1.0, _ESTIMATED),
    "": _ADAMW,
}
"""By what an optimizer's name begins with; the first that fits."""


@dataclass(frozen=True)
class Start:
    """Values of training arguments that suit an optimizer."""

    learning_rate: float
    optim_args: str | None
    target_modules: str | None
    max_grad_norm: float
    scheduler: str


def find_start(optim: str) -> Start:
    """What to begin with for an optimizer, by its name."""
    name = optim.rpartition(":")[2]  # of a qualified name, such as drivetrain-galore:galore_adamw
    rate = next(rate for prefix, rate in RATES.items() if name.startswith(prefix))
    plugin = _find_plugin(optim)
    return Start(
        learning_rate=rate.value,
        optim_args=rate.optim_args,
        target_modules="all-linear" if getattr(plugin, "targets_modules", False) else None,
        max_grad_norm=0.0 if "gradient_clipping" in getattr(plugin, "cannot", ()) else 1.0,
        scheduler="constant" if "no schedule" in getattr(plugin, "suits", ()) else "cosine",
    )


def _find_plugin(optim: str) -> object:
    """What the name leads to; if it leads nowhere, the training arguments say so better."""
    try:
        return default_registry().load("optimizer", optim).part
    except UsageError:
        return OptimizerPlugin
