"""Colours of runs and of shares: told apart by people who see few colours, too, and on paper."""

from __future__ import annotations

_RUNS = (
    *("#1f6fb4", "#d9541e", "#2a9d5c", "#8e44ad", "#c9940a"),
    *("#c2387a", "#17a2b8", "#6b4c35", "#7a8b00", "#555f6b"),
)
_SHARES = ("#c9940a", "#1f6fb4", "#5fa8dd", "#2a9d5c", "#8e44ad", "#c2387a", "#17a2b8", "#999999")


def color_of_run(position: int) -> str:
    """The colour of a run; from the eleventh on they come again."""
    return _RUNS[position % len(_RUNS)]


def color_of_share(position: int) -> str:
    """The colour of a share of an update."""
    return _SHARES[position % len(_SHARES)]
