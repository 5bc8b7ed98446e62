"""The suite that every optimizer passes, for the three of drivetrain-schedulefree."""

from __future__ import annotations

import pytest

from drivetrain.testing import OptimizerSuite

pytestmark = pytest.mark.slow

SHARED = {"r": 1.0, "weight_lr_power": 1.0, "foreach": False}


class TestScheduleFreeAdamW(OptimizerSuite):
    name = "schedule_free_adamw"
    learning_rate = 1e-2
    accepted_options = {**SHARED, "betas": (0.8, 0.9), "eps": 1e-3, "warmup_steps": 3}
    refused_options = {"betas": (0.0, 0.9), "eps": -1.0, "warmup_steps": -1, "weight_lr_power": -1.0}


class TestScheduleFreeRAdam(OptimizerSuite):
    name = "schedule_free_radam"
    learning_rate = 1e-2
    options = {"silent_sgd_phase": False}  # runs of the suite are no longer than that phase
    accepted_options = {**SHARED, "betas": (0.8, 0.9), "eps": 1e-3}
    refused_options = {"betas": (0.9, 1.0), "eps": -1.0, "weight_lr_power": -1.0}


class TestScheduleFreeSGD(OptimizerSuite):
    name = "schedule_free_sgd"
    learning_rate = 0.5
    accepted_options = {**SHARED, "momentum": 0.5, "warmup_steps": 3}
    refused_options = {"momentum": 1.0, "warmup_steps": -1, "weight_lr_power": -1.0}
