from __future__ import annotations

import logging
import math
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from drivetrain import ArgumentsError
from drivetrain.parts import load_scheduler
from drivetrain.plugin import OptionsError
from drivetrain.testing import SchedulerSuite

LR = 0.01
NUM_STEPS = 20

SCHEDULES = [
    ("linear", {}),
    ("cosine", {}),
    ("cosine", {"num_cycles": 1.25}),
    ("cosine_with_restarts", {}),
    ("cosine_with_restarts", {"num_cycles": 3}),
    ("polynomial", {}),
    ("polynomial", {"lr_end": 1e-3, "power": 2.5}),
    ("constant", {}),
    ("constant_with_warmup", {}),
    ("inverse_sqrt", {}),
    ("inverse_sqrt", {"timescale": 7}),
    ("cosine_with_min_lr", {"min_lr": 1e-3}),
    ("cosine_with_min_lr", {"min_lr_rate": 0.1, "num_cycles": 1.5}),
    ("cosine_warmup_with_min_lr", {"min_lr": 1e-3}),
    ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1, "warmup_lr_rate": 0.3}),
    ("warmup_stable_decay", {"num_decay_steps": 6}),
    ("warmup_stable_decay", {"num_decay_steps": 6, "num_stable_steps": 4, "min_lr_ratio": 0.1}),
    *(
        ("warmup_stable_decay", {"num_decay_steps": 6, "warmup_type": rise, "decay_type": fall})
        for rise, fall in [("linear", "1-sqrt"), ("cosine", "linear"), ("1-sqrt", "cosine")]
    ),
]
WARMUPS = [0, 1, 5, NUM_STEPS, NUM_STEPS + 5]


def half_cosine(progress):
    return (1 + math.cos(math.pi * progress)) / 2


class WarmedUp(SchedulerSuite):
    """A linear warm-up, and then a curve over the share of the other steps that were made."""

    learning_rate = LR

    def formula(self, step, warmup, total):
        return step / warmup if step < warmup else self.curve((step - warmup) / (total - warmup))

    def curve(self, progress):
        raise NotImplementedError


class TestLinear(WarmedUp):
    name = "linear"

    def curve(self, progress):
        return 1 - progress


@pytest.mark.slow
class TestCosine(WarmedUp):
    name = "cosine"
    accepted_options = {"num_cycles": 1.25}

    def curve(self, progress):
        return half_cosine(progress)


@pytest.mark.slow
class TestCosineOfSeveralWaves(WarmedUp):
    name = "cosine"
    options = {"num_cycles": 1.25}

    def curve(self, progress):
        return half_cosine(2.5 * progress)


@pytest.mark.slow
class TestCosineWithRestarts(WarmedUp):
    name = "cosine_with_restarts"
    options = {"num_cycles": 3}
    refused_options = {"num_cycles": 1.5}

    def curve(self, progress):
        return half_cosine((3 * progress) % 1) if progress < 1 else 0


@pytest.mark.slow
class TestPolynomial(WarmedUp):
    name = "polynomial"
    options = {"lr_end": LR / 10, "power": 2}
    accepted_options = {"power": 3.0, "lr_end": LR / 5}
    refused_options = {"lr_end": 2 * LR}

    def curve(self, progress):
        return 0.9 * (1 - progress) ** 2 + 0.1


@pytest.mark.slow
class TestConstant(SchedulerSuite):
    name = "constant"

    def formula(self, step, warmup, total):
        return 1


@pytest.mark.slow
class TestConstantWithWarmup(WarmedUp):
    name = "constant_with_warmup"

    def curve(self, progress):
        return 1


@pytest.mark.slow
class TestInverseSqrt(SchedulerSuite):
    name = "inverse_sqrt"
    options = {"timescale": 8}
    accepted_options = {"timescale": 3}
    refused_options = {"timescale": 0}

    def formula(self, step, warmup, total):
        return step / warmup if step < warmup else math.sqrt(8 / (8 + step - warmup))


@pytest.mark.slow
class TestCosineWithMinLR(WarmedUp):
    name = "cosine_with_min_lr"
    options = {"min_lr": LR / 5}
    accepted_options = {"num_cycles": 1.5}
    refused_options = {"min_lr_rate": 0.1}  # beside min_lr

    def curve(self, progress):
        return 0.2 + 0.8 * half_cosine(progress)


@pytest.mark.slow
class TestCosineWarmupWithMinLR(SchedulerSuite):
    """The warm-up begins above 0, and the cosine is one step ahead."""

    name = "cosine_warmup_with_min_lr"
    options = {"min_lr_rate": 0.2, "warmup_lr_rate": 0.5}
    accepted_options = {"warmup_lr_rate": 0.1, "min_lr_rate": 0.1}
    lengths = ((0, 10), (2, 7), (3, 11))

    def formula(self, step, warmup, total):
        if step < warmup:
            return 0.5 + 0.5 * step / (warmup - 1)
        return 0.2 + 0.8 * half_cosine((step - warmup + 1) / (total - warmup))


