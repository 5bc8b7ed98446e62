"""The suite for each of the optimizers beside this file."""

from __future__ import annotations

import broken_optimizers

import drivetrain
from drivetrain.testing import OptimizerSuite

drivetrain.register("optimizer", "Loose", broken_optimizers.Sound)


class TestSound(OptimizerSuite):
    name = "Sound"
    learning_rate = 0.1
    accepted_options = {"momentum": 0.5}
    refused_options = {"momentum": 1.5}


class TestLoose(TestSound):
    name = "Loose"


class TestBare(OptimizerSuite):
    name = "torch.optim.AdamW"
    accepted_options = {"amsgrad": True}


class TestMisspelt(TestSound):
    name = "Suond"


class TestExempt(TestSound):
    exempt = {"test_closures": "To see what an exemption looks like."}


class TestRankIsExplained(TestSound):
    name = "IgnoresRank"
    idle_options = {"rank": "It matters to matrices that are larger than those of the kit."}


class TestIdleOptionThatIsNone(TestSound):
    idle_options = {"rang": "There is no such option."}


class TestIdleOptionWithoutReason(TestSound):
    idle_options = {"momentum": ""}


def find_broken():
    """The optimizers beside this file, by name."""
    for name, part in vars(broken_optimizers).items():
        if isinstance(part, type) and issubclass(part, broken_optimizers.Sound):
            yield name


for name in find_broken():
    attributes = {"name": name, "__module__": __name__}
    globals().setdefault(f"Test{name}", type(f"Test{name}", (TestSound,), attributes))
