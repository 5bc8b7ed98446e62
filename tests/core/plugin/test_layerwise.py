"""Updates inside backward: the mechanics of the optimizer, what the arguments refuse, and whole runs."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from small import are_equal, make_net, make_trainer, weights_of
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR

import drivetrain
from drivetrain import ArgumentsError
from drivetrain.parts import load_optimizer
from drivetrain.plugin import LayerwisePlugin, OptimizerPlugin, StepsInBackward, layerwise


class Momentum(OptimizerPlugin):
    """Has state, so that a parameter that is updated twice, or not at all, is seen."""

    optimizer: type[Optimizer] = SGD

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        return self.optimizer, {"lr": self.args.learning_rate, "momentum": 0.9}


class MomentumInBackward(StepsInBackward, SGD):
    """SGD, stepping in backward."""


class LayerwiseMomentum(LayerwisePlugin, Momentum):
    """The same inside backward."""

    optimizer = MomentumInBackward


@pytest.fixture(autouse=True)
def registered() -> None:
    drivetrain.register("optimizer", "momentum", Momentum)
    drivetrain.register("optimizer", "momentum_layerwise", LayerwiseMomentum)


def make_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 2))


def make_optimizer(model: nn.Module, lr: float = 0.1) -> MomentumInBackward:
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "lr": 2 * lr}]
    return MomentumInBackward(groups, lr=lr, momentum=0.9)


def run_backward(model: nn.Module, step: int = 0) -> None:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
    model(x).pow(2).mean().backward()


def train(model: nn.Module, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        run_backward(model, step)
        optimizer.step()
        optimizer.zero_grad()


def has_gradients(model: nn.Module) -> bool:
    return any(parameter.grad is not None for parameter in model.parameters())


def are_same(one: nn.Module, other: nn.Module) -> bool:
    return are_equal(dict(one.state_dict()), dict(other.state_dict()))


def test_weights_equal_those_of_the_optimizer_that_waits_for_the_step() -> None:
    layerwise, ordinary = make_model(), make_model()
    train(layerwise, make_optimizer(layerwise), range(6))
    waiting = make_optimizer(ordinary)
    waiting.close()
    train(ordinary, waiting, range(6))
    assert are_same(layerwise, ordinary)


def test_backward_updates_and_frees_the_gradients_and_step_does_nothing_more() -> None:
    start, model = make_model(), make_model()
    optimizer = make_optimizer(model)
    run_backward(model)
    assert not has_gradients(model)
    for before, after in zip(start.parameters(), model.parameters(), strict=True):
        assert not torch.equal(before, after)
    start.load_state_dict(model.state_dict())
    optimizer.step()
    optimizer.zero_grad()
    assert are_same(model, start)


def test_at_most_one_gradient_is_there_at_a_time() -> None:
    model, most = make_model(), 0

    def count(_: torch.Tensor) -> None:
        nonlocal most
        most = max(most, sum(parameter.grad is not None for parameter in model.parameters()))

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(count)
    optimizer = make_optimizer(model)
    run_backward(model)
    assert most == 1
    assert len(optimizer.state) == len(list(model.parameters()))


def test_the_rate_of_a_schedule_is_in_effect_in_the_next_backward() -> None:
    model = make_model()
    optimizer = make_optimizer(model)
    schedule = LambdaLR(optimizer, lambda step: 1.0 if step == 0 else 0.0)
    run_backward(model)
    optimizer.step()
    schedule.step()
    assert {group["lr"] for group in optimizer.param_groups} == {0.0}
    before = make_model()
    before.load_state_dict(model.state_dict())
    run_backward(model)
    optimizer.step()
    assert are_same(model, before)


def test_the_state_can_be_taken_over_by_an_optimizer_that_waits_and_back() -> None:
    whole, model = make_model(), make_model()
    train(whole, make_optimizer(whole), range(9))
    state = None
    for waits, steps in ((False, range(4)), (True, range(4, 6)), (False, range(6, 9))):
        optimizer = make_optimizer(model)
        if waits:
            optimizer.close()
        if state is not None:
            optimizer.load_state_dict(state)
        train(model, optimizer, steps)
        state = optimizer.state_dict()
        del optimizer
        gc.collect()
    assert are_same(model, whole)


def test_an_optimizer_that_is_dropped_leaves_backward_alone() -> None:
    model = make_model()
    optimizer = make_optimizer(model)
    del optimizer
    gc.collect()
    run_backward(model)
    assert has_gradients(model)
    assert not any(parameter._post_accumulate_grad_hooks for parameter in model.parameters())


def test_a_new_optimizer_for_the_same_model_takes_the_place_of_the_old() -> None:
    alone, twice = make_model(), make_model()
    train(alone, make_optimizer(alone), range(3))
    old = make_optimizer(twice)
    train(twice, make_optimizer(twice), range(3))
    assert are_same(alone, twice)
    assert not old.state


def test_an_optimizer_for_other_parameters_is_left_at_work() -> None:
    one, other = make_model(), make_model()
    first = make_optimizer(one)
    second = make_optimizer(other)
    run_backward(one)
    assert first.state
    assert not second.state


def test_a_closed_optimizer_updates_in_its_step_and_can_be_opened_again() -> None:
    model = make_model()
    optimizer = make_optimizer(model)
    optimizer.close()
    run_backward(model)
    assert has_gradients(model)
    optimizer.step()
    optimizer.zero_grad()
    assert len(optimizer.state) == len(list(model.parameters()))
    optimizer.open()
    optimizer.open()
    run_backward(model)
    assert not has_gradients(model)


def test_a_frozen_parameter_is_left_as_it_is() -> None:
    start, model = make_model(), make_model()
    model[2].requires_grad_(False)
    optimizer = make_optimizer(model)
    run_backward(model)
    optimizer.step()
    assert torch.equal(model[2].weight, start[2].weight)
    assert not torch.equal(model[0].weight, start[0].weight)


def make_args(**given: Any) -> drivetrain.TrainingArguments:
    settings = {
        "optim": "momentum_layerwise",
        "max_grad_norm": 0.0,
        "report_to": "none",
        "use_cpu": True,
    }
    return drivetrain.TrainingArguments("out", **{**settings, **given})


def test_a_run_puts_the_optimizer_to_work_and_to_rest() -> None:
    model = make_model()
    trainer = make_run(model=model, optim="momentum_layerwise", label_names=[])
    optimizer = trainer.create_optimizer()
    layerwise.end(trainer)
    run_backward(model)
    assert has_gradients(model)
    optimizer.zero_grad()
    layerwise.begin(trainer)
    layerwise.begin(trainer)
    run_backward(model)
    assert not has_gradients(model)
    assert len(optimizer.state) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"gradient_accumulation_steps": 2}, "`gradient_accumulation_steps`: 2 cannot be combined"),
        ({"max_grad_norm": 0.5}, "`max_grad_norm`: 0.5 cannot be combined"),
        ({"fp16": True}, "`fp16`: True cannot be combined"),
    ],
)
def test_what_stepping_inside_backward_rules_out_is_refused(given: dict[str, Any], problem: str) -> None:
    said = re.escape(f"{problem} with `optim`='momentum_layerwise': it updates")
    with pytest.raises(ArgumentsError, match=said):
        make_args(**given)


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = load_optimizer(make_args())
    monkeypatch.setattr(type(plugin.args), "world_size", 2)
    assert any("2 processes cannot be combined" in problem for problem in plugin.problems())


def test_gradients_that_are_not_clipped_by_default_are_said() -> None:
    (warning,) = load_optimizer(make_args(max_grad_norm=1.0)).warnings()
    assert warning.startswith("`max_grad_norm`: gradients are not clipped to the default of 1.0")


def test_one_that_was_given_leaves_the_model_when_the_run_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_net(dropout=0.0)
    given = make_optimizer(model)
    make_run(model=model, optimizers=(given, None), max_steps=2, max_grad_norm=1.0).train()
    assert "gradients are not clipped to the default of 1.0 by the optimizer Momentum" in caplog.text
    assert len(given.state) == len(list(model.parameters()))
    model(torch.randn(8, 6), torch.zeros(8, dtype=torch.long))["loss"].backward()
    assert has_gradients(model)


@pytest.mark.parametrize("given", [{"gradient_accumulation_steps": 2}, {"max_grad_norm": 0.5}])
def test_one_that_was_given_is_refused_what_it_cannot_do(given: dict[str, Any]) -> None:
    model = make_model()
    optimizer = make_optimizer(model)
    trainer = make_run(model=model, label_names=[], optimizers=(optimizer, None), **given)
    with pytest.raises(
        drivetrain.UsageError, match="cannot be combined with the optimizer MomentumInBackward"
    ):
        trainer.train()


RUN: dict[str, Any] = {
    "max_grad_norm": 0.0,
    "max_steps": 8,
    "warmup_steps": 3,
    "lr_scheduler_type": "cosine",
}


def make_run(**given: Any) -> drivetrain.Trainer:
    """A run without dropout, as the trainers of one process share torch's generator."""
    return make_trainer(**{"model": make_net(dropout=0.0), **RUN, **given})


