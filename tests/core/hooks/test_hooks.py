"""The hooks of a run: each is called when its documentation says, in order, and can do what it says."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from small import are_equal, make_args, make_net, make_samples, make_trainer, weights_of

from drivetrain import Trainer, TrainerCallback, UsageError, hookspecs, register
from drivetrain.callbacks.callback import EVENTS
from drivetrain.plugin import Plugin, ReporterPlugin, hookimpl

HOOKS = {
    name: spec
    for name, spec in vars(hookspecs).items()
    if inspect.isfunction(spec) and hasattr(spec, "drivetrain_spec")
}


def test_every_hook_is_documented() -> None:
    for name, spec in HOOKS.items():
        assert spec.__doc__, f"{name} has no docstring"
        assert len(spec.__doc__.split()) > 5, f"{name} hardly says anything"


def test_every_published_event_is_a_hook_and_a_method_of_callbacks() -> None:
    assert set(EVENTS) < set(HOOKS)
    for event in EVENTS:
        assert callable(getattr(TrainerCallback, event))


class Everything(Plugin):
    """Implements every hook, and notes the calls."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.calls: list[str] = []


def _noting(hook: str, parameters: list[str]) -> Any:
    namespace: dict[str, Any] = {}
    exec(f"def {hook}(self, {', '.join(parameters)}): self.calls.append({hook!r})", namespace)
    return hookimpl(namespace[hook])


for _name, _spec in HOOKS.items():
    setattr(Everything, _name, _noting(_name, list(inspect.signature(_spec).parameters)))


def test_every_hook_is_called_in_a_run_that_does_everything(tmp_path: Path) -> None:
    register("plugin", "everything", Everything)
    trainer = make_trainer(
        output_dir=tmp_path,
        plugins=["everything"],
        gradient_accumulation_steps=2,
        max_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        save_steps=1,
    )
    trainer.train()
    trainer.predict(make_samples(4))
    trainer.report({"a": 1.0})
    plugin = trainer.hooks.parts[-1]
    assert isinstance(plugin, Everything)
    assert set(HOOKS) - set(plugin.calls) == {"on_push_begin", "read_checkpoint", "on_stage_failed"}
    assert plugin.calls[:12] == [
        "on_init_end",
        "on_stage_begin",
        "alter_model",
        "alter_optimizer",
        "on_train_begin",
        "on_epoch_begin",
        "on_step_begin",
        "alter_batch",
        "alter_loss",
        "on_backward_begin",
        "on_backward_end",
        "on_substep_end",
    ]
    assert plugin.calls[12:22] == [
        "alter_batch",
        "alter_loss",
        "on_backward_begin",
        "on_backward_end",
        "on_pre_optimizer_step",
        "on_optimizer_step",
        "on_step_end",
        "alter_logs",
        "on_log",
        "write_checkpoint",
    ]
    first_look = plugin.calls.index("on_evaluation_begin")
    assert plugin.calls[first_look - 1] == "on_stage_begin"
    assert plugin.calls[first_look + 1 : first_look + 9] == [
        "on_prediction_step",
        "on_prediction_step",
        "on_evaluation_end",
        "on_stage_end",
        "alter_logs",
        "on_log",
        "on_evaluate",
        "on_metrics",
    ]
    plugin.calls.clear()
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert "read_checkpoint" in plugin.calls
    assert plugin.calls[-1] == "on_run_end"
    with pytest.raises(UsageError, match="a batch is empty"):
        trainer.predict([{"y": 1}])
    assert plugin.calls[-1] == "on_stage_failed"
    trainer.emit("on_push_begin")
    assert plugin.calls[-1] == "on_push_begin"


