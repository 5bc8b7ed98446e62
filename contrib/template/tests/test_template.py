"""The plugin's tests: the conformance kit, and the arithmetic against the paper."""

from __future__ import annotations

import torch

from drivetrain.testing import OptimizerSuite
from drivetrain_template.optimizer import Lion


class TestLionTemplate(OptimizerSuite):
    """What every optimizer must pass; see docs/writing-plugins.md for what else can be said here."""

    name = "lion_template"
    learning_rate = 3e-4
    accepted_options = {"betas": (0.95, 0.98)}
    refused_options = {"betas": (0.95, 1.5)}


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
