"""Rows of the arguments of the optimizer and its schedule."""

from __future__ import annotations

import pytest
import torch
from small import make_samples, weights_of
from torch.nn.functional import cross_entropy

from drivetrain import Trainer, UsageError
from honesty.observations import of_groups, relative_rates
from honesty.table import Case, row, seen, warned


def first_step(trainer: Trainer) -> float:
    """The largest change of a weight in one update, as a share of the learning rate."""
    before = weights_of(trainer)
    trainer.train()
    changes = [(value - before[name]).abs().max() for name, value in weights_of(trainer).items()]
    return round(float(max(changes)) / trainer.args.learning_rate, 2)


def step_length(trainer: Trainer) -> float:
    """The 2-norm of the change of all weights in one update."""
    before = weights_of(trainer)
    trainer.train()
    return float(torch.cat([(v - before[k]).flatten() for k, v in weights_of(trainer).items()]).norm())


@row("optim_target_modules", ["inner", "inn.."], optim="galore_adamw", optim_args="rank=2")
def optim_target_modules(case: Case) -> None:
    with pytest.raises(UsageError, match=r"`optim_target_modules`: "):
        case.plain()
    trainer = case.changed()
    groups = [group for group in trainer.create_optimizer().param_groups if "rank" in group]
    (parameter,) = [parameter for group in groups for parameter in group["params"]]
    assert parameter is dict(trainer.model.named_parameters())["inner.weight"]


@row("max_grad_norm", 0.1, optim="sgd", learning_rate=1.0, max_steps=1)
def max_grad_norm(case: Case) -> None:
    assert step_length(case.plain()) > 0.2
    assert step_length(case.changed()) == pytest.approx(0.1, rel=1e-4)
    assert case.changed().train().metrics["train_loss"] > 0
    logged = case.changed()
    logged.train()
    assert logged.state.log_history[0]["grad_norm"] > 0.2  # of the gradients as they were


@row("label_smoothing_factor", 0.1)
def label_smoothing_factor(case: Case) -> None:
    for trainer, factor in ((case.plain(), 0.0), (case.changed(), 0.1)):
        output = trainer.predict(make_samples())
        logits, labels = torch.from_numpy(output.predictions), torch.from_numpy(output.label_ids)
        expected = float(cross_entropy(logits, labels, label_smoothing=factor))
        assert output.metrics["test_loss"] == pytest.approx(expected, rel=1e-5)
    assert case.plain().train().training_loss != case.changed().train().training_loss


def optimizer_class(trainer: Trainer) -> type:
    return type(trainer.create_optimizer())


ROWS = [
    seen("optim", "sgd", optimizer_class, torch.optim.AdamW, torch.optim.SGD),
    seen("optim_args", "amsgrad=True", of_groups("amsgrad"), [False] * 2, [True] * 2),
    optim_target_modules,
    seen("learning_rate", 0.5, of_groups("lr"), [0.01] * 2, [0.5] * 2),
    seen("weight_decay", 0.1, of_groups("weight_decay"), [0.0, 0.0], [0.1, 0.0]),
    seen("adam_beta1", 0.8, of_groups("betas"), [(0.9, 0.999)] * 2, [(0.8, 0.999)] * 2),
    seen("adam_beta2", 0.95, of_groups("betas"), [(0.9, 0.999)] * 2, [(0.9, 0.95)] * 2),
    seen("adam_epsilon", 1e-6, of_groups("eps"), [1e-8] * 2, [1e-6] * 2),
    # (1 - 0.9) / sqrt(1 - 0.999) = 3.16 is what the first step lacks the correction by.
    seen("adam_bias_correction", False, first_step, 1.0, 3.16, max_steps=1),
    warned("optim_target_precision", "fp8", "has no effect: no optimizer reads it"),
    max_grad_norm,
    seen(
        "lr_scheduler_type",
        "constant",
        relative_rates,
        [1.0, 0.833, 0.667, 0.5, 0.333, 0.167],
        [1.0] * 6,
    ),
    seen(
        "lr_scheduler_kwargs",
        {"power": 2.0},
        relative_rates,
        [1.0, 0.833, 0.667, 0.5, 0.333, 0.167],
        [1.0, 0.694, 0.444, 0.25, 0.111, 0.028],
        lr_scheduler_type="polynomial",
    ),
    seen(
        "warmup_ratio",
        0.5,
        relative_rates,
        [1.0, 0.833, 0.667, 0.5, 0.333, 0.167],
        [0.0, 0.333, 0.667, 1.0, 0.667, 0.333],
    ),
    seen(
        "warmup_steps",
        2,
        relative_rates,
        [1.0, 0.833, 0.667, 0.5, 0.333, 0.167],
        [0.0, 0.5, 1.0, 0.75, 0.5, 0.25],
    ),
    label_smoothing_factor,
    warned("average_tokens_across_devices", True, "has no effect with `strategy`='single'"),
]
