"""The well-known ones of the family against the whole kit."""

from __future__ import annotations

import pytest

from drivetrain.testing import OptimizerSuite

pytestmark = pytest.mark.slow


UNSTEADY_BASES = (
    "Its preconditioners have a low rank at first, so that most of their eigenvectors are the work of "
    "rounding: gradients that differ in the last bit lead elsewhere, in float64, too."
)


class TestSoap(OptimizerSuite):
    name = "po_soap"
    learning_rate = 3e-3
    accepted_options = {"betas": (0.9, 0.99), "precondition_frequency": 5}
    refused_options = {"betas": (2.0, 0.9), "precondition_frequency": 0}
    exempt = {
        "test_accumulation": UNSTEADY_BASES,
        "test_fp16": UNSTEADY_BASES,
    }


class TestProdigy(OptimizerSuite):
    name = "po_prodigy"
    learning_rate = 1.0
    accepted_options = {"d0": 1e-5, "d_coef": 0.5}
    refused_options = {"betas": (2.0, 0.9)}
    exempt = {"test_parameter_groups": "It estimates one rate for all groups, from that of the first."}


class TestLion(OptimizerSuite):
    name = "po_lion"
    accepted_options = {"betas": (0.95, 0.98)}
    refused_options = {"betas": (2.0, 0.9)}


class TestCame(OptimizerSuite):
    name = "po_came"
    accepted_options = {"betas": (0.95, 0.99, 0.999)}
    refused_options = {"betas": (2.0, 0.9, 0.99)}


class TestAdopt(OptimizerSuite):
    name = "po_adopt"
    accepted_options = {"betas": (0.95, 0.98)}
    refused_options = {"betas": (2.0, 0.9)}


class TestAdEMAMix(OptimizerSuite):
    name = "po_ademamix"
    accepted_options = {"alpha": 2.0}
    refused_options = {"betas": (2.0, 0.9, 0.9999)}


class TestScheduleFreeAdamW(OptimizerSuite):
    name = "po_schedulefreeadamw"
    learning_rate = 5e-3
    accepted_options = {"betas": (0.95, 0.98)}
    refused_options = {"betas": (2.0, 0.9)}


class TestAdamMini(OptimizerSuite):
    name = "po_adammini"
    accepted_options = {"betas": (0.95, 0.98)}
    refused_options = {"betas": (2.0, 0.9), "num_heads": 0}
