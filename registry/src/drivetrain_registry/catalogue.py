"""Distributions that are known to provide a name, for the `pip install` line of an error.

Being listed here gives a name no other privilege: an installed plugin is found through its own
entry points whether it is listed or not.
"""

from __future__ import annotations

from collections.abc import Mapping

from drivetrain_registry.kinds import OPTIMIZER, PRECISION, REPORTER, SCHEDULER, STRATEGY, Kind

_NAMES_OF: Mapping[str, Mapping[Kind, tuple[str, ...]]] = {
    "drivetrain-torch": {
        OPTIMIZER: (
            "adamw_torch",
            "adamw_torch_fused",
            "sgd",
            "adagrad",
            "rmsprop",
            "adafactor",
            "muon",
        ),
        SCHEDULER: (
            "linear",
            "cosine",
            "cosine_with_restarts",
            "polynomial",
            "constant",
            "constant_with_warmup",
            "inverse_sqrt",
            "cosine_with_min_lr",
            "cosine_warmup_with_min_lr",
            "warmup_stable_decay",
            "reduce_lr_on_plateau",
        ),
        PRECISION: ("no", "bf16", "fp16"),
        STRATEGY: ("single",),
    },
    "drivetrain-tensorboard": {REPORTER: ("tensorboard",)},
    "drivetrain-galore": {
        OPTIMIZER: (
            "galore_adamw",
            "galore_adamw_8bit",
            "galore_adafactor",
            "galore_adamw_layerwise",
            "galore_adamw_8bit_layerwise",
            "galore_adafactor_layerwise",
        ),
    },
}

CATALOGUE: Mapping[tuple[Kind, str], str] = {
    (kind, name): distribution
    for distribution, kinds in _NAMES_OF.items()
    for kind, names in kinds.items()
    for name in names
}
"""Kind and name to the distribution to install."""
