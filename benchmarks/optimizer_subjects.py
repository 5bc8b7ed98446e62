"""What `optimizers.py` measures: one training with one optimizer, in a process of its own, turn by turn.

It reads its task, a line of JSON, and answers with lines of JSON: that it is ready, or why the optimizer
cannot run here; after each line it gets, the seconds that the next turn took; and what came of it all.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from drivetrain import Trainer, TrainerCallback, TrainingArguments, UsageError
from drivetrain.testing.leaves import count_state_bytes, leaves_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "gpt"))
from model import GPT, GPTConfig
from starts import Start, find_start
from text import load_data

MATRIX = 1024
"""Rows and columns of the matrix that stands for those of a large model."""


def read_clock() -> float:
    """Seconds of the processor; with a GPU, which works by itself, those of the clock."""
    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


class Line:
    """Where lines come from and go to. Whatever else is printed goes to standard error."""

    def __init__(self) -> None:
        self.answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(self, **what: Any) -> None:
        print(json.dumps(what), file=self.answers, flush=True)

    def wait(self) -> None:
        """Until there is a line to read; end the process where nothing will come."""
        if not sys.stdin.readline():
            raise SystemExit(0)


class Turns(TrainerCallback):
    """Trains a number of updates, says what they took, and waits to be asked for more."""

    def __init__(self, line: Line, num_updates: int) -> None:
        self.line = line
        self.num_updates = num_updates
        self.start = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.line.answer(ready=True)
        self.line.wait()
        self.start = read_clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.num_updates:
            return
        self.line.answer(seconds=(read_clock() - self.start) / self.num_updates)
        self.line.wait()
        self.start = read_clock()


class Matrix(nn.Module):
    """One weight matrix, as large models have hundreds of, and the smallest head that there is."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(MATRIX, MATRIX, bias=False)
        self.head = nn.Linear(MATRIX, 1, bias=False)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.head(self.hidden(x)).square().mean()}


def make_arguments(task: dict[str, Any], start: Start, folder: str, **changes: Any) -> TrainingArguments:
    """The arguments of a run with the optimizer.

    Raises:
        UsageError: It cannot run here.
    """
    settings: dict[str, Any] = {
        "optim": task["name"],
        "optim_args": start.optim_args,
        "optim_target_modules": start.target_modules,
        "learning_rate": start.learning_rate * task["factor"],
        "max_grad_norm": start.max_grad_norm,
        "lr_scheduler_type": start.scheduler,
        "warmup_ratio": 0.05,
        "max_steps": task["steps"],
        "per_device_train_batch_size": task["batch_size"],
        "per_device_eval_batch_size": 64,
        "logging_steps": task["steps"],
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": task["seed"],
    }
    return TrainingArguments(folder, **{**settings, **changes})


def train(task: dict[str, Any], start: Start, line: Line, folder: str) -> dict[str, Any]:
    """Train the small GPT; what came of it."""
    args = make_arguments(task, start, folder)
    data = load_data(task["block_size"])
    torch.manual_seed(task["seed"])
    model = GPT(GPTConfig(vocab_size=len(data.vocabulary), block_size=task["block_size"]))
    turns = Turns(line, task["turn"])
    trainer = Trainer(model, args, train_dataset=data.train, eval_dataset=data.eval, callbacks=[turns])
    trainer.train()
    return {
        "loss": trainer.evaluate()["eval_loss"],
        "state": count_bytes(trainer.optimizer),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "schedule": args.lr_scheduler_type,
        "learning_rate": args.learning_rate,
    }


def measure_matrix(task: dict[str, Any], start: Start, folder: str) -> int:
    """Bytes of state for one large matrix, of which low-rank methods keep the same share."""
    share = start.optim_args and start.optim_args.replace("rank=32", f"rank={MATRIX // 4}")
    target = start.target_modules and "hidden"
    changes = {"optim_args": share, "optim_target_modules": target, "max_steps": 2}
    args = make_arguments(task, start, folder, **changes)
    trainer = Trainer(Matrix(), args, train_dataset=[{"x": torch.ones(MATRIX)}] * 64)
    trainer.train()
    return count_bytes(trainer.optimizer)


def count_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes that an optimizer keeps, those in objects too, which only its state dict shows as tensors."""
    saved = [leaf for _, leaf in leaves_of(optimizer.state_dict()["state"])]
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in saved
        if isinstance(tensor, torch.Tensor)
    }
    return max(sum(storages.values()), count_state_bytes(optimizer))


def main() -> None:
    line, task = Line(), json.loads(sys.argv[1])
    torch.set_num_threads(1)
    start = find_start(task["name"])
    with tempfile.TemporaryDirectory(prefix=".benchmark-") as folder:
        try:
            result = train(task, start, line, folder)
            line.answer(
                **result, optim_args=start.optim_args, matrix=measure_matrix(task, start, folder)
            )
        except UsageError as error:
            line.answer(reason=str(error))
        except Exception as error:  # of one optimizer; the others are measured all the same
            line.answer(failure=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
