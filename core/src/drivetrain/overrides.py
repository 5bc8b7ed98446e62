"""Methods of transformers' trainer that subclasses override and that there are none of here: each is said."""

from __future__ import annotations

import logging
from collections.abc import Mapping

logger = logging.getLogger(__name__)

_INSTEAD: Mapping[str, str] = {
    "_inner_training_loop": "`training_step`, or write a callback",
    "_run_epoch": "`training_step`, or write a callback",
    "_maybe_log_save_evaluate": "`log` or `evaluate`, or set the switches of the control in a callback",
    "_evaluate": "`evaluate`",
    "_save_checkpoint": "`save_checkpoint`, or `save_model` for the model in it",
    "_save_optimizer_and_scheduler": "`save_checkpoint`",
    "_save_rng_state": "`save_checkpoint`",
    "_load_optimizer_and_scheduler": "`create_optimizer_and_scheduler`",
    "_load_rng_state": "`train`",
    "_load_from_checkpoint": "`train`, and load the weights before it is called",
    "_load_best_model": "`finish_training`",
    "_rotate_checkpoints": "`save_checkpoint`",
    "_tune_save_checkpoint": "`save_checkpoint`",
    "_wrap_model": "the strategy: a plugin's `wrap_model`",
    "_move_model_to_device": "the strategy: a plugin's `place_model`",
    "_prepare_input": "`_prepare_inputs`",
    "_get_num_items_in_batch": "`count_items`",
    "_get_learning_rate": "`get_learning_rates`",
    "_nested_gather": "`prediction_step`",
    "_pad_across_processes": "`prediction_step`",
    "create_accelerator_and_postprocess": "`accelerator`",
    "_push_from_checkpoint": "`push_to_hub`",
    "_hp_search_setup": "`call_model_init`",
}
"""The method to what to override or do in its place."""


def warn_of_unheard(cls: type, base: type) -> None:
    """Say which methods of a subclass no one calls, for they are no methods of ``base``.

    Args:
        cls: The class of a trainer.
        base: The trainer that it extends.
    """
    for name, instead in _INSTEAD.items():
        if getattr(cls, name, None) is not getattr(base, name, None):
            logger.warning(
                "%s.%s is never called: it overrides a step of transformers' own loop, which this is not. "
                "Override %s.",
                cls.__name__,
                name,
                instead,
            )
