"""Optimizer classes and schedule functions by dotted paths: options from signatures, and what cannot be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small import Net, are_equal, make_args, make_net, make_trainer, weights_of
from torch import nn
from whole_runs import Run, differences, with_every_step

from drivetrain import ArgumentsError, UsageError
from drivetrain.plugin import OptionsError

SOURCE = """
from __future__ import annotations

import functools

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from drivetrain.plugin import OptimizerPlugin


class Annotated(SGD):
    def __init__(self, params, lr: float = 0.1, scale: float = 1.0, warm: int = 3, kind: str | None = None,
                 limit: float = None, shape: "Nowhere" = 1, *, weight_decay: float = 0.0, flag: bool = False):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.seen = dict(scale=scale, warm=warm, kind=kind, limit=limit, flag=flag)


class Typed(SGD):
    def __init__(self, params, lr: float = 0.1, scale: float = 1.0, warm: int = 3, kind: str | None = None,
                 limit: float = None, weight_decay: float = 0.0, flag: bool = False):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.seen = dict(scale=scale, warm=warm, kind=kind, limit=limit, flag=flag)


class Bare(SGD):
    def __init__(self, params, lr=0.1, scale=1, pair=(1, 2), name="a", anything=None, weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.seen = dict(scale=scale, pair=pair, name=name, anything=anything)


class Child(Typed):
    def __init__(self, params, extra: int = 1, warm: int = 7, **kwargs):
        super().__init__(params, warm=warm, **kwargs)
        self.extra = extra


class Inheriting(Typed):
    pass


class Needing(SGD):
    def __init__(self, params, lr, total_updates: int, rho: float):
        super().__init__(params, lr=lr)
        self.seen = dict(total_updates=total_updates, rho=rho)


class Lionlike(SGD):
    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), eps=(1e-30, 1e-3), weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.seen = dict(betas=betas, eps=eps)


class Split(SGD):
    def __init__(self, params, lr=1e-4, beta1=0.8, beta2=0.95, eps=1e-6):
        super().__init__(params, lr=lr)
        self.seen = dict(beta1=beta1, beta2=beta2, eps=eps)


class Three(SGD):
    def __init__(self, params, lr=1e-4, betas=(0.98, 0.92, 0.99)):
        super().__init__(params, lr=lr)
        self.seen = dict(betas=betas)


class Required(SGD):
    def __init__(self, params, lr, betas, eps):
        super().__init__(params, lr=lr)
        self.seen = dict(betas=betas, eps=eps)


class Renamed(SGD):
    def __init__(self, parameters, lr=0.1, pair=[0.9, 0.99]):
        super().__init__(parameters, lr=lr)
        self.seen = dict(pair=pair)


