"""Each name passes the kit."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from drivetrain.testing import OptimizerSuite

pytestmark = pytest.mark.slow

ADAMW: dict[str, Any] = {"betas": (0.8, 0.95), "eps": 1e-6}
ADAMW_REFUSED: dict[str, Any] = {"betas": (0.9, 1.0), "eps": -1.0}
LION: dict[str, Any] = {"betas": (0.95, 0.98)}
LION_REFUSED: dict[str, Any] = {"betas": (-0.1, 0.99)}
ADEMAMIX: dict[str, Any] = {**ADAMW, "beta3": 0.99, "alpha": 2.0, "t_alpha": 10, "t_beta3": 20}
ADEMAMIX_REFUSED: dict[str, Any] = {
    **ADAMW_REFUSED,
    "beta3": 1.0,
    "alpha": -1.0,
    "t_alpha": 0,
    "t_beta3": 0,
}
RMSPROP: dict[str, Any] = {"alpha": 0.9, "eps": 1e-6}
RMSPROP_REFUSED: dict[str, Any] = {"alpha": 0.0, "eps": -1.0}
EIGHT_BITS: dict[str, Any] = {"min_8bit_size": 8192}
EIGHT_BITS_REFUSED: dict[str, Any] = {"min_8bit_size": -1}


class AdamW8bitSuite(OptimizerSuite):
    learning_rate = 1e-3
    accepted_options: ClassVar[dict[str, Any]] = {**ADAMW, **EIGHT_BITS}
    refused_options: ClassVar[dict[str, Any]] = {**ADAMW_REFUSED, **EIGHT_BITS_REFUSED}


class TestAdamWBnb8bit(AdamW8bitSuite):
    name = "adamw_bnb_8bit"


class TestAdamW8bit(AdamW8bitSuite):
    name = "adamw_8bit"


class TestPagedAdamW8bit(AdamW8bitSuite):
    name = "paged_adamw_8bit"


class TestPagedAdamW32bit(OptimizerSuite):
    name = "paged_adamw_32bit"
    learning_rate = 1e-3
    accepted_options: ClassVar[dict[str, Any]] = ADAMW
    refused_options: ClassVar[dict[str, Any]] = ADAMW_REFUSED


class Lion32bitSuite(OptimizerSuite):
    learning_rate = 1e-3
    accepted_options: ClassVar[dict[str, Any]] = LION
    refused_options: ClassVar[dict[str, Any]] = LION_REFUSED


class Lion8bitSuite(OptimizerSuite):
    learning_rate = 1e-3
    accepted_options: ClassVar[dict[str, Any]] = {**LION, **EIGHT_BITS}
    refused_options: ClassVar[dict[str, Any]] = {**LION_REFUSED, **EIGHT_BITS_REFUSED}


class TestLion32bit(Lion32bitSuite):
    name = "lion_32bit"


class TestPagedLion32bit(Lion32bitSuite):
    name = "paged_lion_32bit"


class TestLion8bit(Lion8bitSuite):
    name = "lion_8bit"


class TestPagedLion8bit(Lion8bitSuite):
    name = "paged_lion_8bit"


class AdEMAMixSuite(OptimizerSuite):
    learning_rate = 1e-3
    accepted_options: ClassVar[dict[str, Any]] = ADEMAMIX
    refused_options: ClassVar[dict[str, Any]] = ADEMAMIX_REFUSED


class AdEMAMix8bitSuite(OptimizerSuite):
    learning_rate = 1e-3
    accepted_options: ClassVar[dict[str, Any]] = {**ADEMAMIX, **EIGHT_BITS}
    refused_options: ClassVar[dict[str, Any]] = {**ADEMAMIX_REFUSED, **EIGHT_BITS_REFUSED}


class TestAdEMAMix(AdEMAMixSuite):
    name = "ademamix"


class TestPagedAdEMAMix32bit(AdEMAMixSuite):
    name = "paged_ademamix_32bit"


class TestAdEMAMix8bit(AdEMAMix8bitSuite):
    name = "ademamix_8bit"


class TestPagedAdEMAMix8bit(AdEMAMix8bitSuite):
    name = "paged_ademamix_8bit"


class RMSprop32bitSuite(OptimizerSuite):
    learning_rate = 1e-3
    accepted_options: ClassVar[dict[str, Any]] = RMSPROP
    refused_options: ClassVar[dict[str, Any]] = RMSPROP_REFUSED


class TestRMSpropBnb(RMSprop32bitSuite):
    name = "rmsprop_bnb"


class TestRMSpropBnb32bit(RMSprop32bitSuite):
    name = "rmsprop_bnb_32bit"


class TestRMSpropBnb8bit(OptimizerSuite):
    name = "rmsprop_bnb_8bit"
    learning_rate = 1e-3
    accepted_options: ClassVar[dict[str, Any]] = {**RMSPROP, **EIGHT_BITS}
    refused_options: ClassVar[dict[str, Any]] = {**RMSPROP_REFUSED, **EIGHT_BITS_REFUSED}
