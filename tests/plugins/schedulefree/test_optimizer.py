"""What is particular to schedule-free optimizers: the library's updates, warm-up, and what is said."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from schedulefree import AdamWScheduleFree, RAdamScheduleFree, SGDScheduleFree
from small import make_args, make_net, make_trainer
from torch import nn

import drivetrain
from drivetrain import ArgumentsError
from drivetrain.plugin import OptionsError

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[3] / "plugins" / "schedulefree" / "README.md"
CONSTANT = {"lr_scheduler_type": "constant"}
NAMES = ["schedule_free_adamw", "schedule_free_radam", "schedule_free_sgd"]


def make(name: str, **arguments: Any) -> Any:
    return make_trainer(optim=f"schedule_free_{name}", **{**CONSTANT, **arguments})


# -- the library's optimizers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "cls", "keywords"),
    [
        ("adamw", {}, AdamWScheduleFree, {"betas": (0.9, 0.999), "eps": 1e-8, "warmup_steps": 0}),
        (
            "adamw",
            {"adam_beta1": 0.8, "adam_epsilon": 1e-5, "warmup_steps": 10, "weight_decay": 0.1},
            AdamWScheduleFree,
            {"betas": (0.8, 0.999), "eps": 1e-5, "warmup_steps": 10, "weight_decay": 0.1},
        ),
        (
            "radam",
            {"warmup_steps": 10, "optim_args": "silent_sgd_phase=False, r=0.5"},
            RAdamScheduleFree,
            {"betas": (0.9, 0.999), "eps": 1e-8, "silent_sgd_phase": False, "r": 0.5},
        ),
        (
            "sgd",
            {"warmup_steps": 10, "optim_args": "momentum=0.8, weight_lr_power=1"},
            SGDScheduleFree,
            {"momentum": 0.8, "warmup_steps": 10, "weight_lr_power": 1.0},
        ),
    ],
)
def test_the_class_of_the_library_gets_the_arguments_and_options(
    name: str, arguments: dict[str, Any], cls: type, keywords: dict[str, Any]
) -> None:
    args = make_args(optim=f"schedule_free_{name}", **CONSTANT, **arguments)
    found, kwargs = drivetrain.Trainer.get_optimizer_cls_and_kwargs(args)
    shared = {"lr": 1e-2, "weight_decay": 0.0, "r": 0.0, "weight_lr_power": 2.0, "foreach": True}
    assert (found, kwargs) == (cls, {**shared, **kwargs, **keywords})
    assert kwargs.keys() == {*shared, *keywords}
    cls(make_net().parameters(), **kwargs)


def test_training_is_the_librarys_own_to_the_last_bit() -> None:
    trainer = make(
        "adamw", model=make_net(dropout=0.0), warmup_steps=3, weight_decay=0.1, max_grad_norm=0.0
    )
    trainer.args.dataloader_drop_last = True
    seen: list[dict[str, torch.Tensor]] = []
    collate = trainer.data_collator

    def keep(samples: list[Any]) -> Any:
        batch = collate(samples)
        seen.append({name: value.clone() for name, value in batch.items()})
        return batch

    trainer.data_collator = keep
    trainer.train()
    net = make_net(dropout=0.0)
    decayed = [p for p in net.parameters() if p.dim() == 2]
    groups = [
        {"params": decayed, "weight_decay": 0.1},
        {"params": [p for p in net.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = AdamWScheduleFree(groups, lr=1e-2, warmup_steps=3)
    optimizer.train()
    for batch in seen[:6]:
        net(**batch)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    optimizer.eval()
    assert trainer.state.global_step == 6
    for (name, ours), theirs in zip(trainer.model.named_parameters(), net.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_the_weights_to_use_are_the_mean_of_the_papers_iterates() -> None:
    """x(t+1) = (1 - 1/(t+1)) x(t) + z(t+1)/(t+1), with z the plain iterates, of a constant rate."""
    point = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    args = make_args(optim="schedule_free_sgd", learning_rate=0.1, **CONSTANT)
    cls, kwargs = drivetrain.Trainer.get_optimizer_cls_and_kwargs(args)
    optimizer: Any = cls([point], **kwargs)
    optimizer.train()
    x = z = point.detach().clone()
    for step in range(1, 8):
        y = 0.1 * z + 0.9 * x
        z = z - 0.1 * 2 * y
        x = x + (z - x) / step
        (point**2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    optimizer.eval()
    torch.testing.assert_close(point.detach(), x)


# -- warm-up ----------------------------------------------------------------------------------------


def rates_of(trainer: Any) -> list[float]:
    """The rate of each update, as the optimizer applied it."""
    rates: list[float] = []

    class Watch(drivetrain.TrainerCallback):
        def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            rates.append(trainer.optimizer.param_groups[0]["scheduled_lr"])

    trainer.add_callback(Watch())
    trainer.train()
    return rates


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("arguments", [{"warmup_steps": 3}, {"warmup_ratio": 0.5}])
def test_with_a_constant_schedule_the_optimizer_warms_up(name: str, arguments: dict[str, Any]) -> None:
    rates = rates_of(make(name, learning_rate=0.3, **arguments))
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3, 0.3])


def test_with_a_schedule_that_warms_up_the_two_multiply_unless_one_is_left_out() -> None:
    arguments = {"learning_rate": 0.3, "warmup_steps": 3, "lr_scheduler_type": "constant_with_warmup"}
    both = rates_of(make("adamw", **arguments))
    assert both == pytest.approx([0.0, 0.1 * 2 / 3, 0.2, 0.3, 0.3, 0.3])
    one = rates_of(make("adamw", optim_args="warmup_steps=0", **arguments))
    assert one == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.3, 0.3])


def test_a_resumed_run_keeps_the_warm_up_that_it_began_with(tmp_path: Path) -> None:
    arguments = {"output_dir": tmp_path, "warmup_ratio": 0.5, "save_strategy": "steps", "save_steps": 2}
    make("sgd", **arguments).train()
    trainer = make("sgd", **arguments)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert [group["warmup_steps"] for group in trainer.optimizer.param_groups] == [3, 3]
    assert [group["k"] for group in trainer.optimizer.param_groups] == [6, 6]


# -- what is said -----------------------------------------------------------------------------------


def said_of(caplog: pytest.LogCaptureFixture, **arguments: Any) -> list[str]:
    caplog.clear()
    make_args(**arguments)
    messages = [record.getMessage() for record in caplog.records]
    return [message for message in messages if "schedule_free" in message]


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_that_changes_the_rate_is_warned_of_once(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (said,) = said_of(caplog, optim=name)
    assert said.startswith(
        f"`lr_scheduler_type`: 'linear' changes the rate, and `optim`='{name}' is meant"
    )
    assert said.endswith("Type lr_scheduler_type='constant'.")
    (said,) = said_of(caplog, optim=name, lr_scheduler_type="cosine")
    assert "'cosine' changes the rate" in said
    assert said_of(caplog, optim=name, **CONSTANT) == []
    assert said_of(caplog, optim=name, lr_scheduler_type="constant_with_warmup") == []


@pytest.mark.parametrize("argument", [{"warmup_steps": 5}, {"warmup_ratio": 0.25}])
def test_two_warm_ups_are_warned_of(argument: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    (name, value), *_ = argument.items()
    chosen = {"optim": "schedule_free_adamw", "lr_scheduler_type": "constant_with_warmup", **argument}
    (said,) = said_of(caplog, **chosen)
    assert said.startswith(f"`{name}`: {value} holds for the schedule 'constant_with_warmup' and for")
    assert said.endswith("Type lr_scheduler_type='constant', or optim_args='warmup_steps=0'.")
    assert said_of(caplog, optim_args="warmup_steps=0", **chosen) == []
    assert said_of(caplog, **{**chosen, "optim": "schedule_free_radam"}) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"optim": NAMES[0], "adam_beta1": 0.0},
            "`adam_beta1`: 0.0 must be above 0 with `optim`='sched",
        ),
        (
            {"optim": NAMES[1], "adam_beta1": 0.0},
            "`adam_beta1`: 0.0 must be above 0 with `optim`='sched",
        ),
        ({"optim": NAMES[1], "adam_beta2": 0.6}, "`adam_beta2`: with beta2=0.6, .* never gets beyond"),
        ({"optim": NAMES[1], "optim_args": "betas=(0.9, 0.5)"}, "`optim_args`: with beta2=0.5"),
        (
            {"optim": NAMES[0], "optim_args": "betas=(0.9, 0.5)", "adam_beta2": 0.4},
            "`optim_args`: betas=.* contradicts `adam_beta2`=0.4",
        ),
    ],
)
def test_values_that_the_method_cannot_work_with_are_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentsError, match=message):
        make_args(**CONSTANT, **arguments)


def test_radam_with_a_short_memory_leaves_weights_alone_unless_told_otherwise() -> None:
    """Which is why it is refused."""
    net = make_net()
    optimizer = RAdamScheduleFree(net.parameters(), lr=0.1, betas=(0.9, 0.6))
    optimizer.train()
    before = net.inner.weight.detach().clone()
    for _ in range(50):
        net(torch.randn(4, 6), torch.tensor([0, 1, 2, 0]))["loss"].backward()
        optimizer.step()
    assert torch.equal(net.inner.weight, before)
    make_args(optim=NAMES[1], optim_args="silent_sgd_phase=False, betas=(0.9, 0.6)", **CONSTANT)


def test_an_option_of_another_of_them_is_refused() -> None:
    with pytest.raises(OptionsError, match="'warmup_steps' is no option of 'schedule_free_radam'"):
        make_args(optim=NAMES[1], optim_args="warmup_steps=3", **CONSTANT)


@pytest.mark.parametrize(("norm", "is_said"), [(nn.BatchNorm1d(6), True), (nn.LayerNorm(6), False)])
def test_running_statistics_of_other_weights_are_said(
    norm: nn.Module, is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    net = make_net()
    net.first = norm
    make("sgd", model=net).create_optimizer()
    assert ("running statistics of the model's batch normalization" in caplog.text) is is_said


# -- the distribution -------------------------------------------------------------------------------


def test_the_snippet_of_the_readme_runs() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-W", "error", "-c", snippet], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    losses = [float(loss) for loss in re.findall(r"evaluation: loss ([\d.e-]+)", done.stderr)]
    assert losses[-1] < losses[0]
