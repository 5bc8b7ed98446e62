"""Kills thousands of training processes at random, and says whether anything was lost.

3,000 kills take a quarter of an hour on two cores. A run that does not end as if undisturbed ends this,
too: its folder is kept, as it is now and as the last kill left it, and named with what was done to it.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Event

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from crashes.nursery import Nursery
from crashes.plans import PLANS, WITH_LOADING_PROCESSES, tell_story
from crashes.stories import Undisturbed, run_undisturbed
from tqdm import tqdm

LOADING_PROCESSES_EVERY = 100
"""Runs between two with loading processes, which outlive a kill by some seconds."""


class Torture:
    """Kills runs until it was enough.

    Args:
        num_kills: How many.
        seed: What plan, kind and place of kills are drawn from. Instants are as random as machines are.
        folder: Where runs have their folders.
    """

    def __init__(self, num_kills: int, seed: int, folder: Path) -> None:
        self.num_kills = num_kills
        self.seed = seed
        self.folder = folder
        self.has_failed = Event()
        self.bar = tqdm(total=num_kills, unit="kill")

    def run(self, worker: int, num_workers: int) -> None:
        """Tell every so manyth story, until all together have killed enough."""
        with Nursery() as nursery:
            plans = {
                name: run_undisturbed(nursery, self.folder / f"undisturbed-{worker}" / name, arguments)
                for name, arguments in {**PLANS, "loading processes": WITH_LOADING_PROCESSES}.items()
            }
            for index in count(worker, num_workers):
                if self.bar.n >= self.num_kills or self.has_failed.is_set():
                    return
                self.tell(index, nursery, plans)

    def tell(self, index: int, nursery: Nursery, plans: dict[str, Undisturbed]) -> None:
        """One run, killed some times."""
        rng = random.Random(f"{self.seed}-{index}")
        name = rng.choice(list(PLANS))
        if index % LOADING_PROCESSES_EVERY == LOADING_PROCESSES_EVERY - 1:
            name = "loading processes"
        try:
            story = tell_story(rng, nursery, self.folder / f"run-{index}", plans[name])
        except BaseException:
            self.has_failed.set()
            raise
        self.bar.update(story.num_kills)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--jobs", type=int, default=2, help="processes that train at the same time")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    print(f"seed {options.seed}, in {folder}", flush=True)
    torture = Torture(options.kills, options.seed, folder)
    with ThreadPoolExecutor(options.jobs) as pool:
        done = [pool.submit(torture.run, worker, options.jobs) for worker in range(options.jobs)]
    torture.bar.close()
    errors = [error for error in (one.exception() for one in done) if error is not None]
    if errors:
        texts = "\n".join(f"{type(error).__name__}: {error}" for error in errors)
        raise SystemExit(
            f"{texts}\nKept: {folder} (*-as-killed: before the last process; seed {options.seed})"
        )
    shutil.rmtree(folder)
    print(f"{torture.bar.n} kills, nothing lost, every run as if undisturbed")


if __name__ == "__main__":
    main()
