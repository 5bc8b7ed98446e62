"""Arguments of hyper-parameter searches."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.arguments.fields import argument

RAY_SCOPES = ("last", "all", "avg", "min", "max", "last-5-avg", "last-10-avg")


@dataclass(init=False, repr=False, eq=False)
class SearchArguments:
    """What a search goes by, besides what it is called with."""

    ray_scope: str = argument("last", "Which results of a trial Ray compares it by.", choices=RAY_SCOPES)
