"""`ademamix`, `ademamix_8bit`, `paged_ademamix_32bit` and `paged_ademamix_8bit`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from drivetrain.plugin import AdamPlugin
from drivetrain_bitsandbytes import options
from drivetrain_bitsandbytes.optimizer import BitsAndBytes


class AdEMAMix(AdamPlugin, BitsAndBytes):
    """AdamW with a second, slow average of gradients, which remembers thousands of updates."""

    Options: ClassVar[type[Any]] = options.AdEMAMixOptions
    paper = "The AdEMAMix Optimizer: Better, Faster, Older, arXiv:2409.03137"
    state_bytes = 12.0
    suits = ("fewer steps",)
    optimizer = "AdEMAMix"

    def problems(self) -> Iterable[str]:
        """Refuse a decay that cannot rise, too."""
        yield from super().problems()
        beta1, beta3 = self._betas[0], self._betas[2]
        if self.options.t_beta3 is not None and not 0.0 < beta1 < beta3:
            yield (
                f"`optim_args`: t_beta3={self.options.t_beta3} lets the slow decay rise from the fast one "
                f"({beta1}) to beta3={beta3}, which needs a fast one above 0 and below beta3. "
                "Leave out t_beta3, or type beta3=0.9999."
            )

    @property
    def _betas(self) -> tuple[float, float, float]:
        beta1, beta2 = self.adam_arguments()["betas"]
        return (beta1, beta2, self.options.beta3)

    def _method_keywords(self) -> dict[str, Any]:
        given = self.options
        return {
            **self.adam_arguments(),
            "betas": self._betas,
            "alpha": given.alpha,
            "t_alpha": given.t_alpha,
            "t_beta3": given.t_beta3,
        }


class AdEMAMix8bit(AdEMAMix):
    """AdEMAMix with state in 8 bits (arXiv:2110.02861)."""

    Options = options.AdEMAMix8bitOptions
    state_bytes = 3.05
    bits = 8


class PagedAdEMAMix32bit(AdEMAMix):
    """AdEMAMix with state that leaves a GPU's memory while there is no room for it (arXiv:2305.14314)."""

    is_paged = True
    unpaged = "ademamix"


class PagedAdEMAMix8bit(AdEMAMix8bit):
    """AdEMAMix with state in 8 bits that leaves a GPU's memory while there is no room for it."""

    is_paged = True
    unpaged = "ademamix_8bit"
