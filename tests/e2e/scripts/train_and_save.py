"""Trains a small model and saves at every update: `train_and_save.py FOLDER SECONDS_A_SAVE`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from small import make_args, make_net, make_samples

from drivetrain import Trainer, TrainerCallback
from drivetrain.checkpoint.layout import list_checkpoints


class Tell(TrainerCallback):
    """Tells of each checkpoint once `train` says that it is there, and takes a while for it."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        print(f"saved {state.global_step}", flush=True)
        time.sleep(float(sys.argv[2]))


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    args = make_args(
        folder, num_train_epochs=15, save_strategy="steps", save_steps=1, save_total_limit=3
    )
    trainer = Trainer(make_net(), args, train_dataset=make_samples(), callbacks=[Tell()])
    trainer.train(resume_from_checkpoint=bool(list_checkpoints(folder)))
    torch.save(trainer.model.state_dict(), folder / "final.pt")


if __name__ == "__main__":
    main()
