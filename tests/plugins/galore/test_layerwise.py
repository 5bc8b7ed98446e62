"""Stepping inside backward gives what waiting for the step gives, bit by bit."""

from __future__ import annotations

import gc
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("optim", ["galore_adamw", "galore_adamw_8bit", "galore_adafactor"])
def test_weights_equal_those_of_the_optimizer_that_waits_for_the_step(
    optim: str, make_model: Any, make_optimizer: Any, train: Any, assert_same_weights: Any
) -> None:
    layerwise, ordinary = make_model(), make_model()
    train(layerwise, make_optimizer(layerwise, optim=f"{optim}_layerwise", weight_decay=0.1), range(8))
    train(ordinary, make_optimizer(ordinary, optim=optim, weight_decay=0.1), range(8))
    assert_same_weights(layerwise, ordinary)


def test_the_state_can_be_taken_over_by_the_optimizer_that_waits_and_back(
    make_model: Any, make_optimizer: Any, train: Any, assert_same_weights: Any
) -> None:
    whole, model = make_model(), make_model()
    train(whole, make_optimizer(whole), range(9))
    state = None
    for optim, steps in (
        ("galore_adamw_layerwise", range(4)),
        ("galore_adamw", range(4, 6)),
        ("galore_adamw_layerwise", range(6, 9)),
    ):
        optimizer = make_optimizer(model, optim=optim)
        if state is not None:
            optimizer.load_state_dict(state)
        train(model, optimizer, steps)
        state = optimizer.state_dict()
        del optimizer
        gc.collect()
    assert_same_weights(model, whole)
