"""A trial of a hyper-parameter search on a trainer: its arguments, its folder, and who listens to it."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import logging
import os
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from drivetrain.arguments import TrainingArguments
from drivetrain.arguments.devices import DeviceArguments
from drivetrain.arguments.distributed import DistributedArguments
from drivetrain.arguments.hub import HubArguments
from drivetrain.arguments.precision import PrecisionArguments
from drivetrain.callbacks.callback import TrainerCallback
from drivetrain.features import features_of
from drivetrain.hookspecs import hookimpl
from drivetrain.plugin.options import convert, show_type
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from torch import nn

    from drivetrain.state import TrainerState
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)

_MADE_ONCE = {
    "output_dir",
    "plugins",
    "report_to",
    "disable_tqdm",
    "label_names",
    "remove_unused_columns",
    "early_stopping_patience",
    "log_level",
    "log_level_replica",
    *(
        field.name
        for theme in (DeviceArguments, DistributedArguments, HubArguments, PrecisionArguments)
        for field in dataclasses.fields(theme)
    ),
}
"""Arguments that a trainer goes by when it is made, and not again at each `train`."""

_OF_OPTIMIZERS = (
    "optim",
    "optim_args",
    "learning_rate",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
)

Metrics = dict[str, float]


class TrialRun(TrainerCallback):
    """One trial while it is trained. It joins the run's hooks, through the trainer's callbacks.

    Args:
        trial: The searcher's object, or a dict, as `Trainer.train` gets it.
        hyperparameters: Arguments by name, and what ``model_init`` reads from the trial.
        folder: Where it writes, within the folders of the arguments; None for these themselves.
        name: What the state calls it, if it has a name.
        on_metrics: Called with the metrics of each evaluation of the run, those of all data sets.
    """

    def __init__(
        self,
        trial: Any,
        hyperparameters: Mapping[str, Any],
        folder: str | None = None,
        name: str | None = None,
        on_metrics: Callable[[Metrics], None] | None = None,
    ) -> None:
        self.trial = trial
        self.hyperparameters = hyperparameters
        self.folder = folder
        self.name = name
        self._on_metrics = on_metrics

    @hookimpl(tryfirst=True)
    def on_train_begin(self, state: TrainerState) -> None:  # type: ignore[override]  # a hook
        """Note the trial in the state. ``model_init`` may have added to its parameters by now."""
        state.is_hyper_param_search = True
        state.trial_name = self.name
        params = {**self.hyperparameters, **_params_of(self.trial)}
        state.trial_params = json.loads(json.dumps(params, default=str))

    @hookimpl
    def on_metrics(self, metrics: Metrics) -> None:
        """Hand on the metrics of an evaluation of the run."""
        if self._on_metrics is not None:
            self._on_metrics(metrics)


@contextmanager
def apply_trial(trainer: Trainer, trial: Any) -> Iterator[None]:
    """Give a trainer the arguments of a trial, until the context is left. Does nothing for None.

    Args:
        trainer: The trainer.
        trial: A dict of hyper-parameters, or an object that has one as ``params``; with a ``number``,
            too, the trial writes to ``output_dir/run-<number>``. The trial that a search is running
            has been applied by it already.

    Raises:
        UsageError: It has a name that is no argument and that nobody else reads, or a value that the
            argument cannot have.
    """
    if trial is None or _is_applied(trainer, trial):
        yield
        return
    if not isinstance(_raw_params(trial), Mapping):
        raise UsageError(
            f"`trial`: {trial!r} is neither a dict of hyper-parameters nor a trial that has one as "
            "`params`. Type trial={'learning_rate': 1e-4}, say."
        )
    number = getattr(trial, "number", None)
    folder = f"run-{number}" if isinstance(number, int) else None
    with run_applied(trainer, TrialRun(trial, _params_of(trial), folder), option="trial"):
        yield


@contextmanager
def run_applied(trainer: Trainer, run: TrialRun, *, option: str) -> Iterator[None]:
    """Set the arguments of a trial and let it listen; put the arguments back at the end.

    Args:
        trainer: The trainer.
        run: The trial.
        option: What the hyper-parameters came from, for messages.
    """
    args = trainer.args
    _refuse_own_optimizer(trainer, run.hyperparameters, option)
    before = dict(vars(args))
    trainer.forget_optimizer()
    try:
        features = [feature.argument for feature in features_of(args)]
        args.update(**read_hyperparameters(trainer, run.hyperparameters, option))
        _refuse_other_features(features, args, option)
        _write_to(run.folder, args)
        trainer.add_callback(run)
        yield
    finally:
        trainer.remove_callback(run)
        vars(args).clear()
        vars(args).update(before)
        trainer.forget_optimizer()


def _refuse_own_optimizer(trainer: Trainer, given: Mapping[str, Any], option: str) -> None:
    """An optimizer that was given to the trainer goes by its own settings."""
    names = [name for name in given if name in _OF_OPTIMIZERS]
    if names and trainer.was_given_optimizer:
        raise UsageError(
            f"`{option}`: {names[0]!r} has no effect on the optimizer that Trainer was given. "
            "Leave it out, or "
            "name the optimizer with `optim`."
        )


def read_hyperparameters(trainer: Trainer, given: Mapping[str, Any], option: str) -> dict[str, Any]:
    """Those hyper-parameters that are arguments, with the arguments' types.

    The others are for a ``model_init`` that takes the trial; where there is none, they are an error.

    Raises:
        UsageError: A name that nobody reads, an argument that no trial can change, or a wrong type.
    """
    hints = _types_of_arguments(type(trainer.args))
    arguments, others = {}, []
    for name, value in given.items():
        if name in _MADE_ONCE:
            raise UsageError(_explain_made_once(name, option))
        if name in hints:
            arguments[name] = _read_value(name, value, hints[name], option)
        elif trainer.model_init is not None and takes_trial(trainer.model_init):
            others.append(name)
        else:
            raise UsageError(_explain_unknown(name, hints, option))
    if others:
        logger.info("`%s`: %s: no arguments; for `model_init`.", option, ", ".join(map(repr, others)))
    return arguments


def takes_trial(model_init: Callable[..., nn.Module]) -> bool:
    """Whether a ``model_init`` asks for the trial.

    It does with a parameter that has no default, or that is called ``trial``.
    """
    first = next(iter(inspect.signature(model_init).parameters.values()), None)
    return first is not None and (first.default is first.empty or first.name == "trial")


def _refuse_other_features(before: list[str], args: TrainingArguments, option: str) -> None:
    """A feature that is on can be searched over, and none can be switched on or off by a trial."""
    switched = {feature.argument for feature in features_of(args)}.symmetric_difference(before)
    for name in sorted(switched):
        raise UsageError(_explain_made_once(name, option))


def _is_applied(trainer: Trainer, trial: Any) -> bool:
    callbacks = trainer.callback_handler.callbacks
    return any(isinstance(known, TrialRun) and known.trial is trial for known in callbacks)


def _raw_params(trial: Any) -> Any:
    return trial if isinstance(trial, Mapping) else getattr(trial, "params", None)


def _params_of(trial: Any) -> dict[str, Any]:
    params = _raw_params(trial)
    return dict(params) if isinstance(params, Mapping) else {}


def _write_to(folder: str | None, args: TrainingArguments) -> None:
    """Keep what a trial writes apart from the others: checkpoints, logs and the name for reporters."""
    if folder is None:
        return
    args.output_dir = os.path.join(args.output_dir, folder)
    args.run_name = f"{args.run_name}/{folder}"
    if args.logging_dir is not None:
        args.logging_dir = os.path.join(args.logging_dir, folder)
    if args.should_save:
        os.makedirs(args.output_dir, exist_ok=True)


def _types_of_arguments(cls: type[TrainingArguments]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _read_value(name: str, value: Any, hint: Any, option: str) -> Any:
    try:
        return convert(value, hint)
    except (TypeError, OverflowError):
        raise UsageError(
            f"`{option}`: {name}={value!r} is no {show_type(hint)}, which is what the argument takes. "
            f"Give one."
        ) from None


def _explain_made_once(name: str, option: str) -> str:
    return (
        f"`{option}`: {name!r} is settled when the trainer is made, and no trial can change it. "
        f"Leave it out, and type TrainingArguments(..., {name}=...)."
    )


def _explain_unknown(name: str, known: Mapping[str, Any], option: str) -> str:
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return (
        f"`{option}`: {name!r} is no argument of TrainingArguments, and `model_init` does not ask for the "
        f"trial.{hint} Give names of arguments, or let `model_init` take a parameter: the trial."
    )
