"""Saves that a process is killed in, at each of their calls on files in turn."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crashes.calls import Call
from crashes.folders import steps_in
from crashes.nursery import Nursery
from crashes.plans import BEST, BEST_AT_FIRST
from crashes.stories import Story, run_undisturbed
from crashes.training import Run

_KILLS_A_RUN = 20


@dataclass(frozen=True)
class Save:
    """A save of a run, or several.

    Attributes:
        arguments: Those of the run.
        first: The update that the first call comes after.
        last: The update that the last call comes after.
        kept: Updates whose checkpoints are there when the process starts.
        set_back_to: The update that it resumes from instead of the newest; its checkpoint is elsewhere.
    """

    arguments: dict[str, Any]
    first: int
    last: int
    kept: tuple[int, ...] = ()
    set_back_to: int | None = None


SAVES = {
    "the first of a run": Save({"save_steps": 3}, 3, 3),
    "of the best model, with rotation": Save({**BEST, "save_total_limit": 2}, 4, 4, kept=(2, 3)),
    "with an earlier one of the best model that stays": Save(
        {**BEST_AT_FIRST, "save_total_limit": 2}, 4, 4, kept=(2, 3)
    ),
    "at the end of an epoch, in place of the only one": Save(
        {"save_strategy": "epoch", "save_total_limit": 1}, 6, 6, kept=(3,)
    ),
    "over one of the same update, the only one": Save({}, 3, 3, kept=(3,), set_back_to=2),
    "in the background": Save(
        {**BEST, "async_save": True, "save_steps": 2, "save_total_limit": 1}, 4, 6, kept=(2,)
    ),
}


@dataclass
class Shooting:
    """Kills processes in a save, one at each of its calls on files.

    Args:
        save: The save.
        nursery: Where processes come from.
        folder: Where runs have their folders.
    """

    save: Save
    nursery: Nursery
    folder: Path

    def __post_init__(self) -> None:
        self.undisturbed = run_undisturbed(
            self.nursery, self.folder / "undisturbed", self.save.arguments
        )
        self.resume_from: str | None = None
        if self.save.set_back_to is not None:
            self.resume_from = str(self.undisturbed.folder / f"checkpoint-{self.save.set_back_to}")

    @property
    def is_set_back(self) -> bool:
        """Whether the process resumes from another checkpoint than the newest."""
        return self.resume_from is not None

    def make_run(self, story: Story, traced_from: int | None = None) -> Run:
        """The process that saves."""
        return Run(str(story.folder), self.save.arguments, self.resume_from, traced_from)

    def list_calls(self) -> list[Call]:
        """The calls on files that the save makes, in order."""
        story = self.prepare("seen")
        child = self.nursery.start(self.make_run(story, self.save.first))
        story.observe(child, "by nobody", is_set_back=self.is_set_back)
        calls = [Call(*call) for call in child.told("called")[0]["calls"]]
        return [call for call in calls if call.update <= self.save.last]

    def kill_at(self, calls: list[Call]) -> int:
        """Kill a process at each call; return how many were killed.

        As long as the same checkpoints have their names, one process after another is killed in the same
        folder, and goes on from the same one. Once a name has come or gone, the next process ends the run,
        and has to compute what the undisturbed one did.
        """
        story: Story | None = None
        num_kills = 0
        for index, call in enumerate(calls):
            story = story or self.prepare(f"{index}-{call.name}")
            assert story.kill_at(call, self.save.first, self.resume_from), call
            num_kills += 1
            is_touched = steps_in(story.folder).keys() != set(self.save.kept)
            if is_touched or story.num_kills == _KILLS_A_RUN or call.place.startswith("shutil"):
                story.finish()
                story = None
        if story is not None:
            story.finish()
        return num_kills

    def prepare(self, name: str) -> Story:
        """A folder with the checkpoints that are there when the process starts."""
        story = Story(self.nursery, self.folder / name, self.undisturbed, list(self.save.kept))
        for step in self.save.kept:
            checkpoint = self.undisturbed.folder / f"checkpoint-{step}"
            shutil.copytree(checkpoint, story.folder / checkpoint.name)
        return story


def thin_out(calls: list[Call], step: int) -> list[Call]:
    """All calls, but of those that open a file or write data only every so many from the same place."""
    thinned = ("open", "write", "write_record")
    return [call for call in calls if call.name not in thinned or call.ordinal % step == 0]
