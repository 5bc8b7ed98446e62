"""What a run in MLflow is to be like: options, then MLflow's environment variables, then arguments."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drivetrain.plugin import UsageError, find_unclear_switches, read_switch

if TYPE_CHECKING:
    from drivetrain import TrainingArguments

_DESCRIPTION = "mlflow.note.content"
"""The tag that MLflow's pages show as the description of a run."""

_NUMBERS = ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_MAX_LOG_PARAMS")
_SWITCHES = ("MLFLOW_NESTED_RUN", "MLFLOW_FLATTEN_PARAMS", "HF_MLFLOW_LOG_ARTIFACTS")


@dataclass(frozen=True)
class MLflowOptions:
    """Options of the reporters that send to MLflow."""

    tracking_uri: str | None = field(
        default=None,
        metadata={"help": "Where to send to: an address, or sqlite:///FILE. Else MLFLOW_TRACKING_URI."},
    )
    experiment: str | None = field(
        default=None, metadata={"help": "Name of the experiment. Else MLFLOW_EXPERIMENT_NAME."}
    )
    tags: dict[str, str] = field(
        default_factory=dict, metadata={"help": "Tags of the run, added to those in MLFLOW_TAGS."}
    )
    description: str | None = field(
        default=None, metadata={"help": "What the page of the run says of it, in Markdown."}
    )
    nested: bool | None = field(
        default=None,
        metadata={"help": "Begin a run below the one that is active. Else MLFLOW_NESTED_RUN."},
    )
    flatten_params: bool | None = field(
        default=None,
        metadata={"help": "Each entry of a dict is a parameter. Else MLFLOW_FLATTEN_PARAMS."},
    )
    max_params: int | None = field(
        default=None, metadata={"help": "The most parameters to send. Else MLFLOW_MAX_LOG_PARAMS."}
    )
    log_artifacts: bool | None = field(
        default=None,
        metadata={"help": "Upload checkpoints and the final model. Else HF_MLFLOW_LOG_ARTIFACTS."},
    )

    def __post_init__(self) -> None:
        if self.max_params is not None and self.max_params < 0:
            raise ValueError(f"max_params={self.max_params} is below 0. Type max_params=100, say.")


@dataclass(frozen=True)
class Settings:
    """What the options, the environment and the arguments say together.

    Attributes:
        tracking_uri: Where to send to; None: where MLflow sends to by itself.
        experiment: The experiment's name.
        experiment_id: Its identity, where no name is given.
        run_id: A run to go on with, rather than to begin one.
        run_name: The run's name, before the argument `run_name`.
        is_nested: Begin a run below the one that is active in the thread that trains.
        tags: The run's tags.
        flattens: Make a parameter of each entry of a dict.
        max_params: The most parameters to send.
    """

    tracking_uri: str | None
    experiment: str | None
    experiment_id: str | None
    run_id: str | None
    run_name: str | None
    is_nested: bool
    tags: Mapping[str, str]
    flattens: bool
    max_params: int | None


def read_settings(args: TrainingArguments, options: MLflowOptions) -> Settings:
    """The settings, as the environment is now.

    Raises:
        UsageError: MLFLOW_TAGS or a number in the environment cannot be read.
    """
    given_id = _variable("MLFLOW_EXPERIMENT_ID")
    named = options.experiment or _variable("MLFLOW_EXPERIMENT_NAME")
    description = {} if options.description is None else {_DESCRIPTION: options.description}
    return Settings(
        tracking_uri=options.tracking_uri,
        experiment=named or (None if given_id else args.project),
        experiment_id=None if named else given_id,
        run_id=_variable("MLFLOW_RUN_ID"),
        run_name=_variable("MLFLOW_RUN_NAME"),
        is_nested=choose(options.nested, "MLFLOW_NESTED_RUN"),
        tags={**_read_tags(), **options.tags, **description},
        flattens=choose(options.flatten_params, "MLFLOW_FLATTEN_PARAMS"),
        max_params=_read_number("MLFLOW_MAX_LOG_PARAMS")
        if options.max_params is None
        else options.max_params,
    )


def choose(option: bool | None, variable: str) -> bool:
    """The option if it was given, else whether the environment variable says yes."""
    return bool(read_switch(variable)) if option is None else option


def find_malformed_variables() -> Iterator[str]:
    """A message for each environment variable that cannot be read."""
    try:
        _read_tags()
    except UsageError as error:
        yield str(error)
    for name in _NUMBERS:
        try:
            _read_number(name)
        except UsageError as error:
            yield str(error)
    yield from find_unclear_switches(*_SWITCHES)


def _variable(name: str) -> str | None:
    return os.environ.get(name) or None


def _read_number(name: str) -> int | None:
    text = _variable(name)
    if text is not None and not text.isdecimal():
        raise UsageError(
            f"`report_to`: {name}={text!r} is no whole number. Type: export {name}=100, say."
        )
    return None if text is None else int(text)


def _read_tags() -> dict[str, str]:
    text = _variable("MLFLOW_TAGS")
    if text is None:
        return {}
    try:
        tags = json.loads(text)
    except ValueError:
        tags = None
    if not isinstance(tags, dict):
        raise UsageError(
            f"`report_to`: MLFLOW_TAGS={text!r} is no JSON object. "
            'Type: export MLFLOW_TAGS=\'{"team": "vision"}\', say.'
        )
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in tags.items()}
