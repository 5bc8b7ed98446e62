"""`OptimizerSuite` passes what is sound, and catches each fault by the test that is meant to."""

from __future__ import annotations

import inspect
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from drivetrain.testing import OptimizerSuite

pytestmark = pytest.mark.slow

PARTS = Path(__file__).parent / "parts"
CAUGHT = [
    ("LosesState", "test_state_dict", "has to be in `self.state`"),
    ("LosesState", "test_resume", "a run resumed at update 4 of 8 ends with other weights"),
    ("CountsElsewhere", "test_resume", "a run resumed at update 4 of 8"),
    ("LosesCount", "test_attributes", "`count` of the optimizer is 3, and 6 in the one"),
    ("NeedsClosure", "test_moving", "its `step` needs a closure that computes the loss again"),
    ("NeedsClosure", "test_network", "'NeedsClosure' cannot be used: its `step` needs a closure"),
    ("SavesObjects", "test_state_dict", "cannot be loaded without unpickling"),
    ("RoundsStateWhenLoaded", "test_state_dict_bfloat16", "so override it if yours has another"),
    ("DecaysBiases", "test_weight_decay", "Take it from each group's 'weight_decay'"),
    ("NeverDecays", "test_weight_decay", "or add it to `unused_arguments`"),
    ("DecaysTheWrongWay", "test_weight_decay", "look at its sign"),
    ("IgnoresRate", "test_parameter_groups", "moved with a rate of 0"),
    ("OverwritesRate", "test_learning_rate", "the schedule says"),
    (
        "TakesAnotherRate",
        "test_learning_rate",
        "no group begins with `learning_rate`=0.1, but with [0.2, 0.2]",
    ),
    ("DropsGroupRates", "test_parameter_groups", "'lr' of its own has another one"),
    ("ClaimsLess", "test_state_bytes", "`state_bytes` of ClaimsLess is 2.0, and 4 bytes"),
    ("SaysNothing", "test_state_bytes", "does not say `state_bytes`. Measured: 4."),
    ("SaysNothing", "test_description", 'Write paper = "Title, arXiv'),
    ("Undocumented", "test_page", "has no docstring"),
    ("HoldsFrozen", "test_frozen_parameters", "is frozen, and has a place in the groups"),
    ("MovesWithoutGradient", "test_frozen_parameters", "had no gradient (None), and moved"),
    ("LeavesOut", "test_moving", "Put every parameter into a group"),
    ("IgnoresClosure", "test_closures", "does not call the closure"),
    ("BlindClosure", "test_closures", "use torch.enable_grad()"),
    ("UpdatesInBackward", "test_accumulation", 'cannot = {"gradient_accumulation": "why"}'),
    ("UpdatesInBackward", "test_gradient_clipping", "If the optimizer takes them in backward"),
    ("UpdatesInBackward", "test_fp16", "before they are unscaled"),
    ("UpdatesInBackward", "test_end_of_training", "backward through its model still updates"),
    ("WidensWeights", "test_bfloat16", "torch.float32"),
    ("GoesUp", "test_quadratic", "Does each update go against the gradient?"),
    ("GoesUp", "test_network", "give it as `learning_rate`"),
    ("DropsOptions", "test_accepted_options", "momentum=0.5 makes no difference"),
    ("IgnoresRank", "test_idle_options", "the option `rank` makes no difference"),
    ("IgnoresKind", "test_idle_options", "are the same with 'right'. Pass it on"),
    ("IdleOptionThatIsNone", "test_idle_options", "names 'rang', which is no option: momentum."),
    ("IdleOptionWithoutReason", "test_idle_options", "gives no reason for 'momentum'"),
    ("TakesAnything", "test_refused_options", "momentum=1.5 is accepted"),
    ("HasOddDefault", "test_default_options", "the default momentum=None is refused"),
    ("SilentlyUnused", "test_arguments", "`adam_beta1`=0.5 makes no difference, and nobody says so"),
    ("HonoursUnused", "test_arguments", "Take it out of `unused_arguments` of HonoursUnused"),
    ("SaysTwice", "test_arguments", "is said 2 times"),
    ("ForgetsInEval", "test_evaluation", "is evaluated every other update ends with other weights"),
    ("LacksTrain", "test_saved_weights", "without its counterpart"),
    ("IdlePair", "test_saved_weights", "which do not change the weights"),
    ("CannotQuietly", "test_cannot", "yield from super().problems()"),
    ("NeedsArguments", "test_network", "`warmup_steps`: 0 is too few"),
    ("Loose", "test_discovery", "Add it to the `pyproject.toml` of a distribution"),
    ("Misspelt", "test_discovery", "'Suond' is not installed. Did you mean 'Sound'"),
]


