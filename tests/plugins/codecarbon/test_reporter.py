"""What CodeCarbon measures of a run, read from its file."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.servers import MisbehavingServer
from tests.support.small import are_equal, make_trainer, weights_of

from drivetrain import TrainerCallback, TrainingArguments
from drivetrain.parts import load_reporter
from drivetrain.plugin import Run
from drivetrain.testing import ReporterSuite
from drivetrain_torch.jsonl import read_log

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]
README = REPOSITORY / "contrib" / "codecarbon" / "README.md"
FAST: dict[str, Any] = {"country_iso_code": "FRA", "measure_power_secs": 0.2}
NO_VALUES = "It keeps no values that could be read back: the tests below look at its file."


@pytest.fixture(autouse=True)
def no_configuration_from_outside(tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().startswith("codecarbon_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    # Every eighth measurement would call an output, and fail in its thread if the tracker stops meanwhile.
    monkeypatch.setenv("CODECARBON_API_CALL_INTERVAL", "-1")


class TestCodeCarbon(ReporterSuite):
    name = "codecarbon"
    options = {"country_iso_code": "FRA"}
    refused_options = {"measure_power_secs": 0.0, "pue": 0.5, "country_iso_code": "FRANCE"}
    exempt = dict.fromkeys(
        (
            "test_training",
            "test_outcomes",
            "test_failure",
            "test_odd_values",
            "test_second_run",
            "test_reopening",
            "test_resumed_run",
            "test_going_on",
        ),
        NO_VALUES,
    )


class Slow(TrainerCallback):
    """Waits for the tracker, and then for what it makes of the first log: totals, and a line in its file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.num_before = len(read(file))
        self.totals: Any = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.totals is None:
            wait_until(timers)
            time.sleep(4 * FAST["measure_power_secs"])  # after which the next log is written
            self.totals = reporter_of(self.trainer).state()
        else:
            wait_until(lambda: reporter_of(self.trainer).state() != self.totals)
            wait_until(lambda: len(read(self.file)) > self.num_before)


def wait_until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def reporter_of(trainer: Any) -> Any:
    """The reporter of a trainer that has this one and `jsonl`."""
    callbacks = trainer.callback_handler.callbacks
    reporters = [callback.reporter for callback in callbacks if hasattr(callback, "reporter")]
    return next(reporter for reporter in reporters if reporter.name == "codecarbon")


