"""Which of MLflow's runs a run is reported to."""

from __future__ import annotations

import getpass
import logging
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from drivetrain.plugin import Run, UsageError
from drivetrain_mlflow.settings import Settings

logger = logging.getLogger(__name__)

PARENT = "mlflow.parentRunId"
MARK = "drivetrain.run"
"""The tag that a run is found by if a checkpoint was saved before MLflow had said what it is called."""

ERROR = "run/error"
"""The value, and the tag, that says which error ended a run."""

HAS_IMAGES = "mlflow.loggedImages"

_IMAGE_FILE = re.compile(r"images/(?P<name>.+)[+%]step[+%](?P<step>\d+)[+%]timestamp")


@dataclass(frozen=True)
class Joined:
    """A run in MLflow, and what is in it already.

    Attributes:
        run_id: Its identity.
        experiment_id: That of its experiment.
        is_own: Whether its state is ours to set.
        is_new: Whether it was begun for this.
        parameters: Those that it has, which cannot be changed.
        steps: By name, the steps that were reported after the checkpoint that is resumed from.
        has_error: Whether it says which error ended an earlier part of this run.
    """

    run_id: str
    experiment_id: str
    is_own: bool
    is_new: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, set[int]] = field(default_factory=dict)
    has_error: bool = False


def find_run(client: Any, settings: Settings, run: Run) -> Any:
    """The run that the state of a checkpoint tells of, or None if it is not there."""
    known, mark = run.state.get("run_id"), run.state.get("mark")
    if known:
        found = _find_by_id(client, known)
        if found is None:
            logger.warning(
                "mlflow: the run %s at %s, which the checkpoint tells of, is not there: another is begun.",
                known,
                run.state.get("tracking_uri"),
            )
        return found
    if not mark:
        return None
    experiment_id = _find_experiment(client, settings, None)
    found = client.search_runs([experiment_id], f"tags.`{MARK}` = '{mark}'", max_results=1)
    return found[0] if found else None


def join(client: Any, found: Any, run: Run, is_own: bool) -> Joined:
    """Go on with a run that is there."""
    info, data = found.info, found.data
    is_resumed = info.run_id == run.state.get("run_id") or (
        MARK in data.tags and data.tags[MARK] == run.state.get("mark")
    )
    steps = _read_steps(client, found, run.start_step) if is_resumed else {}
    return Joined(
        info.run_id,
        info.experiment_id,
        is_own,
        parameters=data.params,
        steps=steps,
        has_error=is_resumed and ERROR in data.tags,
    )


def begin(client: Any, settings: Settings, run: Run, parent: Any, mark: str) -> Joined:
    """Begin a run, below another if there is one.

    Raises:
        UsageError: The experiment was deleted.
    """
    experiment_id = _find_experiment(client, settings, parent)
    tags = {**_source_tags(), MARK: mark}
    if parent is not None:
        tags[PARENT] = parent.info.run_id
    # MLflow would make up a name with the global random numbers, which are the training's.
    name = settings.run_name or run.name or "run"
    info = client.create_run(experiment_id, tags=tags, run_name=name).info
    return Joined(info.run_id, info.experiment_id, is_own=True, is_new=True)


def _find_by_id(client: Any, run_id: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return None if found.info.lifecycle_stage == "deleted" else found


def _find_experiment(client: Any, settings: Settings, parent: Any) -> str:
    if settings.experiment is not None:
        return _find_or_create(client, settings.experiment)
    if settings.experiment_id is not None:
        return settings.experiment_id
    if parent is not None:
        return str(parent.info.experiment_id)
    from mlflow.tracking.default_experiment import registry

    return registry.get_experiment_id() or "0"


def _find_or_create(client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = client.get_experiment_by_name(name)  # somebody was faster
    if experiment is None or experiment.lifecycle_stage == "deleted":
        raise UsageError(
            f"`report_to`: MLflow's experiment {name!r} was deleted. Type: mlflow experiments restore "
            "--experiment-id ID, or give another name in `project`."
        )
    return str(experiment.experiment_id)


def _source_tags() -> dict[str, str]:
    """What MLflow notes of who began a run, but for the commit, which it would ask git for."""
    tags = {"mlflow.source.name": sys.argv[0], "mlflow.source.type": "LOCAL"}
    with suppress(Exception):  # a process without a name for its user
        tags["mlflow.user"] = getpass.getuser()
    return {key: value for key, value in tags.items() if value}


def _read_steps(client: Any, found: Any, start_step: int) -> dict[str, set[int]]:
    last = {metric.key: metric.step for metric in found.data.to_proto().metrics}
    steps = {
        name: {point.step for point in client.get_metric_history(found.info.run_id, name)}
        for name, step in last.items()
        if step > start_step
    }
    if HAS_IMAGES in found.data.tags:
        for file in client.list_artifacts(found.info.run_id, "images"):
            if match := _IMAGE_FILE.match(file.path):
                name = re.sub("[~#]", "/", match["name"])
                steps.setdefault(name, set()).add(int(match["step"]))
    return {name: {step for step in taken if step > start_step} for name, taken in steps.items()}
