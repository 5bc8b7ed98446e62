"""Trains with a sharded model: `train_sharded.py FOLDER HOW CHECKPOINT`; writes whole weights at the end."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from small import make_args, make_net, make_samples
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.tensor import DTensor

from drivetrain import Trainer, TrainingArguments


class OnTheSameData(Trainer):
    """All processes train on the same samples, as the strategy of this test has it."""

    def get_total_train_batch_size(self, args: TrainingArguments) -> int:
        return args.train_batch_size


def main() -> None:
    torch.set_num_threads(1)
    folder, how, checkpoint = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    chosen = {"optim": "schedule_free_adamw", "learning_rate": 0.01} if how == "schedule-free" else {}
    args = make_args(
        folder,
        num_train_epochs=2,
        save_strategy="steps",
        save_steps=2,
        save_total_limit=3,
        async_save=how == "async",
        **chosen,
        strategy="sharding.FullyShard",
    )
    trainer = OnTheSameData(make_net(dropout=0.0), args, train_dataset=make_samples())
    assert all(isinstance(parameter, DTensor) for parameter in trainer.model.parameters())
    trainer.train(resume_from_checkpoint=checkpoint or None)
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(trainer.model, options=options)
    if dist.get_rank() == 0:
        torch.save(weights, folder / f"final-{Path(checkpoint).name or 'whole'}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