class Failing(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        raise ArithmeticError("on purpose")


def read(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def timers() -> list[threading.Thread]:
    """The threads in which a tracker measures."""
    return [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def options(**given: Any) -> dict[str, Any]:
    return {"reporter_args": {"codecarbon": given}}


def test_a_run_is_measured_and_resumed_and_trains_as_without(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common: dict[str, Any] = {"save_strategy": "steps", "save_steps": 3, "logging_steps": 1}
    plain = make_trainer(output_dir=tmp_path / "plain", max_steps=6, **common)
    plain.train()
    out = tmp_path / "out"
    common.update(report_to=["jsonl", "codecarbon"], project="the project", **options(**FAST))
    slow = Slow(out / "emissions.csv")
    slow.trainer = trainer = make_trainer(output_dir=out, max_steps=6, callbacks=[slow], **common)
    assert not list(tmp_path.rglob("*.csv"))
    trainer.train()

    (row,) = read(out / "emissions.csv")
    assert row["project_name"] == "the project"
    assert (row["country_name"], row["tracking_mode"]) == ("France", "machine")
    assert 0 < float(row["emissions"]) < float(row["energy_consumed"])  # France emits 0.06 kg a kWh
    totals = totals_of(out)
    assert len(totals) >= 2
    assert totals == sorted(totals)
    assert totals[-1] <= float(row["energy_consumed"])
    assert are_equal(weights_of(trainer), weights_of(plain))
    assert not timers()

    slow = Slow(out / "emissions.csv")
    slow.trainer = resumed = make_trainer(output_dir=out, max_steps=6, callbacks=[slow], **common)
    resumed.train(resume_from_checkpoint=str(out / "checkpoint-3"))
    first, second = read(out / "emissions.csv")
    assert first["run_id"] == row["run_id"] != second["run_id"]
    assert are_equal(weights_of(resumed), weights_of(plain))
    assert totals_of(out)[-1] > totals[0], "the totals begin anew"
    written = capfd.readouterr()
    assert "codecarbon" not in (written.out + written.err).lower()


def totals_of(folder: Path) -> list[float]:
    return [
        line["codecarbon/energy_kwh"] for line in read_log(folder) if "codecarbon/energy_kwh" in line
    ]


def test_a_run_that_fails_is_written_too(tmp_path: Path) -> None:
    trainer = make_trainer(
        output_dir=tmp_path, report_to="codecarbon", callbacks=[Failing()], **options(**FAST)
    )
    with pytest.raises(ArithmeticError):
        trainer.train()
    assert len(read(tmp_path / "emissions.csv")) == 1


def test_its_own_configuration_holds_and_options_go_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".codecarbon.config").write_text(
        "[codecarbon]\nproject_name = of the file\noutput_file = a.csv\ncountry_iso_code = DEU\n"
    )
    monkeypatch.setenv("CODECARBON_COUNTRY_ISO_CODE", "SWE")
    monkeypatch.setenv("CODECARBON_OUTPUT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("CODECARBON_TRACKING_MODE", "process")
    report(tmp_path / "out", project="of the arguments")
    report(tmp_path / "out", **options(tracking_mode="machine"))
    first, second = read(tmp_path / "elsewhere" / "a.csv")
    assert (first["project_name"], first["country_iso_code"]) == ("of the file", "SWE")
    assert (first["tracking_mode"], second["tracking_mode"]) == ("process", "machine")
    assert not (tmp_path / "out").exists()


def report(folder: Path, **arguments: Any) -> None:
    """Do what core does with the reporter in a run."""
    args = TrainingArguments(str(folder), report_to="codecarbon", use_cpu=True, **arguments)
    reporter = load_reporter(args, "codecarbon")
    reporter.open(Run("a run", args.to_dict(), None, 0))  # type: ignore[arg-type]
    reporter.log({"train/loss": float("nan"), "train/odd": object()}, 1)
    reporter.close("finished")


def test_what_goes_wrong_in_the_tracker_is_raised(tmp_path: Path) -> None:
    args = TrainingArguments(str(tmp_path), report_to="codecarbon", use_cpu=True, **options(**FAST))
    reporter = load_reporter(args, "codecarbon")
    (tmp_path / "emissions.csv").mkdir()
    reporter.open(Run("a run", {}, None, 0))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="codecarbon failed with"):
        reporter.close("finished")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"offline": True}, "offline=True of 'codecarbon' needs to know where"),
        (
            {"offline": False, "country_iso_code": "FRA"},
            "country_iso_code of 'codecarbon' has no effect",
        ),
        ({"region": "texas"}, "region of 'codecarbon' has no effect"),
    ],
)
def test_options_that_cannot_be_used_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        TrainingArguments("out", report_to="codecarbon", use_cpu=True, **options(**given))


@pytest.mark.parametrize(
    ("variables", "file", "said"),
    [
        (
            {"CODECARBON_COUNTRY_ISO_CODE": "ZZZ"},
            "",
            "`report_to`: CODECARBON_COUNTRY_ISO_CODE='ZZZ' of",
        ),
        ({}, "[codecarbon]\ncountry_iso_code = ZZZ\n", ".codecarbon.config: country_iso_code='ZZZ' of"),
    ],
)
def test_a_country_that_is_none_is_said_to_be_where_it_is_from(
    variables: dict[str, str], file: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    Path(".codecarbon.config").write_text(file)
    with pytest.raises(ValueError, match=re.escape(said)):
        TrainingArguments("out", report_to="codecarbon", use_cpu=True)


def test_nobody_is_asked_where_a_machine_is_because_of_all_reporters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def problems(**given: Any) -> list[str]:
        args = TrainingArguments("out", **{"report_to": "all", "use_cpu": True, **given})
        return list(load_reporter(args, "codecarbon").problems())

    (said,) = problems()
    assert "would ask services in the network" in said
    assert problems(report_to="codecarbon") == []
    assert problems(**options(offline=False)) == []
    assert problems(**options(country_iso_code="FRA")) == []
    monkeypatch.setenv("CODECARBON_COUNTRY_ISO_CODE", "FRA")
    assert problems() == []


LOST_RUN = """
from tests.support.small import make_trainer
make_trainer(output_dir="out", max_steps=3, report_to="codecarbon", reporter_timeout=20).train()
"""


def test_a_machine_that_no_service_tells_its_place_is_warned_of_and_not_kept_waiting(
    tmp_path: Path,
) -> None:
    """All that CodeCarbon asks is behind a proxy that never answers."""
    with MisbehavingServer("hang") as url:
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), url)
        environment = {**os.environ, **proxies, "no_proxy": "", "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(
            [sys.executable, "-c", LOST_RUN],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the electricity of Quebec") == 1
    assert "Traceback" not in done.stderr
    (row,) = read(tmp_path / "out" / "emissions.csv")
    assert row["country_iso_code"] == "CAN"


def test_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    exec(compile(code, str(README), "exec"), {"__name__": "readme"})
    assert "France" in capsys.readouterr().out
