"""optimi's optimizer, without warnings that the plugin gives in its own words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from optimi import StableAdamW

from drivetrain.plugin import quietly


class QuietStableAdamW(StableAdamW):  # type: ignore[misc]  # optimi has no types
    """`optimi.StableAdamW`, which warns of `foreach` and of a high weight decay when it is made."""

    def __init__(self, params: Iterable[Any], **kwargs: Any) -> None:
        with quietly():
            super().__init__(params, **kwargs)
