"""Distributions that are known to provide a name, for the `pip install` line of an error.

Being listed here gives a name no other privilege: an installed plugin is found through its own
entry points whether it is listed or not.
"""

from __future__ import annotations

from collections.abc import Mapping

from drivetrain_registry.kinds import (
    COMMAND,
    OPTIMIZER,
    PLUGIN,
    PRECISION,
    REPORTER,
    SCHEDULER,
    SEARCHER,
    STRATEGY,
    Kind,
)

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
            "adamw_torch_xla",
            "adamw_torch_npu_fused",
            "adamw_anyprecision",
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
        REPORTER: ("jsonl",),
    },
    "drivetrain-tensorboard": {REPORTER: ("tensorboard",)},
    "drivetrain-wandb": {REPORTER: ("wandb",)},
    "drivetrain-trackio": {REPORTER: ("trackio",)},
    "drivetrain-mlflow": {REPORTER: ("mlflow",)},
    "drivetrain-comet-ml": {REPORTER: ("comet_ml",)},
    "drivetrain-clearml": {REPORTER: ("clearml",)},
    "drivetrain-swanlab": {REPORTER: ("swanlab",)},
    "drivetrain-dvclive": {REPORTER: ("dvclive",)},
    "drivetrain-codecarbon": {REPORTER: ("codecarbon",)},
    "drivetrain-azure-ml": {REPORTER: ("azure_ml",)},
    "drivetrain-dagshub": {REPORTER: ("dagshub",)},
    "drivetrain-flyte": {REPORTER: ("flyte",)},
    "drivetrain-neptune": {REPORTER: ("neptune",)},
    "drivetrain-optuna": {SEARCHER: ("optuna",)},
    "drivetrain-hub": {PLUGIN: ("hub",)},
    "drivetrain-liger": {PLUGIN: ("liger",)},
    "drivetrain-report": {COMMAND: ("report", "schedule")},
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
    "drivetrain-bitsandbytes": {
        OPTIMIZER: (
            "adamw_bnb_8bit",
            "adamw_8bit",
            "paged_adamw_32bit",
            "paged_adamw_8bit",
            "lion_32bit",
            "lion_8bit",
            "paged_lion_32bit",
            "paged_lion_8bit",
            "ademamix",
            "ademamix_8bit",
            "paged_ademamix_32bit",
            "paged_ademamix_8bit",
            "rmsprop_bnb",
            "rmsprop_bnb_8bit",
            "rmsprop_bnb_32bit",
        ),
    },
    "drivetrain-apollo": {OPTIMIZER: ("apollo_adamw", "apollo_adamw_layerwise")},
    "drivetrain-schedulefree": {
        OPTIMIZER: ("schedule_free_adamw", "schedule_free_radam", "schedule_free_sgd")
    },
    "drivetrain-torchao": {OPTIMIZER: ("adamw_torch_4bit", "adamw_torch_8bit", "adamw_torch_fp8")},
    "drivetrain-lomo": {OPTIMIZER: ("lomo", "adalomo")},
    "drivetrain-apex": {OPTIMIZER: ("adamw_apex_fused",), PRECISION: ("apex",)},
    "drivetrain-grokadamw": {OPTIMIZER: ("grokadamw",)},
    "drivetrain-optimi": {OPTIMIZER: ("stable_adamw",)},
    "drivetrain-pytorch-optimizer": {OPTIMIZER: ("po_*",)},
}

_WITHOUT_A_PLUGIN: Mapping[Kind, Mapping[str, str]] = {
    STRATEGY: {"torch.distributed": "ddp fsdp", "DeepSpeed": "deepspeed", "Accelerate": "accelerate"},
    SEARCHER: {"Ray Tune": "ray", "a searcher of that name": "wandb sigopt"},
}

WITHOUT_A_PLUGIN: Mapping[tuple[Kind, str], str] = {
    (kind, name): library
    for kind, libraries in _WITHOUT_A_PLUGIN.items()
    for library, names in libraries.items()
    for name in names.split()
}
"""Published names that no distribution of ours provides yet, and what each is done with."""

CATALOGUE: Mapping[tuple[Kind, str], str] = {
    (kind, name): distribution
    for distribution, kinds in _NAMES_OF.items()
    for kind, names in kinds.items()
    for name in names
}
"""Kind and name to the distribution to install."""
