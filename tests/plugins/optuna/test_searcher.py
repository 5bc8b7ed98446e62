"""Searches with Optuna itself: what it suggests, prunes and keeps."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from small import make_net, make_trainer

from drivetrain import BestRun, HPSearchBackend, Trainer, TrainerCallback, UsageError
from drivetrain.plugin import OptionsError


@pytest.fixture(autouse=True)
def quiet() -> Any:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def make_searching(**options: Any) -> Trainer:
    return make_trainer(**{"model_init": make_net, "eval_strategy": "epoch", **options})


def rates_and_batches(trial: Any) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_categorical("learning_rate", [1e-9, 0.1]),
        "per_device_train_batch_size": trial.suggest_categorical("per_device_train_batch_size", [4, 24]),
    }


def rates(trial: Any) -> dict[str, Any]:
    return {"learning_rate": trial.suggest_float("learning_rate", 1e-9, 0.1, log=True)}


def grid() -> Any:
    return optuna.samplers.GridSampler(
        {"learning_rate": [1e-9, 0.1], "per_device_train_batch_size": [4, 24]}, seed=0
    )


def in_memory() -> Any:
    return optuna.storages.InMemoryStorage()


def test_it_finds_the_better_of_what_can_be_tried() -> None:
    trainer = make_searching(num_train_epochs=2)
    before = dict(vars(trainer.args))
    best = trainer.hyperparameter_search(
        rates_and_batches,
        n_trials=4,
        backend="optuna",
        sampler=grid(),
        pruner=optuna.pruners.NopPruner(),
    )
    assert isinstance(best, BestRun)
    assert best.hyperparameters == {"learning_rate": 0.1, "per_device_train_batch_size": 4}
    assert vars(trainer.args) == before
    trainer.train(trial=best.hyperparameters)
    assert trainer.evaluate()["eval_loss"] == best.objective


@pytest.mark.parametrize("backend", [None, "optuna", HPSearchBackend.OPTUNA])
def test_it_is_the_default_and_tries_the_published_space(backend: Any) -> None:
    trainer = make_searching()
    best = trainer.hyperparameter_search(n_trials=1, backend=backend)
    assert isinstance(best, BestRun)
    assert set(best.hyperparameters) == {
        "learning_rate",
        "num_train_epochs",
        "seed",
        "per_device_train_batch_size",
    }
    assert 1e-6 <= best.hyperparameters["learning_rate"] <= 1e-4
    assert trainer.state.trial_params == best.hyperparameters
    assert trainer.state.num_train_epochs == best.hyperparameters["num_train_epochs"]


class StopAfterFirst(optuna.pruners.BasePruner):
    """Prunes every trial but the first at its first evaluation."""

    def prune(self, study: Any, trial: Any) -> bool:
        return bool(trial.number > 0)


def test_a_pruned_trial_stops_early_and_is_kept_as_one() -> None:
    steps, storage = [], in_memory()

    class Watching(TrainerCallback):
        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            steps.append(state.global_step)

    trainer = make_searching(num_train_epochs=3, callbacks=[Watching])
    best = trainer.hyperparameter_search(
        rates, n_trials=3, pruner=StopAfterFirst(), storage=storage, study_name="pruned"
    )
    assert steps == [18, 6, 6]
    trials = optuna.load_study(study_name="pruned", storage=storage).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert [list(trial.intermediate_values) for trial in trials] == [[6, 12, 18], [6], [6]]
    assert isinstance(best, BestRun)
    assert best.run_id == "0"


def test_optunas_own_pruner_stops_the_trial_that_falls_behind() -> None:
    storage = in_memory()
    make_searching(num_train_epochs=3).hyperparameter_search(
        lambda trial: {"learning_rate": trial.suggest_categorical("learning_rate", [0.05, 1e-9])},
        n_trials=2,
        sampler=optuna.samplers.GridSampler({"learning_rate": [0.05, 1e-9]}, seed=3),
        pruner=optuna.pruners.ThresholdPruner(upper=1.05),
        storage=storage,
        study_name="pruned",
    )
    trials = optuna.load_study(study_name="pruned", storage=storage).trials
    assert {t.params["learning_rate"]: t.state.name for t in trials} == {
        0.05: "COMPLETE",
        1e-9: "PRUNED",
    }


@pytest.mark.slow
def test_a_search_that_is_kept_in_a_file_goes_on_where_it_stopped(tmp_path: Path) -> None:
    kept: dict[str, Any] = {
        "storage": f"sqlite:///{tmp_path / 'search.db'}",
        "study_name": "kept",
        "load_if_exists": True,
    }
    make_searching(output_dir=tmp_path).hyperparameter_search(rates, n_trials=2, **kept)
    best = make_searching(output_dir=tmp_path).hyperparameter_search(rates, n_trials=2, **kept)
    study = optuna.load_study(study_name="kept", storage=kept["storage"])
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 4
    assert isinstance(best, BestRun)
    assert best.run_id == str(study.best_trial.number)
    assert {path.name for path in tmp_path.glob("run-*")} == {"run-0", "run-1", "run-2", "run-3"}


def test_a_study_that_is_there_already_is_not_taken_by_accident() -> None:
    kept: dict[str, Any] = {"storage": in_memory(), "study_name": "kept"}
    make_searching().hyperparameter_search(rates, n_trials=1, **kept)
    with pytest.raises(UsageError, match="`study_name`: 'kept' is in the storage.*load_if_exists=True"):
        make_searching().hyperparameter_search(rates, n_trials=1, **kept)
    with pytest.raises(UsageError, match="`direction`: 'maximize' is not that of the study 'kept'"):
        make_searching().hyperparameter_search(
            rates, n_trials=1, direction="maximize", load_if_exists=True, **kept
        )


def test_several_objectives_give_the_runs_that_none_beats_in_all() -> None:
    runs = make_searching().hyperparameter_search(
        lambda trial: {
            "learning_rate": trial.suggest_categorical("learning_rate", [1e-9, 0.1]),
            "max_steps": trial.suggest_categorical("max_steps", [2, 6]),
        },
        lambda metrics: [metrics["eval_loss"], metrics["epoch"]],
        n_trials=4,
        direction=["minimize", "minimize"],
        sampler=optuna.samplers.GridSampler({"learning_rate": [1e-9, 0.1], "max_steps": [2, 6]}, seed=0),
    )
    assert isinstance(runs, list)
    losses = [run.objective[0] for run in sorted(runs, key=lambda run: run.objective[1])]  # type: ignore
    assert losses == sorted(losses, reverse=True)
    assert all(run.hyperparameters["learning_rate"] == 0.1 for run in runs if run.objective[1] == 1.0)  # type: ignore
    assert 1 <= len(runs) <= 2


def test_a_trial_has_the_name_that_hp_name_gives_it(tmp_path: Path) -> None:
    names = []

    class Watching(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            names.append(state.trial_name)

    make_searching(
        output_dir=tmp_path, save_strategy="epoch", callbacks=[Watching]
    ).hyperparameter_search(rates, n_trials=2, hp_name=lambda trial: f"number-{trial.number}")
    assert names == ["number-0", "number-1"]
    assert (tmp_path / "number-1" / "checkpoint-6").is_dir()


def test_model_init_may_suggest_and_read_parameters_of_the_trial() -> None:
    dropouts = []

    def make_model(trial: Any) -> torch.nn.Module:
        if trial is None:
            return make_net()
        assert "seed" in trial.params
        dropouts.append(trial.suggest_float("dropout", 0.0, 0.5))
        return make_net(dropout=dropouts[-1])

    trainer = make_searching(model_init=make_model)
    best = trainer.hyperparameter_search(
        lambda trial: {"seed": trial.suggest_int("seed", 1, 3)}, n_trials=1
    )
    assert isinstance(best, BestRun)
    assert best.hyperparameters["dropout"] == dropouts[0]
    assert trainer.state.trial_params == best.hyperparameters


# -- failures -------------------------------------------------------------------------------------


class Failing(TrainerCallback):
    """Fails the second training."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.begun = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.begun += 1
        if self.begun == 2:
            raise self.error


