"""Callbacks: their order, and what they can do."""

from __future__ import annotations

from typing import Any

import pytest
from small import make_trainer

from drivetrain import (
    DefaultFlowCallback,
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
)


class Noting(TrainerCallback):
    """Notes its calls in a list that several may share."""

    def __init__(self, name: str = "", notes: list[str] | None = None) -> None:
        self.name = name
        self.notes = [] if notes is None else notes

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.notes.append(f"{self.name} {state.global_step}")


class Second(Noting):
    pass


class Third(Noting):
    pass


def test_callbacks_run_in_the_order_in_which_they_were_given() -> None:
    notes: list[str] = []
    callbacks = [Third("c", notes), Noting("a", notes), Second("b", notes)]
    make_trainer(callbacks=callbacks, max_steps=2).train()
    assert notes == ["c 1", "a 1", "b 1", "c 2", "a 2", "b 2"]


class StopByDict(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> dict[str, bool]:
        return {"should_training_stop": True} if state.global_step >= 3 else {}


class StopByControl(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> TrainerControl | None:
        return TrainerControl(should_training_stop=True) if state.global_step >= 3 else None


class StopInPlace(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= 3:
            control.should_training_stop = True


@pytest.mark.parametrize("callback", [StopByDict, StopByControl, StopInPlace])
def test_a_callback_may_return_a_dict_or_a_control_or_change_the_one_it_was_handed(
    callback: type[TrainerCallback],
) -> None:
    assert make_trainer(callbacks=[callback]).train().global_step == 3


def test_a_callback_sees_what_the_one_before_it_decided() -> None:
    seen: list[bool] = []

    class Look(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seen.append(control.should_training_stop)

    make_trainer(callbacks=[Look(), StopByControl(), Second()]).train()
    assert seen == [False, False, False]
    seen.clear()
    make_trainer(callbacks=[StopByControl(), Look()]).train()
    assert seen == [False, False, True]


def test_a_dict_with_a_key_that_is_no_switch_is_an_error_that_lists_them() -> None:
    class Wrong(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> dict[str, bool]:
            return {"should_stop": True}

    with pytest.raises(ValueError, match=r"on_step_end returned .*'should_stop'.*should_training_stop"):
        make_trainer(callbacks=[Wrong]).train()


def test_stopping_inside_an_update_leaves_it_undone() -> None:
    class StopInside(TrainerCallback):
        def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == 1

    trainer = make_trainer(callbacks=[StopInside], gradient_accumulation_steps=2)
    assert trainer.train().global_step == 1


def test_stopping_an_epoch_goes_on_with_the_next() -> None:
    class Skip(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_epoch_stop = state.global_step == 2

    trainer = make_trainer(callbacks=[Skip], num_train_epochs=2)
    assert trainer.train().global_step == 8
    assert trainer.state.epoch == 2


def test_callbacks_can_be_added_as_class_or_instance_and_taken_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainer = make_trainer()
    noting = Noting()
    trainer.add_callback(noting)
    trainer.add_callback(Second)
    assert trainer.pop_callback(Second).__class__ is Second  # type: ignore[comparison-overlap]
    assert trainer.pop_callback(Third) is None
    trainer.remove_callback(noting)
    assert [type(c) for c in trainer.callback_handler.callbacks] == [
        DefaultFlowCallback,
        PrinterCallback,
    ]
    trainer.add_callback(Second)
    trainer.add_callback(Second)
    assert "has one already" in caplog.text


def test_callbacks_get_what_the_trainer_works_with() -> None:
    got: dict[str, Any] = {}

    class Take(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            got.update(kwargs)

    trainer = make_trainer(callbacks=[Take], processing_class="a tokenizer", data_collator=_stack)
    trainer.train()
    assert got["model"] is trainer.model
    assert got["optimizer"] is trainer.optimizer
    assert got["lr_scheduler"] is trainer.lr_scheduler
    assert got["processing_class"] == "a tokenizer"
    assert len(got["train_dataloader"]) == 6


def _stack(features: list[dict[str, Any]]) -> dict[str, Any]:
    from drivetrain import default_data_collator

    return default_data_collator(features)


def test_a_subclass_of_the_handlers_published_methods_is_called_by_hand() -> None:
    """Published subclasses call ``self.callback_handler.on_evaluate(args, state, control, metrics)``."""
    seen: list[dict[str, float]] = []

    class Take(TrainerCallback):
        def on_evaluate(
            self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any
        ) -> None:
            seen.append(metrics)

    trainer = make_trainer(callbacks=[Take])
    control = trainer.callback_handler.on_evaluate(
        trainer.args, trainer.state, trainer.control, {"a": 1.0}
    )
    assert control is trainer.control
    assert seen == [{"a": 1.0}]


def test_early_stopping_stops_and_its_count_is_kept_in_checkpoints(tmp_path: Any) -> None:
    class Worse(Trainer):
        """Each evaluation is worse than the one before."""

        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            self.eval_dataset = []
            metrics = {"eval_loss": float(self.state.global_step)}
            self.control = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, metrics
            )
            return metrics

    trainer = make_trainer(
        Worse,
        output_dir=tmp_path,
        callbacks=[EarlyStoppingCallback(early_stopping_patience=2)],
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
    )
    assert trainer.train().global_step == 3
    kept = trainer.state.stateful_callbacks["EarlyStoppingCallback"]
    assert kept["attributes"] == {"early_stopping_patience_counter": 2}
    again = EarlyStoppingCallback.from_state(kept)
    assert isinstance(again, EarlyStoppingCallback)
    assert (again.early_stopping_patience, again.early_stopping_patience_counter) == (2, 2)


def test_early_stopping_counts_a_metric_that_is_never_a_number() -> None:
    class Nan(Trainer):
        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            metrics = {"eval_loss": float("nan")}
            self.control = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, metrics
            )
            return metrics

    options = {"eval_strategy": "steps", "eval_steps": 1, "metric_for_best_model": "loss"}
    assert make_trainer(Nan, callbacks=[EarlyStoppingCallback(2)], **options).train().global_step == 2


def test_early_stopping_without_evaluations_is_an_error() -> None:
    with pytest.raises(ValueError, match="EarlyStoppingCallback needs evaluations"):
        make_trainer(callbacks=[EarlyStoppingCallback]).train()


def test_logs_are_printed_where_progress_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    make_trainer(max_steps=2).train()
    printed = capsys.readouterr()
    assert printed.out.count("'loss'") == 2
    assert printed.err == ""
    trainer = make_trainer(max_steps=2, disable_tqdm=False)
    assert isinstance(trainer.callback_handler.callbacks[-1], ProgressCallback)
    trainer.train()
    shown = capsys.readouterr()
    assert shown.err.count(": loss ") == 2
    assert shown.out == ""


def test_bars_are_closed_when_training_fails(capsys: pytest.CaptureFixture[str]) -> None:
    class Fail(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            raise RuntimeError("boom")

    trainer = make_trainer(callbacks=[Fail], disable_tqdm=False)
    with pytest.raises(RuntimeError, match="boom"):
        trainer.train()
    assert trainer.callback_handler.callbacks[-1].training_bar is None  # type: ignore[attr-defined]
