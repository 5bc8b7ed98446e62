"""The numbers are the libraries' own, bit by bit, as they are got with `fused_backward`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import Stream
from torch import nn

from drivetrain import Trainer, TrainingArguments
from drivetrain.parts import load_optimizer

pytestmark = pytest.mark.slow

NAMES = ["lomo", "adalomo"]


def make_args(folder: Path | str = "out", **given: Any) -> TrainingArguments:
    settings = {"use_cpu": True, "report_to": "none", "max_grad_norm": 0.0, "learning_rate": 0.1}
    return TrainingArguments(str(folder), **{**settings, **given})


def make_optimizer(model: nn.Module, **given: Any) -> torch.optim.Optimizer:
    """One that decays all weights alike, as the libraries' do."""
    args = make_args(**given)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [{"params": trained, "weight_decay": args.weight_decay}]
    return load_optimizer(args).create(model, groups)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("clip_grad_value", [None, 1e-3])
@pytest.mark.parametrize("optim", NAMES)
def test_updates_equal_those_of_the_library(
    optim: str,
    clip_grad_value: float | None,
    dtype: torch.dtype,
    make_model: Any,
    make_tokens: Any,
    make_library_optimizer: Any,
    assert_same_weights: Any,
) -> None:
    model, other = make_model(dtype), make_model(dtype)
    optimizer = make_optimizer(
        model, optim=optim, weight_decay=0.1, optim_args={"clip_grad_value": clip_grad_value}
    )
    library = make_library_optimizer(optim, other, weight_decay=0.1, clip_grad_value=clip_grad_value)
    for number in range(6):
        batch = {"tokens": make_tokens(number), "labels": make_tokens(number + 100)}
        batch["is_whole"] = number % 2 == 0
        rate = 0.1 / (number + 1)
        for group in optimizer.param_groups:
            group["lr"] = rate
        model(**batch)["loss"].backward()
        optimizer.step()
        library.fused_backward(other(**batch)["loss"], lr=rate)
    assert_same_weights(model, other)
    start = make_model(dtype)
    assert not torch.equal(model.extra.weight, start.extra.weight)
    assert torch.equal(model.frozen.weight, start.frozen.weight)


@pytest.mark.parametrize("optim", NAMES)
def test_a_run_with_a_schedule_equals_a_loop_over_fused_backward(
    optim: str,
    make_model: Any,
    make_tokens: Any,
    make_library_optimizer: Any,
    assert_same_weights: Any,
    tmp_path: Path,
) -> None:
    tokens = torch.cat([make_tokens(number) for number in range(6)])
    data = Stream([{"tokens": token, "labels": token} for token in tokens])
    args = make_args(
        tmp_path,
        optim=optim,
        lr_scheduler_type="linear",
        max_steps=6,
        per_device_train_batch_size=8,
        logging_steps=2,
        save_steps=3,
        disable_tqdm=True,
    )
    trainer = Trainer(make_model(), args, train_dataset=data)
    trainer.train()
    other = make_model()
    library = make_library_optimizer(optim, other)
    for number, batch in enumerate(tokens.split(8)):
        library.fused_backward(other(batch, batch)["loss"], lr=0.1 * (1 - number / 6))
    assert_same_weights(trainer.model, other)
    assert trainer.state.global_step == 6
    assert [log["step"] for log in trainer.state.log_history if "loss" in log] == [2, 4, 6]
    assert (tmp_path / "checkpoint-3" / "optimizer.pt").is_file()


def test_adalomo_trains_convolutions_which_the_library_does_not(make_library_optimizer: Any) -> None:
    image = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    other = nn.Conv2d(3, 4, 3)
    library = make_library_optimizer("adalomo", other)
    with pytest.raises(RuntimeError, match="size of tensor"):
        library.fused_backward(other(image).square().mean(), lr=0.1)
    model = nn.Conv2d(3, 4, 3)
    optimizer = make_optimizer(model, optim="adalomo")
    losses = []
    for _ in range(20):
        loss = model(image).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert optimizer.state[model.weight]["exp_avg_sq_row"].shape == (4, 3, 3)


@pytest.mark.parametrize(
    ("optim", "option", "before", "after"),
    [
        ("lomo", "clip_grad_value", 1e-4, 1e-9),
        ("lomo", "clip_grad_value", 1e-4, None),
        ("adalomo", "clip_grad_value", 1e-4, 1e-9),
        ("adalomo", "clip_threshold", 1.0, 1e-6),
        ("adalomo", "decay_rate", -0.8, -0.1),
        ("adalomo", "eps", (1e-30, 1e-3), (1e-3, 10.0)),
    ],
)
def test_a_state_brings_the_options_that_it_was_made_with(
    optim: str,
    option: str,
    before: Any,
    after: Any,
    make_model: Any,
    make_tokens: Any,
    assert_same_weights: Any,
) -> None:
    def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for number in steps:
            model(make_tokens(number), make_tokens(number + 100))["loss"].backward()
            optimizer.step()

    whole, model, other = make_model(), make_model(), make_model()
    train(whole, make_optimizer(whole, optim=optim, optim_args={option: before}), range(4))
    first = make_optimizer(model, optim=optim, optim_args={option: before})
    train(model, first, range(2))
    other.load_state_dict(model.state_dict())
    resumed = make_optimizer(other, optim=optim, optim_args={option: after})
    resumed.load_state_dict(first.state_dict())
    train(other, resumed, range(2, 4))
    assert_same_weights(other, whole)
    anew = make_model()
    train(anew, make_optimizer(anew, optim=optim, optim_args={option: after}), range(4))
    assert not torch.equal(anew.extra.weight, whole.extra.weight)


@pytest.mark.parametrize("optim", NAMES)
def test_a_run_that_is_resumed_keeps_its_options_as_the_warning_says(
    optim: str,
    make_model: Any,
    make_tokens: Any,
    assert_same_weights: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tokens = torch.cat([make_tokens(number) for number in range(6)])
    data = [{"tokens": token, "labels": token} for token in tokens]

    def make_trainer(folder: str, clip_grad_value: float) -> Trainer:
        args = make_args(
            tmp_path / folder,
            optim=optim,
            optim_args=f"clip_grad_value={clip_grad_value}",
            max_steps=6,
            save_steps=3,
            per_device_train_batch_size=8,
            disable_tqdm=True,
        )
        return Trainer(make_model(), args, train_dataset=data)

    whole, resumed = make_trainer("whole", 1e-3), make_trainer("resumed", 1e-9)
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert "the optimizer's state in the checkpoint holds what it was made with" in caplog.text
    assert_same_weights(resumed.model, whole.model)
