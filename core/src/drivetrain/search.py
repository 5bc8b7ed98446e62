"""Hyper-parameter search: trials on one trainer, chosen by the searcher that ``backend`` names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from drivetrain.arguments.choices import Choice
from drivetrain.parts import load_searcher, problems_of
from drivetrain.plugin.searcher import BestRun as BestRun
from drivetrain.plugin.searcher import Report, SearcherPlugin, TrialResult
from drivetrain.signatures import is_overridden
from drivetrain.trials import Metrics, TrialRun, run_applied
from drivetrain.trials import apply_trial as apply_trial
from drivetrain_registry import UsageError, default_registry
from drivetrain_registry.kinds import SEARCHER

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)

Objective = float | list[float]

_DIRECTIONS = ("minimize", "maximize")
_SPEED = ("_runtime", "_per_second", "_compilation_time", "_preparation_time")
_COUNTS = ("epoch", "num_input_tokens_seen", "eval_non_finite_losses")
_MEMORY = ("eval_mem_", "init_mem_", "before_init_mem_")


class HPSearchBackend(Choice):
    """Published searchers. Any other that is installed or registered can be named, too."""

    OPTUNA = "optuna"
    RAY = "ray"
    SIGOPT = "sigopt"
    WANDB = "wandb"


def default_compute_objective(metrics: Mapping[str, float]) -> float:
    """The loss, if an evaluation gave no other metric; else the sum of the others.

    Speed, memory and the epoch are no metrics in this sense.

    Args:
        metrics: What `Trainer.evaluate` returned.
    """
    judging = {
        name: value
        for name, value in metrics.items()
        if not (name in _COUNTS or name.endswith(_SPEED) or name.startswith(_MEMORY))
    }
    loss = judging.pop("eval_loss", None)
    if not judging and loss is None:
        raise UsageError(
            "`compute_objective`: the evaluation gave neither a loss nor a metric. Give the model labels, "
            "or Trainer a `compute_metrics`."
        )
    return sum(judging.values()) if judging or loss is None else loss


def default_hp_space_optuna(trial: Any) -> dict[str, Any]:
    """The published space: rate from 1e-6 to 1e-4, 1 to 5 epochs, seed, micro-batches of 4 to 64."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-4, log=True),
        "num_train_epochs": trial.suggest_int("num_train_epochs", 1, 5),
        "seed": trial.suggest_int("seed", 1, 40),
        "per_device_train_batch_size": trial.suggest_categorical(
            "per_device_train_batch_size", [4, 8, 16, 32, 64]
        ),
    }


def hyperparameter_search(
    trainer: Trainer,
    hp_space: Callable[[Any], Any] | None = None,
    compute_objective: Callable[[Metrics], Any] | None = None,
    n_trials: int = 100,
    direction: str | Sequence[str] = "minimize",
    backend: str | None = None,
    hp_name: Callable[[Any], str] | None = None,
    **kwargs: Any,
) -> BestRun | list[BestRun]:
    """Train with different hyper-parameters, and say which were best.

    The arguments are afterwards what they were before, also if a trial fails or the search is
    interrupted; the model is that of the last trial.

    Args:
        trainer: A trainer with a ``model_init``.
        hp_space: Makes hyper-parameters, in the form that the searcher documents; by default its own.
        compute_objective: From the metrics of an evaluation to a number, or to a list of them if
            there are several directions; by default `default_compute_objective`.
        n_trials: How many trials to run.
        direction: ``"minimize"`` or ``"maximize"``; a list of them if there are several objectives.
        backend: The searcher by name; by default one that is installed, Optuna first.
        hp_name: From a trial to its name, which its folder has instead of ``run-<id>``.
        **kwargs: Options of the searcher.

    Returns:
        The best run; with several objectives those that none is better than in all.

    Raises:
        UsageError: Something cannot work, in the call or in a trial.
    """
    directions = _read_directions(direction)
    _check_call(trainer, n_trials, directions, compute_objective)
    searcher = load_searcher(trainer.args, _choose_backend(backend), kwargs)
    _check_searcher(searcher)
    objective = compute_objective or default_compute_objective
    search = SearchOnTrainer(trainer, n_trials, directions, hp_space, objective, hp_name)
    return searcher.search(search)


