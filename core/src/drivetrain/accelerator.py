"""The ``accelerator`` that published subclasses of the trainer call: made when it is first asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from drivetrain_registry import UsageError

if TYPE_CHECKING:
    import torch

    from drivetrain.trainer import Trainer


def make_accelerator(trainer: Trainer) -> Any:
    """An `accelerate.Accelerator` whose backward, clipping and autocast are those of the run.

    Everything else (``unwrap_model``, ``gather_for_metrics``, ``is_main_process``, ...) is Accelerate's own.

    Raises:
        UsageError: Accelerate is not installed.
    """
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise UsageError(
            "`accelerator`: it is made with Accelerate, which is not installed. Type: pip install accelerate"
        ) from error

    class RunAccelerator(Accelerator):  # type: ignore[misc]
        """Hands on to the run's parts what they do: scaling a loss, clipping, choosing a format."""

        def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
            trainer.compute_gradients(trainer.precision.scale(loss), **kwargs)

        def clip_grad_norm_(self, parameters: Any, max_norm: float, norm_type: int = 2) -> Any:
            if norm_type != 2:
                return super().clip_grad_norm_(parameters, max_norm, norm_type)
            trainer.precision.unscale(trainer.optimizer)
            return trainer.strategy.clip_gradients(parameters, max_norm)

        def autocast(self, autocast_handler: Any = None) -> AbstractContextManager[Any]:
            return trainer.autocast_smart_context_manager()

    return RunAccelerator(
        cpu=trainer.args.use_cpu,
        mixed_precision=_mixed_precision(trainer),
        gradient_accumulation_steps=trainer.args.gradient_accumulation_steps,
    )


def _mixed_precision(trainer: Trainer) -> str | None:
    """That of the run; what Accelerate has been set to already, if it has, for it takes nothing else then."""
    from accelerate.state import AcceleratorState

    if AcceleratorState._shared_state:
        return None
    name = trainer.precision.name
    can_scale = name != "fp16" or trainer.args.device.type != "cpu"
    return name if name in ("bf16", "fp16") and can_scale else "no"
