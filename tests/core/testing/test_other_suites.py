"""The suites of schedules, precisions and reporters pass what is sound, and catch each fault."""

from __future__ import annotations

import inspect
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PARTS = Path(__file__).parent / "parts"
CAUGHT = {
    "schedules": [
        ("OneStepAhead", "test_formula", "after 0 of 10 updates, 0 of them warm-up, the rate is"),
        ("WithoutFormula", "test_formula", "Define formula(self, step, warmup, total)"),
        ("DividesByZero", "test_extremes", "ZeroDivisionError"),
        ("GoesBelowZero", "test_extremes", "what becomes of it after the end"),
        ("DropsOption", "test_accepted_options", "floor=0.5 makes no difference"),
        ("SameForAll", "test_groups", "a group that begins at a quarter of the rate"),
        ("LosesState", "test_state_dict", "has to be in `state_dict`"),
        ("LosesState", "test_training", "a run resumed at update 4 of 8 has the rates"),
    ],
    "precisions": [
        ("NeverUnscales", "test_gradients", "is another one after `scale`, backward and `unscale`"),
        ("UnscalesLate", "test_clipping", "`unscale` is called before gradients are clipped"),
        ("ForgetsToUnscale", "test_without_clipping", "without clipping, the weights end"),
        ("StepsAnyhow", "test_overflow", "and not False"),
        ("DoesNotSay", "test_overflow", "`step` returns True when gradients overflowed"),
        ("NeverRecovers", "test_overflow", "lower the scale"),
        ("LosesScale", "test_state_dict", "differs after it was saved and loaded, at ['factor']"),
        (
            "ComputesInFloat32",
            "test_autocast",
            "torch.float32, and `dtype` of the suite is torch.bfloat16",
        ),
    ],
    "reporters": [
        ("StartsAnew", "test_reopening", "eval/loss=1.0, logged at step 1, did not arrive"),
        ("WritesEarly", "test_training", "WritesEarly writes before the run begins"),
        (
            "ChokesOnOddValues",
            "test_odd_values",
            "`log` raises TypeError for train/scalar=tensor(2.5000)",
        ),
        ("LosesOnFailure", "test_failure", "FileNotFoundError"),
        ("LosesOnFailure", "test_outcomes[interrupted]", "FileNotFoundError"),
        ("ClosesOnce", "test_reopening", "RuntimeError: closed"),
        ("LosesSteps", "test_resumed_run", "train/loss=0.75, logged at step 6, did not arrive"),
        ("LosesEvaluations", "test_training", "eval/loss="),
        ("Takes", "test_second_run", "FileExistsError"),
        ("Mute", "test_training", "Define read_back(self, folder)"),
    ],
}


@pytest.fixture(scope="module")
def results(make_stranger: Callable) -> dict:
    """How every test of the sound parts ends, and those of the broken that are meant to fail; by kind."""
    found = {}
    for parts, caught in CAUGHT.items():
        stranger = make_stranger()
        source = PARTS / f"broken_{parts}.py"
        stranger.add_module(f"broken_{parts}", source.read_text())
        classes = [name for name, part in runpy.run_path(str(source)).items() if _is_plugin(part)]
        group = {"schedules": "schedulers"}.get(parts, parts)
        points = {name: f"broken_{parts}:{name}" for name in classes}
        stranger.add_distribution(f"drivetrain-{parts}", {f"drivetrain.{group}": points})
        nodes = [(f"Test{name}", test) for name, test, _ in caught]
        found[parts] = stranger.run(f"suites_of_{parts}.py", [("TestSound", ""), *nodes])
    return found


def _is_plugin(part: object) -> bool:
    return inspect.isclass(part) and part.__module__ == "<run_path>"


@pytest.mark.parametrize("parts", CAUGHT)
def test_a_part_without_a_fault_passes_every_test(results: dict, parts: str) -> None:
    found = {test: result for (cls, test), result in results[parts].items() if cls == "TestSound"}
    assert len(found) > 10
    skipped = {"precisions": {"test_unknown_options"}, "reporters": {"test_going_on"}}.get(parts, set())
    assert {test for test, result in found.items() if result.outcome != "passed"} == skipped


@pytest.mark.parametrize(
    ("parts", "name", "test", "message"),
    [(parts, *caught) for parts, all_caught in CAUGHT.items() for caught in all_caught],
)
def test_a_fault_is_caught_by_the_test_that_is_meant_to(
    results: dict, parts: str, name: str, test: str, message: str
) -> None:
    result = results[parts][f"Test{name}", test]
    assert result.outcome == "failed"
    assert message in result.message
