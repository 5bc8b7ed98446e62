"""Schedule-free runs of a trainer: exactness, and runs that go on in transformers' Trainer and from it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import both_trainers as both
import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from small import are_equal, make_net, make_samples, make_trainer, weights_of
from torch import nn
from whole_runs import Run, differences, with_every_step

import drivetrain
from drivetrain.loop.interruption import Preempted

pytestmark = [pytest.mark.slow, pytest.mark.parity, pytest.mark.filterwarnings("default")]

NAMES = ["schedule_free_adamw", "schedule_free_radam", "schedule_free_sgd"]
CONSTANT = {"lr_scheduler_type": "constant"}


def run_of(name: str = NAMES[0], **arguments: Any) -> dict[str, Any]:
    return with_every_step(
        optim=name, learning_rate=0.05, **{**CONSTANT, "warmup_steps": 2, **arguments}
    )


def make_lora(seed: int) -> Any:
    base = make_net()
    torch.manual_seed(seed)
    return get_peft_model(base, LoraConfig(r=2, target_modules=["inner", "outer"]))  # type: ignore[arg-type]


def make_half(seed: int) -> nn.Module:
    return make_net(seed).to(torch.bfloat16)


def few_half_samples() -> list[dict[str, Any]]:
    return [{**sample, "x": sample["x"].bfloat16()} for sample in make_samples(20)]


# -- exactness --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "run",
    [
        *(Run(run_of(name, eval_strategy="steps", eval_steps=1)) for name in NAMES),
        Run(run_of(bf16=True, gradient_accumulation_steps=2, async_save=True), starts=(2, 3)),
        Run(run_of(), make_model=make_half, make_data=few_half_samples, starts=(2, 3)),
        Run(run_of(eval_strategy="epoch"), make_model=make_lora, starts=(2, 3)),
    ],
    ids=[*NAMES, "bf16 and accumulation, async", "bf16 weights", "lora"],
)
def test_a_resumed_run_is_the_uninterrupted_one(run: Run, tmp_path: Path) -> None:
    assert differences(run, tmp_path) == {}


def test_a_run_that_is_preempted_goes_on_exactly(tmp_path: Path) -> None:
    class Leave(drivetrain.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    arguments = {**run_of(eval_strategy="epoch"), "train_dataset": make_samples(20)}
    whole = make_trainer(output_dir=tmp_path / "whole", **arguments)
    whole.train()
    with pytest.raises(Preempted):
        make_trainer(output_dir=tmp_path / "left", callbacks=[Leave()], **arguments).train()
    resumed = make_trainer(output_dir=tmp_path / "left", model=make_net(99), **arguments)
    resumed.train(resume_from_checkpoint=True)
    assert are_equal(weights_of(resumed), weights_of(whole))


def test_a_checkpoint_has_the_mean_and_the_model_after_training_too(tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path, **run_of())
    trainer.train()
    checkpoint = tmp_path / f"checkpoint-{trainer.state.global_step}"
    state = torch.load(checkpoint / "optimizer.pt", weights_only=True)
    assert not any(group["train_mode"] for group in state["param_groups"])
    in_use = load_file(checkpoint / "model.safetensors")
    training = torch.load(checkpoint / "training_weights.pt", weights_only=True)
    assert are_equal(in_use, weights_of(trainer))
    for name, parameter in trainer.model.named_parameters():
        expected = in_use[name].lerp(trainer.optimizer.state[parameter]["z"], 0.1)
        torch.testing.assert_close(training[name], expected)


def test_the_weights_to_use_are_better_than_those_to_train() -> None:
    """What the method is for, and what saving the others would lose: a mean of noisy iterates."""
    torch.manual_seed(0)
    target = torch.randn(6)
    x = torch.randn(64, 6)
    noisy = x @ target + 3 * torch.randn(64)

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(6))

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": (x @ self.weight - labels).pow(2).mean()}

    data = [{"x": row, "labels": label} for row, label in zip(x, noisy, strict=True)]
    trainer = make_trainer(
        model=Linear(),
        train_dataset=data,
        eval_dataset=data,
        optim=NAMES[2],
        num_train_epochs=10,
        learning_rate=0.2,
        per_device_train_batch_size=2,
        per_device_eval_batch_size=64,
        max_grad_norm=0.0,
        **CONSTANT,
    )
    trainer.train()
    best = torch.linalg.lstsq(x, noisy).solution

    def distance() -> float:
        return float((trainer.model.weight.detach() - best).norm())

    in_use = distance()
    trainer.optimizer.train()  # type: ignore[attr-defined]
    assert in_use < 0.8 * distance()


# -- beside transformers' Trainer -------------------------------------------------------------------


def scenario(name: str, **arguments: Any) -> both.Scenario:
    return both.Scenario({"optim": name, **CONSTANT, **arguments})


def run_theirs(chosen: both.Scenario, folder: Path) -> both.Result:
    return both.run(transformers, chosen, folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "arguments",
    [
        {"warmup_steps": 4, "weight_decay": 0.1},
        {"lr_scheduler_type": "linear", "warmup_steps": 4, "adam_beta1": 0.8},
    ],
    ids=["constant", "linear"],
)
def test_training_is_that_of_transformers_to_the_last_bit(
    name: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    """Of losses and gradient norms, that is: its model ends with the weights to train."""
    chosen = scenario(name, **arguments)
    theirs, ours = run_theirs(chosen, tmp_path / "a"), both.run(drivetrain, chosen, tmp_path / "b")
    assert ours.logs == theirs.logs
    assert not are_equal(ours.weights, theirs.weights)


def losses_of(result: both.Result) -> list[float]:
    return [entry["loss"] for entry in result.logs if "loss" in entry]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_evaluated", [True, False], ids=["in use", "to train"])
def test_a_run_of_transformers_goes_on_here(name: str, is_evaluated: bool, tmp_path: Path) -> None:
    """Its checkpoints hold the weights to use if an evaluation came just before, else those to train."""
    evaluations = {"eval_strategy": "steps", "eval_steps": 5} if is_evaluated else {}
    chosen = scenario(name, save_strategy="steps", save_steps=5, **evaluations)
    theirs = run_theirs(chosen, tmp_path)
    state = torch.load(tmp_path / "checkpoint-5" / "optimizer.pt", weights_only=True)
    assert all(group["train_mode"] is not is_evaluated for group in state["param_groups"])
    ours = both.run(drivetrain, both.Scenario(chosen.arguments, resume_from=5), tmp_path)
    assert len(losses_of(ours)) == len(losses_of(theirs)) == 16
    assert losses_of(ours) == pytest.approx(losses_of(theirs), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_from_here_goes_on_there(name: str, tmp_path: Path) -> None:
    chosen = scenario(name, save_strategy="steps", save_steps=5)
    ours = both.run(drivetrain, chosen, tmp_path)
    theirs = run_theirs(both.Scenario(chosen.arguments, resume_from=5), tmp_path)
    assert losses_of(theirs) == pytest.approx(losses_of(ours), rel=1e-5)


# -- on a GPU ---------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_mixed_precision_on_a_gpu_resumes_exactly(precision: str, tmp_path: Path) -> None:
    run = Run(run_of(use_cpu=False, eval_strategy="steps", eval_steps=1, **{precision: True}))
    assert differences(run, tmp_path) == {}
