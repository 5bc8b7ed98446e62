"""The plugin that ``push_to_hub=True`` loads: what is pushed when."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import HubPlugin, Outcome, hookimpl
from drivetrain_hub.contents import LAST_CHECKPOINT, Contents, clear_snapshots
from drivetrain_hub.pushes import Pushes
from drivetrain_hub.repository import Repository, check_name, check_token

if TYPE_CHECKING:
    from drivetrain import Trainer, TrainingArguments

logger = logging.getLogger(__name__)


class Hub(HubPlugin):
    """Pushes to the Hugging Face Hub: each save in the background, and what is left at the end.

    A push that fails does not end the run. It is logged, and what it would have pushed goes with the
    last push, when training has ended.
    """

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._remote = Repository(args)
        self._pushes = Pushes(self._remote.later)
        self._saved: list[Path] = []
        self._is_saving = False

    def problems(self) -> Iterator[str]:
        if "hub" in self.args.plugins:
            yield "`plugins`: 'hub' has an argument of its own. Type push_to_hub=True, and leave it out here."
        yield from check_name(self._remote.wanted)
        yield from check_token(self.args.hub_token, "hub_token")

    def warnings(self) -> Iterator[str]:
        if self.args.save_only_model and self.args.hub_strategy in ("checkpoint", "all_checkpoints"):
            yield (
                f"`hub_strategy`: {str(self.args.hub_strategy)!r} pushes checkpoints, and with "
                "save_only_model=True they hold the model alone: no run can go on from them."
            )

    # -- what the trainer calls -------------------------------------------------------------------

    def create_repository(self, trainer: Trainer, token: str | None = None) -> None:
        if trainer.is_world_process_zero():
            clear_snapshots(self._output_dir)
            self.repository = self._remote.create(token)

    def push(
        self,
        trainer: Trainer,
        commit_message: str = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        **card: Any,
    ) -> Any:
        if self._is_saving:  # a `save_model` that cannot be told that it is called from here
            return None
        self._save_model(trainer)
        if not trainer.is_world_process_zero():
            return None
        self._pushes.wait()
        self._begin(trainer, token, **card)
        contents = Contents()
        contents.add_folder(self._output_dir)
        commit = functools.partial(
            self._remote.commit, message=commit_message, token=token, revision=revision
        )
        return commit(contents) if blocking else self._pushes.start(commit, contents, self._output_dir)

    def find_license(self, model_id: str) -> str | None:
        return self._remote.find_license(model_id)

    # -- the run's hooks --------------------------------------------------------------------------

    @hookimpl
    def on_init_end(self, trainer: Trainer) -> None:
        trainer.init_hf_repo()

    @hookimpl
    def on_train_begin(self) -> None:
        self._saved.clear()
        self._pushes.num_failed = 0

    @hookimpl
    def on_save(self, trainer: Trainer) -> None:
        if self.args.hub_strategy == "end" or not trainer.is_world_process_zero():
            return
        step = trainer.state.global_step
        checkpoint = self._output_dir / f"checkpoint-{step}"
        self._note_saved(checkpoint)
        if self._pushes.are_under_way() and not self.args.hub_always_push:
            logger.info("Update %d is not pushed: the push before it is still under way.", step)
            return
        with contextlib.suppress(Exception), self._pushes.watch():
            self._start_push(trainer, checkpoint, f"Training in progress, step {step}")

    @hookimpl
    def on_train_end(self, trainer: Trainer) -> None:
        if self.args.hub_strategy != "end":
            self._save_model(trainer)
        if not trainer.is_world_process_zero():
            return
        self._pushes.wait()
        if self.args.hub_strategy != "end":
            self._push_last(trainer)

    @hookimpl
    def on_run_end(self, outcome: Outcome) -> None:
        if outcome != "finished" and self._pushes.are_under_way():
            logger.warning("A push is still under way: this process ends when it is done.")

    # -- what is pushed ---------------------------------------------------------------------------

    @property
    def _output_dir(self) -> Path:
        return Path(self.args.output_dir)

    def _save_model(self, trainer: Trainer) -> None:
        """Save the model to the output folder, without that being the user's call that is pushed."""
        is_published = "_internal_call" in inspect.signature(trainer.save_model).parameters
        self._is_saving = True
        try:
            trainer.save_model(_internal_call=True) if is_published else trainer.save_model()
        finally:
            self._is_saving = False

    def _begin(self, trainer: Trainer, token: str | None = None, **card: Any) -> None:
        """Make sure of the repository, draft the card, and say that a push begins."""
        if self.repository is None:
            trainer.init_hf_repo(token)
        card.setdefault("model_name", self._remote.wanted.rpartition("/")[-1])
        trainer.create_model_card(**card)
        trainer.emit("on_push_begin")

    def _note_saved(self, checkpoint: Path) -> None:
        self._pushes.arrived.discard(checkpoint)
        self._saved = [*(path for path in self._saved if path != checkpoint), checkpoint]

    def _start_push(self, trainer: Trainer, checkpoint: Path, message: str) -> None:
        self._begin(trainer)
        contents = Contents()
        contents.add_model(checkpoint)
        contents.add_cards(self._output_dir)
        self._add_checkpoints(contents, [checkpoint])
        commit = functools.partial(self._remote.commit, message=message)
        self._pushes.start(commit, contents, self._output_dir, [checkpoint])

    def _push_last(self, trainer: Trainer) -> None:
        """Push the model as it is at the end, with every checkpoint that has not arrived."""
        num_failed = self._pushes.num_failed
        missing = [path for path in self._wanted_checkpoints() if path not in self._pushes.arrived]
        try:
            self._begin(trainer)
            contents = Contents()
            contents.add_folder(self._output_dir)
            self._add_checkpoints(contents, [path for path in missing if path.is_dir()])
            self._remote.commit(contents, "End of training")
        except Exception as error:
            logger.error(
                "The last push to %s failed. The model is in %s: call trainer.push_to_hub() to try again. %s",
                self.repository,
                self._output_dir,
                error,
            )
            return
        if num_failed:
            logger.warning("%d pushes had failed; the last one made up for them.", num_failed)
        gone = [path.name for path in missing if not path.is_dir()]
        if gone:
            logger.warning("Not pushed, and deleted since by `save_total_limit`: %s.", ", ".join(gone))

    def _wanted_checkpoints(self) -> Sequence[Path]:
        """The checkpoints of this run that are to be in the repository when it ends."""
        if self.args.hub_strategy == "all_checkpoints":
            return self._saved
        return self._saved[-1:] if self.args.hub_strategy == "checkpoint" else []

    def _add_checkpoints(self, contents: Contents, checkpoints: Sequence[Path]) -> None:
        for checkpoint in checkpoints:
            if self.args.hub_strategy == "checkpoint":
                contents.add_checkpoint(checkpoint, LAST_CHECKPOINT)
            elif self.args.hub_strategy == "all_checkpoints":
                contents.add_checkpoint(checkpoint, checkpoint.name)
