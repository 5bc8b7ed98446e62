"""`torch_empty_cache_steps`."""

from __future__ import annotations

import logging

import pytest
import torch
from small import make_args, make_trainer

from drivetrain import ArgumentsError


def test_on_the_cpu_it_is_said_to_have_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        make_args(torch_empty_cache_steps=2)
    assert (
        "`torch_empty_cache_steps`: 2 has no effect on cpu, for which torch keeps no cache."
        in caplog.text
    )


def test_on_the_cpu_the_run_is_as_without_it() -> None:
    with_it = make_trainer(torch_empty_cache_steps=1).train()
    assert with_it.training_loss == make_trainer().train().training_loss


@pytest.mark.parametrize("steps", [0, -1])
def test_it_is_a_positive_number(steps: int) -> None:
    with pytest.raises(ArgumentsError, match=f"`torch_empty_cache_steps`: {steps}"):
        make_args(torch_empty_cache_steps=steps)


@pytest.mark.gpu
def test_on_a_gpu_memory_is_given_back() -> None:
    def reserved_after_training(**options: int) -> int:
        trainer = make_trainer(use_cpu=False, **options)
        unused = torch.empty(64 * 2**20, device="cuda")
        del unused  # and torch keeps the memory
        trainer.train()
        return torch.cuda.memory_reserved()

    kept = reserved_after_training()
    assert reserved_after_training(torch_empty_cache_steps=1) < kept