class ChoosesStep(SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
        self.step = functools.partial(SGD.step, self)


class Lends(SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
        self.inner = SGD(self.param_groups, lr=lr)
        self.inner.param_groups = self.param_groups
        self.step = self.inner.step


class Within(SGD):
    def __init__(self, params, inner=SGD, lr=0.1, **others):
        super().__init__(params, lr=lr)
        self.inner = inner(self.param_groups, lr=lr, **others)


class Made(SGD):
    def __new__(cls, params, lr=0.1, *, extra: int = 2):
        made = SGD(params, lr=lr)
        made.seen = dict(extra=extra)
        return made


class ByPlace(SGD):
    def __init__(self, params, lr=0.1, /):
        super().__init__(params, lr=lr)


class OfModel(SGD):
    def __init__(self, model: nn.Module, lr=0.1, needed=...):
        super().__init__(model.parameters(), lr=lr)


class OfModelToo(SGD):
    def __init__(self, params, network: nn.Module, rho, lr=0.1):
        super().__init__(params, lr=lr)


class Around(Optimizer):
    def __init__(self, optimizer, k=5):
        super().__init__(optimizer.param_groups, {})


class WithoutRate(SGD):
    def __init__(self, params, rate=0.1):
        super().__init__(params, lr=rate)


class Demanding(SGD):
    def step(self, loss, closure=None):
        return super().step(closure)


class DemandingPlugin(OptimizerPlugin):
    # its optimizer cannot be stepped

    def build(self):
        return Demanding, {"lr": self.args.learning_rate}


class Picky(SGD):
    def __init__(self, params, lr=0.1, scale=1.0):
        if scale > 2:
            raise ValueError("scale must not be above 2")
        super().__init__(params, lr=lr)

    def step(self, closure=None):
        if closure is None:
            raise RuntimeError("a closure, please")
        return super().step(closure)


class Shallow(SGD):
    def __init__(self, params, lr=0.1, most=64):
        super().__init__(params, lr=lr)
        if any(p.shape[-1] > most for group in self.param_groups for p in group["params"]):
            raise ValueError(f"no more than {most} columns.")


class Elsewhere(SGD):
    def __init__(self, params, lr=0.1, scale=1.0):
        raise RuntimeError("no group of processes")


class Forgetful(Optimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, {})

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data -= 0.01 * p.grad


class Hungry(SGD):
    hunger = 1

    def step(self, closure=None):
        if Hungry.hunger:
            Hungry.hunger -= 1
            raise torch.OutOfMemoryError("out of memory")
        return super().step(closure)


class Late(SGD):
    def step(self, closure=None):
        self.count = getattr(self, "count", 0) + 1
        if self.count == 3:
            raise ZeroDivisionError("late")
        return super().step(closure)


def halves(optimizer, num_training_steps, factor: float = 0.5, whole: int = 2):
    return LambdaLR(optimizer, lambda step: factor)
"""


@pytest.fixture(autouse=True)
def mine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module of a user's own, not packaged."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(folder)
    yield
    sys.modules.pop("mine", None)


def create(name: str, **arguments: Any) -> Any:
    return make_trainer(optim=f"mine.{name}", **arguments).create_optimizer()


# -- options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "arrives"),
    [
        ("Typed", {"scale": 2}, {"scale": 2.0, "warm": 3, "kind": None, "limit": None, "flag": False}),
        (
            "Typed",
            "warm=5, kind=x, limit=0.5, flag=True",
            {"warm": 5, "kind": "x", "limit": 0.5, "flag": True},
        ),
        ("Typed", {"limit": None}, {"limit": None}),
        ("Inheriting", "warm=5", {"warm": 5}),
        ("Child", "scale=3.0, extra=2", {"scale": 3.0, "warm": 7}),
        (
            "Bare",
            "scale=0.5, pair=(3, 4), name=b, anything={1: 2}",
            {"scale": 0.5, "pair": (3, 4), "name": "b"},
        ),
        ("Bare", {"anything": len}, {"anything": len}),
        ("Annotated", {"shape": "no type that there is", "scale": 2}, {"scale": 2.0}),
        ("Needing", "total_updates=9, rho=1", {"total_updates": 9, "rho": 1.0}),
        ("Renamed", None, {"pair": [0.9, 0.99]}),
        ("Renamed", "pair=(0.5, 0.6)", {"pair": (0.5, 0.6)}),
        ("Renamed", {"pair": [0.5, 0.6]}, {"pair": [0.5, 0.6]}),
        ("Made", None, {"extra": 2}),
        ("Made", "extra=3", {"extra": 3}),
    ],
)
def test_options_reach_the_constructor(name: str, given: Any, arrives: dict[str, Any]) -> None:
    seen = create(name, optim_args=given).seen
    assert {key: seen[key] for key in arrives} == arrives
    assert all(type(seen[key]) is type(value) for key, value in arrives.items())


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (
            "Typed",
            {"warm": "5"},
            r"`optim_args`: warm='5' is no int, which is what 'mine.Typed' expects",
        ),
        ("Typed", {"warm": 1.5}, "warm=1.5 is no int"),
        ("Typed", {"scale": "big"}, "scale='big' is no float"),
        ("Typed", {"flag": 1}, "flag=1 is no bool"),
        ("Typed", {"limit": "x"}, r"limit='x' is no float \| None"),
        ("Bare", {"scale": "1"}, r"scale='1' is no int \| float"),
        ("Bare", {"name": 1}, "name=1 is no str"),
        ("Bare", {"pair": 1}, r"pair=1 is no list \| tuple"),
        (
            "Typed",
            {"scal": 1},
            r"'scal' is no option of 'mine.Typed'. Did you mean 'scale'\? Options: scale: float = 1.0",
        ),
        ("Child", {"extr": 1}, r"'extr' is no option of 'mine.Child'. Did you mean 'extra'"),
        ("Typed", {"params": 1}, "'params' is no option"),
        ("Typed", {"lr": 1}, "'lr' is no option"),
        ("Typed", {"weight_decay": 1}, "'weight_decay' is no option"),
        ("Child", {"kwargs": 1}, "'kwargs' is no option"),
        ("Renamed", {"parameters": 1}, "'parameters' is no option"),
        (
            "Within",
            "rho=0.9",
            r"'rho' is no option of 'mine.Within'. Options: .* What else its `\*\*others` may hold, its "
            r"signature does not say: write a plugin around it",
        ),
        (
            "Needing",
            None,
            r"'mine.Needing' needs total_updates and rho. Type: optim_args=\"total_updates=..., rho=",
        ),
    ],
)
def test_options_that_do_not_fit_the_signature_are_refused(name: str, given: Any, message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        make_args(optim=f"mine.{name}", optim_args=given)


def test_options_of_a_schedule_function_are_checked_in_the_same_way() -> None:
    chosen = {"lr_scheduler_type": "mine.halves"}
    make_args(lr_scheduler_kwargs={"factor": 1, "whole": 3}, **chosen)
    with pytest.raises(OptionsError, match="`lr_scheduler_kwargs`: whole='3' is no int"):
        make_args(lr_scheduler_kwargs={"whole": "3"}, **chosen)
    with pytest.raises(OptionsError, match="'optimizer' is no option"):
        make_args(lr_scheduler_kwargs={"optimizer": None}, **chosen)


# -- arguments --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "arrives"),
    [
        ("Lionlike", {}, {"betas": (0.9, 0.99), "eps": (1e-30, 1e-3)}),
        ("Lionlike", {"adam_beta2": 0.5}, {"betas": (0.9, 0.5)}),
        ("Lionlike", {"adam_beta1": 0.5, "adam_beta2": 0.6}, {"betas": (0.5, 0.6)}),
        ("Lionlike", {"optim_args": "betas=(0.1, 0.2)"}, {"betas": (0.1, 0.2)}),
        ("Split", {}, {"beta1": 0.8, "beta2": 0.95, "eps": 1e-6}),
        ("Split", {"adam_beta1": 0.5, "adam_epsilon": 1e-3}, {"beta1": 0.5, "beta2": 0.95, "eps": 1e-3}),
        ("Three", {"adam_beta1": 0.5}, {"betas": (0.98, 0.92, 0.99)}),
        ("Required", {}, {"betas": (0.9, 0.999), "eps": 1e-8}),
        ("Required", {"adam_beta1": 0.5}, {"betas": (0.5, 0.999), "eps": 1e-8}),
    ],
)
def test_betas_and_epsilon_are_the_arguments_where_set_and_the_classs_own_where_not(
    name: str, arguments: dict[str, Any], arrives: dict[str, Any]
) -> None:
    seen = create(name, **arguments).seen
    assert {key: seen[key] for key in arrives} == arrives


def test_a_value_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ArgumentsError, match=r"`optim_args`: beta1=0.3 contradicts `adam_beta1`=0.5"):
        make_args(optim="mine.Split", optim_args="beta1=0.3", adam_beta1=0.5)


@pytest.mark.parametrize(
    ("name", "arguments", "unused"),
    [
        ("Typed", {"adam_beta1": 0.5, "adam_epsilon": 1e-3}, ["adam_beta1", "adam_epsilon"]),
        ("Lionlike", {"adam_beta1": 0.5, "adam_epsilon": 1e-3}, ["adam_epsilon"]),
        ("Three", {"adam_beta2": 0.5}, ["adam_beta2"]),
        ("Split", {"adam_beta2": 0.5, "weight_decay": 0.1}, ["weight_decay"]),
        ("Typed", {"weight_decay": 0.1}, []),
    ],
)
def test_arguments_that_the_class_has_no_place_for_are_said_once(
    name: str, arguments: dict[str, Any], unused: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    make_args(optim=f"mine.{name}", **arguments)
    said = [r.getMessage().split("`")[1] for r in caplog.records if "has no effect" in r.getMessage()]
    assert said == unused


def test_weight_decay_is_in_the_group_of_what_decays_alone() -> None:
    optimizer = create("Typed", weight_decay=0.1)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert [p.dim() for p in optimizer.param_groups[0]["params"]] == [2, 2]


def test_a_class_by_its_path_trains_as_its_plugin_does() -> None:
    arguments = {"weight_decay": 0.1, "adam_beta2": 0.95, "optim_args": "amsgrad=True"}
    by_path = make_trainer(optim="torch.optim.AdamW", **arguments)
    by_path.train()
    by_name = make_trainer(optim="adamw_torch", **arguments)
    by_name.train()
    assert type(by_path.optimizer) is torch.optim.AdamW
    assert are_equal(weights_of(by_path), weights_of(by_name))


# -- what cannot be ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mine.OfModel", "it is made of a model, not of parameters"),
        ("mine.OfModelToo", r"its constructor needs a model \(`network`\)"),
        ("mine.Around", "it is made of another optimizer, not of parameters"),
        (
            "mine.WithoutRate",
            "its constructor has no parameter `lr`, which `learning_rate` and the schedule",
        ),
        ("mine.ByPlace", "its constructor only takes `lr` by its position, which `learn"),
        ("mine.Demanding", "its `step` needs loss"),
        ("torch.optim.LBFGS", "its `step` needs a closure that computes the loss again"),
    ],
)
def test_a_class_that_the_trainer_cannot_use_is_refused_with_the_arguments(
    name: str, reason: str
) -> None:
    with pytest.raises(ArgumentsError, match=rf"`optim`: '{name}' cannot be used as it is: {reason}"):
        make_args(optim=name)


def test_a_plugin_whose_optimizer_the_trainer_cannot_step_is_refused_before_the_first_update() -> None:
    trainer = make_trainer(optim="mine.DemandingPlugin")
    with pytest.raises(
        UsageError, match="`optim`: 'mine.DemandingPlugin' cannot be used: its `step` needs loss, and"
    ):
        trainer.train()
    assert trainer.state.global_step == 0


def test_torchs_base_class_is_no_optimizer() -> None:
    with pytest.raises(
        UsageError, match="leads to .*torch.optim.optimizer.Optimizer.*which is no optimizer"
    ):
        make_args(optim="torch.optim.Optimizer")


def test_a_constructor_that_raises_is_explained_with_what_it_was_given() -> None:
    with pytest.raises(
        UsageError,
        match=r"`optim`: 'mine.Shallow' cannot be made for this model with lr=0.01, most=12: "
        r"ValueError: no more than 12 columns. Check `optim_args`",
    ):
        make_trainer(optim="mine.Shallow", optim_args="most=12").train()
    with pytest.raises(UsageError, match="'torch.optim.Muon' cannot be made .* only supports 2D"):
        make_trainer(optim="torch.optim.Muon").train()


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (
            "mine.Picky",
            "scale=3",
            r"Picky cannot be made with scale=3: scale must not be above 2. Type an",
        ),
        (
            "torch.optim.Adam",
            "betas=(2, 3)",
            r"Adam cannot be made with betas=\(2.0, 3.0\): Invalid beta",
        ),
        ("torch.optim.SGD", "nesterov=True", "SGD cannot be made with nesterov=True: Nesterov momentum"),
        ("torch.optim.NAdam", "momentum_decay=-1", "NAdam cannot be made with momentum_decay=-1"),
        ("torch.optim.Muon", "momentum=-1", "Muon cannot be made with momentum=-1.0: momentum sh"),
    ],
)
def test_values_that_the_constructor_refuses_are_refused_with_the_arguments(
    name: str, given: str, message: str
) -> None:
    with pytest.raises(ArgumentsError, match=f"`optim_args`: {message}"):
        make_args(optim=name, optim_args=given)


def test_options_are_not_blamed_for_what_stands_against_the_class_anyway() -> None:
    make_args(optim="mine.Elsewhere", optim_args="scale=2")
    make_args(optim="torch.optim.Muon", optim_args="ns_steps=4")
    with pytest.raises(UsageError, match="'mine.Elsewhere' cannot be made .* RuntimeError: no group of"):
        make_trainer(optim="mine.Elsewhere", optim_args="scale=2").train()


def test_trying_options_takes_no_random_numbers() -> None:
    before = torch.random.get_rng_state()
    make_args(optim="torch.optim.Adam", optim_args="betas=(0.5, 0.6)")
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_first_update_that_fails_is_explained() -> None:
    with pytest.raises(
        UsageError, match=r"'mine.Picky' fails at its first update: RuntimeError: a closure, pl"
    ):
        make_trainer(optim="mine.Picky").train()
    with pytest.raises(
        UsageError, match="'torch.optim.SparseAdam' fails at its first .* dense gradients"
    ):
        make_trainer(optim="torch.optim.SparseAdam").train()


def test_a_class_that_keeps_no_rate_trains_with_a_schedule_that_does_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    results = []
    for rate in (1e-2, 1e-3):
        trainer = make_trainer(optim="mine.Forgetful", learning_rate=rate)
        before = weights_of(trainer)
        trainer.train()
        assert not are_equal(before, weights_of(trainer))
        results.append(weights_of(trainer))
    assert are_equal(*results)
    assert "'mine.Forgetful' keeps no rate in its groups: neither `learning_rate` nor" in caplog.text


def test_a_later_update_that_fails_is_the_classs_own_affair() -> None:
    with pytest.raises(ZeroDivisionError, match="late"):
        make_trainer(optim="mine.Late").train()


@pytest.mark.parametrize("name", ["ChoosesStep", "Lends"])
def test_a_step_that_the_constructor_puts_in_the_methods_place_is_the_one_that_is_made(
    name: str,
) -> None:
    chosen = make_trainer(optim=f"mine.{name}")
    chosen.train()
    plain = make_trainer(optim="torch.optim.SGD")
    plain.train()
    assert are_equal(weights_of(chosen), weights_of(plain))


def test_memory_that_runs_out_in_the_first_update_is_no_fault_of_the_class() -> None:
    trainer = make_trainer(optim="mine.Hungry", auto_find_batch_size=True)
    trainer.train()
    assert trainer._train_batch_size == 2
    assert trainer.state.global_step == 12


class Sparse(nn.Module):
    """An embedding with sparse gradients, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3, sparse=True)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": nn.functional.cross_entropy(self.table((x[:, 0] > 0).long()), labels)}


def test_sparse_adam_trains_what_it_is_for() -> None:
    trainer = make_trainer(model=Sparse(), optim="torch.optim.SparseAdam", max_grad_norm=0.0)
    before = weights_of(trainer)
    trainer.train()
    assert not are_equal(weights_of(trainer), before)


# -- pytorch_optimizer ------------------------------------------------------------------------------


@pytest.fixture
def pytorch_optimizer() -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pytorch_optimizer")


def losses_of(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.slow
@pytest.mark.usefixtures("pytorch_optimizer")
@pytest.mark.parametrize(
    ("name", "optim_args"),
    [
        ("SOAP", "precondition_frequency=2"),
        ("Lion", None),
        ("Prodigy", None),
        ("CAME", None),
        ("ADOPT", None),
    ],
)
def test_optimizers_of_pytorch_optimizer_train(name: str, optim_args: str | None) -> None:
    trainer = make_trainer(
        optim=f"pytorch_optimizer.{name}",
        optim_args=optim_args,
        num_train_epochs=8,
        learning_rate=1.0 if name == "Prodigy" else 1e-2,
    )
    trainer.train()
    losses = losses_of(trainer)
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])


