"""Parts by name in the arguments: what a name can be, and how a wrong one is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small import are_equal, make_args, make_net, make_samples, make_trainer, weights_of
from torch.optim.lr_scheduler import LambdaLR

import drivetrain
from drivetrain.plugin import OptimizerPlugin, OptionsError, Plugin, SchedulerPlugin
from drivetrain_registry import (
    AmbiguousNameError,
    BrokenPluginError,
    DottedPathError,
    Entry,
    Registry,
    UnknownNameError,
    WrongKindError,
)


@pytest.fixture
def mymodule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of a user's own, not packaged."""
    (tmp_path / "mymodule.py").write_text(
        """
import torch
from torch.optim.lr_scheduler import LambdaLR

class Plain(torch.optim.SGD):
    def __init__(self, params, lr=0.1, momentum=0.0, eps=1.0, weight_decay=0.0):
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)
        self.eps = eps

def halves(optimizer, num_training_steps, factor=0.5):
    return LambdaLR(optimizer, lambda step: factor if step >= num_training_steps // 2 else 1.0)

number = 3
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mymodule", None)


def rates_of(trainer: drivetrain.Trainer) -> list[float]:
    return [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]


@pytest.mark.usefixtures("mymodule")
def test_an_optimizer_class_and_a_schedule_function_are_named_by_their_dotted_paths() -> None:
    trainer = make_trainer(
        optim="mymodule.Plain",
        optim_args="momentum=0.5",
        lr_scheduler_type="mymodule.halves",
        lr_scheduler_kwargs={"factor": 0.25},
        adam_epsilon=0.125,
        learning_rate=0.1,
    )
    trainer.train()
    assert type(trainer.optimizer).__name__ == "Plain"
    assert trainer.optimizer.param_groups[0]["momentum"] == 0.5
    assert trainer.optimizer.eps == 0.125  # type: ignore[attr-defined]
    assert rates_of(trainer) == pytest.approx([0.1] * 3 + [0.025] * 3)


@pytest.mark.usefixtures("mymodule")
def test_options_of_a_class_of_ones_own_are_checked_against_its_constructor() -> None:
    with pytest.raises(OptionsError, match=r"`optim_args`: 'momentun' .*Did you mean 'momentum'"):
        make_args(optim="mymodule.Plain", optim_args="momentun=0.5")


@pytest.mark.usefixtures("mymodule")
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"optim": "mymodule.Plane"}, DottedPathError, "Did you mean 'mymodule.Plain'"),
        ({"optim": "nomodule.Plain"}, DottedPathError, "No module named 'nomodule'"),
        (
            {"optim": "mymodule.number"},
            WrongKindError,
            r"leads to 3, which is no optimizer.*OptimizerPlugin",
        ),
        ({"lr_scheduler_type": "mymodule.Plain"}, WrongKindError, "which is no scheduler"),
        (
            {"optim": "cosine"},
            UnknownNameError,
            r"It is the name of a scheduler: `lr_scheduler_type`='cosine'",
        ),
        ({"plugins": ["nothing"]}, UnknownNameError, r"`plugins`: 'nothing' is not installed"),
        ({"report_to": "tensorbord"}, UnknownNameError, r"`report_to`: 'tensorbord' .*'tensorboard'"),
        ({"precision": "fp8"}, UnknownNameError, r"`precision`: 'fp8' is not installed"),
        ({"strategy": "tripple"}, UnknownNameError, r"`strategy`: 'tripple' is not installed"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_when_the_arguments_are_made(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_args(**arguments)


def test_several_processes_need_a_strategy_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UnknownNameError, match=r"`strategy`: 'ddp' is not installed"):
        make_args()


def test_registering_in_a_script_is_as_good_as_a_plugin() -> None:
    class Slow(OptimizerPlugin):
        def build(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
            return torch.optim.SGD, {"lr": self.args.learning_rate / 10}

    class Falling(SchedulerPlugin):
        def create(self, optimizer: Any, num_warmup_steps: int, num_training_steps: int) -> Any:
            return LambdaLR(optimizer, lambda step: 1 - step / num_training_steps)

    drivetrain.register("optimizer", "slow", Slow)
    drivetrain.register("scheduler", "falling", Falling)
    trainer = make_trainer(optim="slow", lr_scheduler_type="falling", learning_rate=0.6)
    trainer.train()
    assert rates_of(trainer) == pytest.approx([0.06, 0.05, 0.04, 0.03, 0.02, 0.01])


def test_a_schedule_of_ones_own_may_go_by_the_metric() -> None:
    class Shrinking(SchedulerPlugin):
        steps_on_metric = True

        def create(self, optimizer: Any, num_warmup_steps: int, num_training_steps: int) -> Any:
            class Schedule(LambdaLR):
                def step(self, metric: float | None = None) -> None:  # type: ignore[override]
                    if metric is not None:
                        metrics.append(metric)
                    super().step()

            return Schedule(optimizer, lambda epoch: 0.5**epoch)

    metrics: list[float] = []
    drivetrain.register("scheduler", "shrinking", Shrinking)
    trainer = make_trainer(
        lr_scheduler_type="shrinking", eval_strategy="steps", eval_steps=2, learning_rate=0.8
    )
    trainer.train()
    assert rates_of(trainer) == pytest.approx([0.8, 0.8, 0.4, 0.4, 0.2, 0.2])
    assert metrics == [e["eval_loss"] for e in trainer.state.log_history if "eval_loss" in e]


@pytest.mark.parametrize(
    ("optim_args", "message"),
    [
        ("betas=(0.9, 0.95), foreach=False", None),
        ({"amsgrad": True}, None),
        (
            "rnk=64",
            r"`optim_args`: 'rnk' is no option of 'adamw_torch' \(drivetrain-torch .*\).*Options: .*betas",
        ),
        ("betas=0.9", r"`optim_args`: betas=0.9 is no"),
        ("amsgrad", r"`optim_args`: 'amsgrad' cannot be read. Write key=value"),
    ],
)
def test_options_of_the_default_optimizer_are_honoured_or_refused(
    optim_args: Any, message: str | None
) -> None:
    if message is not None:
        with pytest.raises(OptionsError, match=message):
            make_args(optim_args=optim_args)
        return
    group = make_trainer(optim_args=optim_args).create_optimizer().param_groups[0]
    assert group["betas"] == ((0.9, 0.95) if "betas" in optim_args else (0.9, 0.999))
    assert group["amsgrad"] is ("amsgrad" in optim_args)


def test_arguments_changed_after_they_were_made_take_effect() -> None:
    trainer = make_trainer()
    trainer.args.optim = "sgd"
    trainer.args.optim_args = "momentum=0.5"
    trainer.args.lr_scheduler_type = "constant"
    trainer.train()
    assert isinstance(trainer.optimizer, torch.optim.SGD)
    assert len(set(rates_of(trainer))) == 1


def test_what_an_optimizer_cannot_be_combined_with_is_refused() -> None:
    class Greedy(OptimizerPlugin):
        cannot = {
            "gradient_accumulation": "it steps inside the backward pass",
            "gradient_clipping": "no gradient is left to clip",
            "fp16": "its step cannot be left out",
        }

        def build(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
            return torch.optim.SGD, {"lr": self.args.learning_rate}

    drivetrain.register("optimizer", "greedy", Greedy)
    with pytest.raises(drivetrain.ArgumentsError) as caught:
        make_args(optim="greedy", gradient_accumulation_steps=2, max_grad_norm=0.5, fp16=True)
    assert [problem.split("`")[1] for problem in caught.value.problems] == [
        "gradient_accumulation_steps",
        "max_grad_norm",
        "fp16",
    ]
    assert "`optim`='greedy': it steps inside the backward pass" in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_args(optim="nothing"),
        lambda: make_args(optim_args="nothing=1"),
        lambda: make_args(learning_rate=-1, seed=-1),
        lambda: drivetrain.Trainer(args=make_args()),
        lambda: make_trainer().train(resume_from_checkpoint=True),
        lambda: make_trainer(optim="galore_adamw", optim_target_modules="nowhere").train(),
    ],
    ids=["name", "option", "values", "model", "checkpoint", "target modules"],
)
def test_whatever_is_asked_for_wrongly_is_one_kind_of_error(make: Any) -> None:
    with pytest.raises(drivetrain.UsageError, match=r"`\w+`: "):
        make()


@pytest.mark.parametrize("method", ["__init__", "problems"])
def test_a_plugin_that_raises_while_it_is_checked_is_named_and_there_is_no_traceback_to_read(
    method: str,
) -> None:
    class Failing(Plugin):
        pass

    def fail(self: Any, *args: Any) -> None:
        raise ZeroDivisionError("oh")

    setattr(Failing, method, fail)
    drivetrain.register("plugin", "failing", Failing)
    with pytest.raises(
        BrokenPluginError, match=rf"'failing' .*whose `{method}` raised ZeroDivisionError: oh"
    ):
        make_args(plugins=["failing"])


def test_a_stranger_that_claims_a_default_name_breaks_only_runs_that_type_it(
    monkeypatch: pytest.MonkeyPatch, our_entries: list[Entry]
) -> None:
    claims = [
        Entry(entry.kind, entry.name, "nowhere:Nothing", "drivetrain-stranger", "1.0")
        for entry in our_entries
        if entry.name in ("adamw_torch", "linear", "no", "single", "muon")
    ]
    monkeypatch.setattr("drivetrain_registry.registry._default", Registry([*our_entries, *claims]))
    assert make_trainer().train().global_step == 6
    with pytest.raises(
        AmbiguousNameError, match=r"'muon' is provided by 2 distributions.*drivetrain-stranger 1.0"
    ):
        make_args(optim="muon")
    assert make_args(optim="drivetrain-torch:muon").optim == "drivetrain-torch:muon"


def test_declarations_of_an_optimizer_that_mean_nothing_are_refused() -> None:
    with pytest.raises(TypeError, match=r"`cannot` of A names fp17; known are gradient_accumulation"):

        class A(OptimizerPlugin):
            cannot = {"fp17": "x"}  # type: ignore[dict-item]

    with pytest.raises(TypeError, match="`unused_arguments` of B is a text"):

        class B(OptimizerPlugin):
            unused_arguments = "adam_beta1"  # type: ignore[assignment]

    class C(OptimizerPlugin):
        unused_arguments = ("adam_betta",)

        def build(self) -> Any: ...

    drivetrain.register("optimizer", "c", C)
    with pytest.raises(
        BrokenPluginError, match=r"whose `warnings` raised AttributeError: 'adam_betta' is no argument"
    ):
        make_args(optim="c")


def test_plugins_may_be_one_name_and_none_twice() -> None:
    class Quiet(Plugin):
        pass

    drivetrain.register("plugin", "quiet", Quiet)
    assert make_args(plugins="quiet").plugins == ["quiet"]
    assert make_args(plugins=None).plugins == []
    with pytest.raises(
        drivetrain.ArgumentsError, match="`plugins`: 'quiet' stands there more than once"
    ):
        make_args(plugins=["quiet", "quiet"])


def test_a_plugin_without_its_required_method_is_refused() -> None:
    class Empty(OptimizerPlugin):
        pass

    drivetrain.register("optimizer", "empty", Empty)
    with pytest.raises(
        BrokenPluginError, match=r"leads to Empty, which is not complete.*implement `build`"
    ):
        make_args(optim="empty")


def test_clipping_by_default_is_no_error_for_an_optimizer_that_cannot_but_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Greedy(OptimizerPlugin):
        cannot = {"gradient_clipping": "no gradient is left to clip"}

        def build(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
            return torch.optim.SGD, {"lr": self.args.learning_rate}

    drivetrain.register("optimizer", "greedy", Greedy)
    trainer = make_trainer(optim="greedy")
    assert "gradients are not clipped to the default of 1.0" in caplog.text
    trainer.train()
    assert all("grad_norm" not in entry for entry in trainer.state.log_history)


def test_an_optimizer_that_sorts_parameters_says_so_to_those_who_build_it_themselves() -> None:
    args = make_args(optim="muon")
    with pytest.raises(ValueError, match=r"`optim`: 'muon' sorts .* no model was given"):
        drivetrain.Trainer.get_optimizer_cls_and_kwargs(args)
    cls, kwargs = drivetrain.Trainer.get_optimizer_cls_and_kwargs(args, make_net())
    assert sum(len(group["params"]) for group in kwargs["params"]) == 6
    cls(kwargs.pop("params"), **kwargs)
    cls, kwargs = drivetrain.Trainer.get_optimizer_cls_and_kwargs(make_args())
    assert (cls, kwargs["lr"]) == (torch.optim.AdamW, 1e-2)


@pytest.mark.parametrize("is_overridden", [False, True])
def test_what_it_gives_to_those_who_build_it_themselves_makes_the_same_optimizer(
    is_overridden: bool,
) -> None:
    class Asking(drivetrain.Trainer):
        @staticmethod
        def get_optimizer_cls_and_kwargs(args: Any, model: Any = None) -> Any:
            return drivetrain.Trainer.get_optimizer_cls_and_kwargs(args, model)

    def make(model: Any, cls: Any = drivetrain.Trainer, **given: Any) -> Any:
        return make_trainer(cls, model=model, optim="muon", **given)

    model, named = make_net(), make(make_net())
    named.train()
    taken = named.get_optimizer_cls_and_kwargs(named.args, model)
    by_hand = make(model, Asking) if is_overridden else make(model, optimizer_cls_and_kwargs=taken)
    by_hand.train()
    assert are_equal(weights_of(named), weights_of(by_hand))


def test_a_plugin_without_a_kind_of_its_own_may_have_problems_and_warnings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Picky(Plugin):
        def problems(self) -> list[str]:
            return ["`seed`: 13 is unlucky. Type seed=14."] if self.args.seed == 13 else []

        def warnings(self) -> list[str]:
            return ["`seed`: even seeds are dull."]

    drivetrain.register("plugin", "picky", Picky)
    with pytest.raises(drivetrain.ArgumentsError, match="`seed`: 13 is unlucky"):
        make_args(plugins=["picky"], seed=13)
    make_args(plugins=["picky"])
    assert caplog.text.count("even seeds are dull") == 1


def test_reporters_that_are_only_there_for_all_are_not_loaded_with_the_arguments() -> None:
    sys.modules.pop("drivetrain_tensorboard.reporter", None)
    make_args(report_to="all")
    assert "drivetrain_tensorboard.reporter" not in sys.modules


def test_a_batch_of_the_data_set_is_not_needed_to_find_a_wrong_name() -> None:
    with pytest.raises(UnknownNameError):
        drivetrain.Trainer(make_net(), make_args(optim="nothing"), train_dataset=make_samples())
