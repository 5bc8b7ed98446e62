"""Train a small GPT, stop it, resume it from its checkpoint, and see what it learned.

python examples/gpt/demo.py
python examples/gpt/demo.py --optim muon --scheduler linear
python examples/gpt/demo.py --help
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from command_line import read_command_line
from generate import generate
from model import GPT, GPTConfig
from text import Data, load_data

from drivetrain import Trainer, TrainerCallback, TrainingArguments, UsageError


def main() -> int:
    options = read_command_line()
    try:
        run(options)
    except UsageError as error:  # a name that nothing provides, an option that there is not, ...
        print(error, file=sys.stderr)
        return 2
    return 0


def run(options: Namespace) -> None:
    start_time = time.time()
    plan = Plan.of(options.steps)
    folder = find_fresh_folder(Path(options.output_dir))
    args = make_arguments(options, plan, folder)
    folder.mkdir(parents=True)
    data = load_data(options.block_size)
    describe(options, plan, folder, data)

    announce(f"1. Train for {plan.interruption} updates, save a checkpoint, and stop there")
    trainer = make_trainer(options, args, data, callbacks=[Interruption()])
    trainer.train()
    report(trainer)

    announce("2. Resume: a new model and a new trainer go on from the checkpoint to the end")
    args = make_arguments(options, plan, folder, eval_on_start=False)
    trainer = make_trainer(options, args, data)
    trainer.train(resume_from_checkpoint=True)
    report(trainer)
    trainer.save_model(str(folder / "model"))

    announce("3. What the model writes now")
    print(write_sample(trainer, data, folder / "sample.txt", options.seed))
    draw(trainer, folder / "loss.png", options, plan)

    announce(f"Done in {time.time() - start_time:.0f} seconds")
    summarize(options, folder)


@dataclass(frozen=True)
class Plan:
    """When things happen in the run, in updates."""

    steps: int
    log_every: int
    eval_every: int
    interruption: int

    @classmethod
    def of(cls, steps: int) -> Plan:
        """Twenty logs, ten evaluations, and an interruption after the sixth of those."""
        eval_every = max(1, round(steps / 10))
        return cls(steps, max(1, round(steps / 20)), eval_every, 6 * eval_every)


class Interruption(TrainerCallback):
    """Stops the run after its first checkpoint, as a crash or a time limit would."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = True


def make_arguments(
    options: Namespace, plan: Plan, folder: Path, eval_on_start: bool = True
) -> TrainingArguments:
    """Everything that a run is told. Another optimizer, schedule or reporter is another word here.

    Raises:
        UsageError: Something cannot work; the message says what, and what to type.
    """
    return TrainingArguments(
        output_dir=str(folder),
        optim=options.optim,
        optim_args=options.optim_args,
        optim_target_modules=options.target_modules,
        learning_rate=options.learning_rate,
        max_grad_norm=options.max_grad_norm,
        lr_scheduler_type=options.scheduler,
        warmup_ratio=0.05,
        report_to=options.report_to,
        logging_dir=str(folder / "tensorboard"),
        logging_steps=plan.log_every,
        logging_first_step=True,
        max_steps=plan.steps,
        per_device_train_batch_size=options.batch_size,
        eval_strategy="steps",
        eval_steps=plan.eval_every,
        eval_on_start=eval_on_start,
        per_device_eval_batch_size=64,
        save_strategy="steps",
        save_steps=plan.interruption,
        seed=options.seed,
    )


def make_trainer(
    options: Namespace,
    args: TrainingArguments,
    data: Data,
    callbacks: list[TrainerCallback] | None = None,
) -> Trainer:
    """A trainer with a model that knows nothing yet."""
    torch.manual_seed(options.seed)
    model = GPT(GPTConfig(vocab_size=len(data.vocabulary), block_size=options.block_size))
    return Trainer(
        model=model, args=args, train_dataset=data.train, eval_dataset=data.eval, callbacks=callbacks
    )


def find_fresh_folder(parent: Path) -> Path:
    """The first of ``run-1``, ``run-2``, ... after those that are there: nothing is overwritten."""
    taken = [int(path.name[4:]) for path in parent.glob("run-*") if path.name[4:].isdecimal()]
    return parent / f"run-{max(taken, default=0) + 1}"


def write_sample(trainer: Trainer, data: Data, path: Path, seed: int) -> str:
    """Let the model write, keep it in a file, and return it indented."""
    sample = generate(trainer.model, data.vocabulary, "The ", num_characters=400, seed=seed)
    path.write_text(sample + "\n", encoding="utf-8")
    return "\n".join(f"   | {line}" for line in sample.splitlines())


def draw(trainer: Trainer, path: Path, options: Namespace, plan: Plan) -> None:
    """Draw what the trainer logged, if matplotlib is there to draw with."""
    try:
        from plot import draw_run
    except ModuleNotFoundError as error:
        print(f"\n   No picture: {error.name} is not installed. Type: pip install matplotlib")
        return
    title = f"A small GPT, trained with {options.optim} and the schedule {options.scheduler}"
    draw_run(trainer.state.log_history, path, title, resumed_at=plan.interruption)


# -- what is printed -------------------------------------------------------------------------------


def describe(options: Namespace, plan: Plan, folder: Path, data: Data) -> None:
    num_characters = len(data.train.ids) + len(data.eval.ids)
    print(
        f"""\
A small GPT learns to write like Python's documentation, one character after the other.

   data       {num_characters:,} characters, {len(data.vocabulary)} different ones; \
the last twentieth is for evaluation
   optimizer  {options.optim}{f" ({options.optim_args})" if options.optim_args else ""}, \
learning rate {options.learning_rate:g}
   schedule   {options.scheduler}, {plan.steps} updates of \
{options.batch_size} x {options.block_size} characters
   folder     {folder}"""
    )


def announce(what: str) -> None:
    print(f"\n{what}\n", flush=True)


def report(trainer: Trainer) -> None:
    """Print where the run is, and its last evaluation."""
    last = [entry for entry in trainer.state.log_history if "eval_loss" in entry][-1]
    print(
        f"\n   Evaluation loss at update {last['step']}: {last['eval_loss']:.3f} nats a character\n"
        f"   Checkpoint: {trainer.args.output_dir}/checkpoint-{trainer.state.global_step}"
    )


def summarize(options: Namespace, folder: Path) -> None:
    print(f"   {folder} has")
    contents = {
        "loss.png": "loss and learning rate, with the place of the resume",
        "sample.txt": "the text above",
        "model/": "the trained weights",
        "checkpoint-*/": "everything that a run needs to go on",
        "tensorboard/": "all that was logged",
    }
    for pattern, what in contents.items():
        if any(folder.glob(pattern.rstrip("/"))):
            print(f"      {pattern:<14} {what}")
    print("\nTry next\n\n   make demo OPTIM=muon\n   make demo OPTIM=galore_adamw")
    if (folder / "tensorboard").is_dir():
        print(f"   {find_command('tensorboard')} --logdir {options.output_dir}")
    print(f"   {find_command('drivetrain')} plugins")


def find_command(name: str) -> str:
    """What to type for a command that was installed beside this Python."""
    beside = Path(sys.executable).parent / name
    return name if shutil.which(name) or not beside.exists() else os.path.relpath(beside)


if __name__ == "__main__":
    sys.exit(main())