def test_a_run_ends_with_the_weights_of_one_that_waits_for_the_step() -> None:
    ordinary = make_run(optim="momentum")
    inside = make_run(optim="momentum_layerwise")
    ordinary.train()
    inside.train()
    assert inside.state.global_step == 8
    assert are_equal(weights_of(inside), weights_of(ordinary))


def test_a_second_call_of_train_goes_on_inside_backward() -> None:
    ordinary = make_run(optim="momentum")
    layerwise = make_run(optim="momentum_layerwise")
    for trainer in (ordinary, layerwise, ordinary, layerwise):
        trainer.train()
    assert are_equal(weights_of(layerwise), weights_of(ordinary))


def test_a_resumed_run_ends_as_one_that_did_not_stop(tmp_path: Path) -> None:
    given = {"optim": "momentum_layerwise", "save_strategy": "steps", "save_steps": 5}
    whole = make_run(output_dir=tmp_path / "whole", **given)
    whole.train()
    resumed = make_run(output_dir=tmp_path / "resumed", **given)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-5"))
    assert are_equal(weights_of(resumed), weights_of(whole))


def test_another_optimizer_trains_the_model_as_if_there_had_been_no_layerwise_run() -> None:
    layerwise = make_run(optim="momentum_layerwise")
    layerwise.train()
    untouched = make_net(dropout=0.0)
    untouched.load_state_dict(layerwise.model.state_dict())
    after = make_run(model=layerwise.model, optim="momentum")
    expected = make_run(model=untouched, optim="momentum")
    after.train()
    expected.train()
    assert are_equal(weights_of(after), weights_of(expected))