@pytest.mark.slow
@pytest.mark.usefixtures("pytorch_optimizer")
@pytest.mark.parametrize("name", ["SOAP", "ScheduleFreeAdamW", "ScheduleFreeSGD", "SPlus"])
def test_runs_with_them_go_on_exactly(name: str, tmp_path: Path) -> None:
    arguments = with_every_step(
        optim=f"pytorch_optimizer.{name}", learning_rate=1e-2, eval_strategy="steps", eval_steps=2
    )
    assert differences(Run(arguments), tmp_path) == {}


@pytest.mark.slow
@pytest.mark.usefixtures("pytorch_optimizer")
def test_those_with_two_sets_of_weights_leave_the_ones_to_use() -> None:
    trainer = make_trainer(optim="pytorch_optimizer.ScheduleFreeAdamW", eval_strategy="epoch")
    trainer.train()
    state: Any = trainer.optimizer.state
    in_use = weights_of(trainer)
    assert not any(group["train_mode"] for group in trainer.optimizer.param_groups)
    trainer.optimizer.train()  # type: ignore[attr-defined]
    for name, parameter in trainer.model.named_parameters():
        expected = in_use[name].lerp(state[parameter]["z"], 0.1)
        torch.testing.assert_close(parameter.detach(), expected)


@pytest.mark.slow
@pytest.mark.usefixtures("pytorch_optimizer")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("LOMO", "it is made of a model"),
        ("Lookahead", "it is made of another optimizer"),
        ("GSAM", "its constructor needs a model|it is made of"),
        ("Ranger21", "needs num_iterations"),
        ("SAM", r"its constructor needs another optimizer \(`base_optimizer`\)"),
    ],
)
def test_those_that_cannot_be_used_are_refused_with_the_arguments(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_args(optim=f"pytorch_optimizer.{name}")


@pytest.mark.slow
@pytest.mark.usefixtures("pytorch_optimizer")
@pytest.mark.parametrize("name", ["AdaHessian", "SophiaH"])
def test_those_that_want_second_derivatives_are_explained_at_the_first_update(name: str) -> None:
    with pytest.raises(
        UsageError, match=rf"'pytorch_optimizer.{name}' fails at its first update: .*no graph"
    ):
        make_trainer(model=make_net(), optim=f"pytorch_optimizer.{name}").train()


def test_the_model_of_these_tests_has_what_decays_and_what_does_not() -> None:
    assert {p.dim() for p in Net().parameters()} == {1, 2}
