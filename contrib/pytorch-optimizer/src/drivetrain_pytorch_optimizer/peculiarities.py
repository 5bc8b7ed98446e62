"""What is peculiar to single optimizers of the library, found by trying each of them.

An optimizer that is not named here, one of a newer library for example, gets what its constructor and
the signature of its `step` say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Caution:
    """What a user may not expect.

    Attributes:
        text: It, after the name of the optimizer.
        unless: Options with which it does not hold.
    """

    text: str
    unless: Mapping[str, Any] = field(default_factory=dict)


_GRAPH = "it needs gradients of gradients, and the trainer's backward pass keeps no graph for them"
_IN_BACKWARD = "it steps inside a backward pass of its own. Type optim={0!r}, of drivetrain-lomo"
_LOW_RANK = (
    "it projects the parameters of groups with a rank, of which it is given none. Type optim={0!r}"
)
_OBJECTS = "it keeps objects in its state, and checkpoints hold nothing that has to be unpickled"
_NO_LOSS = Caution("is given no loss by the trainer, so that it does not adapt to the trend of that.")

REFUSALS: Mapping[str, str] = {
    "adahessian": _GRAPH,
    "adalomo": _IN_BACKWARD.format("adalomo"),
    "alig": "its rate is computed from the loss, which its `step` wants from a closure",
    "apollo": _LOW_RANK.format("apollo_adamw") + ", of drivetrain-apollo",
    "bsam": "its `step` needs a closure that computes the gradients a second time",
    "conda": _OBJECTS,
    "demo": "it exchanges compressed momenta in place of gradients, and those of the trainer's processes "
    "are averages already",
    "distributedmuon": "it divides its work among processes. Type optim='po_muon', which does without",
    "fira": _LOW_RANK.format("galore_adamw") + ", of drivetrain-galore, for a relative of it",
    "galore": _LOW_RANK.format("galore_adamw") + ", of drivetrain-galore",
    "lomo": _IN_BACKWARD.format("lomo"),
    "lorarite": "it updates the two factors of LoRA layers together, and takes nothing but those",
    "magma": "it is a wrapper around another optimizer",
    "scalableshampoo": f"{_OBJECTS}. Type optim='po_shampoo' or 'po_soap', which do not",
    "sophiah": _GRAPH,
    "spectralsphere": "it takes matrices alone. Type optim='po_muon', which has AdamW for all else",
}
"""Why the trainer cannot use an optimizer."""

CAUTIONS: Mapping[str, Caution] = {
    "adafactor": Caution(
        "computes its rate from the number of updates: neither `learning_rate` nor the schedule has an "
        "effect. Type optim_args='relative_step=False' to have them.",
        {"relative_step": False},
    ),
    "adashift": Caution("makes its first update when it has seen `keep_num` gradients."),
    "apollodqn": Caution("does not follow the schedule in its first `warmup_steps` updates."),
    "emofact": _NO_LOSS,
    "emolynx": _NO_LOSS,
    "emonavi": _NO_LOSS,
    "kron": Caution(
        "has a preconditioner for each dimension of a weight, with as many rows and columns: where one is a "
        "vocabulary, if only of a thousand tokens, an update can take a minute. Type "
        "optim_args='memory_save_mode=one_diag' to leave out the largest of each weight.",
        {"memory_save_mode": "one_diag"},
    ),
    "nero": Caution("scales weights to the norm 1 at its first update.", {"constraints": False}),
    "ranger21": Caution(
        "has a schedule of its own over `num_iterations` updates, in place of `lr_scheduler_type`. "
        "Type disable_lr_scheduler=True in `optim_args` to leave it out.",
        {"disable_lr_scheduler": True},
    ),
    "sara": Caution("updates weights below its `threshold` alone, which is meant for fine-tuning."),
    "srmm": Caution("draws weights to their average from 0 on, whatever the rate is."),
}

DIVIDING_BY_RATE = frozenset({"asgd", "gravity"})
"""Those that fail where a schedule sets the rate to 0, as warm-up does in the beginning."""

KEEPING_OBJECTS = frozenset({"adashift", "scion", "scionlight"})
"""Those with queues or enums in their state."""

SUITS: Mapping[str, tuple[str, ...]] = {
    "adammini": ("little memory",),
    "came": ("little memory",),
    "lion": ("little memory",),
    "prodigy": ("no rate to find",),
    "schedulefreeadamw": ("no schedule",),
    "soap": ("fewer steps",),
}

STATE_BYTES: Mapping[str, float] = {
    "ademamix": 12.0,
    "adammini": 4.0,
    "adopt": 8.0,
    "came": 4.02,
    "lion": 4.0,
    "prodigy": 16.0,
    "schedulefreeadamw": 8.0,
    "soap": 24.0,
}
"""Bytes of state for each parameter of a 1024 x 1024 matrix, measured."""
