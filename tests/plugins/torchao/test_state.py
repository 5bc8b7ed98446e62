"""What is saved, and what it is taken up from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from tagger import make_samples, make_tagger, take_steps
from torch import nn

from drivetrain import Trainer
from drivetrain_torchao import low_bit
from drivetrain_torchao.library import LibraryAdamW4bit, LibraryAdamW8bit, LibraryAdamWFp8

pytestmark = pytest.mark.slow

CLASSES = [
    (low_bit.AdamW4bit, LibraryAdamW4bit),
    (low_bit.AdamW8bit, LibraryAdamW8bit),
    (low_bit.AdamWFp8, LibraryAdamWFp8),
]
NAMES = ["adamw_torch_4bit", "adamw_torch_8bit", "adamw_torch_fp8"]


def tensors_in(value: Any) -> list[torch.Tensor]:
    """All of them, in containers of containers."""
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in tensors_in(item)]
    return [value] if isinstance(value, torch.Tensor) else []


def assert_same_weights(one: nn.Module, other: nn.Module) -> None:
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize(("cls", "library"), CLASSES)
def test_a_saved_state_has_no_tensors_of_torchao(cls: Any, library: Any) -> None:
    model = make_tagger()
    optimizer = cls(model.parameters(), is_compiled=False)
    take_steps(model, optimizer, range(2))
    saved = tensors_in(optimizer.state_dict())
    assert {type(tensor) for tensor in saved} == {torch.Tensor}
    assert {tensor.dtype for tensor in saved} & {torch.uint8, torch.float8_e4m3fn}


@pytest.mark.parametrize(("cls", "library"), CLASSES)
def test_a_state_saved_by_torchao_itself_is_taken_up(cls: Any, library: Any) -> None:
    other = make_tagger()
    theirs = library(other.parameters(), lr=1e-3)
    with torch.compiler.set_stance("force_eager"):
        take_steps(other, theirs, range(3))
    file = io.BytesIO()
    torch.save({"model": other.state_dict(), "optimizer": theirs.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    model = make_tagger()
    model.load_state_dict(saved["model"])
    ours = cls(model.parameters(), is_compiled=False)
    ours.load_state_dict(saved["optimizer"])
    take_steps(model, ours, range(3, 6))
    with torch.compiler.set_stance("force_eager"):
        take_steps(other, theirs, range(3, 6))
    assert_same_weights(model, other)


@pytest.mark.parametrize("optim", NAMES)
def test_a_checkpoint_written_in_the_background_resumes_exactly(
    optim: str, make_args: Any, tmp_path: Path
) -> None:
    def make_trainer(folder: Path) -> Trainer:
        options = "compile=False, bf16_stochastic_round=True"
        settings = {"optim": optim, "optim_args": options, "async_save": True, "save_steps": 3}
        args = make_args(output_dir=str(folder), max_steps=7, **settings)
        return Trainer(make_tagger().to(torch.bfloat16), args, train_dataset=make_samples())

    whole = make_trainer(tmp_path / "whole")
    whole.train()
    resumed = make_trainer(tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert_same_weights(resumed.model, whole.model)


def test_a_rate_that_someone_set_as_a_number_is_used() -> None:
    model, other = make_tagger(), make_tagger()
    changed = low_bit.AdamW8bit(model.parameters(), lr=1.0, is_compiled=False)
    for group in changed.param_groups:
        group["lr"] = 0.001
    take_steps(model, changed, range(2))
    take_steps(other, low_bit.AdamW8bit(other.parameters(), lr=0.001, is_compiled=False), range(2))
    assert_same_weights(model, other)


@pytest.mark.parametrize(("cls", "library"), CLASSES)
def test_a_state_brings_the_rounding_and_the_blocks_that_it_was_made_with(
    cls: Any, library: Any
) -> None:
    def make(model: nn.Module, block_size: int, is_rounded: bool) -> Any:
        options = {"block_size": block_size, "bf16_stochastic_round": is_rounded}
        return cls(model.parameters(), lr=1e-3, is_compiled=False, **options)

    whole, model, other = (make_tagger().to(torch.bfloat16) for _ in range(3))
    torch.manual_seed(1)
    take_steps(whole, make(whole, 128, True), range(4))
    torch.manual_seed(1)
    first = make(model, 128, True)
    take_steps(model, first, range(2))
    other.load_state_dict(model.state_dict())
    resumed = make(other, 256, False)
    resumed.load_state_dict(first.state_dict())
    assert (resumed.block_size, resumed.bf16_stochastic_round) == (128, True)
    take_steps(other, resumed, range(2, 4))
    assert_same_weights(other, whole)


def test_a_group_that_is_added_says_the_settings_too() -> None:
    model = make_tagger()
    optimizer = low_bit.AdamW8bit(model.hidden.parameters(), is_compiled=False, block_size=128)
    optimizer.add_param_group({"params": list(model.head.parameters())})
    assert [group["block_size"] for group in optimizer.param_groups] == [128, 128]
    assert [group["bf16_stochastic_round"] for group in optimizer.param_groups] == [False, False]