@pytest.mark.slow
class TestWarmupStableDecay(SchedulerSuite):
    name = "warmup_stable_decay"
    options = {"num_decay_steps": 4}
    accepted_options = {"min_lr_ratio": 0.1, "decay_type": "linear", "num_stable_steps": 2}
    refused_options = {"num_decay_steps": -1, "decay_type": "sqrt"}

    def formula(self, step, warmup, total):
        if step < warmup:
            return step / warmup
        return half_cosine(max(0, step - total + 4) / 4)


class TestReduceOnPlateau(SchedulerSuite):
    name = "reduce_lr_on_plateau"
    arguments = {"eval_strategy": "steps", "eval_steps": 1}
    options = {"patience": 1}
    accepted_options = {"factor": 0.5, "patience": 3, "min_lr": 1e-4}
    refused_options = {"factor": 1.0, "mode": "most"}


@pytest.fixture
def make(arguments):
    """Makes the schedule that arguments ask for, on an optimizer with two rates."""

    def create(name, options=None, num_warmup_steps=0, num_training_steps=NUM_STEPS, lr=LR, **values):
        args = arguments(
            lr_scheduler_type=name, lr_scheduler_kwargs=options or {}, learning_rate=lr, **values
        )
        return load_scheduler(args).create(make_optimizer(lr), num_warmup_steps, num_training_steps)

    return create


def make_optimizer(lr=LR):
    return torch.optim.SGD(
        [
            {"params": [nn.Parameter(torch.ones(1))]},
            {"params": [nn.Parameter(torch.ones(1))], "lr": lr / 3},
        ],
        lr=lr,
    )


def rates(scheduler, num_steps=NUM_STEPS + 4):
    """The rates of both groups at each step, a few after the end included."""
    values = [scheduler.get_last_lr()]
    for _ in range(num_steps):
        scheduler.optimizer.step()
        scheduler.step()
        values.append(scheduler.get_last_lr())
    return values


@pytest.mark.parity
@pytest.mark.parametrize("num_warmup_steps", WARMUPS)
@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_every_rate_equals_that_of_transformers(make, name, options, num_warmup_steps):
    transformers = pytest.importorskip("transformers")
    if name == "polynomial" and num_warmup_steps == NUM_STEPS:
        pytest.skip("transformers divides by zero at the last step")
    with (
        pytest.warns(UserWarning, match="num_stable_steps will be used")
        if "num_stable_steps" in options
        else nullcontext()
    ):
        theirs = transformers.get_scheduler(
            name, make_optimizer(), num_warmup_steps, NUM_STEPS, scheduler_specific_kwargs=options
        )
    assert rates(make(name, options, num_warmup_steps)) == rates(theirs)


@pytest.mark.parity
@pytest.mark.parametrize("is_ours_first", [True, False])
@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_a_checkpoint_moves_between_transformers_and_us(
    make, through_disk, name, options, is_ours_first
):
    transformers = pytest.importorskip("transformers")
    if "num_stable_steps" in options:
        pytest.skip("transformers warns")
    ours = make(name, options, 5)
    theirs = transformers.get_scheduler(
        name, make_optimizer(), 5, NUM_STEPS, scheduler_specific_kwargs=options
    )
    first, second = (ours, theirs) if is_ours_first else (theirs, ours)
    rates(first, 8)
    saved = through_disk([first.state_dict(), first.optimizer.state_dict()])
    second.load_state_dict(saved[0])
    second.optimizer.load_state_dict(saved[1])
    assert rates(second, 8) == rates(first, 8)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cosine_with_min_lr", {}, "the lowest rate is missing: type min_lr_rate=0.1"),
        (
            "cosine_with_min_lr",
            {"min_lr": 1e-5, "min_lr_rate": 0.1},
            "min_lr=1e-05 and min_lr_rate=0.1 both",
        ),
        ("cosine_warmup_with_min_lr", {"warmup_lr_rate": 0.1}, "the lowest rate is missing"),
        ("constant", {"num_cycles": 1}, "'num_cycles' is no option of 'constant'.*It has no options"),
        ("warmup_stable_decay", {}, "needs num_decay_steps"),
        (
            "warmup_stable_decay",
            {"num_decay_steps": 2, "decay_type": "sqrt"},
            r"is no 'linear' \| 'cosine' \| '1-sqrt'",
        ),
    ],
)
def test_wrong_options_are_refused(arguments, name, options, message):
    with pytest.raises(OptionsError, match=message):
        arguments(lr_scheduler_type=name, lr_scheduler_kwargs=options)


