"""What reporters are told of a run when it begins."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from drivetrain.parallel_wrappers import unwrap
from drivetrain.plugin.reporter import Run
from drivetrain.reporting.secrets import without_secrets

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments

logger = logging.getLogger(__name__)


def describe_run(args: TrainingArguments, model: Any, start_step: int, state: Mapping[str, Any]) -> Run:
    """A run as its reporters are told of it."""
    config = without_secrets({**args.to_dict(), **_model_config(model)})
    return Run(args.run_name or "", config, model, start_step, count_parameters(model), state)


def count_parameters(model: Any) -> dict[str, Any]:
    """The model's class, and how many parameters it has; {} if there is none."""
    if model is None:
        return {}
    model = unwrap(model)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return {
        "model": type(model).__name__,
        "num_parameters": sum(size for size, _ in sizes),
        "num_trainable_parameters": sum(size for size, is_trained in sizes if is_trained),
    }


def _model_config(model: Any) -> dict[str, Any]:
    try:
        return _read_model_config(getattr(unwrap(model), "config", None))
    except Exception as error:  # of whoever wrote the model
        logger.warning("Reporters are not told the model's configuration: %r", error)
        return {}


def _read_model_config(config: Any) -> dict[str, Any]:
    if hasattr(config, "to_dict"):
        return {"model_config": config.to_dict()}
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {"model_config": dataclasses.asdict(config)}
    return {"model_config": dict(config)} if isinstance(config, dict) else {}
