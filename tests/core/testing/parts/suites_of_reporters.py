"""The suite for each of the reporters beside this file."""

from __future__ import annotations

import json

import broken_reporters

from drivetrain.testing import ReporterSuite


class TestSound(ReporterSuite):
    name = "Sound"

    def read_back(self, folder):
        with open(folder / "log.jsonl") as file:
            return [json.loads(line) for line in file]


class TestMute(ReporterSuite):
    name = "Sound"


for name, part in vars(broken_reporters).items():
    if isinstance(part, type) and issubclass(part, broken_reporters.Sound):
        attributes = {"name": name, "__module__": __name__}
        globals().setdefault(f"Test{name}", type(f"Test{name}", (TestSound,), attributes))
