"""`adamw_bnb_8bit`, `adamw_8bit`, `paged_adamw_8bit` and `paged_adamw_32bit`."""

from __future__ import annotations

from typing import Any

from drivetrain.plugin import AdamPlugin
from drivetrain_bitsandbytes import options
from drivetrain_bitsandbytes.optimizer import BitsAndBytes

_PAGING = "QLoRA: Efficient Finetuning of Quantized LLMs, arXiv:2305.14314"


class _AdamW(AdamPlugin, BitsAndBytes):
    optimizer = "AdamW"

    def _method_keywords(self) -> dict[str, Any]:
        return self.adam_arguments()


class AdamW8bit(_AdamW):
    """AdamW (arXiv:1711.05101) with state in 8 bits: a scale for each block of 256 numbers."""

    Options = options.AdamW8bitOptions
    paper = "8-bit Optimizers via Block-wise Quantization, arXiv:2110.02861"
    state_bytes = 2.03
    suits = ("little memory",)
    bits = 8


class PagedAdamW8bit(AdamW8bit):
    """AdamW with state in 8 bits that leaves a GPU's memory while there is no room for it."""

    paper = _PAGING
    is_paged = True
    unpaged = "adamw_8bit"


class PagedAdamW32bit(_AdamW):
    """AdamW (arXiv:1711.05101) with state that leaves a GPU's memory while there is no room for it."""

    paper = _PAGING
    state_bytes = 8.0
    is_paged = True
    unpaged = "adamw_torch"
