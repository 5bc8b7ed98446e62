"""What every optimizer must pass."""

from __future__ import annotations

from typing import Any

import pytest

from drivetrain.testing import OptimizerSuite

pytestmark = pytest.mark.slow

OF_PROJECTION: dict[str, Any] = {
    "rank": 4,
    "update_proj_gap": 2,
    "scale": 0.5,
    "proj_type": "full",
}
REFUSED_OF_PROJECTION: dict[str, Any] = {
    "rank": 0,
    "update_proj_gap": 0,
    "scale": 0.0,
    "proj_type": "up",
}


class TestGaLoreAdamW(OptimizerSuite):
    name = "galore_adamw"
    learning_rate = 1e-2
    options = {"rank": 8, "update_proj_gap": 3, "scale": 1.0}
    arguments = {"optim_target_modules": ["hidden"]}
    accepted_options = {**OF_PROJECTION, "betas": (0.8, 0.95), "eps": 1e-5, "correct_bias": False}
    refused_options = {**REFUSED_OF_PROJECTION, "betas": (0.9, 1.0), "eps": -1.0}


class TestGaLoreAdamW8bit(TestGaLoreAdamW):
    name = "galore_adamw_8bit"
    accepted_options = {**OF_PROJECTION, "betas": (0.8, 0.95), "eps": 1e-5, "min_8bit_size": 256}
    refused_options = {**TestGaLoreAdamW.refused_options, "min_8bit_size": -1}


class TestGaLoreAdafactor(TestGaLoreAdamW):
    name = "galore_adafactor"
    accepted_options = {
        **OF_PROJECTION,
        "eps": (1e-3, 1e-3),
        "clip_threshold": 0.5,
        "decay_rate": -0.5,
        "beta1": 0.5,
        "scale_parameter": True,
    }
    refused_options = {
        **REFUSED_OF_PROJECTION,
        "eps": (-1e-30, 1e-3),
        "clip_threshold": 0.0,
        "decay_rate": 0.8,
        "beta1": 1.0,
    }


class TestLayerwiseGaLoreAdamW(TestGaLoreAdamW):
    name = "galore_adamw_layerwise"


class TestLayerwiseGaLoreAdamW8bit(TestGaLoreAdamW8bit):
    name = "galore_adamw_8bit_layerwise"


class TestLayerwiseGaLoreAdafactor(TestGaLoreAdafactor):
    name = "galore_adafactor_layerwise"
