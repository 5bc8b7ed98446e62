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


def half_cosine(progress):
    return (1 + math.cos(math.pi * progress)) / 2


FORMULAS = {
    "linear": ({}, lambda p: 1 - p),
    "cosine": ({}, half_cosine),
    "cosine_with_restarts": ({"num_cycles": 3}, lambda p: half_cosine((3 * p) % 1) if p < 1 else 0),
    "polynomial": ({"lr_end": LR / 10, "power": 2}, lambda p: 0.9 * (1 - p) ** 2 + 0.1),
    "constant_with_warmup": ({}, lambda p: 1),
    "inverse_sqrt": ({"timescale": 8}, lambda p: math.sqrt(8 / (8 + p * 16))),
    "cosine_with_min_lr": ({"min_lr": LR / 5}, lambda p: 0.2 + 0.8 * half_cosine(p)),
    "warmup_stable_decay": ({"num_decay_steps": 8}, lambda p: 1 if p < 0.5 else half_cosine(2 * p - 1)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_schedule_warms_up_and_follows_its_formula(make, name):
    options, formula = FORMULAS[name]
    values = [rate for rate, _ in rates(make(name, options, 4, 20), 20)]
    assert values[:4] == pytest.approx([LR * step / 4 for step in range(4)])
    assert values[4:] == pytest.approx([LR * formula(step / 16) for step in range(17)], abs=1e-12)


def test_the_early_cosine_begins_above_zero_and_is_one_step_ahead(make):
    options = {"min_lr_rate": 0.2, "warmup_lr_rate": 0.5}
    values = [rate / LR for rate, _ in rates(make("cosine_warmup_with_min_lr", options, 3, 11), 10)]
    assert values[:3] == pytest.approx([0.5, 0.75, 1.0])
    assert values[3:] == pytest.approx([0.2 + 0.8 * half_cosine((step + 1) / 8) for step in range(8)])


def test_every_group_follows_the_schedule_from_its_own_rate(make):
    for first, second in rates(make("linear")):
        assert second == pytest.approx(first / 3)


def test_a_polynomial_that_ends_with_its_warmup_does_not_divide_by_zero(make):
    assert rates(make("polynomial", {}, 5, 5), 6)[-1][0] == pytest.approx(1e-7)


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
        ("cosine_with_restarts", {"num_cycles": 1.5}, "num_cycles=1.5 is no int"),
        ("constant", {"num_cycles": 1}, "'num_cycles' is no option of 'constant'.*It has no options"),
        ("inverse_sqrt", {"timescale": 0}, "timescale=0 must be 1 or more"),
        ("warmup_stable_decay", {}, "needs num_decay_steps"),
        ("warmup_stable_decay", {"num_decay_steps": -1}, "num_decay_steps=-1 must be 0 or more"),
        (
            "warmup_stable_decay",
            {"num_decay_steps": 2, "decay_type": "sqrt"},
            r"is no 'linear' \| 'cosine' \| '1-sqrt'",
        ),
        ("reduce_lr_on_plateau", {"factor": 1.0}, "factor=1.0 must be between 0 and 1"),
        ("reduce_lr_on_plateau", {"mode": "most"}, "mode='most' is no 'min'"),
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


def test_a_plateau_goes_on_where_it_was_saved(make, through_disk):
    options = {"patience": 2, "min_lr": (1e-4, 1e-5)}
    first, second = (make("reduce_lr_on_plateau", options, eval_strategy="epoch") for _ in range(2))
    for metric in [1.0, 1.0, 1.0]:
        first.step(metric)
    second.load_state_dict(through_disk(first.state_dict()))
    first.step(1.0)
    second.step(1.0)
    assert second.get_last_lr() == first.get_last_lr() == pytest.approx([LR / 10, LR / 30])


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
