"""The suite for each of the schedules beside this file."""

from __future__ import annotations

from drivetrain.testing import SchedulerSuite


class TestSound(SchedulerSuite):
    name = "Sound"
    accepted_options = {"floor": 0.5}
    refused_options = {"floor": 1.5}

    def formula(self, step, warmup, total):
        return step / warmup if step < warmup else (total - step) / (total - warmup)


class TestOneStepAhead(TestSound):
    name = "OneStepAhead"


class TestDividesByZero(TestSound):
    name = "DividesByZero"


class TestGoesBelowZero(TestSound):
    name = "GoesBelowZero"


class TestDropsOption(TestSound):
    name = "DropsOption"


class TestSameForAll(TestSound):
    name = "SameForAll"


class TestLosesState(TestSound):
    name = "LosesState"


class TestWithoutFormula(SchedulerSuite):
    name = "Sound"
