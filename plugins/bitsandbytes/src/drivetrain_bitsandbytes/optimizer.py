"""What the optimizers of bitsandbytes share: bits, paging, and embeddings in 32 bits."""

from __future__ import annotations

import importlib
import logging
from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn
from torch.optim import Optimizer

from drivetrain.plugin import OptimizerPlugin, hookimpl

if TYPE_CHECKING:
    from drivetrain import Trainer

logger = logging.getLogger(__name__)

PAGING_DEVICES = ("cuda", "xpu")
"""Where bitsandbytes has memory that is moved between the device and the machine as it is needed."""


class BitsAndBytes(OptimizerPlugin):
    """An optimizer of bitsandbytes.

    bitsandbytes takes seconds to import, and is imported when arguments are checked, not before.

    Attributes:
        optimizer: Its class in `drivetrain_bitsandbytes.state`.
        bits: 8 or 32: what each number of the state takes.
        is_paged: Its state can be moved out of a GPU's memory while there is no room for it.
        unpaged: What to type for the same without paging.
    """

    optimizer: ClassVar[str]
    bits: ClassVar[int] = 32
    is_paged: ClassVar[bool] = False
    unpaged: ClassVar[str] = ""

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer of bitsandbytes and its keyword arguments."""
        state = importlib.import_module("drivetrain_bitsandbytes.state")
        keywords: dict[str, Any] = {"lr": self.args.learning_rate, "optim_bits": self.bits}
        if self.bits == 8:
            keywords["min_8bit_size"] = self.options.min_8bit_size
        if self.is_paged:
            keywords["is_paged"] = self._can_page
        return getattr(state, self.optimizer), {**keywords, **self._method_keywords()}

    def create(self, model: nn.Module, groups: list[dict[str, Any]]) -> Optimizer:
        """Make the optimizer; if it has 8 bits, leave the weights of embeddings in 32.

        Rows of an embedding get gradients as different as words are frequent, which a block of 8-bit
        numbers with one scale cannot hold (arXiv:2110.02861).
        """
        optimizer = super().create(model, groups)
        if self.bits == 8:
            _keep_embeddings_in_32_bits(self.name, model, optimizer)
        return optimizer

    @hookimpl
    def alter_optimizer(self, trainer: Trainer, optimizer: Optimizer) -> None:
        """Leave embeddings in 32 bits, too, where the class that `build` gave was made by somebody else."""
        is_unknowing = not getattr(optimizer, "keeps_in_32_bits", True)
        if self.bits == 8 and is_unknowing and not optimizer.state:
            _keep_embeddings_in_32_bits(self.name, trainer.model, optimizer)

    def problems(self) -> Iterable[str]:
        """Refuse a device for which bitsandbytes has no code, too."""
        yield from super().problems()
        library = importlib.import_module("drivetrain_bitsandbytes.library")
        obstacle = library.find_obstacle(self.bits, self.args.device)
        if obstacle is not None:
            yield (
                f"`optim`: {self.name!r} cannot be used on {self.args.device.type!r}: {obstacle}. "
                "Type optim='adamw_torch', or choose another device."
            )

    def warnings(self) -> Iterable[str]:
        """Say where there is nothing to page to, too."""
        yield from super().warnings()
        if self.is_paged and not self._can_page:
            devices = " and ".join(map(repr, PAGING_DEVICES))
            yield (
                f"`optim`: {self.name!r} pages its state on {devices} only; on "
                f"{self.args.device.type!r} it is the same as {self.unpaged!r}."
            )

    @property
    def _can_page(self) -> bool:
        return self.args.device.type in PAGING_DEVICES

    @abstractmethod
    def _method_keywords(self) -> dict[str, Any]:
        """The keyword arguments of this method alone."""
        raise NotImplementedError


def _keep_embeddings_in_32_bits(optim: str, model: nn.Module, optimizer: Any) -> None:
    """Tell the optimizer of the embeddings that it trains, and the log which those are."""
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    embeddings = {
        name: module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and id(module.weight) in held
    }
    if embeddings:
        optimizer.keep_in_32_bits(embeddings.values())
        sizes = {id(weight): weight.numel() for weight in embeddings.values()}
        logger.info(
            "%s keeps the state of embeddings in 32 bits: %s (%d parameters).",
            optim,
            ", ".join(embeddings),
            sum(sizes.values()),
        )