def test_an_optimizer_that_never_trained_leaves_the_model_to_another_trainer() -> None:
    model = make_net(dropout=0.0)
    earlier = make_run(model=model, optim="momentum_layerwise")
    optimizer = earlier.create_optimizer()
    after, expected = make_run(model=model, optim="momentum"), make_run(optim="momentum")
    after.train()
    expected.train()
    assert are_equal(weights_of(after), weights_of(expected))
    assert len(after.optimizer.state) == len(list(model.parameters()))
    assert not optimizer.state


def test_an_optimizer_for_another_model_keeps_its_place_while_a_trainer_trains() -> None:
    model = make_model()
    optimizer = make_optimizer(model)
    make_run(optim="momentum").train()
    run_backward(model)
    assert not has_gradients(model)
    assert optimizer.state


def test_an_optimizer_put_in_the_place_of_a_layerwise_one_trains_alone_and_clips() -> None:
    given = {"max_grad_norm": 1.0, "lr_scheduler_type": "constant", "warmup_steps": 0}
    ends = []
    for optim in ("momentum_layerwise", "momentum"):
        trainer = make_run(optim=optim, **given)
        replaced = trainer.create_optimizer()
        trainer.optimizer = SGD(trainer.model.parameters(), lr=0.5)
        trainer.train()
        assert not replaced.state
        ends.append(weights_of(trainer))
    assert are_equal(*ends)
