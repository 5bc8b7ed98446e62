from __future__ import annotations

import pytest

from drivetrain.testing import OptimizerSuite

pytestmark = pytest.mark.slow


class TestLomo(OptimizerSuite):
    name = "lomo"
    learning_rate = 1e-1
    accepted_options = {"clip_grad_value": 1e-4}
    refused_options = {"clip_grad_value": 0.0}


class TestAdaLomo(OptimizerSuite):
    name = "adalomo"
    learning_rate = 1e-2
    accepted_options = {
        "clip_grad_value": 1e-4,
        "eps": (1e-30, 1e-1),
        "clip_threshold": 0.5,
        "decay_rate": -0.5,
    }
    refused_options = {
        "clip_grad_value": -1.0,
        "eps": (1e-30, 0.0),
        "clip_threshold": 0.0,
        "decay_rate": 0.1,
    }