def test_parts_come_before_callbacks_and_plugins_in_the_order_given() -> None:
    order: list[str] = []

    class First(Plugin):
        @hookimpl
        def on_step_end(self) -> None:
            order.append(self.name)

    class Second(First):
        pass

    class Callback(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            order.append("callback")

    register("plugin", "first", First)
    register("plugin", "second", Second)
    make_trainer(plugins=["second", "first"], callbacks=[Callback], max_steps=1).train()
    assert order == ["second", "first", "callback"]


def test_a_plugin_steers_through_the_control_as_a_callback_does() -> None:
    class Stop(Plugin):
        @hookimpl
        def on_step_end(self, state: Any, control: Any) -> None:
            control.should_training_stop = state.global_step == 2

    register("plugin", "stop", Stop)
    assert make_trainer(plugins=["stop"]).train().global_step == 2


def test_model_batch_loss_and_optimizer_are_altered_by_one_plugin_after_the_other() -> None:
    class Doubling(Plugin):
        @hookimpl
        def alter_model(self, model: Any) -> Any:
            model.times = getattr(model, "times", 1) * 2
            return model

        @hookimpl
        def alter_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
            return {**batch, "x": batch["x"] * 0}

        @hookimpl
        def alter_loss(self, loss: torch.Tensor, outputs: dict[str, torch.Tensor]) -> torch.Tensor:
            assert outputs["logits"].shape[-1] == 3
            return loss * 2

        @hookimpl
        def alter_optimizer(self, optimizer: Any) -> None:
            optimizer.param_groups[0]["marked"] = True

    class AddingOne(Plugin):
        @hookimpl
        def alter_model(self, model: Any) -> Any:
            model.times = model.times + 1
            return model

        @hookimpl
        def alter_loss(self, loss: torch.Tensor) -> torch.Tensor:
            return loss + 1

    register("plugin", "doubling", Doubling)
    register("plugin", "adding", AddingOne)
    zeros = [{**sample, "x": sample["x"] * 0} for sample in make_samples()]
    plain = make_trainer(model=make_net(dropout=0.0), train_dataset=zeros, max_steps=1)
    altered = make_trainer(model=make_net(dropout=0.0), plugins=["doubling", "adding"], max_steps=1)
    plain.train()
    altered.train()
    assert altered.model.times == 3
    assert altered.optimizer.param_groups[0]["marked"]
    assert altered.state.log_history[0]["loss"] == pytest.approx(
        plain.state.log_history[0]["loss"] * 2 + 1
    )


def test_a_plugin_keeps_files_in_checkpoints_and_takes_them_back(tmp_path: Path) -> None:
    class Counting(Plugin):
        count = 0

        @hookimpl
        def on_step_end(self) -> None:
            self.count += 1

        @hookimpl
        def write_checkpoint(self, folder: Path) -> None:
            (folder / "count.txt").write_text(str(self.count))

        @hookimpl
        def read_checkpoint(self, folder: Path) -> None:
            self.count = int((folder / "count.txt").read_text())

    register("plugin", "counting", Counting)
    options: dict[str, Any] = {"output_dir": tmp_path, "plugins": ["counting"], "save_strategy": "steps"}
    make_trainer(**options, save_steps=4).train()
    assert (tmp_path / "checkpoint-4" / "count.txt").read_text() == "4"
    resumed = make_trainer(**options, save_steps=100)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert resumed.hooks.parts[-1].count == 6  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(None, "finished"), (RuntimeError, "failed"), (KeyboardInterrupt, "interrupted")],
)
def test_plugins_are_told_how_a_run_ended(error: type[BaseException] | None, outcome: str) -> None:
    told: list[tuple[str, Any]] = []

    class Ending(Plugin):
        @hookimpl
        def on_step_end(self) -> None:
            if error is not None:
                raise error("stop")

        @hookimpl
        def on_run_end(self, outcome: str, error: BaseException | None) -> None:
            told.append((outcome, type(error)))

    register("plugin", "ending", Ending)
    trainer = make_trainer(plugins=["ending"])
    if error is None:
        trainer.train()
    else:
        with pytest.raises(error):
            trainer.train()
    assert told == [(outcome, type(None) if error is None else error)]