@pytest.mark.parametrize("error", [RuntimeError("out of luck"), KeyboardInterrupt()])
def test_a_search_that_ends_early_keeps_and_tells_what_it_found(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    storage = in_memory()
    trainer = make_searching(callbacks=[Failing(error)])
    before = dict(vars(trainer.args))
    with caplog.at_level(logging.WARNING, "drivetrain_optuna"), pytest.raises(type(error)):
        trainer.hyperparameter_search(rates, n_trials=3, storage=storage, study_name="failed")
    assert vars(trainer.args) == before
    assert "after 1 completed trials. Best so far: trial 0: [" in caplog.text
    trials = optuna.load_study(study_name="failed", storage=storage).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL"]


def test_a_failure_that_is_caught_costs_its_trial_only() -> None:
    storage = in_memory()
    best = make_searching(callbacks=[Failing(RuntimeError("out of luck"))]).hyperparameter_search(
        rates, n_trials=3, storage=storage, study_name="failed", catch=RuntimeError
    )
    trials = optuna.load_study(study_name="failed", storage=storage).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert isinstance(best, BestRun)
    assert best.run_id in ("0", "2")


def test_a_search_without_a_completed_trial_says_so() -> None:
    class Always(optuna.pruners.BasePruner):
        def prune(self, study: Any, trial: Any) -> bool:
            return True

    with pytest.raises(UsageError, match=r"no trial was completed.*\(2 pruned\)"):
        make_searching().hyperparameter_search(rates, n_trials=2, pruner=Always())


# -- options --------------------------------------------------------------------------------------


def test_several_jobs_are_refused_with_what_to_do_instead() -> None:
    with pytest.raises(OptionsError, match="n_jobs=2 would train trials at once.*same storage"):
        make_searching().hyperparameter_search(rates, n_trials=2, n_jobs=2)


def test_an_option_that_optuna_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(OptionsError, match="'prunner' is no option of 'optuna'.*'pruner'.*storage: str"):
        make_searching().hyperparameter_search(rates, n_trials=2, prunner=None)


def test_callbacks_of_the_study_are_called_and_may_end_the_search() -> None:
    called = []

    def stop(study: Any, trial: Any) -> None:
        called.append(trial.number)
        study.stop()

    make_searching().hyperparameter_search(rates, n_trials=3, callbacks=[stop], gc_after_trial=True)
    assert called == [0]


def test_no_trial_is_begun_after_the_timeout() -> None:
    with pytest.raises(UsageError, match=r"no trial was completed.*\(none ran\).*longer `timeout`"):
        make_searching().hyperparameter_search(rates, n_trials=3, timeout=1e-9)


def test_the_same_seed_suggests_the_same() -> None:
    def search() -> Any:
        sampler = optuna.samplers.TPESampler(seed=5)
        return make_searching().hyperparameter_search(rates, n_trials=2, sampler=sampler)

    assert search() == search()


def test_ray_scope_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "drivetrain"):
        make_searching(ray_scope="all").hyperparameter_search(rates, n_trials=1)
    assert "`ray_scope`: 'all' has no effect with `backend`='optuna'" in caplog.text
