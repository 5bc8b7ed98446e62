"""The precision `apex`: what NVIDIA Apex calls automatic mixed precision."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

from drivetrain.plugin import PrecisionPlugin, hookimpl
from drivetrain_apex.library import COMMANDS, explain_lack

if TYPE_CHECKING:
    from drivetrain import Trainer


class Apex(PrecisionPlugin):
    """Computes in float16 as `fp16_opt_level` says, by `apex.amp`.

    'O1' computes in float16 what is safe in it, 'O2' everything but normalization, with weights in
    float16 and copies of them in float32, 'O3' everything, 'O0' nothing. The loss is scaled, and an
    update whose gradients overflow is left out.
    """

    needs_libraries = {"apex": COMMANDS}
    float32_outputs = True
    scales_losses = True
    _optimizer: Optimizer | None = None

    @property
    def _amp(self) -> Any:
        return importlib.import_module("apex.amp")

    @property
    def _has_copies(self) -> bool:
        """Whether the optimizer updates copies of the weights in float32."""
        return self.args.fp16_opt_level == "O2"

    @hookimpl
    def alter_optimizer(self, trainer: Trainer, optimizer: Optimizer) -> Optimizer | None:
        """Let Apex change model and optimizer, once for each optimizer."""
        if optimizer is not self._optimizer:
            level = self.args.fp16_opt_level
            _, self._optimizer = self._amp.initialize(
                trainer.model, optimizer, opt_level=level, verbosity=0
            )
            # Apex makes its copies at the first backward pass: after a checkpoint's state was loaded
            # into the optimizer, which would get the format of weights in float16.
            make_copies = getattr(self._optimizer, "_amp_lazy_init", None)
            if self._has_copies and callable(make_copies):
                make_copies()
        return self._optimizer

    def scaled(self, loss: torch.Tensor) -> AbstractContextManager[torch.Tensor]:
        """The scaled loss; when its backward pass is over, Apex undoes the scaling in the gradients."""
        scaled: AbstractContextManager[torch.Tensor] = self._amp.scale_loss(loss, self._optimizer)
        return scaled

    def updated_parameters(
        self, optimizer: Optimizer, parameters: Iterable[torch.Tensor]
    ) -> Iterable[torch.Tensor]:
        """The weights, or their copies in float32, which then have the gradients."""
        return list(self._amp.master_params(optimizer)) if self._has_copies else parameters

    def step(self, optimizer: Optimizer) -> bool:
        """Step the optimizer, unless Apex found that the gradients overflowed."""
        calls: list[None] = []
        hook = optimizer.register_step_post_hook(lambda *_: calls.append(None))
        try:
            optimizer.step()
        finally:
            hook.remove()
        if self._has_copies:  # the loop forgets the gradients of the model's own parameters only
            for copy in self._amp.master_params(optimizer):
                copy.grad = None
        return bool(calls)

    def state_dict(self) -> dict[str, Any]:
        """The loss scale, and the copies in float32, of which the model has the rounded ones only."""
        if self._optimizer is None:
            return {}
        copies = list(self._amp.master_params(self._optimizer)) if self._has_copies else []
        return {"amp": dict(self._amp.state_dict()), "weights": [copy.detach() for copy in copies]}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a saved scale, and with saved copies."""
        self._amp.load_state_dict(state["amp"])
        if self._has_copies:
            own = self._amp.master_params(self._optimizer)
            for copy, saved in zip(own, state["weights"], strict=True):
                copy.copy_(saved)

    def problems(self) -> Iterable[str]:
        """Refuse bfloat16, and a machine without `apex.amp` or a GPU for it."""
        instead = "precision='fp16'" if self.option == "precision" else "half_precision_backend='auto'"
        instead = f"{instead}, which is torch's own"
        asked = f"`{self.option}`: 'apex'"
        if self.args.bf16:
            yield f"{asked} computes in float16, and contradicts `bf16`=True. Type {instead}, or fp16=True."
        if self.args.device.type != "cuda":
            yield f"{asked} is for NVIDIA GPUs, and this run is on {str(self.args.device)!r}. Type {instead}."
        elif lack := explain_lack("amp", instead):
            yield f"{asked} {lack}"
