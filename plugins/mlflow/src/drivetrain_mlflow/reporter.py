"""Sends what a run logs to MLflow."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

from drivetrain.plugin import Image, Outcome, ReporterPlugin, Run, as_float, find_missing_library
from drivetrain_mlflow import library, runs
from drivetrain_mlflow.database import make_database
from drivetrain_mlflow.names import accepted_name, choose_parameters, file_name
from drivetrain_mlflow.settings import (
    MLflowOptions,
    Settings,
    choose,
    find_malformed_variables,
    read_settings,
)

if TYPE_CHECKING:
    from drivetrain import TrainingArguments

logger = logging.getLogger(__name__)

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_WITHOUT_SCHEME = ("databricks", "databricks-uc", "uc")
"""Addresses of services that look like the name of a folder."""

_PACKAGES = {"azureml": "azureml-mlflow"}
"""What keeps runs at addresses that MLflow alone does not know."""

_KNOWN_ADDRESSES = "export MLFLOW_TRACKING_URI=sqlite:///mlflow.db, or =http://HOST:PORT of a server."

_MOST_METRICS = 1000
"""In one request."""

_DIFFERENT_EACH_TIME = ("logging_dir",)
"""Parameters of which nobody wants to hear that they are others: by default they are named by the time."""

_given_runs: set[str] = set()
"""Those in MLFLOW_RUN_ID that were gone on with in this process: once, as MLflow itself does."""


class MLflow(ReporterPlugin):
    """Numbers as metrics, arguments as parameters, texts and pictures as artifacts of a run in MLflow.

    The run is the one in MLFLOW_RUN_ID, else the one that the user began in the thread that trains, else
    that of the checkpoint which is resumed, else a new one. It is not made MLflow's active run.
    """

    Options = MLflowOptions
    ends_given_run: ClassVar[bool] = True
    """Whether the state of the run in MLFLOW_RUN_ID is ours to set."""

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._client: Any = None
        self._active: Any = None
        self._joined: runs.Joined | None = None
        self._begun: runs.Joined | None = None
        self._mark = ""
        self._tracking_uri = ""
        self._times: dict[tuple[int, tuple[str, ...]], int] = {}
        self._said: set[str] = set()
        self._changed: set[str] = set()

    @property
    def takes_checkpoints(self) -> bool:  # type: ignore[override]
        """Where HF_MLFLOW_LOG_ARTIFACTS or the option says so."""
        return choose(self.options.log_artifacts, "HF_MLFLOW_LOG_ARTIFACTS")

    @property
    def takes_model(self) -> bool:  # type: ignore[override]
        """The same."""
        return self.takes_checkpoints

    def problems(self) -> Iterable[str]:
        """Say what is known without a network: MLflow itself, its variables, a store that it refuses."""
        yield from super().problems()
        if os.environ.get("DISABLE_MLFLOW_INTEGRATION", "").upper() == "TRUE":
            yield (
                f"`report_to`: {self.name!r} is switched off by DISABLE_MLFLOW_INTEGRATION. "
                "Type: unset DISABLE_MLFLOW_INTEGRATION, or leave the name out."
            )
        yield from find_missing_library(self.name, "mlflow", "'mlflow-skinny>=3.10' sqlalchemy alembic")
        yield from find_malformed_variables()
        yield from self._refuse_folder()
        yield from self._refuse_scheme()

    def prepare(self) -> None:
        """Look for a run that the user began, and mark what is reported from now on."""
        library.switch_off_telemetry()
        self._joined, self._mark = None, uuid.uuid4().hex
        self._active = library.find_active_run()

    def open(self, run: Run) -> None:
        """Begin a run or go on with one, and describe it."""
        self._mark = run.state.get("mark") or self._mark or uuid.uuid4().hex
        mlflow = library.load()
        settings = self.settings()
        make_database(settings.tracking_uri or mlflow.get_tracking_uri())
        self._client = mlflow.MlflowClient(settings.tracking_uri)
        self._tracking_uri = without_password(self._client.tracking_uri)
        self._joined = self._choose_run(run, settings)
        self.keep_known(run, chain.from_iterable(self._joined.steps.values()))
        self._describe(run, settings)
        if self._joined.is_own and not self._joined.is_new:
            self._client.update_run(self._joined.run_id, status="RUNNING")
        if self._joined.has_error:
            self._client.delete_tag(self._joined.run_id, runs.ERROR)
        self._begun = None
        logger.info("mlflow: reporting to the run %s at %s.", self._joined.run_id, self._tracking_uri)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Send numbers in one request, then texts and pictures."""
        # If this fails and is tried again, MLflow tells by the time that it has got a value already.
        call = (step, tuple(values))
        now = self._times.setdefault(call, _now())
        numbers = {
            name: number for name, value in values.items() if (number := as_float(value)) is not None
        }
        self._send_numbers(numbers, step, now)
        for name, value in values.items():
            if name not in numbers:
                self._send_other(name, value, step, now)
        del self._times[call]

    def log_checkpoint(self, folder: Path, step: int) -> None:
        """Upload it under its name."""
        self._client.log_artifacts(self._run_id, str(folder), folder.name)

    def log_model(self, folder: Path) -> None:
        """Upload it as ``model``."""
        self._client.log_artifacts(self._run_id, str(folder), "model")

    def close(self, outcome: Outcome) -> None:
        """Set how the run ended, unless it is the user's own."""
        joined = self._joined
        if joined is not None and joined.is_own:
            from mlflow.entities import RunStatus

            # `MlflowClient.set_terminated` prints.
            self._client._tracking_client.store.update_run_info(
                joined.run_id, RunStatus.from_string(_STATUS[outcome]), _now(), None
            )

    def state(self) -> Mapping[str, Any]:
        """The run's identity, as far as it is known, and where it is."""
        joined = self._joined
        if joined is None:
            return {"mark": self._mark} if self._mark else {}
        return {
            "mark": self._mark,
            "run_id": joined.run_id,
            "experiment_id": joined.experiment_id,
            "tracking_uri": self._tracking_uri,
            "is_own": joined.is_own,
        }

    def settings(self) -> Settings:
        """What options, environment and arguments say."""
        return read_settings(self.args, self.options)

    @property
    def _run_id(self) -> str:
        assert self._joined is not None, "`open` comes first"
        return self._joined.run_id

    def _choose_run(self, run: Run, settings: Settings) -> runs.Joined:
        client = self._client
        given = settings.run_id
        if given and (given not in _given_runs or given == run.state.get("run_id")):
            _given_runs.add(given)
            return runs.join(client, client.get_run(given), run, is_own=self.ends_given_run)
        active = self._active if settings.tracking_uri is None else None
        if active is not None and not settings.is_nested:
            return runs.join(client, client.get_run(active.info.run_id), run, is_own=False)
        if run.state and (found := runs.find_run(client, settings, run)):
            return runs.join(client, found, run, is_own=run.state.get("is_own", True))
        if self._begun is None:  # else it was begun, and something failed after that
            self._begun = runs.begin(client, settings, run, active, self._mark)
        return self._begun

    def _describe(self, run: Run, settings: Settings) -> None:
        """Send tags and parameters, a hundred of each in a request."""
        from mlflow.entities import Param, RunTag
        from mlflow.utils import validation

        parameters = self._fit(
            choose_parameters(run, settings.flattens), validation.MAX_PARAM_VAL_LENGTH
        )
        params = [Param(key, text) for key, text in list(parameters.items())[: settings.max_params]]
        tags = [RunTag(key, text) for key, text in {runs.MARK: self._mark, **settings.tags}.items()]
        size = validation.MAX_PARAMS_TAGS_PER_BATCH
        params = self._leave_out_known(params)
        for start in range(0, len(tags), size):
            self._client.log_batch(self._run_id, tags=tags[start : start + size])
        for start in range(0, len(params), size):
            self._client.log_batch(self._run_id, params=params[start : start + size])

    def _fit(self, parameters: dict[str, str], most: int) -> dict[str, str]:
        for name in [name for name, text in parameters.items() if len(text) > most]:
            self._warn_once(
                name,
                f"is cut to {most} characters, the most that MLflow takes. "
                "Type: export MLFLOW_FLATTEN_PARAMS=true, to send the entries of dicts one by one",
            )
        return {name: text[:most] for name, text in parameters.items()}

    def _leave_out_known(self, params: list[Any]) -> list[Any]:
        """Those that the run has not got, of which none can be changed."""
        assert self._joined is not None
        known = self._joined.parameters
        changed = [
            param.key
            for param in params
            if known.get(param.key, param.value) != param.value
            and param.key not in _DIFFERENT_EACH_TIME
            and param.key not in self._changed
        ]
        if changed:
            self._changed.update(changed)
            logger.warning(
                "%s: the run %s keeps the parameters that it has, which are others now: %s.",
                self.name,
                self._run_id,
                ", ".join(changed),
            )
        return [param for param in params if param.key not in known]

    def _send_numbers(self, numbers: Mapping[str, float], step: int, now: int) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(self._rename(name), number, now, step)
            for name, number in numbers.items()
            if not self._has_got(accepted_name(name), step)
        ]
        for start in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(
                self._run_id, metrics=metrics[start : start + _MOST_METRICS], synchronous=True
            )

    def _send_other(self, name: str, value: Any, step: int, now: int) -> None:
        if name == runs.ERROR:
            self._client.set_tag(self._run_id, name, str(value))
        elif isinstance(value, str):
            self._client.log_text(self._run_id, value, f"texts/{file_name(name)}/step-{step:08}.txt")
        elif isinstance(value, Image):
            self._send_image(file_name(name), value, step, now)
        else:
            self.leave_out(name, value)

    def _send_image(self, name: str, image: Image, step: int, now: int) -> None:
        if self._has_got(name, step):
            return
        self._client.log_image(
            self._run_id, image.pixels, key=name, step=step, timestamp=now, synchronous=True
        )
        if image.caption:
            self._client.log_text(self._run_id, image.caption, f"texts/{name}/step-{step:08}.txt")

    def _has_got(self, name: str, step: int) -> bool:
        assert self._joined is not None
        return step in self._joined.steps.get(name, ())

    def _rename(self, name: str) -> str:
        accepted = accepted_name(name)
        if accepted != name:
            self._warn_once(name, f"is called {accepted!r}: MLflow does not take all its characters")
        return accepted

    def _warn_once(self, name: str, what: str) -> None:
        if name not in self._said:
            self._said.add(name)
            logger.warning("%s: %r %s.", self.name, name, what)

    def _refuse_folder(self) -> Iterable[str]:
        folder = _find_folder(self.options.tracking_uri)
        is_allowed = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1")
        if folder is not None and not is_allowed and library.refuses_folders():
            yield (
                f"`report_to`: {self.name!r} would keep its runs in the folder {folder!r}, which MLflow "
                "refuses. Type: export MLFLOW_TRACKING_URI=sqlite:///mlflow.db, or "
                "export MLFLOW_ALLOW_FILE_STORE=true."
            )

    def _refuse_scheme(self) -> Iterable[str]:
        option = self.options.tracking_uri
        uri = option or os.environ.get("MLFLOW_TRACKING_URI") or ""
        scheme = urlsplit(uri).scheme
        if not library.knows_scheme(scheme):
            where = "`reporter_args`: tracking_uri" if option else "`report_to`: MLFLOW_TRACKING_URI"
            package = _PACKAGES.get(scheme)
            yield (
                f"{where}={without_password(uri)!r} begins with {scheme!r}: neither MLflow nor a package "
                "that is installed keeps runs at such an address. Type: "
                + (f"pip install {package}" if package else _KNOWN_ADDRESSES)
            )


def _find_folder(option: str | None) -> str | None:
    """The folder that MLflow would keep runs in, or None if it would keep them elsewhere."""
    uri = option or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:  # MLflow goes on with the folder of its earlier versions
        return "mlruns" if any(Path("mlruns").glob("[0-9]*/meta.yaml")) else None
    is_path = urlsplit(uri).scheme in ("", "file") and uri not in _WITHOUT_SCHEME
    return uri if is_path else None


def without_password(uri: str) -> str:
    """An address without the user and the password in it."""
    parts = urlsplit(uri)
    return (
        urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        if "@" in parts.netloc
        else uri
    )


def _now() -> int:
    """Milliseconds, as MLflow counts them."""
    return int(time.time() * 1000)
