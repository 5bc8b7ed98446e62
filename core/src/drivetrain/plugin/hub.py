"""The base class of the plugin that pushes to a model hub."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer


class HubPlugin(Plugin):
    """Pushes what a run saves to a model hub. Registered as the plugin ``hub``, of which a run has one.

    It is loaded by ``push_to_hub=True`` and joins the run's hooks, or by the first call of
    `Trainer.push_to_hub` or `Trainer.init_hf_repo` without that.

    A whole plugin, whose hub is a folder on a shared disk::

        class Shelf(HubPlugin):
            def create_repository(self, trainer, token=None):
                self.repository = f"/shelf/{self.args.hub_model_id}"
                Path(self.repository).mkdir(parents=True, exist_ok=True)

            def push(self, trainer, commit_message="End of training", blocking=True, token=None,
                     revision=None, **card):
                trainer.save_model(_internal_call=True)
                if not trainer.is_world_process_zero():
                    return None
                if self.repository is None:
                    trainer.init_hf_repo(token)
                trainer.create_model_card(**card)
                trainer.emit("on_push_begin")
                kept = shutil.ignore_patterns("checkpoint-*")
                return shutil.copytree(self.args.output_dir, self.repository, ignore=kept, dirs_exist_ok=True)

            @hookimpl
            def on_init_end(self, trainer):
                trainer.init_hf_repo()

            @hookimpl
            def on_train_end(self, trainer):
                self.push(trainer)

    Attributes:
        repository: What is pushed to, once `create_repository` was called.
    """

    repository: str | None = None

    @abstractmethod
    def create_repository(self, trainer: Trainer, token: str | None = None) -> None:
        """Create the repository that the arguments name, or find it, and note it as ``repository``.

        Called on every process by `Trainer.init_hf_repo`; one of them acts.

        Args:
            trainer: The trainer.
            token: The token to use instead of that of the arguments.

        Raises:
            UsageError: It can be neither created nor found.
        """
        raise NotImplementedError

    @abstractmethod
    def push(
        self,
        trainer: Trainer,
        commit_message: str = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        **card: Any,
    ) -> Any:
        """Save the model, draft its card and push both. Called on every process by `Trainer.push_to_hub`.

        Emits ``on_push_begin`` before it pushes.

        Args:
            trainer: The trainer.
            commit_message: What the push is called.
            blocking: Wait until it is done.
            token: The token to use instead of that of the arguments.
            revision: The branch to push to instead of that of the arguments.
            card: Arguments of `Trainer.create_model_card`.

        Returns:
            What the hub tells of the push, or a future of that if it is not ``blocking``; None on
            processes that do not push.
        """
        raise NotImplementedError

    def find_license(self, model_id: str) -> str | None:
        """The licence of a model on the hub, for the card of one that was made of it; None if unknown."""
        return None
