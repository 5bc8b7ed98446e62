"""The Flyte task that the training runs in."""

from __future__ import annotations

import contextvars
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivetrain_flyte.history import History


@dataclass(frozen=True)
class Task:
    """A task that is being executed.

    Attributes:
        parameters: What ``flytekit.current_context()`` is in it.
        context: Where Flyte's functions find the task, whichever thread calls them.
    """

    parameters: Any
    context: contextvars.Context

    @property
    def has_decks(self) -> bool:
        """Whether the task was told to show its decks."""
        return bool(self.parameters.enable_deck)

    @property
    def checkpoint(self) -> Any:
        """Flyte's place for checkpoints, or None where the platform has none."""
        try:
            return self.parameters.checkpoint
        except NotImplementedError:
            return None

    def save_checkpoint(self, folder: Path) -> None:
        """Upload a checkpoint to that place, over the one that is there."""
        self.context.run(self.checkpoint.save, str(folder))

    def find_history(self, name: str) -> History | None:
        """What the deck of that name shows, if it is one of ours."""
        found = [getattr(deck, "history", None) for deck in self.parameters.decks if deck.name == name]
        return next((history for history in found if isinstance(history, History)), None)

    def add_history(self, wanted: str, history: History) -> str:
        """Show a history with the task's decks; returns what its deck is called.

        That has a number if there is such a deck: of two with the same name, Flyte shows one.
        """
        from drivetrain_flyte.deck import HistoryDeck

        taken = {deck.name for deck in self.parameters.decks}
        names = (wanted if number == 1 else f"{wanted} {number}" for number in itertools.count(1))
        name = next(name for name in names if name not in taken)
        self.parameters.decks.append(HistoryDeck(name, history))
        return name


def find_task() -> Task | None:
    """The task that this thread executes, if it does.

    Whoever executes one has imported flytekit. Where nobody has, that stays so: the import replaces the
    process's handler of SIGINT.
    """
    if "flytekit" not in sys.modules:
        return None
    from flytekit.core.context_manager import flyte_context_Var

    stack = list(flyte_context_Var.get())
    state = stack[-1].execution_state if stack else None
    mode = getattr(getattr(state, "mode", None), "name", "")
    if state is None or not mode.endswith("TASK_EXECUTION"):
        return None
    context = contextvars.copy_context()
    context.run(flyte_context_Var.set, stack)
    return Task(state.user_space_params, context)
