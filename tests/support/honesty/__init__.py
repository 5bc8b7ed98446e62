"""The honesty table: for every argument a value, and how the effect of setting it is seen.

There is a module for each theme, as in `drivetrain.arguments`. A row is a `Row`; most are made by `seen`
(what an observation gives without the argument and with it), `warned` and `refused`.
"""

from __future__ import annotations

from honesty import (
    checkpointing,
    data,
    devices,
    distributed,
    evaluation,
    hub,
    model,
    optimization,
    precision,
    reporting,
    search,
    seq2seq,
    training,
)
from honesty.table import Row

THEMES = (
    training,
    optimization,
    data,
    evaluation,
    reporting,
    checkpointing,
    model,
    precision,
    devices,
    distributed,
    hub,
    search,
    seq2seq,
)
ROWS: list[Row] = [row for theme in THEMES for row in theme.ROWS]
"""Every row of the table."""
