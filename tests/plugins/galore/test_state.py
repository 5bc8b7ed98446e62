"""What is saved and loaded: plain data, at any point of a projection's life."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow

PROJECTIONS = ["std", "reverse_std", "right", "left", "full"]


def assert_equal(one: Any, other: Any) -> None:
    """Of plain data: values, types, and tensors bit by bit."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), [other[key] for key in one]
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, (list, tuple)):
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        assert one == other


def test_a_projector_is_written_as_its_settings_and_its_matrix(
    make_model: Any, make_optimizer: Any, train: Any
) -> None:
    model = make_model()
    optimizer = make_optimizer(model)
    train(model, optimizer, range(2))
    projector = optimizer.state_dict()["state"][1]["projector"]
    assert projector.pop("ortho_matrix").shape == (4, 16)
    assert projector == {"rank": 4, "update_proj_gap": 3, "scale": 0.25, "proj_type": "std"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("proj_type", PROJECTIONS)
@pytest.mark.parametrize("optim", ["galore_adamw", "galore_adafactor"])
def test_a_run_that_resumes_ends_with_the_weights_of_one_that_did_not_stop(
    optim: str,
    proj_type: str,
    dtype: torch.dtype,
    make_model: Any,
    make_optimizer: Any,
    train: Any,
    assert_same_weights: Any,
    tmp_path: Path,
) -> None:
    options = {"rank": 4, "update_proj_gap": 5, "proj_type": proj_type}
    if "adafactor" in optim:
        options["beta1"] = 0.9
    whole, stopped = make_model(dtype), make_model(dtype)
    train(whole, make_optimizer(whole, optim=optim, optim_args=options), range(12))

    first = make_optimizer(stopped, optim=optim, optim_args=options)
    train(stopped, first, range(7))  # past one computation of the projection, and short of the next
    torch.save(first.state_dict(), tmp_path / "optimizer.pt")
    resumed = make_model(dtype)
    resumed.load_state_dict(stopped.state_dict())
    second = make_optimizer(resumed, optim=optim, optim_args=options)
    second.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    train(resumed, second, range(7, 12))
    assert_same_weights(resumed, whole)


def test_saving_changes_neither_the_run_nor_the_saved_state(
    make_model: Any, make_optimizer: Any, train: Any, assert_same_weights: Any
) -> None:
    whole, saved = make_model(), make_model()
    train(whole, make_optimizer(whole), range(6))
    optimizer = make_optimizer(saved)
    train(saved, optimizer, range(2))
    state = copy.deepcopy(optimizer.state_dict())
    loaded = make_optimizer(make_model())
    loaded.load_state_dict(state)
    train(saved, optimizer, range(2, 6))
    assert_same_weights(saved, whole)
    again = loaded.state_dict()
    assert_equal(again, state)


def test_loading_does_not_share_memory_with_what_is_loaded(
    make_model: Any, make_optimizer: Any, train: Any
) -> None:
    one, other = make_model(), make_model()
    optimizer = make_optimizer(one)
    train(one, optimizer, range(2))
    state = optimizer.state_dict()
    before = copy.deepcopy(state)
    loaded = make_optimizer(other)
    loaded.load_state_dict(state)
    train(other, loaded, range(2, 6))
    assert_equal(state, before)


def test_options_that_a_checkpoint_overrides_are_named(
    make_model: Any, make_optimizer: Any, train: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first = make_model()
    optimizer = make_optimizer(first, optim_args="rank=4")
    train(first, optimizer, range(2))
    second = make_optimizer(make_model(), optim_args="rank=8, scale=0.5")
    with caplog.at_level(logging.WARNING):
        second.load_state_dict(optimizer.state_dict())
    assert [record.getMessage() for record in caplog.records] == [
        f"`optim_args`: {given} has no effect on a run that goes on with {saved} from its checkpoint. "
        "Type the latter, or start anew."
        for given, saved in (("rank=8", "rank=4"), ("scale=0.5", "scale=0.25"))
    ]
    train(first, second, range(2))
