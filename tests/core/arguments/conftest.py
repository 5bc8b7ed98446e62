"""What tests of the arguments share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("honesty")


@pytest.fixture(autouse=True)
def switches_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What arguments set for the whole process is as it was after each test."""
    import torch

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setenv("FLASH_ATTENTION_DETERMINISTIC", "1")
    logger = logging.getLogger("drivetrain")
    level, cudnn, products = logger.level, torch.backends.cudnn, torch.backends.cuda.matmul
    switches = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32
    yield
    logger.setLevel(level)
    torch.use_deterministic_algorithms(False)
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32 = switches
