"""Training by hand, without a trainer: an optimizer of a model, and some steps of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from drivetrain.arguments import TrainingArguments
from drivetrain.checkpoint.tensors import UnsafeCheckpointError, load_tensors, save_tensors
from drivetrain.optimization import decay_groups, decay_parameter_names
from drivetrain.parts import load_optimizer
from drivetrain.plugin.step import find_misfits_of_step
from drivetrain.testing.network import make_batch
from drivetrain.testing.suite import require

Weights = dict[str, torch.Tensor]


def make_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameter groups that a trainer makes: those that decay, and those that do not."""
    return decay_groups(model, decay_parameter_names(model), weight_decay)


def make_optimizer(
    model: nn.Module, args: TrainingArguments, groups: list[dict[str, Any]] | None = None
) -> Optimizer:
    """The optimizer that arguments ask for, ready to train the model."""
    chosen = make_groups(model, args.weight_decay) if groups is None else groups
    optimizer = load_optimizer(args).create(model, chosen)
    for misfit in find_misfits_of_step(inspect.signature(optimizer.step).parameters.values()):
        require(False, f"{misfit}, and the trainer calls `step()` without any. Give it a default.")
    put_to_training(optimizer)
    return optimizer


def put_to_training(optimizer: Optimizer) -> None:
    """Have an optimizer that keeps two sets of weights put those to train into the model."""
    train = getattr(optimizer, "train", None)
    if callable(train):
        train()


def take_steps(model: nn.Module, optimizer: Optimizer, numbers: Iterable[int]) -> None:
    """Make the updates with these numbers, on which the batches depend and what is drawn at random."""
    device = next(model.parameters()).device
    for number in numbers:
        torch.manual_seed(number)
        model(**make_batch(number, device))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()


def take_pulls(
    model: nn.Module, optimizer: Optimizer, numbers: Iterable[int], inside: tuple[str, ...] = ("",)
) -> None:
    """Make updates whose gradients depend on their number alone, and not on the weights.

    Args:
        model: The model.
        optimizer: Its optimizer.
        numbers: The updates' numbers.
        inside: What the names of the parameters begin with that get a gradient.
    """
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        loss = torch.zeros((), device=next(model.parameters()).device)
        for name, parameter in model.named_parameters():
            direction = torch.randn(parameter.shape, generator=generator).to(parameter)
            if parameter.requires_grad and name.startswith(inside):
                loss = loss + (parameter * direction).sum() / 100
        torch.manual_seed(number)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def weights_of(model: nn.Module) -> Weights:
    """A copy of every parameter, by name, on the CPU."""
    return {name: parameter.detach().cpu().clone() for name, parameter in model.named_parameters()}


def find_changed(before: Weights, after: Weights) -> list[str]:
    """The names of the weights that are not the same to the last bit."""
    return [name for name in before if not torch.equal(before[name], after[name])]


def compare_ways(start: Weights, one: Weights, other: Weights) -> float:
    """How far apart two ends are, as a share of the way from the start: 0 is the same, 1 as far as that."""
    way = sum(float((one[name] - start[name]).float().abs().sum()) for name in start)
    apart = sum(float((one[name] - other[name]).float().abs().sum()) for name in start)
    return apart / way if way else float("inf")


def through_file(folder: Path, state: Any) -> Any:
    """A state, saved and loaded as checkpoints are: without unpickling; the test fails if it cannot be."""
    try:
        save_tensors(state, folder / "state.pt")
        return load_tensors(folder / "state.pt")
    except UnsafeCheckpointError as error:
        pytest.fail(
            "the state cannot be loaded without unpickling. Keep tensors, numbers, texts and "
            f"containers of those in it. {error.__cause__}",
            pytrace=False,
        )
    except (TypeError, AttributeError, ValueError) as error:
        pytest.fail(
            f"the state cannot be saved: {error}. Keep tensors, numbers, texts and containers of those "
            "in it.",
            pytrace=False,
        )