@dataclass
class SearchOnTrainer:
    """A `drivetrain.plugin.Search` whose trials are trained one after the other by one trainer."""

    trainer: Trainer
    n_trials: int
    directions: tuple[str, ...]
    hp_space: Callable[[Any], Any] | None
    compute_objective: Callable[[Metrics], Any]
    hp_name: Callable[[Any], str] | None

    def run_trial(
        self, trial: Any, hyperparameters: Mapping[str, Any], run_id: str, report: Report | None = None
    ) -> TrialResult:
        """Train with these hyper-parameters and evaluate. See `drivetrain.plugin.Search`."""
        if not isinstance(hyperparameters, Mapping):
            raise UsageError(
                f"`hp_space`: it returned {hyperparameters!r}, and a trial needs a dict of hyper-parameters "
                'by name. Return {"learning_rate": ...}, say.'
            )
        assert report is None or len(self.directions) == 1, "only one objective can be reported"
        trainer, steps = self.trainer, set[int]()
        objective: Objective | None = None
        was_stopped = False

        def note(metrics: Metrics) -> None:
            nonlocal objective, was_stopped
            objective = self._objective_of(metrics)
            step = trainer.state.global_step
            if report is None or step in steps:  # searchers take one report for a step
                return
            steps.add(step)
            assert isinstance(objective, float)
            if report(objective, step):
                trainer.control.should_training_stop = was_stopped = True

        name = self._name_of(trial)
        run = TrialRun(trial, hyperparameters, name or f"run-{run_id}", name, note)
        with run_applied(trainer, run, option="hp_space"):
            trainer.train(trial=trial)
            if objective is None:
                objective = self._objective_of(trainer.evaluate())
        return TrialResult(objective, was_stopped)

    def _name_of(self, trial: Any) -> str | None:
        name = None if self.hp_name is None else self.hp_name(trial)
        if name is not None and (not isinstance(name, str) or not name):
            raise UsageError(f"`hp_name`: it returned {name!r}, and a name is a text. Return one.")
        return name

    def _objective_of(self, metrics: Metrics) -> Objective:
        try:
            computed = self.compute_objective(dict(metrics))
        except KeyError as error:
            raise UsageError(
                f"`compute_objective`: it asks for {error}, which the evaluation did not give. "
                f"Metrics: {', '.join(metrics)}."
            ) from error
        several = isinstance(computed, Sequence) and not isinstance(computed, str)
        values = [_as_number(value) for value in (computed if several else [computed])]
        if len(values) != len(self.directions):
            raise UsageError(
                f"`compute_objective`: it returned {computed!r}, and `direction` asks for "
                f"{len(self.directions)}: {', '.join(self.directions)}. Return as many numbers."
            )
        return values[0] if len(values) == 1 else values


def _as_number(value: Any) -> float:
    if getattr(value, "ndim", None) == 0:  # of torch or NumPy
        value = value.item()
    if not isinstance(value, Real):
        raise UsageError(f"`compute_objective`: it returned {value!r}, which is no number. Return one.")
    return float(value)


def _check_call(trainer: Trainer, n_trials: int, directions: Sequence[str], compute: Any) -> None:
    if trainer.model_init is None:
        raise UsageError(
            "`model_init`: a search makes a new model for each trial, and Trainer was given a `model`. "
            "Pass model_init=make_model in its place: a function that returns a new model."
        )
    if not isinstance(n_trials, int) or isinstance(n_trials, bool) or n_trials < 1:
        raise UsageError(
            f"`n_trials`: {n_trials!r} is no whole number from 1 up. Type n_trials=20, say."
        )
    if len(directions) > 1 and compute is None:
        raise UsageError(
            f"`compute_objective`: it is missing, and `direction` asks for {len(directions)} objectives. "
            "Pass a function from the metrics to a list of as many numbers."
        )
    if trainer.args.world_size > 1:
        raise UsageError(
            f"`hyperparameter_search`: a search runs in one process, and there are "
            f"{trainer.args.world_size}. Start the script with python, without a launcher."
        )
    _check_data(trainer)


def _check_data(trainer: Trainer) -> None:
    """Notice before the first trial that there is nothing to judge it by."""
    from drivetrain.trainer import Trainer

    if trainer.eval_dataset is None and not is_overridden(trainer, Trainer, "evaluate"):
        trainer.get_eval_dataloader()


def _check_searcher(searcher: SearcherPlugin) -> None:
    """Ask the searcher what stands against it, and what it does otherwise than one may expect."""
    problems = problems_of(searcher)
    if problems:
        raise UsageError(" ".join(problems))
    for warning in searcher.warnings():
        logger.warning(warning)


def _read_directions(direction: str | Sequence[str]) -> tuple[str, ...]:
    directions = (direction,) if isinstance(direction, str) else tuple(direction)
    for one in directions:
        if one not in _DIRECTIONS:
            raise UsageError(
                f"`direction`: {one!r} is none. Type direction='minimize' or direction='maximize'."
            )
    if not directions:
        raise UsageError("`direction`: it is empty. Type direction='minimize' or direction='maximize'.")
    return directions


def _choose_backend(backend: str | None) -> str:
    """The searcher that is named, or one that is installed, the published ones first."""
    if backend is not None:
        return backend.value if isinstance(backend, HPSearchBackend) else backend
    installed = default_registry().names(SEARCHER)
    preferred = [member.value for member in HPSearchBackend if member.value in installed]
    if not installed:
        raise UsageError("`backend`: no searcher is installed. Type: pip install drivetrain-optuna")
    return [*preferred, *installed][0]
