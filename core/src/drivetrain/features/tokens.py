"""Tokens that were trained: `include_num_input_tokens_seen` and `include_tokens_per_second`."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from drivetrain.checkpoint.random_state import capture_random_state, set_random_state
from drivetrain.hookspecs import hookimpl
from drivetrain.metrics import speed_metrics
from drivetrain.parallel_wrappers import unwrap
from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from drivetrain.state import TrainerState
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)


class TokensSeen(Plugin):
    """Counts the tokens of the model's main input, into ``state.num_input_tokens_seen`` and into each log.

    Tokens that are no padding are counted on the device, and read from there when something is logged or
    saved. Every process is taken to have as many as this one.
    """

    _num_pending: torch.Tensor | int = 0
    _num_at_start: int = 0
    _start_time: float = 0.0
    _has_warned: bool = False

    @hookimpl
    def on_train_begin(self, state: TrainerState) -> None:
        """Count on from what the state says: 0, or what a checkpoint had."""
        self._num_pending = 0
        self._num_at_start = state.num_input_tokens_seen
        self._start_time = time.time()

    @hookimpl
    def alter_batch(self, trainer: Trainer, batch: dict[str, Any]) -> None:
        """Count the tokens of a micro-batch."""
        model = unwrap(trainer.model)
        name = getattr(model, "main_input_name", "input_ids")
        tokens = batch.get(name)
        if not isinstance(tokens, torch.Tensor):
            self._warn(
                f"batches have no tensor {name!r}, the main input of {type(model).__name__}: nothing "
                "is counted. Name the input that holds the tokens in a class attribute `main_input_name`."
            )
        elif self.args.include_num_input_tokens_seen == "non_padding":
            self._num_pending = self._num_pending + self._count_unpadded(trainer, batch, tokens)
        else:
            trainer.state.num_input_tokens_seen += tokens.numel() * self.args.world_size

    @hookimpl
    def alter_logs(self, trainer: Trainer, logs: dict[str, Any]) -> dict[str, Any]:
        """Add the number of tokens, and to the logs of training how many there were a second."""
        self._settle(trainer.state)
        logs["num_input_tokens_seen"] = trainer.state.num_input_tokens_seen
        if "loss" in logs:
            num_tokens = trainer.state.num_input_tokens_seen - self._num_at_start
            logs.update(speed_metrics("train", self._start_time, num_tokens=num_tokens))
        return logs

    @hookimpl
    def write_checkpoint(self, trainer: Trainer) -> None:
        """Have the state say what was counted."""
        self._settle(trainer.state)

    def _settle(self, state: TrainerState) -> None:
        """Take into the state what was counted on the device."""
        state.num_input_tokens_seen += int(self._num_pending) * self.args.world_size
        self._num_pending = 0

    def _count_unpadded(
        self, trainer: Trainer, batch: Mapping[str, Any], tokens: torch.Tensor
    ) -> torch.Tensor | int:
        """Tokens that the attention mask, or else the tokenizer, does not call padding; a scalar."""
        if isinstance(batch.get("attention_mask"), torch.Tensor):
            num_unpadded: torch.Tensor = batch["attention_mask"].sum(dtype=torch.int64)
            return num_unpadded
        padding = getattr(trainer.processing_class, "pad_token_id", None)
        if padding is not None:
            return tokens.ne(padding).sum()
        self._warn(
            "'non_padding' needs an 'attention_mask' in the batches, or a `processing_class` with a "
            "`pad_token_id`, and there is neither: all tokens are counted."
        )
        return tokens.numel()

    def _warn(self, what: str) -> None:
        if not self._has_warned:
            logger.warning("`include_num_input_tokens_seen`: %s", what)
        self._has_warned = True


class TokensPerSecond(Plugin):
    """Counts the tokens of the training data before training, and adds how many were trained a second."""

    _num_in_run: float = 0.0
    _start_step: int = 0

    @hookimpl
    def on_stage_begin(self, trainer: Trainer, stage: str) -> None:
        """Count, in a pass of its own that leaves the random numbers as they were."""
        if stage != "train":
            return
        random_state = capture_random_state()
        try:
            self._num_in_run = self._count(trainer)
        finally:
            set_random_state(random_state)

    @hookimpl
    def on_train_begin(self, trainer: Trainer) -> None:
        """Note from which update on the seconds are counted: 0, if the run was trained here alone."""
        assert trainer.training_loop is not None
        self._start_step = trainer.training_loop.first_step

    @hookimpl
    def on_stage_end(self, trainer: Trainer, stage: str, metrics: dict[str, float]) -> None:
        """Add the speed of what was done of the run."""
        if stage != "train":
            return
        state = trainer.state
        share = (state.global_step - self._start_step) / max(state.max_steps, 1)
        runtime = metrics["train_runtime"]
        if runtime > 0 and self._num_in_run > 0:
            metrics["train_tokens_per_second"] = round(self._num_in_run * share / runtime, 3)

    def _count(self, trainer: Trainer) -> float:
        """Tokens in all updates of the run, on this process."""
        from tqdm.auto import tqdm

        loader = trainer.get_train_dataloader()  # another than that of the run, which is not touched
        with tqdm(loader, desc="Counting tokens", disable=self.args.disable_tqdm) as batches:
            if self.args.max_steps > 0:
                num_tokens = trainer.num_tokens(batches, self.args.max_steps)
                total = float(num_tokens * self.args.gradient_accumulation_steps)
            else:
                total = trainer.num_tokens(batches) * self.args.num_train_epochs
        if total == 0:
            logger.warning(
                "`include_tokens_per_second`: no token was found: batches have no 'input_ids'."
            )
        return total
