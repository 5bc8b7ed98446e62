"""Processes to be killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from crashes.nursery import Nursery


@pytest.fixture(scope="package")
def nursery() -> Iterator[Nursery]:
    """Where training processes come from."""
    with Nursery() as nursery:
        yield nursery
