"""The plugin's tests: the arithmetic against the paper, and the way from the string to the optimizer."""

from __future__ import annotations

import pytest
import torch

from drivetrain import TrainingArguments
from drivetrain.plugin import OptionsError
from drivetrain_registry import default_registry
from drivetrain_template.optimizer import Lion, LionTemplate


def make_arguments(**values: object) -> TrainingArguments:
    return TrainingArguments("unused", optim="lion_template", report_to="none", use_cpu=True, **values)


def test_two_steps_are_those_of_the_paper() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
    optimizer = Lion([weight], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)
    expected, momentum = weight.detach().clone(), torch.zeros(3)
    for gradient in (torch.tensor([0.3, -0.1, 0.0]), torch.tensor([-0.001, 0.2, 0.4])):
        weight.grad = gradient.clone()
        optimizer.step()
        direction = torch.sign(0.9 * momentum + 0.1 * gradient)
        expected = expected - 0.1 * (direction + 0.5 * expected)
        momentum = 0.99 * momentum + 0.01 * gradient
    torch.testing.assert_close(weight.detach(), expected)
    torch.testing.assert_close(optimizer.state[weight]["momentum"], momentum)


def test_a_saved_and_loaded_optimizer_goes_on_exactly() -> None:
    def take_steps(weight: torch.nn.Parameter, optimizer: Lion, num_steps: int) -> None:
        for _ in range(num_steps):
            optimizer.zero_grad()
            ((weight - 3) ** 2).sum().backward()
            optimizer.step()

    straight = torch.nn.Parameter(torch.zeros(4))
    take_steps(straight, Lion([straight], lr=0.3), 8)
    first = torch.nn.Parameter(torch.zeros(4))
    optimizer = Lion([first], lr=0.3)
    take_steps(first, optimizer, 4)
    second = torch.nn.Parameter(first.detach().clone())
    resumed = Lion([second])
    resumed.load_state_dict(optimizer.state_dict())
    take_steps(second, resumed, 4)
    assert torch.equal(straight, second)


def test_the_name_leads_to_the_plugin() -> None:
    assert default_registry().load("optimizer", "lion_template").part is LionTemplate


def test_options_and_arguments_reach_the_optimizer() -> None:
    args = make_arguments(learning_rate=1e-5, optim_args="betas=(0.95, 0.98)")
    plugin = LionTemplate(args, LionTemplate.Options(betas=(0.95, 0.98)))
    assert plugin.build() == (Lion, {"lr": 1e-5, "betas": (0.95, 0.98)})


def test_an_impossible_option_is_refused_when_the_arguments_are_made() -> None:
    with pytest.raises(OptionsError, match=r"betas=\(0.95, 1.5\) are not both in \[0, 1\)"):
        make_arguments(optim_args="betas=(0.95, 1.5)")
