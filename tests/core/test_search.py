"""A search from the trainer's side, with a searcher that any plugin could be."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from small import make_net, make_samples, make_trainer

from drivetrain import (
    ArgumentsError,
    BestRun,
    HPSearchBackend,
    Trainer,
    TrainerCallback,
    UsageError,
    default_compute_objective,
    register,
)
from drivetrain.plugin import OptionsError, Search, SearcherPlugin, StrategyPlugin


@dataclass(frozen=True)
class ListedOptions:
    limit: float | None = None


class Listed(SearcherPlugin):
    """Tries what ``hp_space`` lists; stops a trial at an evaluation above the limit."""

    Options = ListedOptions
    unused_arguments = ("ray_scope",)
    reports: list[tuple[float, int]] = []
    was_stopped: list[bool] = []

    def search(self, search: Search) -> BestRun | list[BestRun]:
        type(self).reports, type(self).was_stopped = [], []
        assert search.hp_space is not None
        runs = []
        for number, tried in enumerate(search.hp_space(None)[: search.n_trials]):
            report = self.report if len(search.directions) == 1 else None
            result = search.run_trial(tried, tried, str(number), report)
            self.was_stopped.append(result.was_stopped)
            runs.append(BestRun(str(number), result.objective, tried))
        if len(search.directions) > 1:
            return runs
        choose = min if search.directions == ("minimize",) else max
        return choose(runs, key=lambda run: run.objective)

    def report(self, objective: float, step: int) -> bool:
        self.reports.append((objective, step))
        return self.options.limit is not None and objective > self.options.limit


@pytest.fixture(autouse=True)
def listed(isolated_registry: object) -> None:
    register("searcher", "listed", Listed)


def space(*tried: dict[str, Any]) -> Callable[[Any], Any]:
    return lambda _: list(tried)


def search(trainer: Trainer, *tried: dict[str, Any], **options: Any) -> Any:
    return trainer.hyperparameter_search(space(*tried), backend="listed", **options)


def make_searching(**options: Any) -> Trainer:
    return make_trainer(**{"model_init": make_net, "eval_strategy": "epoch", **options})


def test_the_best_of_what_was_tried_is_found() -> None:
    best = search(make_searching(), {"learning_rate": 1e-9}, {"learning_rate": 0.1})
    assert isinstance(best, BestRun)
    assert (best.run_id, best.hyperparameters) == ("1", {"learning_rate": 0.1})
    worst = search(
        make_searching(), {"learning_rate": 1e-9}, {"learning_rate": 0.1}, direction="maximize"
    )
    assert worst.run_id == "0"
    assert worst.objective > best.objective


def test_a_trial_trains_as_a_trainer_with_these_arguments_does() -> None:
    searched = search(
        make_searching(), {"learning_rate": 0.03, "per_device_train_batch_size": 8, "seed": 3}
    )
    trainer = make_searching(learning_rate=0.03, per_device_train_batch_size=8, seed=3)
    trainer.train()
    assert searched.objective == trainer.state.log_history[-2]["eval_loss"]


def test_the_arguments_are_afterwards_what_they_were() -> None:
    trainer = make_searching()
    args, before = trainer.args, dict(vars(trainer.args))
    search(trainer, {"learning_rate": 0.5, "max_steps": 2, "lr_scheduler_type": "cosine"})
    assert trainer.args is args
    assert vars(args) == before


@pytest.mark.parametrize("error", [RuntimeError("out of luck"), KeyboardInterrupt()])
def test_they_are_so_too_if_a_trial_fails_or_is_interrupted(error: BaseException) -> None:
    class Failing(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            raise error

    trainer = make_searching(callbacks=[Failing])
    before, callbacks = dict(vars(trainer.args)), list(trainer.callback_handler.callbacks)
    with pytest.raises(type(error)):
        search(trainer, {"learning_rate": 0.5})
    assert vars(trainer.args) == before
    assert trainer.callback_handler.callbacks == callbacks
    trainer.remove_callback(Failing)
    trainer.train()
    assert trainer.state.is_hyper_param_search is False


def test_a_model_init_that_asks_gets_the_trial_and_reads_names_of_its_own_from_it() -> None:
    widths = []

    def make_model(trial: Any) -> torch.nn.Module:
        widths.append(None if trial is None else trial["width"])
        return make_net()

    search(make_searching(model_init=make_model), {"width": 3}, {"width": 4, "learning_rate": 0.1})
    assert widths == [None, 3, 4]


def test_the_state_says_that_it_is_a_trial_and_which() -> None:
    seen = []

    class Watching(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seen.append((state.is_hyper_param_search, state.trial_name, state.trial_params))

    trainer = make_searching(callbacks=[Watching])
    search(trainer, {"learning_rate": 0.1})
    search(trainer, {"learning_rate": 0.2}, hp_name=lambda trial: f"rate-{trial['learning_rate']}")
    assert seen == [(True, None, {"learning_rate": 0.1}), (True, "rate-0.2", {"learning_rate": 0.2})]


def test_each_trial_has_a_folder_of_its_own(tmp_path: Path) -> None:
    trainer = make_searching(output_dir=tmp_path, save_strategy="epoch", load_best_model_at_end=True)
    search(trainer, {"learning_rate": 0.1}, {"learning_rate": 0.2})
    search(trainer, {"learning_rate": 0.3}, hp_name=lambda trial: f"rate-{trial['learning_rate']}")
    checkpoints = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("**/checkpoint-*")}
    assert checkpoints == {
        "run-0/checkpoint-6",
        "run-1/checkpoint-6",
        "rate-0.3/checkpoint-6",
    }
    state = json.loads((tmp_path / "run-1/checkpoint-6/trainer_state.json").read_text())
    assert state["trial_params"] == {"learning_rate": 0.2}
    assert state["best_model_checkpoint"] == str(tmp_path / "run-1/checkpoint-6")


def test_each_trial_logs_to_a_folder_of_its_own(tmp_path: Path) -> None:
    trainer = make_searching(report_to="tensorboard", logging_dir=str(tmp_path))
    search(trainer, {"learning_rate": 0.1}, {"learning_rate": 0.2})
    assert {path.parent.name for path in tmp_path.glob("**/events.out*")} == {"run-0", "run-1"}


def test_evaluations_are_reported_once_each() -> None:
    trainer = make_searching(num_train_epochs=3)
    search(trainer, {"learning_rate": 0.1})
    evaluations = [logs for logs in trainer.state.log_history if "eval_loss" in logs]
    assert Listed.reports == [(logs["eval_loss"], logs["step"]) for logs in evaluations]
    assert len(Listed.reports) == 3


def test_a_searcher_can_stop_a_trial_early() -> None:
    ends = []

    class Watching(TrainerCallback):
        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            ends.append(state.global_step)

    trainer = make_searching(num_train_epochs=3, callbacks=[Watching])
    best = search(trainer, {"learning_rate": 1e-9}, {"learning_rate": 0.1}, limit=1.0)
    assert ends == [6, 18]
    assert Listed.was_stopped == [True, False]
    assert best.run_id == "1"


def test_evaluations_of_several_data_sets_are_one_report() -> None:
    samples = make_samples()
    trainer = make_searching(eval_dataset={"one": samples[:8], "two": samples[8:]}, num_train_epochs=2)
    best = search(
        trainer,
        {"learning_rate": 0.1},
        compute_objective=lambda metrics: metrics["eval_one_loss"] + metrics["eval_two_loss"],
    )
    assert [step for _, step in Listed.reports] == [6, 12]
    assert best.objective == Listed.reports[-1][0]


def test_evaluations_that_a_callback_makes_of_other_data_are_not_reported() -> None:
    class AlsoTraining(TrainerCallback):
        trainer: Trainer

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.trainer.evaluate(self.trainer.train_dataset, metric_key_prefix="train")

    callback = AlsoTraining()
    trainer = callback.trainer = make_searching(callbacks=[callback], num_train_epochs=2)
    search(trainer, {"learning_rate": 0.1})
    assert [step for _, step in Listed.reports] == [6, 12]


def test_a_trial_that_is_not_evaluated_while_it_trains_is_at_its_end() -> None:
    trainer = make_searching(eval_strategy="no")
    best = search(trainer, {"learning_rate": 0.1})
    assert Listed.reports == []
    assert best.objective == trainer.evaluate()["eval_loss"]


def test_several_objectives_give_several_runs() -> None:
    runs = search(
        make_searching(),
        {"learning_rate": 1e-9},
        {"learning_rate": 0.1},
        direction=["minimize", "maximize"],
        compute_objective=lambda metrics: [metrics["eval_loss"], metrics["epoch"]],
    )
    assert [run.run_id for run in runs] == ["0", "1"]
    assert runs[0].objective[0] > runs[1].objective[0]
    assert runs[0].objective[1] == 1.0


# -- a trial without a search ---------------------------------------------------------------------


def test_train_takes_a_dict_of_hyper_parameters_for_the_one_run() -> None:
    trainer, plain = make_searching(), make_searching(learning_rate=0.05)
    trainer.train(trial={"learning_rate": 0.05})
    plain.train()
    losses = [[logs.get("loss") for logs in t.state.log_history] for t in (trainer, plain)]
    assert losses[0] == losses[1]
    assert trainer.args.learning_rate == 1e-2
    assert trainer.state.trial_params == {"learning_rate": 0.05}


def test_train_takes_a_trial_with_params_and_a_number(tmp_path: Path) -> None:
    class Found:
        number = 5
        params = {"max_steps": 2}

    trainer = make_searching(output_dir=tmp_path, save_strategy="steps", save_steps=2)
    trainer.train(trial=Found())
    assert (tmp_path / "run-5" / "checkpoint-2").is_dir()
    assert trainer.args.output_dir == str(tmp_path)


def test_train_refuses_a_trial_that_is_none() -> None:
    with pytest.raises(UsageError, match=r"`trial`: 3 is neither a dict .*Type trial=\{'learning_rate'"):
        make_searching().train(trial=3)


# -- what cannot work -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tried", "message"),
    [
        ({"learning_rat": 0.1}, "`hp_space`: 'learning_rat' is no argument.*mean 'learning_rate'"),
        ({"learning_rate": "fast"}, "`hp_space`: learning_rate='fast' is no float"),
        ({"max_steps": 2.5}, "`hp_space`: max_steps=2.5 is no int"),
        ({"learning_rate": -1.0}, "`learning_rate`: -1.0 is no number from 0 up"),
        (
            {"optim": "adamw_troch"},
            "`optim`: 'adamw_troch' is not installed. Did you mean 'adamw_torch'",
        ),
        ({"bf16": True}, r"`hp_space`: 'bf16' is settled when the trainer is made.*bf16=\.\.\."),
        ({"output_dir": "x"}, "`hp_space`: 'output_dir' is settled"),
        ({"neftune_noise_alpha": 5.0}, "`hp_space`: 'neftune_noise_alpha' is settled"),
        (["learning_rate"], r"`hp_space`: it returned \['learning_rate'\].*needs a dict"),
    ],
)
def test_a_trial_that_cannot_work_is_refused_by_name(tried: Any, message: str) -> None:
    trainer = make_searching()
    before = dict(vars(trainer.args))
    with pytest.raises(UsageError, match=message):
        search(trainer, tried)
    assert vars(trainer.args) == before


def test_every_problem_of_a_trial_is_told() -> None:
    with pytest.raises(ArgumentsError) as caught:
        search(make_searching(), {"learning_rate": -1.0, "per_device_train_batch_size": 0})
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_trials": 0}, "`n_trials`: 0 is no whole number from 1 up"),
        ({"direction": "down"}, "`direction`: 'down' is none. Type direction='minimize'"),
        ({"direction": []}, "`direction`: it is empty"),
        ({"direction": ["minimize", "maximize"]}, "`compute_objective`: it is missing.* 2 objectives"),
        ({"compute_objective": lambda _: "good"}, "`compute_objective`: it returned 'good'"),
        ({"compute_objective": lambda _: [1.0, 2.0]}, r"`compute_objective`: it returned \[1.0, 2.0\]"),
        ({"compute_objective": lambda m: m["eval_f1"]}, "asks for 'eval_f1'.*Metrics: eval_loss"),
        ({"hp_name": lambda _: 3}, "`hp_name`: it returned 3, and a name is a text"),
    ],
)
def test_a_call_that_cannot_work_says_why(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        search(make_searching(), {"learning_rate": 0.1}, **options)


def test_an_option_that_the_searcher_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(OptionsError, match=r"'limt' is no option of 'listed'.*'limit'\? Options: limit"):
        search(make_searching(), {"learning_rate": 0.1}, limt=1.0)


def test_a_model_in_place_of_a_model_init_is_refused() -> None:
    with pytest.raises(UsageError, match="`model_init`: a search makes a new model for each trial"):
        search(make_trainer(eval_strategy="epoch"), {"learning_rate": 0.1})


def test_data_to_evaluate_on_is_asked_for_before_the_first_trial() -> None:
    trainer = make_searching(eval_strategy="no", eval_dataset=None)
    with pytest.raises(UsageError, match="`eval_dataset`: it is missing"):
        search(trainer, {"learning_rate": 0.1})
    assert trainer.state.global_step == 0


def test_a_search_in_several_processes_is_refused() -> None:
    class Two(StrategyPlugin):
        device = torch.device("cpu")
        world_size = 2

    register("strategy", "two", Two)
    with pytest.raises(UsageError, match="a search runs in one process, and there are 2. Start"):
        search(make_searching(strategy="two"), {"learning_rate": 0.1})


def test_an_argument_that_the_searcher_does_not_use_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "drivetrain"):
        search(make_searching(ray_scope="all"), {"learning_rate": 0.1})
    assert "`ray_scope`: 'all' has no effect with `backend`='listed'" in caplog.text


def test_a_searcher_that_is_not_there_is_told_with_what_to_type() -> None:
    with pytest.raises(UsageError, match="`backend`: 'ray' is not installed"):
        make_searching().hyperparameter_search(backend="ray")
    with pytest.raises(UsageError, match="`backend`: 'sigopt' is not installed"):
        make_searching().hyperparameter_search(backend=HPSearchBackend.SIGOPT)


def test_without_any_searcher_the_one_to_install_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from drivetrain_registry import Registry, default_registry

    others = [entry for entry in default_registry().entries() if entry.kind.name != "searcher"]
    trainer = make_searching()
    monkeypatch.setattr("drivetrain_registry.registry._default", Registry(others))
    with pytest.raises(
        UsageError, match="no searcher is installed. Type: pip install drivetrain-optuna"
    ):
        trainer.hyperparameter_search()


def test_without_a_name_a_published_searcher_comes_before_others(isolated_registry: Any) -> None:
    register("searcher", "a_searcher", Listed)
    register("searcher", "wandb", Listed)
    register("searcher", "optuna", Listed, replace=True)
    chosen = []

    class Telling(Listed):
        def search(self, search: Search) -> BestRun | list[BestRun]:
            chosen.append(self.name)
            return super().search(search)

    for name in ("a_searcher", "wandb", "optuna"):
        register("searcher", name, Telling, replace=True)
    make_searching().hyperparameter_search(space({"learning_rate": 0.1}))
    assert chosen == ["optuna"]


# -- the objective --------------------------------------------------------------------------------


def test_the_objective_is_the_loss_or_the_sum_of_the_other_metrics() -> None:
    cost = {
        "epoch": 2.0,
        "eval_runtime": 1.0,
        "eval_samples_per_second": 9.0,
        "eval_mem_cpu_alloc_delta": 512,
        "eval_loss": 0.5,
    }
    assert default_compute_objective(cost) == 0.5
    assert default_compute_objective({**cost, "eval_f1": 0.25, "eval_accuracy": 0.5}) == 0.75
    with pytest.raises(UsageError, match="`compute_objective`: .* neither a loss nor a metric"):
        default_compute_objective({"epoch": 2.0})


def test_the_objective_is_what_transformers_computes() -> None:
    from transformers.trainer_utils import default_compute_objective as theirs

    for metrics in ({"eval_loss": 0.5, "epoch": 1.0}, {"eval_loss": 0.5, "eval_f1": 0.2, "epoch": 1.0}):
        assert default_compute_objective(metrics) == theirs(metrics)
