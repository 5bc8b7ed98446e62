"""A search whose trials Optuna suggests, keeps and prunes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import TrialState

import drivetrain
from drivetrain.plugin import BestRun, Search, SearcherPlugin, UsageError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OptunaOptions:
    """Options of `optuna.create_study` and `optuna.Study.optimize`, with their names and defaults."""

    sampler: BaseSampler | None = None
    pruner: BasePruner | None = None
    storage: str | BaseStorage | None = None
    study_name: str | None = None
    load_if_exists: bool = False
    timeout: float | None = None
    n_jobs: int = 1
    gc_after_trial: bool = False
    catch: tuple[type[Exception], ...] | type[Exception] = ()
    callbacks: list[Callable[..., None]] | None = None

    def __post_init__(self) -> None:
        if self.n_jobs != 1:
            raise ValueError(
                f"n_jobs={self.n_jobs} would train trials at once, and one trainer trains one at a time. "
                "To search with several processes, start the script several times with the same storage, "
                "study_name and load_if_exists=True."
            )


class Optuna(SearcherPlugin):
    """Hyper-parameter search with Optuna: its samplers, pruners and storages.

    ``hp_space`` takes an `optuna.Trial` and returns hyper-parameters by name. Where there is one
    objective, each evaluation in training is reported to the trial, and the pruner may stop it.
    """

    unused_arguments = ("ray_scope",)
    Options = OptunaOptions
    options: OptunaOptions

    def search(self, search: Search) -> BestRun | list[BestRun]:
        study = self._make_study(search)
        try:
            study.optimize(
                lambda trial: run_trial(search, trial),
                n_trials=search.n_trials,
                timeout=self.options.timeout,
                gc_after_trial=self.options.gc_after_trial,
                catch=self.options.catch,
                callbacks=self.options.callbacks,
            )
        except BaseException:
            _tell_best_so_far(study)
            raise
        return _choose_best(study)

    def _make_study(self, search: Search) -> optuna.Study:
        options = self.options
        try:
            study = optuna.create_study(
                sampler=options.sampler,
                pruner=options.pruner,
                storage=options.storage,
                study_name=options.study_name,
                load_if_exists=options.load_if_exists,
                directions=search.directions,
            )
        except optuna.exceptions.DuplicatedStudyError as error:
            raise UsageError(
                f"`study_name`: {options.study_name!r} is in the storage already. Type load_if_exists=True "
                "to go on with it, or choose another name."
            ) from error
        stored = tuple(direction.name.lower() for direction in study.directions)
        if stored != search.directions:
            raise UsageError(
                f"`direction`: {_show(search.directions)} is not that of the study "
                f"{study.study_name!r}, which is kept in the storage: {_show(stored)}. "
                "Give that one, or choose another `study_name`."
            )
        return study


def run_trial(search: Search, trial: optuna.Trial) -> float | list[float]:
    """Train with what a trial suggests, and return what it is judged by.

    Raises:
        optuna.TrialPruned: The pruner stopped it.
    """

    def report(objective: float, step: int) -> bool:
        trial.report(objective, step)
        return bool(trial.should_prune())

    space = search.hp_space or drivetrain.default_hp_space_optuna
    has_one_objective = len(search.directions) == 1  # Optuna takes no reports of several
    result = search.run_trial(
        trial, space(trial), str(trial.number), report if has_one_objective else None
    )
    if result.was_stopped:
        raise optuna.TrialPruned
    return result.objective


def _choose_best(study: optuna.Study) -> BestRun | list[BestRun]:
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        states = [trial.state.name.lower() for trial in study.get_trials(deepcopy=False)]
        counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
        raise UsageError(
            f"`hyperparameter_search`: no trial was completed, so that none is best ({counts or 'none ran'})."
            " The log says why each failed; give a longer `timeout` or another `pruner` if that is why."
        )
    if len(study.directions) == 1:
        return _as_run(study.best_trial)
    return [_as_run(trial) for trial in study.best_trials]


def _as_run(trial: optuna.trial.FrozenTrial) -> BestRun:
    objective = trial.values[0] if len(trial.values) == 1 else trial.values
    return BestRun(str(trial.number), objective, trial.params)


def _tell_best_so_far(study: optuna.Study) -> None:
    """A study that is kept in memory is gone with the exception: say what it found."""
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = study.best_trials if completed else []
    logger.warning(
        "The search ends early, after %d completed trials. Best so far: %s",
        len(completed),
        "; ".join(f"trial {t.number}: {t.values} with {t.params}" for t in best) or "none.",
    )


def _show(directions: tuple[str, ...]) -> str:
    return ", ".join(map(repr, directions))
