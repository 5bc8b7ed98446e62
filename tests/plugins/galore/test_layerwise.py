from __future__ import annotations

import gc
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from drivetrain import ArgumentsError
from drivetrain.parts import load_optimizer

LAYERWISE = ["galore_adamw_layerwise", "galore_adafactor_layerwise"]


def run_backward(model: nn.Module) -> None:
    model(torch.ones(4, 16)).pow(2).mean().backward()


def has_gradients(model: nn.Module) -> bool:
    return any(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("optim", LAYERWISE)
def test_weights_equal_those_of_the_optimizer_that_waits_for_the_step(
    optim: str, make_model: Any, make_optimizer: Any, train: Any, assert_same_weights: Any
) -> None:
    layerwise, ordinary = make_model(), make_model()
    train(layerwise, make_optimizer(layerwise, optim=optim, weight_decay=0.1), range(8))
    train(
        ordinary, make_optimizer(ordinary, optim=optim[: -len("_layerwise")], weight_decay=0.1), range(8)
    )
    assert_same_weights(layerwise, ordinary)


@pytest.mark.parametrize("optim", LAYERWISE)
def test_backward_updates_and_frees_the_gradients_and_step_does_nothing_more(
    optim: str, make_model: Any, make_optimizer: Any, assert_same_weights: Any
) -> None:
    start, model = make_model(), make_model()
    optimizer = make_optimizer(model, optim=optim)
    run_backward(model)
    assert not has_gradients(model)
    for before, after in zip(start.parameters(), model.parameters(), strict=True):
        assert not torch.equal(before, after)
    start.load_state_dict(model.state_dict())
    optimizer.step()
    optimizer.zero_grad()
    assert_same_weights(model, start)


def test_at_most_one_gradient_is_there_at_a_time(make_model: Any, make_optimizer: Any) -> None:
    model, most = make_model(), 0

    def count(_: torch.Tensor) -> None:
        nonlocal most
        most = max(most, sum(parameter.grad is not None for parameter in model.parameters()))

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(count)
    optimizer = make_optimizer(model, optim="galore_adamw_layerwise")
    run_backward(model)
    assert most == 1
    assert len(optimizer.state) == len(list(model.parameters()))


def test_the_rate_of_a_schedule_is_in_effect_in_the_next_backward(
    make_model: Any, make_optimizer: Any, assert_same_weights: Any
) -> None:
    model = make_model()
    optimizer = make_optimizer(model, optim="galore_adamw_layerwise", learning_rate=0.1)
    schedule = LambdaLR(optimizer, lambda step: 1.0 if step == 0 else 0.0)
    before = make_model()
    run_backward(model)
    optimizer.step()
    assert not torch.equal(before.head.weight, model.head.weight)
    schedule.step()
    assert {group["lr"] for group in optimizer.param_groups} == {0.0}
    before.load_state_dict(model.state_dict())
    run_backward(model)
    optimizer.step()
    assert_same_weights(model, before)


def test_the_state_can_be_taken_over_by_the_optimizer_that_waits_and_back(
    make_model: Any, make_optimizer: Any, train: Any, assert_same_weights: Any
) -> None:
    whole, model = make_model(), make_model()
    train(whole, make_optimizer(whole), range(9))
    state = None
    for optim, steps in (
        ("galore_adamw_layerwise", range(4)),
        ("galore_adamw", range(4, 6)),
        ("galore_adamw_layerwise", range(6, 9)),
    ):
        optimizer = make_optimizer(model, optim=optim)
        if state is not None:
            optimizer.load_state_dict(state)
        train(model, optimizer, steps)
        state = optimizer.state_dict()
        del optimizer
        gc.collect()
    assert_same_weights(model, whole)


def test_an_optimizer_that_is_dropped_leaves_backward_alone(
    make_model: Any, make_optimizer: Any
) -> None:
    model = make_model()
    optimizer = make_optimizer(model, optim="galore_adamw_layerwise")
    del optimizer
    gc.collect()
    run_backward(model)
    assert has_gradients(model)
    assert not any(parameter._post_accumulate_grad_hooks for parameter in model.parameters())


def test_a_new_optimizer_for_the_same_model_takes_the_place_of_the_old(
    make_model: Any, make_optimizer: Any, train: Any, assert_same_weights: Any
) -> None:
    alone, twice = make_model(), make_model()
    train(alone, make_optimizer(alone, optim="galore_adamw_layerwise"), range(3))
    old = make_optimizer(twice, optim="galore_adamw_layerwise")
    train(twice, make_optimizer(twice, optim="galore_adamw_layerwise"), range(3))
    assert_same_weights(alone, twice)
    assert not old.state


def test_hooks_are_off_when_a_run_has_ended_and_on_when_the_next_begins(
    make_args: Any, make_model: Any, train: Any, assert_same_weights: Any
) -> None:
    model = make_model()
    plugin = load_optimizer(make_args(optim="galore_adamw_layerwise"))
    optimizer = plugin.create(model, [{"params": list(model.parameters()), "weight_decay": 0.0}])
    plugin.on_run_end()
    run_backward(model)
    assert has_gradients(model)
    optimizer.zero_grad()
    plugin.on_train_begin()
    plugin.on_train_begin()
    run_backward(model)
    assert not has_gradients(model)
    assert {state["step"] for state in optimizer.state.values()} == {1}


def test_the_hooks_of_a_run_call_it(make_args: Any, make_model: Any) -> None:
    import pluggy

    from drivetrain import hookspecs

    manager = pluggy.PluginManager("drivetrain")
    manager.add_hookspecs(hookspecs)
    plugin = load_optimizer(make_args(optim="galore_adamw_layerwise"))
    manager.register(plugin)
    manager.check_pending()
    model = make_model()
    optimizer = plugin.create(model, [{"params": list(model.parameters()), "weight_decay": 0.0}])
    manager.hook.on_run_end(trainer=SimpleNamespace(), outcome="finished", error=None)
    run_backward(model)
    assert has_gradients(model)
    optimizer.step()
    assert len(optimizer.state) == len(list(model.parameters()))


def test_a_frozen_parameter_is_left_as_it_is(make_model: Any, make_optimizer: Any) -> None:
    start, model = make_model(), make_model()
    model.mlp.square.requires_grad_(False)
    optimizer = make_optimizer(model, optim="galore_adamw_layerwise")
    run_backward(model)
    optimizer.step()
    assert torch.equal(model.mlp.square.weight, start.mlp.square.weight)
    assert not torch.equal(model.mlp.up.weight, start.mlp.up.weight)


@pytest.mark.parametrize("optim", LAYERWISE)
@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"gradient_accumulation_steps": 2}, "`gradient_accumulation_steps`: 2 cannot be combined"),
        ({"max_grad_norm": 0.5}, "`max_grad_norm`: 0.5 cannot be combined"),
        ({"fp16": True}, "`fp16`: True cannot be combined"),
    ],
)
def test_what_stepping_inside_backward_rules_out_is_refused(
    given: dict[str, Any], problem: str, optim: str, make_args: Any
) -> None:
    with pytest.raises(ArgumentsError, match=re.escape(f"{problem} with `optim`={optim!r}: it updates")):
        make_args(optim=optim, **given)


def test_several_processes_are_refused(make_args: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = load_optimizer(make_args(optim="galore_adamw_layerwise"))
    monkeypatch.setattr(type(plugin.args), "world_size", 2)
    assert any("2 processes cannot be combined" in problem for problem in plugin.problems())


def test_gradients_that_are_not_clipped_by_default_are_said(make_args: Any) -> None:
    args = make_args(optim="galore_adamw_layerwise", max_grad_norm=1.0)
    (warning,) = load_optimizer(args).warnings()
    assert warning.startswith("`max_grad_norm`: gradients are not clipped to the default of 1.0")
