"""A small model, and the optimizers of drivetrain-galore made for it from arguments."""

from __future__ import annotations

import pytest
from stepped_by_hand import assert_same_weights as assert_same_weights
from stepped_by_hand import make_args as make_args
from stepped_by_hand import make_model as make_model
from stepped_by_hand import make_optimizer as make_optimizer
from stepped_by_hand import train as train


@pytest.fixture
def default_optim() -> str:
    """What is used if no name is given."""
    return "galore_adamw"
