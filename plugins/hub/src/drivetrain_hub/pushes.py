"""Pushes in the background: one after the other, none of which can end the run."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drivetrain_hub.contents import Contents, Snapshot

logger = logging.getLogger(__name__)

Commit = Callable[[Contents], Any]


class Pushes:
    """What is under way, what has arrived, and what has failed.

    Args:
        later: Calls a function in the background, one after the other.

    Attributes:
        arrived: Checkpoints that were pushed as such.
        num_failed: Pushes that failed.
    """

    def __init__(self, later: Callable[[Callable[[], Any]], Future[Any]]) -> None:
        self._later = later
        self._under_way: list[Future[Any]] = []
        self._lock = threading.Lock()
        self.arrived: set[Path] = set()
        self.num_failed = 0

    def are_under_way(self) -> bool:
        """Whether one that was started is not done."""
        return not all(future.done() for future in self._under_way)

    def start(
        self, commit: Commit, contents: Contents, output_dir: Path, checkpoints: Iterable[Path] = ()
    ) -> Future[Any]:
        """Push in the background what the files hold now.

        Args:
            commit: What pushes.
            contents: What it pushes.
            output_dir: Where the files are held on to until it is done.
            checkpoints: Those that have arrived then. Nobody writes to the files of a checkpoint.
        """
        whole = tuple(checkpoints)
        snapshot = Snapshot(output_dir)
        try:
            held = snapshot.take(contents)
        except BaseException:
            snapshot.drop()
            raise

        def push() -> Any:
            try:
                with self.watch(whole):
                    return commit(held)
            finally:
                snapshot.drop()

        future = self._later(push)
        self._under_way = [one for one in self._under_way if not one.done()] + [future]
        return future

    def wait(self) -> None:
        """Wait until all that was started is done, well or not."""
        concurrent.futures.wait(self._under_way)

    @contextmanager
    def watch(self, checkpoints: Iterable[Path] = ()) -> Iterator[None]:
        """Note whether what is done inside arrived; log the first that did not."""
        try:
            yield
        except Exception as error:
            with self._lock:
                self.num_failed += 1
                is_first = self.num_failed == 1
            if is_first:
                logger.error("A push failed; the last one of the run carries what is missing. %s", error)
            raise
        with self._lock:
            self.arrived.update(checkpoints)
