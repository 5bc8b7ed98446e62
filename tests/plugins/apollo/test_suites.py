"""What every optimizer must pass."""

from __future__ import annotations

import pytest

from drivetrain.testing import OptimizerSuite

pytestmark = pytest.mark.slow


class TestApolloAdamW(OptimizerSuite):
    name = "apollo_adamw"
    learning_rate = 1e-2
    options = {"rank": 8, "update_proj_gap": 3}
    arguments = {"optim_target_modules": ["hidden"]}
    accepted_options = {
        "rank": 4,
        "update_proj_gap": 2,
        "scale": 4.0,
        "proj": "svd",
        "proj_type": "reverse_std",
        "scale_type": "tensor",
        "disable_nl": True,
        "betas": (0.8, 0.95),
        "eps": 1e-6,
    }
    refused_options = {
        "rank": 0,
        "update_proj_gap": 0,
        "scale": 0.0,
        "proj": "orthogonal",
        "proj_type": "full",
        "scale_type": "row",
        "betas": (0.9, 1.0),
        "eps": -1.0,
    }


class TestApolloAdamWLayerwise(TestApolloAdamW):
    name = "apollo_adamw_layerwise"