def test_a_run_with_an_altered_model_resumes_and_each_model_is_altered_once(tmp_path: Path) -> None:
    class Adapter(Plugin):
        @hookimpl
        def alter_model(self, model: Any) -> Any:
            assert not hasattr(model, "extra")
            model.register_parameter("extra", torch.nn.Parameter(torch.zeros(1)))
            return torch.nn.ModuleDict({"inside": model})["inside"]

    class Wrapper(torch.nn.Module):
        def __init__(self, module: Any) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            return self.module(x, labels)

    class Wrapping(Plugin):
        @hookimpl
        def alter_model(self, model: Any) -> Any:
            return Wrapper(model)

    register("plugin", "adapter", Adapter)
    register("plugin", "wrapping", Wrapping)
    options: dict[str, Any] = {
        "output_dir": tmp_path,
        "plugins": ["adapter", "wrapping"],
        "save_strategy": "steps",
    }
    whole = make_trainer(**options, save_steps=3)
    whole.train()
    resumed = make_trainer(**options, save_steps=100)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert are_equal(weights_of(whole), weights_of(resumed))
    assert "module.inner.weight" in weights_of(resumed)
    resumed.train()
    assert "module.inner.weight" in weights_of(resumed)


def test_every_part_hears_how_the_run_ended_whatever_one_of_them_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []

    class Raising(Plugin):
        @hookimpl
        def on_step_end(self) -> None:
            if self.args.seed == 1:
                raise ValueError("first")

        @hookimpl
        def on_run_end(self) -> None:
            raise RuntimeError("second")

    class Listening(Plugin):
        @hookimpl
        def on_run_end(self, outcome: str) -> None:
            told.append(outcome)

    register("plugin", "raising", Raising)
    register("plugin", "listening", Listening)
    with pytest.raises(ValueError, match="first"):
        make_trainer(plugins=["raising", "listening"], seed=1).train()
    with pytest.raises(RuntimeError, match="second"):
        make_trainer(plugins=["raising", "listening"]).train()
    assert told == ["failed", "finished"]
    assert "Raising.on_run_end raised" in caplog.text


def test_reporters_and_callbacks_take_part_through_hooks_and_are_called_once() -> None:
    order: list[str] = []

    class Reporter(ReporterPlugin):
        def log(self, values: Any, step: int) -> None: ...

        @hookimpl
        def on_step_end(self) -> None:
            order.append("reporter")

    class Callback(TrainerCallback):
        @hookimpl
        def on_step_end(self, trainer: Any) -> None:  # type: ignore[override]
            order.append("hook of a callback")

    class Last(Plugin):
        @hookimpl
        def on_step_end(self) -> None:
            order.append("plugin")

    register("reporter", "reporter", Reporter)
    register("plugin", "last", Last)
    make_trainer(report_to="reporter", plugins=["last"], callbacks=[Callback], max_steps=1).train()
    assert order == ["plugin", "reporter", "hook of a callback"]
    with pytest.raises(UsageError, match="`callbacks`: Last is a plugin and no callback"):
        make_trainer(callbacks=[Last(make_args())])


def test_weights_can_be_swapped_around_an_evaluation_that_fails(tmp_path: Path) -> None:
    class Averaged(Plugin):
        @hookimpl
        def on_evaluation_begin(self, trainer: Trainer) -> None:
            self.kept = trainer.model.outer.weight.detach().clone()
            trainer.model.outer.weight.data.zero_()

        @hookimpl
        def on_evaluation_end(self, trainer: Trainer) -> None:
            trainer.model.outer.weight.data.copy_(self.kept)

    register("plugin", "averaged", Averaged)
    trainer = make_trainer(plugins=["averaged"])
    before = trainer.model.outer.weight.detach().clone()
    output = trainer.predict(make_samples(4))
    assert (output.predictions[0] == output.predictions[1]).all()
    with pytest.raises(UsageError):
        trainer.evaluate([{"nothing": 1}])
    assert torch.equal(trainer.model.outer.weight, before)


