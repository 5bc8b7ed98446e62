"""`adamw_torch_4bit`, `adamw_torch_8bit` and `adamw_torch_fp8`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn
from torch.optim import Optimizer

from drivetrain.plugin import AdamOptions, AdamPlugin
from drivetrain_torchao import low_bit
from drivetrain_torchao.compiling import find_float8_obstacle, find_obstacle

logger = logging.getLogger(__name__)

_LEAST_ELEMENTS = 4096
"""Of a parameter whose moments torchao keeps in few bits."""


@dataclass(frozen=True)
class LowBitOptions(AdamOptions):
    """Options of all three, beside those of Adam: see `torchao.optim.AdamW8bit`.

    Attributes:
        block_size: Elements of a moment that share a scale.
        bf16_stochastic_round: Round weights in bfloat16 up or down by chance, so that updates smaller
            than their precision are not lost. Without effect on others.
        compile: Make the step with torch.compile. None: if that works here, and say so if it does not.
    """

    block_size: int = 256
    bf16_stochastic_round: bool = False
    compile: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.block_size < 1:
            raise ValueError(
                f"block_size={self.block_size} must be 1 or more: type block_size=256, say."
            )


class LowBitAdamW(AdamPlugin):
    """What all three share.

    Attributes:
        optimizer: The class that `build` returns.
    """

    Options = LowBitOptions
    optimizer: ClassVar[type[Optimizer]]
    suits = ("little memory",)

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer of torchao and its keyword arguments."""
        options = self.options
        is_compiled = self._find_obstacle() is None if options.compile is None else options.compile
        return self.optimizer, {
            **self.adam_arguments(),
            "block_size": options.block_size,
            "bf16_stochastic_round": options.bf16_stochastic_round,
            "is_compiled": is_compiled,
        }

    def create(self, model: nn.Module, groups: list[dict[str, Any]]) -> Optimizer:
        """Make the optimizer; say so if it will have no moments in few bits."""
        sizes = [parameter.numel() for group in groups for parameter in group["params"]]
        block_size = self.options.block_size
        if not any(size >= _LEAST_ELEMENTS and size % block_size == 0 for size in sizes):
            logger.warning(
                "`optim`: %r saves no memory here: no trained parameter has %d elements or more in whole "
                "blocks of %d (block_size), and all others keep their moments in full precision. "
                "Type optim='adamw_torch'.",
                self.name,
                _LEAST_ELEMENTS,
                block_size,
            )
        return super().create(model, groups)

    def problems(self) -> Iterable[str]:
        """Refuse a compiled step where it cannot be, too."""
        yield from super().problems()
        obstacle = self._find_obstacle() if self.options.compile else None
        if obstacle is not None:
            yield f"`optim_args`: compile=True cannot be: {obstacle}. Type compile=False, or remove that."

    def warnings(self) -> Iterable[str]:
        """Say that the step is not compiled, if nobody asked for that."""
        yield from super().warnings()
        obstacle = self._find_obstacle() if self.options.compile is None else None
        if obstacle is not None:
            yield (
                f"`optim`: {self.name!r} steps without torch.compile, which takes longer and more memory "
                f"for a moment: {obstacle}. Type optim_args='compile=False' to say that you know."
            )

    def _find_obstacle(self) -> str | None:
        """What is in the way of a compiled step."""
        return find_obstacle(self.args.device)


class AdamW4bit(LowBitAdamW):
    """AdamW with moments in 4 bits: `torchao.optim.AdamW4bit`."""

    optimizer = low_bit.AdamW4bit
    paper = "Memory Efficient Optimizers with 4-bit States, arXiv:2309.01507"
    state_bytes = 2 * (0.5 + 4 / 256)  # codes, and a scale for each block


class AdamW8bit(LowBitAdamW):
    """AdamW with moments in 8 bits: `torchao.optim.AdamW8bit`."""

    optimizer = low_bit.AdamW8bit
    paper = "8-bit Optimizers via Block-wise Quantization, arXiv:2110.02861"
    state_bytes = 2 * (1.0 + 4 / 256)


class AdamWFp8(LowBitAdamW):
    """AdamW with moments in float8 (e4m3): `torchao.optim.AdamWFp8`."""

    optimizer = low_bit.AdamWFp8
    paper = "Scaling FP8 training to trillion-token LLMs, arXiv:2409.12517"
    state_bytes = 2 * (1.0 + 4 / 256)

    def problems(self) -> Iterable[str]:
        """Refuse a device without float8, too."""
        yield from super().problems()
        if self.args.device.type == "mps":
            yield (
                f"`optim`: {self.name!r} needs float8, which {self.args.device} does not have. "
                "Type optim='adamw_torch_8bit'."
            )

    def _find_obstacle(self) -> str | None:
        """What is in the way of a compiled step."""
        return find_float8_obstacle(self.args.device)
