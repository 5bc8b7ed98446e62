"""Rows of the arguments of searches."""

from __future__ import annotations

from honesty.table import warned

ROWS = [warned("ray_scope", "all", "is read by searches with Ray only")]
