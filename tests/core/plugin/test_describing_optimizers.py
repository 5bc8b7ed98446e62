"""What is logged of the optimizer when a run begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from small import make_net, make_trainer
from torch.optim import SGD, Optimizer

import drivetrain
from drivetrain import Trainer
from drivetrain.plugin import OptimizerPlugin, Plugin, StrategyPlugin, hookimpl
from drivetrain.plugin.bare_optimizer import adapt_optimizer


@dataclass(frozen=True, slots=True)
class MomentumOptions:
    """Without a ``__dict__``, and with a field that nobody can type."""

    momentum: float = 0.9
    dampening: float | None = None
    squared: float = field(init=False, default=0.0)


class Momentum(OptimizerPlugin):
    Options = MomentumOptions
    paper = "On momentum"
    state_bytes = 4.0

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        return SGD, {"lr": self.args.learning_rate, "momentum": self.options.momentum}


class Wrapped(SGD):
    """What plugins and strategies put around an optimizer, which does the work."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer.param_groups, lr=0.1)
        self.optimizer = optimizer

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        return self.optimizer.step(closure)


class Wrapping(Plugin):
    @hookimpl
    def alter_optimizer(self, optimizer: Optimizer) -> Optimizer:
        return Wrapped(optimizer)


class OwnOptimizer(Trainer):
    def create_optimizer(self) -> Optimizer:
        self.optimizer = SGD(self.model.parameters(), lr=0.1)
        return self.optimizer


class OwnClass(Trainer):
    @staticmethod
    def get_optimizer_cls_and_kwargs(
        args: Any, model: Any = None
    ) -> tuple[type[Optimizer], dict[str, Any]]:
        return SGD, {"lr": 0.1}


class Polite(Trainer):
    """Overrides, and leaves it at what the plugin makes."""

    def create_optimizer(self) -> Optimizer:
        return super().create_optimizer()


def describe(caplog: pytest.LogCaptureFixture, trainer: Trainer) -> str:
    """What a run says of its optimizer."""
    caplog.clear()
    with caplog.at_level("INFO", logger="drivetrain"):
        trainer.train()
    (said,) = [text for text in caplog.messages if text.startswith("Optimizer: ")]
    return said


OPTIONS: dict[str, Any] = {"optim": "momentum", "max_steps": 2, "log_level": "passive"}
OF_SOMEONE = "Optimizer: SGD, which the trainer was given or a subclass of it made."


@pytest.fixture(autouse=True)
def registered() -> None:
    drivetrain.register("optimizer", "momentum", Momentum)
    drivetrain.register("plugin", "wrapping", Wrapping)


def test_options_without_a_dict_are_told_as_far_as_they_can_be_typed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = describe(caplog, make_trainer(**OPTIONS))
    assert "with momentum=0.9; about 4 bytes" in said
    assert said.endswith("On momentum.")


def test_options_of_a_bare_class_are_told(caplog: pytest.LogCaptureFixture) -> None:
    drivetrain.register("optimizer", "bare_sgd", adapt_optimizer(SGD))
    trainer = make_trainer(**{**OPTIONS, "optim": "bare_sgd", "optim_args": "momentum=0.5"})
    assert "momentum=0.5" in describe(caplog, trainer)
    assert trainer.optimizer.param_groups[0]["momentum"] == 0.5


@pytest.mark.parametrize("cls", [OwnOptimizer, OwnClass])
def test_what_a_subclass_makes_is_not_taken_for_what_the_arguments_name(
    caplog: pytest.LogCaptureFixture, cls: type[Trainer]
) -> None:
    assert describe(caplog, make_trainer(cls, **OPTIONS)) == OF_SOMEONE


def test_what_is_given_is_not_taken_for_what_the_arguments_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_net()
    given: list[dict[str, Any]] = [
        {"model": model, "optimizers": (SGD(model.parameters(), lr=0.1), None)},
        {"optimizer_cls_and_kwargs": (SGD, {"lr": 0.1})},
    ]
    assert {describe(caplog, make_trainer(**OPTIONS, **one)) for one in given} == {OF_SOMEONE}


def test_what_is_set_is_told_and_so_is_what_is_set_after_a_run(caplog: pytest.LogCaptureFixture) -> None:
    trainer = make_trainer(**OPTIONS)
    trainer.create_optimizer()
    trainer.optimizer = SGD(trainer.model.parameters(), lr=0.1)
    assert describe(caplog, trainer) == OF_SOMEONE
    trainer.optimizer = None  # type: ignore[assignment]
    assert "'momentum'" in describe(caplog, trainer)
    trainer.optimizer = SGD(trainer.model.parameters(), lr=0.1)
    assert describe(caplog, trainer) == OF_SOMEONE


def test_what_plugins_put_around_the_optimizer_is_told_as_the_optimizer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for cls in (Trainer, Polite):
        trainer = make_trainer(cls, plugins=["wrapping"], **OPTIONS)
        for _ in range(2):
            assert "'momentum'" in describe(caplog, trainer)
            assert isinstance(trainer.optimizer, Wrapped)


def test_what_a_strategy_puts_around_the_optimizer_is_told_as_the_optimizer(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StrategyPlugin, "wrap_optimizer", lambda self, optimizer: Wrapped(optimizer))
    trainer = make_trainer(**OPTIONS)
    assert "'momentum'" in describe(caplog, trainer)
    assert isinstance(trainer.optimizer, Wrapped)
