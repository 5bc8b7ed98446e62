from __future__ import annotations

import pytest

from drivetrain.testing import OptimizerSuite

pytestmark = pytest.mark.slow


class LowBitSuite(OptimizerSuite):
    learning_rate = 2.0**-9  # a rate that float32 has, which is what torchao keeps it in
    options = {"compile": False}
    accepted_options = {"betas": (0.8, 0.95), "eps": 1e-3, "block_size": 64}
    refused_options = {"betas": (0.9, 1.0), "eps": -1.0, "block_size": 0}

    @pytest.fixture(autouse=True)
    def without_compiling(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a test leaves out the options: it takes long."""
        monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")


class TestAdamW4bit(LowBitSuite):
    name = "adamw_torch_4bit"


class TestAdamW8bit(LowBitSuite):
    name = "adamw_torch_8bit"


class TestAdamWFp8(LowBitSuite):
    name = "adamw_torch_fp8"
