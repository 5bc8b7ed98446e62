"""One sound reporter, and some that have one fault each."""

from __future__ import annotations

import json
from pathlib import Path

from drivetrain.plugin import ReporterPlugin


class Sound(ReporterPlugin):
    """Lines of JSON, without a fault."""

    mode = "a"

    def open(self, run):
        folder = Path(self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self.file = (folder / "log.jsonl").open(self.mode)

    def log(self, values, step):
        numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
        print(json.dumps({**numbers, "step": step}), file=self.file)

    def close(self, outcome):
        self.file.close()


class StartsAnew(Sound):
    """It throws away what was reported before."""

    mode = "w"


class WritesEarly(Sound):
    """It writes before the run begins."""

    def __init__(self, args, options=None):
        super().__init__(args, options)
        Path(args.output_dir, "early.txt").write_text("here I am")


class ChokesOnOddValues(Sound):
    """It takes every value for JSON."""

    def log(self, values, step):
        print(json.dumps({**values, "step": step}), file=self.file)


class LosesOnFailure(Sound):
    """It writes at the end of a run that went well."""

    def open(self, run):
        self.kept = []

    def log(self, values, step):
        self.kept.append((values, step))

    def close(self, outcome):
        if outcome == "finished":
            super().open(None)
            for values, step in self.kept:
                super().log(values, step)
            super().close(outcome)


class ClosesOnce(Sound):
    """It can be opened once."""

    is_closed = False

    def open(self, run):
        if self.is_closed:
            raise RuntimeError("closed")
        super().open(run)

    def close(self, outcome):
        super().close(outcome)
        self.is_closed = True


class LosesSteps(Sound):
    """It counts logs, and takes that for steps."""

    count = 0

    def log(self, values, step):
        self.count += 1
        super().log(values, self.count)


class LosesEvaluations(Sound):
    """It reports training only."""

    def log(self, values, step):
        super().log({name: value for name, value in values.items() if name.startswith("train/")}, step)


class Takes(Sound):
    """It takes the file of an earlier run for a mistake."""

    mode = "x"