@pytest.fixture(scope="module")
def results(make_stranger: Callable) -> dict:
    """How every test of the sound ends, and those of the broken that are meant to fail."""
    stranger = make_stranger()
    stranger.add_module("broken_optimizers", (PARTS / "broken_optimizers.py").read_text())
    parts = runpy.run_path(str(PARTS / "broken_optimizers.py"))
    named = {
        name: f"broken_optimizers:{name}"
        for name, part in parts.items()
        if inspect.isclass(part) and issubclass(part, parts["Sound"])
    }
    stranger.add_distribution("drivetrain-broken", {"drivetrain.optimizers": named})
    tests = [name for name in dir(OptimizerSuite) if name.startswith("test_")]
    whole = [
        (f"Test{name}", test)
        for name in ("Sound", "SoundPair", "NeedsAnotherMachine", "Bare")
        for test in tests
    ]
    broken = [(f"Test{name}", test) for name, test, _ in CAUGHT]
    more = [("TestExempt", "test_closures"), ("TestRankIsExplained", "test_idle_options")]
    return stranger.run("suites_of_optimizers.py", [*whole, *broken, *more])


@pytest.mark.parametrize("name", ["Sound", "SoundPair"])
def test_an_optimizer_without_a_fault_passes_every_test(results: dict, name: str) -> None:
    found = {test: result for (cls, test), result in results.items() if cls == f"Test{name}"}
    assert len(found) > 25
    assert {test: result for test, result in found.items() if result.outcome != "passed"} == {}


@pytest.mark.parametrize(("name", "test", "message"), CAUGHT)
def test_a_fault_is_caught_by_the_test_that_is_meant_to(
    results: dict, name: str, test: str, message: str
) -> None:
    result = results[f"Test{name}", test]
    assert result.outcome == "failed"
    assert message in result.message


def test_where_a_part_says_that_it_cannot_run_only_what_needs_no_run_is_tested(results: dict) -> None:
    found = {test: result for (cls, test), result in results.items() if cls == "TestNeedsAnotherMachine"}
    skipped = {test for test, result in found.items() if result.outcome == "skipped"}
    assert {
        test for test, result in found.items() if result.outcome == "passed"
    } == found.keys() - skipped
    assert {"test_network", "test_resume", "test_state_bytes", "test_closures"} <= skipped
    assert skipped.isdisjoint({"test_discovery", "test_import", "test_page", "test_unknown_options"})
    assert skipped.isdisjoint({"test_refused_options", "test_description"})
    assert "needs a device of the future, not 'cpu'" in found["test_network"].message


def test_an_optimizer_named_by_its_dotted_path_passes_all_but_what_a_plugin_says(results: dict) -> None:
    found = {test: result.outcome for (cls, test), result in results.items() if cls == "TestBare"}
    skipped = {test for test, outcome in found.items() if outcome == "skipped"}
    assert skipped == {"test_discovery", "test_import", "test_description", "test_state_bytes"}
    assert {found[test] for test in found.keys() - skipped} == {"passed"}


def test_an_exempt_test_is_shown_as_skipped_with_the_reason(results: dict) -> None:
    result = results["TestExempt", "test_closures"]
    assert result.outcome == "skipped"
    assert "To see what an exemption looks like." in result.message


def test_an_option_that_is_said_to_be_idle_may_be_so(results: dict) -> None:
    assert results["TestRankIsExplained", "test_idle_options"].outcome == "passed"


def test_an_exemption_from_a_test_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match=r"'test_closure', which is no test. Tests: .*test_closures"):
        type("TestLion", (OptimizerSuite,), {"name": "lion", "exempt": {"test_closure": "Why not."}})


def test_an_exemption_without_a_reason_is_refused() -> None:
    with pytest.raises(TypeError, match="gives no reason for 'test_closures'"):
        type("TestLion", (OptimizerSuite,), {"name": "lion", "exempt": {"test_closures": ""}})