def test_options_can_be_given_as_text(arguments):
    scheduler = load_scheduler(
        arguments(lr_scheduler_type="polynomial", lr_scheduler_kwargs="power=2, lr_end=1e-6")
    )
    assert (scheduler.options.power, scheduler.options.lr_end) == (2.0, 1e-6)


def test_an_end_above_the_learning_rate_is_refused(arguments):
    with pytest.raises(ArgumentsError, match=r"lr_end=0.1 .* must be below `learning_rate`=0.01"):
        arguments(
            lr_scheduler_type="polynomial", lr_scheduler_kwargs={"lr_end": 0.1}, learning_rate=0.01
        )


def test_an_end_above_the_rate_of_a_given_optimizer_is_refused(arguments):
    part = load_scheduler(
        arguments(lr_scheduler_type="polynomial", lr_scheduler_kwargs={"lr_end": 1e-6})
    )
    with pytest.raises(ValueError, match="lr_end=1e-06"):
        part.create(make_optimizer(lr=1e-7), 0, 10)


@pytest.mark.parametrize(("argument", "value"), [("warmup_steps", 3), ("warmup_ratio", 0.1)])
def test_a_warmup_that_has_no_effect_is_mentioned(arguments, caplog, argument, value):
    with caplog.at_level(logging.WARNING):
        arguments(lr_scheduler_type="constant", **{argument: value})
    assert f"`{argument}`: {value} has no effect with `lr_scheduler_type`='constant'" in caplog.text
    assert "constant_with_warmup" in caplog.text


@pytest.mark.parametrize(
    "options", [{"num_decay_steps": 30}, {"num_decay_steps": 5, "num_stable_steps": 5}]
)
def test_phases_that_do_not_make_up_the_run_are_mentioned(make, caplog, options):
    with caplog.at_level(logging.WARNING):
        make("warmup_stable_decay", options)
    assert "do not make up the run's 20. Leave num_stable_steps out" in caplog.text


def test_phases_that_make_up_the_run_are_not(make, caplog):
    with caplog.at_level(logging.WARNING):
        make("warmup_stable_decay", {"num_decay_steps": 5, "num_stable_steps": 15})
    assert not caplog.text


def test_a_plateau_lowers_the_rate(make):
    scheduler = make(
        "reduce_lr_on_plateau", {"factor": 0.5, "patience": 1, "min_lr": 0.002}, eval_strategy="epoch"
    )
    seen = []
    for metric in [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]:
        scheduler.step(metric)
        seen.append(scheduler.get_last_lr()[0])
    assert seen == pytest.approx([0.01] * 3 + [0.005] * 2 + [0.0025] * 2 + [0.002] * 2)


@pytest.mark.parity
def test_a_plateau_equals_that_of_transformers(make):
    transformers = pytest.importorskip("transformers")
    options = {"factor": 0.3, "patience": 1, "cooldown": 1, "threshold": 0.01, "threshold_mode": "abs"}
    ours = make("reduce_lr_on_plateau", options, eval_strategy="epoch")
    theirs = transformers.get_scheduler(
        "reduce_lr_on_plateau", make_optimizer(), scheduler_specific_kwargs=options
    )
    for step in range(20):
        for scheduler in (ours, theirs):
            scheduler.step(1.0 / (1 + step // 4))
        assert ours.get_last_lr() == theirs.get_last_lr()
    assert ours.state_dict() == theirs.state_dict()


def test_a_plateau_wants_a_metric(arguments):
    assert load_scheduler(
        arguments(lr_scheduler_type="reduce_lr_on_plateau", eval_strategy="epoch")
    ).steps_on_metric
    assert not load_scheduler(arguments()).steps_on_metric


def test_a_plateau_without_evaluations_is_refused(arguments):
    with pytest.raises(ArgumentsError, match=r"`eval_strategy` is 'no'. Type eval_strategy='epoch'"):
        arguments(lr_scheduler_type="reduce_lr_on_plateau")


@pytest.mark.parametrize(
    ("metric", "mode", "instead"),
    [
        ("accuracy", "min", "max"),
        ("loss", "max", "min"),
        ("accuracy", "max", None),
        ("loss", "min", None),
    ],
)
def test_a_plateau_that_looks_the_wrong_way_is_mentioned(arguments, caplog, metric, mode, instead):
    with caplog.at_level(logging.WARNING):
        arguments(
            lr_scheduler_type="reduce_lr_on_plateau",
            lr_scheduler_kwargs={"mode": mode},
            eval_strategy="epoch",
            metric_for_best_model=metric,
        )
    assert (f"lr_scheduler_kwargs={{'mode': '{instead}'}}" in caplog.text) == bool(instead)
