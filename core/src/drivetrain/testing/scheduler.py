"""`SchedulerSuite`: what every learning-rate schedule must pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch.optim import Optimizer

from drivetrain.arguments import TrainingArguments
from drivetrain.parts import load_scheduler
from drivetrain.plugin import SchedulerPlugin
from drivetrain.testing.leaves import find_difference
from drivetrain.testing.recording import Rates
from drivetrain.testing.steps import through_file
from drivetrain.testing.suite import PartSuite, require
from drivetrain_registry.kinds import SCHEDULER

_EXTREMES = ((0, 0), (0, 1), (1, 1), (4, 4), (6, 4))
"""Updates of warm-up, and in all, of runs that leave no room for a curve."""


class SchedulerSuite(PartSuite):
    """What every learning-rate schedule must pass.

    A whole test file::

        class TestLinear(SchedulerSuite):
            name = "linear"

            def formula(self, step, warmup, total):
                if step < warmup:
                    return step / warmup
                return (total - step) / (total - warmup)

    Attributes:
        lengths: Updates of warm-up, and in all, of the runs that the formula is compared in.
    """

    kind = SCHEDULER
    lengths: ClassVar[tuple[tuple[int, int], ...]] = ((0, 10), (1, 7), (4, 20))

    def formula(self, step: int, warmup: int, total: int) -> float:
        """What the rate is multiplied by; to be defined by the author.

        Args:
            step: Updates that were made before, from 0 to ``total``.
            warmup: Updates of the warm-up.
            total: Updates of the whole run.
        """
        raise NotImplementedError

    def name_part(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """`lr_scheduler_type` and `lr_scheduler_kwargs`."""
        return {"lr_scheduler_type": self.name, "lr_scheduler_kwargs": dict(options)}

    def load_part(self, args: TrainingArguments) -> SchedulerPlugin:
        """The schedule plugin."""
        return load_scheduler(args)

    def make(self, warmup: int, total: int, **given: Any) -> Any:
        """The schedule of an optimizer with two groups, whose second rate is a quarter of the first."""
        return self.load_part(self.make_args(**given)).create(
            _make_optimizer(self.learning_rate), warmup, total
        )

    def follow(self, schedule: Any, num_steps: int) -> list[list[float]]:
        """The rates of both groups before each of some updates, and after the last."""
        rates = [_rates_of(schedule)]
        for _ in range(num_steps):
            schedule.optimizer.step()
            schedule.step(*([1.0] if self.plugin_class.steps_on_metric else []))
            rates.append(_rates_of(schedule))
        return rates

    def test_formula(self) -> None:
        """The rate at every update is the formula's, in runs of several lengths."""
        if self.plugin_class.steps_on_metric:
            pytest.skip("the rate goes by metrics, and not by the number of updates")
        if type(self).formula is SchedulerSuite.formula:
            pytest.fail(
                f"{type(self).__name__} has no formula to compare with. Define "
                "formula(self, step, warmup, total): what the rate is multiplied by.",
                pytrace=False,
            )
        for warmup, total in self.lengths:
            rates = self.follow(self.make(warmup, total), total)
            for step, (rate, _) in enumerate(rates):
                expected = self.learning_rate * self.formula(step, warmup, total)
                require(
                    rate == pytest.approx(expected, rel=1e-9, abs=1e-12 * self.learning_rate),
                    f"after {step} of {total} updates, {warmup} of them warm-up, the rate is {rate!r}, "
                    f"and the formula says {expected!r}.",
                )

    def test_groups(self) -> None:
        """Every group follows the schedule from its own rate."""
        for first, second in self.follow(self.make(2, 10), 10):
            require(
                second == pytest.approx(first / 4, abs=1e-12 * self.learning_rate),
                f"a group that begins at a quarter of the rate has {second!r} where the other has "
                f"{first!r}.",
            )

    def test_extremes(self) -> None:
        """Rates are numbers of 0 or more in the shortest runs, too, and beyond their ends."""
        for warmup, total in _EXTREMES:
            for step, rates in enumerate(self.follow(self.make(warmup, total), total + 2)):
                require(
                    all(math.isfinite(rate) and rate >= 0 for rate in rates),
                    f"after {step} updates in a run of {total}, with {warmup} of warm-up, the rate is "
                    f"{rates[0]!r}. Look for a division by zero, and for what becomes of it after the "
                    "end.",
                )

    def test_accepted_options(self) -> None:
        """Each of `accepted_options` is accepted and changes a rate, or the state."""
        for name, value in self.accepted_options.items():
            said = self.find_problems(options={name: value})
            require(not said, f"{name}={value!r} is refused: {said}")
            plain, other = self.make(2, 12), self.make(2, 12, options={name: value})
            same_rates = self.follow(plain, 12) == self.follow(other, 12)
            same_state = find_difference(plain.state_dict(), other.state_dict()) is None
            require(
                not (same_rates and same_state), f"{name}={value!r} makes no difference in 12 updates."
            )

    def test_state_dict(self, tmp_path: Path) -> None:
        """A state that was saved and loaded without unpickling gives the same further rates."""
        whole, resumed = self.make(3, 12), self.make(3, 12)
        self.follow(whole, 5)
        saved = through_file(tmp_path, [whole.state_dict(), whole.optimizer.state_dict()])
        resumed.optimizer.load_state_dict(saved[1])
        resumed.load_state_dict(saved[0])
        expected, rates = self.follow(whole, 7), self.follow(resumed, 7)
        require(
            rates == expected,
            f"the further rates of a schedule that was saved after 5 updates are {rates}, and would "
            f"have been {expected}. All that the rate depends on has to be in `state_dict`, or in the "
            "options.",
        )

    def test_training(self, tmp_path: Path) -> None:
        """A run has the schedule's rates, and one that resumes goes on with them."""
        settings: dict[str, Any] = {
            "max_steps": 8,
            "warmup_steps": 2,
            "save_strategy": "steps",
            "save_steps": 4,
        }
        seen = []
        for resume_from in (None, str(tmp_path / "checkpoint-4")):
            rates = Rates()
            trainer = self.make_trainer(tmp_path, callbacks=[rates], **settings)
            rates.trainer = trainer
            trainer.train(resume_from_checkpoint=resume_from)
            seen.append([rates_of_groups[0] for rates_of_groups in rates.seen])
        whole, resumed = seen
        require(
            resumed == whole[4:],
            f"a run resumed at update 4 of 8 has the rates {resumed}, and the whole one had "
            f"{whole[4:]}.",
        )
        if not self.plugin_class.steps_on_metric:
            expected = [rates[0] for rates in self.follow(self.make(2, 8), 7)]
            require(whole == expected, f"a run has the rates {whole}, and the schedule says {expected}.")


def _make_optimizer(rate: float) -> Optimizer:
    first, second = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    groups: list[dict[str, Any]] = [{"params": [first]}, {"params": [second], "lr": rate / 4}]
    return torch.optim.SGD(groups, lr=rate)


def _rates_of(schedule: Any) -> list[float]:
    return [float(group["lr"]) for group in schedule.optimizer.param_groups]
