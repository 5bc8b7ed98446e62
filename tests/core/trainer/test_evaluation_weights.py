"""Optimizers with two sets of weights, to train and to use: which is where, and that training is exact."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from small import Net, are_equal, make_net, make_samples, make_trainer, weights_of
from torch import nn
from whole_runs import Run, differences, with_every_step

import drivetrain
from drivetrain import Trainer, TrainerCallback
from drivetrain.loop.interruption import Preempted
from drivetrain.plugin import OptimizerPlugin

Weights = dict[str, torch.Tensor]
SHARE = 0.3


class Anchored(torch.optim.SGD):
    """SGD whose weights to use lie a way back from those to train, towards where the run began.

    There and back again is not exact, and a step with the weights to use is an error.
    """

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr, momentum=0.9)
        for group in self.param_groups:
            group["is_in_use"] = True

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        for group in self.param_groups:
            assert not group["is_in_use"]
            for parameter in group["params"]:
                if "anchor" not in self.state[parameter]:
                    self.state[parameter]["anchor"] = parameter.detach().clone()
        return super().step(closure)

    def eval(self) -> None:
        self._switch(is_in_use=True, share=SHARE)

    def train(self) -> None:
        self._switch(is_in_use=False, share=-SHARE / (1 - SHARE))

    @torch.no_grad()
    def _switch(self, is_in_use: bool, share: float) -> None:
        for group in self.param_groups:
            for parameter in group["params"] if group["is_in_use"] != is_in_use else ():
                if "anchor" in self.state[parameter]:
                    parameter.lerp_(self.state[parameter]["anchor"], share)
            group["is_in_use"] = is_in_use


class Plugin(OptimizerPlugin):
    def build(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        return Anchored, {"lr": self.args.learning_rate}


class Witness(TrainerCallback):
    """Writes down the weights to train after each update, and from them those to use."""

    def __init__(self) -> None:
        self.start: Weights = {}
        self.trained: dict[int, Weights] = {}

    def on_step_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        if not self.start:
            self.start = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.trained[state.global_step] = weights

    def to_use(self, step: int) -> Weights:
        names = self.trained[step]
        return {name: torch.lerp(names[name], self.start[name], SHARE) for name in names}


class At(TrainerCallback):
    """Does something at an event, each time or after one update."""

    def __init__(self, event: str, act: Callable[[], Any], step: int | None = None) -> None:
        self.act = act
        self.step = step
        setattr(self, event, self.reach)

    def reach(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.step in (None, state.global_step):
            self.act()


@pytest.fixture(autouse=True)
def anchored() -> None:
    drivetrain.register("optimizer", "anchored", Plugin)


def make(folder: Path | str = "out", **options: Any) -> tuple[Trainer, Witness]:
    """A trainer of six updates with that optimizer, and who watches it.

    Without dropout: the loader of an evaluation draws a random number, which the next dropout would see.
    """
    witness = Witness()
    options.setdefault("model", make_net(dropout=0.0))
    callbacks = [witness, *options.pop("callbacks", [])]
    options = {"optim": "anchored", "learning_rate": 0.1, "callbacks": callbacks, **options}
    return make_trainer(output_dir=folder, **options), witness


def loss_with(weights: Weights, samples: list[dict[str, Any]]) -> float:
    """The loss of a whole data set, as an evaluation computes it."""
    net = Net().eval()
    net.load_state_dict(weights)
    x, labels = torch.stack([s["x"] for s in samples]), torch.tensor([s["labels"] for s in samples])
    with torch.no_grad():
        return float(net(x, labels)["loss"])


def losses_logged(trainer: Trainer) -> dict[int, float]:
    return {e["step"]: e["eval_loss"] for e in trainer.state.log_history if "eval_loss" in e}


# -- what training does -----------------------------------------------------------------------------


def often(**arguments: Any) -> dict[str, Any]:
    return {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_strategy": "steps",
        "save_steps": 1,
        **arguments,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        often(),
        often(async_save=True),
        often(save_strategy="no", eval_on_start=True),
        often(eval_strategy="no", save_only_model=True, save_total_limit=1),
        often(load_best_model_at_end=True),
        often(gradient_accumulation_steps=2),
        often(bf16=True),
        often(
            torch_empty_cache_steps=1,
            batch_eval_metrics=True,
            compute_metrics=lambda p, compute_result: {},
        ),
    ],
    ids=["both", "async", "evaluations", "saves", "best", "accumulation", "bf16", "by batch"],
)
def test_evaluating_and_saving_leave_no_trace_in_training(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    kept = {
        name: arguments[name] for name in ("gradient_accumulation_steps", "bf16") if name in arguments
    }
    undisturbed, alone = make(tmp_path / "alone", **kept)
    undisturbed.train()
    disturbed, watched = make(tmp_path / "often", **arguments)
    disturbed.train()
    assert watched.trained.keys() == alone.trained.keys() != set()
    assert all(are_equal(watched.trained[step], alone.trained[step]) for step in alone.trained)


@pytest.mark.slow
@pytest.mark.parametrize(
    "event", ["on_train_begin", "on_step_begin", "on_substep_end", "on_optimizer_step", "on_epoch_end"]
)
def test_a_callback_that_evaluates_predicts_and_saves_leaves_no_trace(
    event: str, tmp_path: Path
) -> None:
    def disturb() -> None:
        trainer.evaluate()
        trainer.predict(make_samples()[:5])
        trainer.save_model(tmp_path / "saved")
        trainer.evaluate({"one": make_samples()[:2], "two": make_samples()[:3]})

    arguments = {"gradient_accumulation_steps": 2, "num_train_epochs": 2}
    undisturbed, alone = make(tmp_path / "alone", **arguments)
    undisturbed.train()
    trainer, watched = make(tmp_path / "often", callbacks=[At(event, disturb)], **arguments)
    trainer.train()
    assert all(are_equal(watched.trained[step], alone.trained[step]) for step in alone.trained)
    assert are_equal(weights_of(trainer), weights_of(undisturbed))


def test_the_way_there_and_back_is_not_exact_by_itself() -> None:
    trainer, _ = make()
    trainer.train()
    before = weights_of(trainer)
    trainer.optimizer.train()  # type: ignore[attr-defined]
    trainer.optimizer.eval()  # type: ignore[attr-defined]
    assert not are_equal(weights_of(trainer), before)


# -- which weights are where ------------------------------------------------------------------------


def test_evaluations_of_the_loop_use_the_weights_to_use(tmp_path: Path) -> None:
    trainer, witness = make(tmp_path, eval_strategy="steps", eval_steps=2)
    trainer.train()
    losses = losses_logged(trainer)
    assert [*losses] == [2, 4, 6]
    for step, loss in losses.items():
        assert loss == pytest.approx(loss_with(witness.to_use(step), make_samples()[:10]), abs=1e-6)
        assert loss != pytest.approx(loss_with(witness.trained[step], make_samples()[:10]), abs=1e-4)


def test_an_evaluation_of_ones_own_and_those_who_hear_of_it_find_the_weights_to_use(
    tmp_path: Path,
) -> None:
    class Own(Trainer):
        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            seen.append(weights_of(self))
            metrics = {"eval_loss": 0.5}
            self.emit("on_evaluate", metrics=metrics)
            return metrics

    seen: list[Weights] = []
    witness = Witness()
    heard = At("on_evaluate", lambda: seen.append(weights_of(trainer)))
    options = {"model": make_net(dropout=0.0), "optim": "anchored", "learning_rate": 0.1}
    trainer = make_trainer(
        Own, output_dir=tmp_path, callbacks=[witness, heard], eval_strategy="epoch", **options
    )
    trainer.train()
    assert len(seen) == 2
    assert all(are_equal(weights, witness.to_use(6)) for weights in seen)


def test_predictions_of_a_callback_use_the_weights_to_use(tmp_path: Path) -> None:
    found: list[torch.Tensor] = []
    samples = make_samples()[:5]
    act = At("on_step_end", lambda: found.append(torch.tensor(trainer.predict(samples).predictions)), 3)
    trainer, witness = make(tmp_path, callbacks=[act])
    trainer.train()
    net = Net().eval()
    net.load_state_dict(witness.to_use(3))
    with torch.no_grad():
        expected = net(torch.stack([sample["x"] for sample in samples]))["logits"]
    torch.testing.assert_close(found[0], expected)


@pytest.mark.parametrize("arguments", [{}, {"async_save": True}, {"save_only_model": True}])
def test_checkpoints_hold_the_weights_to_use_and_beside_them_those_to_train(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    trainer, witness = make(tmp_path, save_strategy="steps", save_steps=2, **arguments)
    trainer.train()
    for step in (2, 4, 6):
        folder = tmp_path / f"checkpoint-{step}"
        assert are_equal(load_file(folder / "model.safetensors"), witness.to_use(step))
        training_weights = folder / "training_weights.pt"
        assert training_weights.is_file() is ("save_only_model" not in arguments)
        if training_weights.is_file():
            assert are_equal(torch.load(training_weights, weights_only=True), witness.trained[step])
            state = torch.load(folder / "optimizer.pt", weights_only=True)
            assert all(group["is_in_use"] for group in state["param_groups"])


def test_a_model_is_saved_with_the_weights_to_use_whoever_saves_it(tmp_path: Path) -> None:
    class Custom(Trainer):
        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            seen.append(weights_of(self))
            super()._save(output_dir, state_dict)

    seen: list[Weights] = []
    witness = Witness()
    save = At("on_step_end", lambda: trainer.save_model(tmp_path / "within"), 3)
    trainer = make_trainer(Custom, optim="anchored", learning_rate=0.1, callbacks=[witness, save])
    trainer.train()
    trainer.save_model(tmp_path / "after")
    assert are_equal(load_file(tmp_path / "within" / "model.safetensors"), witness.to_use(3))
    assert are_equal(load_file(tmp_path / "after" / "model.safetensors"), witness.to_use(6))
    assert are_equal(seen[0], witness.to_use(3))


def test_after_training_the_model_has_the_weights_to_use(tmp_path: Path) -> None:
    at_the_end: list[Weights] = []
    note = At("on_train_end", lambda: at_the_end.append(weights_of(trainer)))
    trainer, witness = make(tmp_path, callbacks=[note])
    trainer.train()
    assert are_equal(weights_of(trainer), witness.to_use(6))
    assert are_equal(at_the_end[0], witness.to_use(6))
    trainer.evaluate()
    trainer.predict(make_samples()[:3])
    assert are_equal(weights_of(trainer), witness.to_use(6))


def test_the_best_model_is_the_one_that_was_evaluated(tmp_path: Path) -> None:
    trainer, witness = make(
        tmp_path, **often(load_best_model_at_end=True, metric_for_best_model="loss", learning_rate=0.9)
    )
    trainer.train()
    losses = losses_logged(trainer)
    best = min(losses, key=lambda step: losses[step])
    assert trainer.state.best_global_step == best
    assert are_equal(weights_of(trainer), witness.to_use(best))
    assert trainer.evaluate()["eval_loss"] == losses[best]


def test_an_optimizer_with_one_set_of_weights_has_no_such_file(tmp_path: Path) -> None:
    make_trainer(output_dir=tmp_path, save_strategy="epoch").train()
    names = {file.name for file in (tmp_path / "checkpoint-6").iterdir()}
    assert "optimizer.pt" in names
    assert "training_weights.pt" not in names


def test_an_optimizer_that_the_trainer_is_given_is_switched_too(tmp_path: Path) -> None:
    net = make_net()
    witness = Witness()
    trainer = make_trainer(
        model=net,
        output_dir=tmp_path,
        optimizers=(Anchored(net.parameters(), lr=0.1), None),
        callbacks=[witness],
        **often(),
    )
    trainer.evaluate()
    trainer.train()
    assert are_equal(load_file(tmp_path / "checkpoint-4" / "model.safetensors"), witness.to_use(4))
    assert are_equal(weights_of(trainer), witness.to_use(6))


def test_weights_that_are_not_trained_stay_what_they_are(tmp_path: Path) -> None:
    net = make_net()
    net.inner.requires_grad_(False)
    before = net.inner.weight.clone()
    trainer, witness = make(tmp_path, model=net, **often())
    trainer.train()
    assert torch.equal(net.inner.weight, before)
    names = torch.load(tmp_path / "checkpoint-6" / "training_weights.pt", weights_only=True).keys()
    assert names == {name for name in witness.start if not name.startswith("inner")}


# -- going on ---------------------------------------------------------------------------------------


def make_half(seed: int) -> nn.Module:
    return make_net(seed).to(torch.bfloat16)


def few_half_samples() -> list[dict[str, Any]]:
    return [{**sample, "x": sample["x"].bfloat16()} for sample in make_samples(20)]


def make_lora(seed: int) -> Any:
    base = make_net()
    torch.manual_seed(seed)
    return get_peft_model(base, LoraConfig(r=2, target_modules=["inner", "outer"]))  # type: ignore[arg-type]


def run_of(**arguments: Any) -> dict[str, Any]:
    return with_every_step(optim="anchored", learning_rate=0.1, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    "run",
    [
        Run(run_of()),
        Run(run_of(eval_strategy="steps", eval_steps=1, async_save=True)),
        Run(run_of(gradient_accumulation_steps=2, per_device_train_batch_size=4, eval_strategy="epoch")),
        Run(run_of(bf16=True, eval_strategy="steps", eval_steps=2)),
        Run(run_of(eval_strategy="steps", eval_steps=1, load_best_model_at_end=True)),
        Run(run_of(), make_model=make_half, make_data=few_half_samples),
        Run(run_of(eval_strategy="steps", eval_steps=1), make_model=make_lora),
        Run({**run_of(), "model_init": lambda: make_net(3)}),
    ],
    ids=["plain", "async", "accumulation", "bf16", "best", "bf16 weights", "lora", "model_init"],
)
def test_a_resumed_run_is_the_uninterrupted_one_from_every_checkpoint(run: Run, tmp_path: Path) -> None:
    assert differences(run, tmp_path) == {}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGTERM"), reason="it has no such signal")
@pytest.mark.parametrize("event", ["on_step_end", "on_substep_end", "on_prediction_step"])
def test_a_run_that_is_preempted_goes_on_exactly(event: str, tmp_path: Path) -> None:
    arguments = {"gradient_accumulation_steps": 2, "num_train_epochs": 2, "eval_strategy": "epoch"}
    undisturbed, alone = make(tmp_path / "alone", **arguments)
    undisturbed.train()
    signalled = At(event, lambda: os.kill(os.getpid(), signal.SIGTERM), 3)
    first, _ = make(tmp_path / "run", callbacks=[signalled], **arguments)
    with pytest.raises(Preempted):
        first.train()
    second, watched = make(tmp_path / "run", model=make_net(99, dropout=0.0), **arguments)
    second.train(resume_from_checkpoint=True)
    assert max(watched.trained) == 6
    assert all(are_equal(watched.trained[step], alone.trained[step]) for step in watched.trained)
    assert are_equal(weights_of(second), weights_of(undisturbed))


def test_a_checkpoint_without_the_weights_to_train_goes_on_with_what_the_optimizer_makes_of_the_others(
    tmp_path: Path,
) -> None:
    whole, alone = make(tmp_path, save_strategy="steps", save_steps=3)
    whole.train()
    checkpoint = tmp_path / "checkpoint-3"
    for name in ("training_weights.pt", "manifest.json"):
        (checkpoint / name).unlink()
    trainer, watched = make(tmp_path / "on", model=make_net(99, dropout=0.0))
    trainer.train(resume_from_checkpoint=str(checkpoint))
    for name, value in alone.trained[6].items():
        torch.testing.assert_close(watched.trained[6][name], value, rtol=1e-5, atol=1e-6)


# -- runs that end otherwise ------------------------------------------------------------------------


def fail() -> None:
    raise ZeroDivisionError("oh")


@pytest.mark.parametrize("event", ["on_step_end", "on_prediction_step", "on_evaluate", "on_save"])
def test_a_run_that_fails_leaves_the_weights_to_use(event: str, tmp_path: Path) -> None:
    trainer, witness = make(tmp_path, callbacks=[At(event, fail, 3)], **often())
    with pytest.raises(ZeroDivisionError):
        trainer.train()
    assert are_equal(weights_of(trainer), witness.to_use(3))
    trainer.save_model(tmp_path / "saved")
    assert are_equal(load_file(tmp_path / "saved" / "model.safetensors"), witness.to_use(3))


def test_an_evaluation_that_fails_within_training_leaves_no_trace(tmp_path: Path) -> None:
    def evaluate() -> None:
        with pytest.raises(ZeroDivisionError):
            trainer.evaluate()

    def fail_here(prediction: Any) -> dict[str, float]:
        raise ZeroDivisionError

    undisturbed, alone = make(tmp_path / "alone")
    undisturbed.train()
    trainer, watched = make(
        tmp_path / "failing", callbacks=[At("on_step_end", evaluate)], compute_metrics=fail_here
    )
    trainer.train()
    assert all(are_equal(watched.trained[step], alone.trained[step]) for step in alone.trained)


def test_a_second_training_goes_on_from_the_weights_to_train(tmp_path: Path) -> None:
    trainer, witness = make(tmp_path, learning_rate=1e-30, lr_scheduler_type="constant")
    trainer.args.learning_rate = 0.1
    trainer.train()
    first = dict(witness.trained)
    begun: list[Weights] = []
    trainer.add_callback(At("on_step_begin", lambda: begun.append(weights_of(trainer)), 0))
    trainer.evaluate()
    trainer.train()
    for name, value in first[6].items():
        torch.testing.assert_close(begun[0][name], value, rtol=1e-5, atol=1e-6)
    assert are_equal(weights_of(trainer), witness.to_use(6))


@pytest.mark.slow
def test_an_attempt_with_a_smaller_batch_starts_as_the_run_did(tmp_path: Path) -> None:
    class Narrow(Trainer):
        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
            if len(inputs["labels"]) > 4 and self.state.global_step == 2:
                raise torch.OutOfMemoryError("out of memory")
            return super().training_step(model, inputs, num_items_in_batch)

    def run(size: int) -> Trainer:
        trainer = make_trainer(
            Narrow,
            output_dir=tmp_path / str(size),
            optim="anchored",
            per_device_train_batch_size=size,
            auto_find_batch_size=True,
            **often(),
        )
        trainer.train()
        return trainer

    narrow, wide = run(4), run(8)
    assert wide._train_batch_size == 4
    assert are_equal(weights_of(wide), weights_of(narrow))


def test_weights_put_in_by_a_hook_for_an_evaluation_are_on_top(tmp_path: Path) -> None:
    """A plugin that averages weights finds those to use in the model, and what it puts back is put away."""
    seen: list[Weights] = []

    class Looking(drivetrain.plugin.Plugin):
        @drivetrain.plugin.hookimpl
        def on_evaluation_begin(self, trainer: Trainer) -> None:
            seen.append(weights_of(trainer))
            for parameter in trainer.model.parameters():
                parameter.data.mul_(2)

        @drivetrain.plugin.hookimpl
        def on_evaluation_end(self, trainer: Trainer) -> None:
            for parameter in trainer.model.parameters():
                parameter.data.div_(2)

    drivetrain.register("plugin", "looking", Looking)
    trainer, witness = make(tmp_path, plugins=["looking"], eval_strategy="steps", eval_steps=3)
    trainer.train()
    assert are_equal(seen[0], witness.to_use(3))
    assert are_equal(weights_of(trainer), witness.to_use(6))


@pytest.fixture(autouse=True)
def signals_are_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) == before
