"""Each name that the library has: it trains, and goes on exactly from its state, or says why it cannot."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from small import make_args, make_net, make_samples
from torch import nn
from torch.optim import Optimizer

from drivetrain import Trainer, UsageError
from drivetrain.plugin import OptimizerPlugin
from drivetrain_registry import default_registry

pytestmark = pytest.mark.slow

NEEDED_OPTIONS = {"po_ranger21": {"num_iterations": 100}, "po_bsam": {"num_data": 24}}
SLOW_STARTERS = {"po_adashift": {"keep_num": 2}}


def read_members() -> dict[str, type[OptimizerPlugin]]:
    """Every name, and the plugin behind it. Not read when tests are collected: it imports the library."""
    family = default_registry().load_family("optimizer", "po_*")
    return {name: family.find("optim", name) for name in family.names("optim", "po_*")}  # type: ignore[misc]


def read_refused() -> set[str]:
    return {name for name, member in read_members().items() if member.misfits}  # type: ignore[attr-defined]


def make_optimizer(name: str, net: nn.Module) -> Optimizer:
    options = {**NEEDED_OPTIONS.get(name, {}), **SLOW_STARTERS.get(name, {})}
    args = make_args(optim=name, optim_args=options, weight_decay=0.1)
    return Trainer(net, args, train_dataset=make_samples()).create_optimizer()


def take_steps(net: nn.Module, optimizer: Optimizer, number: int) -> None:
    """Updates as those of the trainer; a part that draws random numbers finds the same ones each time."""
    torch.manual_seed(number)
    batch = torch.utils.data.default_collate(make_samples(8))
    for _ in range(number):
        net(**batch)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()


def weights(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def are_equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def find_fault(name: str) -> str:
    """Train, save, go on; and go on once more from what was saved. Empty if that is the same."""
    net = make_net(dropout=0.0)
    optimizer = make_optimizer(name, net)
    at_first = weights(net)
    take_steps(net, optimizer, 8)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    reached = weights(net)
    take_steps(net, optimizer, 6)
    file.seek(0)
    other_net = make_net(seed=8, dropout=0.0)
    other_net.load_state_dict(reached)
    other = make_optimizer(name, other_net)
    other.load_state_dict(torch.load(file, weights_only=True))
    take_steps(other_net, other, 6)
    claims = {
        "does not update": are_equal(at_first, reached) or are_equal(reached, weights(net)),
        "diverges": not all(value.isfinite().all() for value in reached.values()),
        "goes on otherwise": not are_equal(weights(net), weights(other_net)),
    }
    return ", ".join(claim for claim, is_so in claims.items() if is_so)


def test_all_that_are_not_refused_train_and_go_on_exactly_from_their_saved_state() -> None:
    faults = {}
    for name in sorted(read_members().keys() - read_refused()):
        try:
            faults[name] = find_fault(name)
        except Exception as error:
            faults[name] = repr(error)
    assert {name: fault for name, fault in faults.items() if fault} == {}
    assert len(faults) > 100


def test_those_that_the_trainer_cannot_use_say_why() -> None:
    refused = read_refused()
    for name in refused:
        with pytest.raises(
            UsageError, match=f"`optim`: '{name}' cannot be used as it is: [a-z`].{{15,}}"
        ):
            make_args(optim=name, optim_args=NEEDED_OPTIONS.get(name))
    assert {"po_lbfgs", "po_sophiah", "po_lomo", "po_conda"} <= refused
    assert len(refused) < 20
