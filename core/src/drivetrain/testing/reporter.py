"""`ReporterSuite`: what every reporter must pass."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from drivetrain.arguments import TrainingArguments
from drivetrain.parts import load_reporter
from drivetrain.plugin import Outcome, ReporterPlugin, Run
from drivetrain.testing.network import make_network
from drivetrain.testing.recording import EndsAtStep
from drivetrain.testing.suite import PartSuite, require
from drivetrain_registry.kinds import REPORTER

_ODD_VALUES: Mapping[str, Any] = {
    "train/nan": math.nan,
    "train/inf": -math.inf,
    "train/none": None,
    "train/flag": True,
    "train/text": "une époque, 一",
    "train/empty": "",
    "train/large": 10**30,
    "train/scalar": torch.tensor(2.5),
    "train/vector": torch.arange(3),
    "train/list": [1, "two", None],
    "train/nested": {"a": {"b": 1.0}, "c": []},
    "eval/a name, with/slashes": 1.0,
    "train/object": object(),
}


class ReporterSuite(PartSuite):
    """What every reporter must pass.

    A whole test file, of a reporter that writes lines of JSON::

        class TestLines(ReporterSuite):
            name = "lines"

            def read_back(self, folder):
                return [json.loads(line) for line in (folder / "lines.jsonl").open()]
    """

    kind = REPORTER

    def read_back(self, folder: Path) -> list[dict[str, Any]]:
        """What was reported; to be defined by the author.

        Args:
            folder: The `output_dir` of the run; `logging_dir` is in it.

        Returns:
            A dict for each log, or for each value: the values by the names that `log` got, and the
            update step as ``"step"``. Other entries do not matter.
        """
        raise NotImplementedError

    def name_part(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """`report_to`, and `reporter_args` if there are options."""
        named: dict[str, Any] = {"report_to": [self.name]}
        return {**named, "reporter_args": {self.name: dict(options)}} if options else named

    def load_part(self, args: TrainingArguments) -> ReporterPlugin:
        """The reporter plugin."""
        return load_reporter(args, self.name)

    def make(self, folder: Path) -> ReporterPlugin:
        """The plugin, for a run in a folder."""
        return self.load_part(self.make_args(folder))

    def test_training(self, tmp_path: Path) -> None:
        """Every number that a run logs arrives, under its name and at its step."""
        trainer = self.make_trainer(tmp_path, max_steps=3, eval_strategy="steps", eval_steps=3)
        require(
            not list(tmp_path.rglob("*")), f"{self._name} writes before the run begins: wait for `open`."
        )
        trainer.train()
        expected = [
            (entry["step"], _reported(name), value)
            for entry in trainer.state.log_history
            for name, value in entry.items()
            if name != "step" and isinstance(value, (int, float))
        ]
        self._check_arrived(tmp_path, expected)

    @pytest.mark.parametrize("outcome", get_args(Outcome))
    def test_outcomes(self, tmp_path: Path, outcome: Outcome) -> None:
        """However the run ends, `close` does not raise, and what was logged before is there."""
        reporter = self.make(tmp_path)
        _open(reporter, _make_run(reporter.args))
        reporter.log({"train/loss": 1.5}, 3)
        reporter.close(outcome)
        self._check_arrived(tmp_path, [(3, "train/loss", 1.5)])

    def test_failure(self, tmp_path: Path) -> None:
        """What was logged before an error ended the run is there."""
        trainer = self.make_trainer(tmp_path, max_steps=3, callbacks=[EndsAtStep(3, ArithmeticError())])
        with pytest.raises(ArithmeticError):
            trainer.train()
        entry = trainer.state.log_history[0]
        self._check_arrived(tmp_path, [(1, "train/loss", entry["loss"])])

    def test_odd_values(self, tmp_path: Path) -> None:
        """Values that are no ordinary number raise nothing, and do not keep others from arriving."""
        reporter = self.make(tmp_path)
        _open(reporter, _make_run(reporter.args))
        for name, value in _ODD_VALUES.items():
            try:
                reporter.log({name: value, "train/loss": 0.5}, 1)
            except Exception as error:
                pytest.fail(
                    f"`log` raises {type(error).__name__} for {name}={value!r}: {error}. Leave out, "
                    "with one warning, what cannot be sent.",
                    pytrace=False,
                )
        reporter.log({"train/loss": 0.25}, 2)
        reporter.close("finished")
        self._check_arrived(tmp_path, [(1, "train/loss", 0.5), (2, "train/loss", 0.25)])

    def test_second_run(self, tmp_path: Path) -> None:
        """A second run in the same folder does not clash with the first: its logs arrive, too."""
        for loss in (1.0, 2.0):
            reporter = self.make(tmp_path)
            _open(reporter, _make_run(reporter.args))
            reporter.log({"train/loss": loss}, 1)
            reporter.close("finished")
        self._check_arrived(tmp_path, [(1, "train/loss", 2.0)])

    def test_reopening(self, tmp_path: Path) -> None:
        """It can be opened again after it was closed, as for an evaluation after training."""
        reporter = self.make(tmp_path)
        for step, loss in ((1, 1.0), (2, 0.5)):
            _open(reporter, _make_run(reporter.args, start_step=step - 1))
            reporter.log({"eval/loss": loss}, step)
            reporter.close("finished")
        self._check_arrived(tmp_path, [(1, "eval/loss", 1.0), (2, "eval/loss", 0.5)])

    def test_resumed_run(self, tmp_path: Path) -> None:
        """A run that begins at a later step is reported from there."""
        reporter = self.make(tmp_path)
        _open(reporter, _make_run(reporter.args, start_step=5))
        reporter.log({"train/loss": 0.75}, 6)
        reporter.close("interrupted")
        self._check_arrived(tmp_path, [(6, "train/loss", 0.75)])

    def test_going_on(self, tmp_path: Path) -> None:
        """A reporter whose `state` says where it is goes on there when a run resumes, with each step once."""
        reporter = self.make(tmp_path)
        _open(reporter, _make_run(reporter.args))
        for step in (1, 2):
            reporter.log({"train/loss": 1.0 / step}, step)
        state = json.loads(json.dumps(dict(reporter.state())))
        reporter.close("interrupted")
        if not state:
            pytest.skip(f"{self._name}.state() is empty: a run that is resumed is reported as another")
        reporter = self.make(tmp_path)
        _open(reporter, _make_run(reporter.args, start_step=1, state=state))
        for step in (2, 3):
            reporter.log({"train/loss": 1.0 / step}, step)
        reporter.close("finished")
        self._check_arrived(tmp_path, [(step, "train/loss", 1.0 / step) for step in (1, 2, 3)])
        steps = [entry["step"] for entry in self.read_back(tmp_path) if "train/loss" in entry]
        require(len(steps) == len(set(steps)), f"steps are there twice after resuming: {sorted(steps)}")

    @property
    def _name(self) -> str:
        return self.plugin_class.__name__

    def _check_arrived(self, folder: Path, expected: list[tuple[int, str, float]]) -> None:
        if type(self).read_back is ReporterSuite.read_back:
            pytest.fail(
                f"{type(self).__name__} cannot tell what was reported. Define read_back(self, folder): "
                "a list "
                'of dicts with the values by name, and "step".',
                pytrace=False,
            )
        found: dict[tuple[int, str], list[Any]] = {}
        for entry in self.read_back(folder):
            for name, value in entry.items():
                found.setdefault((entry["step"], name), []).append(value)
        for step, name, value in expected:
            there = found.get((step, name), [])
            require(
                any(_is_close(value, one) for one in there),
                f"{name}={value!r}, logged at step {step}, did not arrive; `read_back` finds {there} "
                f"there, and in all {sorted(found)}.",
            )


def _open(reporter: ReporterPlugin, run: Run) -> None:
    reporter.prepare()
    reporter.open(run)


def _make_run(
    args: TrainingArguments, start_step: int = 0, state: Mapping[str, Any] | None = None
) -> Run:
    return Run("a run", args.to_dict(), make_network(), start_step, state=state or {})


def _reported(name: str) -> str:
    """``eval_loss`` is ``eval/loss`` to a reporter, ``loss`` is ``train/loss``."""
    return f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"


def _is_close(value: float, found: Any) -> bool:
    return isinstance(found, (int, float)) and math.isclose(value, found, rel_tol=1e-5, abs_tol=1e-9)
