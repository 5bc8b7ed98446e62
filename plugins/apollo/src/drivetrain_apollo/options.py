"""What `optim_args` may hold, and which values are refused."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from drivetrain.plugin import AdamOptions

ProjectionType = Literal["std", "reverse_std", "right", "left"]
"""Which side of a gradient is projected.

``"std"``: the shorter one, as in the paper; ``"reverse_std"``: the longer one; ``"right"`` and
``"left"``: always input or always output features.
"""

GROUP_SETTINGS = ("rank", "update_proj_gap", "scale", "proj", "proj_type", "scale_type", "disable_nl")
"""What a parameter group says of the small space; a group without it is updated by AdamW."""


@dataclass(frozen=True)
class ApolloOptions(AdamOptions):
    """Options of `apollo_adamw`, beside those of Adam, with the names and defaults of the published trainer.

    Attributes:
        rank: Dimensions of the small space.
        update_proj_gap: Updates between two choices of that space.
        scale: The update is multiplied by its square root: alpha squared in the paper.
        proj: How the space is chosen: random numbers, which are drawn again when they are needed and
            take no memory, or the gradient's first singular vectors, which are kept.
        proj_type: Which side of a gradient is projected.
        scale_type: One scale for each channel, or one for the whole weight (APOLLO-Mini).
        disable_nl: Leave out the limiter, which lets the norm of an update grow by 1 % a step at most.
    """

    rank: int = 128
    update_proj_gap: int = 200
    scale: float = 1.0
    proj: Literal["random", "svd"] = "random"
    proj_type: ProjectionType = "std"
    scale_type: Literal["channel", "tensor"] = "channel"
    disable_nl: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        defaults = {field.name: field.default for field in fields(self)}
        for name in ("rank", "update_proj_gap"):
            if getattr(self, name) < 1:
                raise ValueError(_refuse(name, getattr(self, name), "from 1 up", defaults[name]))
        if not self.scale > 0:
            raise ValueError(_refuse("scale", self.scale, "above 0", defaults["scale"]))


def _refuse(name: str, value: Any, allowed: str, example: Any) -> str:
    return f"{name}={value!r} is not {allowed}. Type {name}={example}, say."