def test_a_misspelt_hook_is_an_error_that_names_the_nearest() -> None:
    class Misspelt(Plugin):
        @hookimpl
        def on_stepp_end(self) -> None: ...

    register("plugin", "misspelt", Misspelt)
    with pytest.raises(
        ValueError, match=r"Misspelt implements 'on_stepp_end' \(did you mean 'on_step_end'\?\)"
    ):
        make_trainer(plugins=["misspelt"])


def test_a_hook_with_a_parameter_that_there_is_not_is_an_error() -> None:
    class Wrong(Plugin):
        @hookimpl
        def on_step_end(self, step: int) -> None: ...

    register("plugin", "wrong", Wrong)
    with pytest.raises(ValueError, match=r"Wrong does not fit the hooks.*step"):
        make_trainer(plugins=["wrong"])


def test_a_wrapper_around_an_altering_hook_is_an_error_and_one_around_an_event_is_called() -> None:
    order: list[str] = []

    class Around(Plugin):
        @hookimpl(wrapper=True)
        def on_step_end(self) -> Any:
            order.append("before")
            yield
            order.append("after")

    class Wrong(Plugin):
        @hookimpl(wrapper=True)
        def alter_loss(self, loss: torch.Tensor) -> Any:
            yield

    register("plugin", "around", Around)
    register("plugin", "wrong", Wrong)
    make_trainer(plugins=["around"], max_steps=1).train()
    assert order == ["before", "after"]
    with pytest.raises(ValueError, match=r"Wrong.alter_loss is marked as a wrapper. Leave that out"):
        make_trainer(plugins=["wrong"])


class Counting(Plugin):
    """Adds to logs and to the metrics of stages."""

    @hookimpl
    def alter_logs(self, logs: dict[str, Any]) -> dict[str, Any]:
        return {**logs, "added": len(logs)}

    @hookimpl
    def on_stage_end(self, stage: str, metrics: dict[str, float]) -> None:
        metrics[f"{stage}_seen"] = 1.0


def test_plugins_add_to_logs_and_to_the_metrics_of_stages() -> None:
    register("plugin", "counting", Counting)
    trainer = make_trainer(plugins=["counting"], max_steps=2)
    assert trainer.train().metrics["train_seen"] == 1.0
    assert trainer.evaluate()["eval_seen"] == 1.0
    assert trainer.predict(make_samples(4)).metrics["test_seen"] == 1.0
    assert all("added" in entry for entry in trainer.state.log_history)
    assert trainer.state.log_history[-1]["eval_seen"] == 1.0


class Tripled(Plugin):
    """Makes every weight three times what it was, once."""

    @hookimpl
    def alter_model(self, model: torch.nn.Module) -> None:
        for parameter in model.parameters():
            parameter.data *= 3


def test_a_model_that_is_only_evaluated_is_altered_too_and_once() -> None:
    register("plugin", "tripled", Tripled)
    plain, tripled = make_trainer(), make_trainer(plugins=["tripled"])
    before = plain.evaluate()["eval_loss"]
    first = tripled.evaluate()["eval_loss"]
    assert first != before
    assert tripled.evaluate()["eval_loss"] == first
    assert torch.equal(tripled.model.outer.weight, plain.model.outer.weight * 3)


class Replaced(Plugin):
    """Puts another model in the place of the one that was given."""

    @hookimpl
    def alter_model(self, model: torch.nn.Module) -> torch.nn.Module:
        return make_net(seed=11)


def test_callbacks_see_the_model_that_a_plugin_put_in_its_place_before_an_evaluation() -> None:
    register("plugin", "replaced", Replaced)
    trainer = make_trainer(plugins=["replaced"])
    trainer.evaluate()
    assert trainer.callback_handler.model is trainer.model
    assert torch.equal(trainer.model.outer.weight, make_net(seed=11).outer.weight)
