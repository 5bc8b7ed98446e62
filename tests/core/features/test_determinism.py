"""`tf32` and `full_determinism`: switches of torch for the whole process."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from small import make_args, make_trainer

from drivetrain import ArgumentsError, set_seed
from drivetrain.checkpoint.random_state import enable_full_determinism

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture(autouse=True)
def switches_as_they_were(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (CUBLAS, "FLASH_ATTENTION_DETERMINISTIC"):
        monkeypatch.setenv(name, "unset")  # so that monkeypatch puts back what was there
        monkeypatch.delenv(name)
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, matmul.allow_tf32
    yield
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, matmul.allow_tf32 = before
    torch.use_deterministic_algorithms(False)


def draw() -> list[float]:
    return [random.random(), float(np.random.rand()), torch.rand(1).item()]


def put_twice() -> None:
    """An operation that has no deterministic algorithm on any device."""
    torch.zeros(4).put_(torch.tensor([1, 1]), torch.tensor([1.0, 2.0]), accumulate=False)


def test_tf32_is_refused_where_nothing_computes_in_it() -> None:
    with pytest.raises(
        ArgumentsError, match=r"^`tf32`: True is for NVIDIA GPUs .* computes on cpu\. Leave"
    ):
        make_args(tf32=True)


def test_tf32_can_be_switched_off_everywhere() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    make_trainer(tf32=False)
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("value", [True, False])
def test_tf32_is_left_as_torch_is_set(value: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = value
    make_trainer()
    assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == value


@pytest.mark.gpu
def test_tf32_is_switched_on_and_makes_products_less_exact() -> None:
    a, b = torch.randn(2, 512, 512, device="cuda")
    errors = []
    for value in (False, True):
        make_trainer(tf32=value, use_cpu=False)
        errors.append((a @ b - (a.double() @ b.double())).abs().max().item())
    assert errors[1] > 4 * errors[0]


def test_full_determinism_seeds_as_set_seed_does() -> None:
    enable_full_determinism(3)
    drawn = draw()
    set_seed(3)
    assert drawn == draw()


def test_full_determinism_refuses_operations_without_a_deterministic_algorithm() -> None:
    put_twice()
    make_trainer(full_determinism=True)
    with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
        put_twice()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert os.environ[CUBLAS] in (":4096:8", ":16:8")  # what cuBLAS's documentation allows


def test_full_determinism_can_warn_instead() -> None:
    enable_full_determinism(3, warn_only=True)
    with pytest.warns(UserWarning, match="does not have a deterministic implementation"):
        put_twice()


def test_what_the_user_set_for_cublas_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CUBLAS, ":16:8")
    enable_full_determinism(3)
    assert os.environ[CUBLAS] == ":16:8"


def test_a_run_with_full_determinism_trains_and_repeats_itself() -> None:
    losses = [make_trainer(full_determinism=True).train().training_loss for _ in range(2)]
    assert losses[0] == losses[1]
