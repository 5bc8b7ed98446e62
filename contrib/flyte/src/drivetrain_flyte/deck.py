"""A deck with a run's history."""

from __future__ import annotations

from flytekit import Deck

from drivetrain_flyte.history import History


class HistoryDeck(Deck):  # type: ignore[misc]
    """Written when Flyte asks for it, so that a task that fails shows what was logged until then."""

    def __init__(self, name: str, history: History) -> None:
        super().__init__(name, auto_add_to_deck=False)
        self.history = history

    @property
    def html(self) -> str:
        """The page as it is now."""
        return self.history.to_html()
