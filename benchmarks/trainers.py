"""The trainers that are compared: the same work as each one's users write it. Another is one class more.

All of them clip and follow a linear schedule, with the same optimizer; the loops that are written out here
leave away what they have no use for, such as a sum of losses where nothing is logged.
``tests/e2e/test_benchmarks_loop.py`` holds that they come to the same weights.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.data import DataLoader, default_collate

LEARNING_RATE = 1e-3
MAX_GRAD_NORM = 1.0
WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class Task:
    """What is trained, with fused AdamW, clipping and a linear schedule.

    Attributes:
        make_model: Makes the model; it takes the batch's keys and returns a dict with ``"loss"``.
        dataset: Dicts of tensors by index.
        batch_size: Samples a micro-batch.
        accumulation: Micro-batches an update.
        log_every: Updates between two logs of loss, gradient norm and rate; 0: none is written.
        folder: Where logs go, as lines of JSON.
    """

    make_model: Callable[[], nn.Module]
    dataset: Any
    batch_size: int
    accumulation: int = 1
    log_every: int = 0
    folder: str = "."


class Subject(ABC):
    """A way to train. Each call of `train` is a whole run, from the data to its end."""

    name: ClassVar[str]
    library: ClassVar[str]
    log_file: ClassVar[str]

    def __init__(self, task: Task) -> None:
        self.task = task

    @classmethod
    def is_installed(cls) -> bool:
        """Whether its library is there."""
        return importlib.util.find_spec(cls.library) is not None

    @abstractmethod
    def train(self, num_updates: int) -> nn.Module:
        """Train a new model for so many updates; return it."""

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of all of them: weight decay on all but biases and norms, as is usual."""
        parameters = list(model.parameters())
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, LEARNING_RATE, fused=True)

    def make_schedule(self, optimizer: torch.optim.Optimizer, num_updates: int) -> Any:
        """The schedule of all of them: linear, to zero."""
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: max(0.0, (num_updates - step) / max(1, num_updates))
        )

    def make_loader(self) -> DataLoader[Any]:
        """The loader of those that have none of their own."""
        task = self.task
        return DataLoader(task.dataset, task.batch_size, shuffle=True, collate_fn=default_collate)

    def is_log_due(self, step: int) -> bool:
        """Whether this update is to be logged."""
        return self.task.log_every > 0 and step % self.task.log_every == 0

    @cached_property
    def log_descriptor(self) -> int:
        """The log of those that have none of their own, open as long as the process."""
        return os.open(Path(self.task.folder, self.log_file), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def log(self, step: int, **values: Any) -> None:
        """Write a line of JSON to it."""
        line = json.dumps({"step": step, **values, "time": time.time()})
        os.write(self.log_descriptor, f"{line}\n".encode())


class BareLoop(Subject):
    """PyTorch alone, as in a tutorial: what everything else is measured by."""

    name = "bare loop"
    library = "torch"
    log_file = "bare.jsonl"

    def train(self, num_updates: int) -> nn.Module:
        """Train."""
        task, model = self.task, self.task.make_model()
        model.train()
        optimizer = self.make_optimizer(model)
        schedule = self.make_schedule(optimizer, num_updates)
        batches = self.batches()
        loss_sum = torch.zeros(())
        for step in range(1, num_updates + 1):
            for _ in range(task.accumulation):
                loss = model(**next(batches))["loss"]
                if task.accumulation > 1:
                    loss = loss / task.accumulation
                loss.backward()
                if task.log_every:
                    loss_sum += loss.detach()
            norm = nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if self.is_log_due(step):
                self.log(
                    step,
                    loss=loss_sum.item() / task.log_every,
                    grad_norm=norm.item(),
                    learning_rate=schedule.get_last_lr()[0],
                )
                loss_sum.zero_()
        return model

    def batches(self) -> Iterator[Any]:
        """Batches of as many passes as it takes."""
        loader = self.make_loader()
        while True:
            yield from loader


class BareLoopOneGroup(BareLoop):
    """The bare loop with weight decay on everything, in one group: a little less work than all others do."""

    name = "bare loop with one group"
    log_file = "bare-one-group.jsonl"

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer as the shortest tutorial has it."""
        return torch.optim.AdamW(
            model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
        )


class Drivetrain(Subject):
    """This trainer."""

    name = "drivetrain"
    library = "drivetrain"
    log_file = "log.jsonl"

    def train(self, num_updates: int) -> nn.Module:
        """Train."""
        from drivetrain import Trainer, TrainingArguments

        task, model = self.task, self.task.make_model()
        args = TrainingArguments(
            output_dir=task.folder,
            per_device_train_batch_size=task.batch_size,
            gradient_accumulation_steps=task.accumulation,
            max_steps=num_updates,
            learning_rate=LEARNING_RATE,
            max_grad_norm=MAX_GRAD_NORM,
            weight_decay=WEIGHT_DECAY,
            optim="adamw_torch_fused",
            save_strategy="no",
            report_to="jsonl" if task.log_every else "none",
            logging_steps=task.log_every or 500,
            disable_tqdm=True,
            use_cpu=True,
        )
        Trainer(model, args, data_collator=default_collate, train_dataset=task.dataset).train()
        return model


class Transformers(Subject):
    """transformers' Trainer, whose interface drivetrain has."""

    name = "transformers"
    library = "transformers"
    log_file = "transformers.jsonl"

    def train(self, num_updates: int) -> nn.Module:
        """Train."""
        from transformers import Trainer, TrainerCallback, TrainingArguments

        class Lines(TrainerCallback):
            def on_log(callback, args: Any, state: Any, control: Any, logs: Any, **kwargs: Any) -> None:
                self.log(state.global_step, **logs)

        task, model = self.task, self.task.make_model()
        args = TrainingArguments(
            output_dir=task.folder,
            per_device_train_batch_size=task.batch_size,
            gradient_accumulation_steps=task.accumulation,
            max_steps=num_updates,
            learning_rate=LEARNING_RATE,
            max_grad_norm=MAX_GRAD_NORM,
            weight_decay=WEIGHT_DECAY,
            optim="adamw_torch_fused",
            save_strategy="no",
            report_to="none",
            logging_steps=task.log_every or 500,
            disable_tqdm=True,
            use_cpu=True,
        )
        Trainer(
            model,
            args,
            data_collator=default_collate,
            train_dataset=task.dataset,
            callbacks=[Lines()] if task.log_every else [],
        ).train()
        return model


class Accelerate(Subject):
    """The loop that Accelerate's documentation shows, with what accumulates and clips in it."""

    name = "Accelerate"
    library = "accelerate"
    log_file = "accelerate.jsonl"

    def train(self, num_updates: int) -> nn.Module:
        """Train."""
        from accelerate import Accelerator

        task, step, loss_sum = self.task, 0, torch.zeros(())
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=task.accumulation)
        model = task.make_model()
        optimizer = self.make_optimizer(model)
        schedule = self.make_schedule(optimizer, num_updates)
        model, optimizer, loader, schedule = accelerator.prepare(
            model, optimizer, self.make_loader(), schedule
        )
        model.train()
        while True:
            for batch in loader:
                with accelerator.accumulate(model):
                    loss = model(**batch)["loss"]
                    accelerator.backward(loss)
                    if task.log_every:
                        loss_sum += loss.detach()
                    if accelerator.sync_gradients:
                        norm = accelerator.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
                    optimizer.step()
                    schedule.step()
                    optimizer.zero_grad()
                if not accelerator.sync_gradients:
                    continue
                step += 1
                if self.is_log_due(step):
                    self.log(
                        step,
                        loss=loss_sum.item() / (task.log_every * task.accumulation),
                        grad_norm=norm.item(),
                        learning_rate=schedule.get_last_lr()[0],
                    )
                    loss_sum.zero_()
                if step == num_updates:
                    return accelerator.unwrap_model(model)


class Lightning(Subject):
    """Lightning's Trainer without checkpoints, logger, summary and bar."""

    name = "Lightning"
    library = "lightning"
    log_file = "lightning.jsonl"

    def train(self, num_updates: int) -> nn.Module:
        """Train."""
        import lightning
        from lightning.pytorch.utilities import grad_norm

        task, model, loss_sum = self.task, self.task.make_model(), torch.zeros(())

        class Module(lightning.LightningModule):
            def __init__(module) -> None:
                super().__init__()
                module.model = model

            def training_step(module, batch: Any, batch_idx: int) -> torch.Tensor:
                loss: torch.Tensor = module.model(**batch)["loss"]
                if task.log_every:
                    loss_sum.add_(loss.detach())
                return loss

            def configure_optimizers(module) -> Any:
                optimizer = self.make_optimizer(module)
                schedule = self.make_schedule(optimizer, num_updates)
                return [optimizer], [{"scheduler": schedule, "interval": "step"}]

        class Lines(lightning.Callback):
            def on_before_optimizer_step(callback, trainer: Any, module: Any, optimizer: Any) -> None:
                if self.is_log_due(trainer.global_step + 1):
                    callback.norm = grad_norm(module, 2)["grad_2.0_norm_total"]

            def on_train_batch_end(
                callback, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
            ) -> None:
                is_update = (batch_idx + 1) % task.accumulation == 0
                if is_update and self.is_log_due(trainer.global_step):
                    self.log(
                        trainer.global_step,
                        loss=loss_sum.item() / (task.log_every * task.accumulation),
                        grad_norm=callback.norm.item(),
                        learning_rate=trainer.optimizers[0].param_groups[0]["lr"],
                    )
                    loss_sum.zero_()

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # devices, tips
        lightning.Trainer(
            accelerator="cpu",
            max_steps=num_updates,
            max_epochs=-1,
            accumulate_grad_batches=task.accumulation,
            gradient_clip_val=MAX_GRAD_NORM,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            logger=False,
            callbacks=[Lines()] if task.log_every else [],
        ).fit(Module(), self.make_loader())
        return model


class Ignite(Subject):
    """ignite's Engine around an update function, with handlers for the schedule and the log."""

    name = "ignite"
    library = "ignite"
    log_file = "ignite.jsonl"

    def train(self, num_updates: int) -> nn.Module:
        """Train."""
        from ignite.engine import Engine, Events

        task, model, loss_sum = self.task, self.task.make_model(), torch.zeros(())
        optimizer = self.make_optimizer(model)
        schedule = self.make_schedule(optimizer, num_updates)

        def update(engine: Engine, batch: Any) -> torch.Tensor | None:
            model.train()
            loss = model(**batch)["loss"]
            if task.accumulation > 1:
                loss = loss / task.accumulation
            loss.backward()
            if task.log_every:
                loss_sum.add_(loss.detach())
            if engine.state.iteration % task.accumulation:
                return None
            norm = nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
            optimizer.step()
            optimizer.zero_grad()
            return norm

        def log(engine: Engine) -> None:
            self.log(
                engine.state.iteration // task.accumulation,
                loss=loss_sum.item() / task.log_every,
                grad_norm=engine.state.output.item(),
                learning_rate=schedule.get_last_lr()[0],
            )
            loss_sum.zero_()

        engine = Engine(update)
        every = task.accumulation
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=every), lambda: schedule.step())
        if task.log_every:
            engine.add_event_handler(Events.ITERATION_COMPLETED(every=every * task.log_every), log)
        engine.run(self.make_loader(), max_iters=num_updates * every)
        return model


SUBJECTS: dict[str, type[Subject]] = {
    cls.name: cls
    for cls in (BareLoop, Drivetrain, Transformers, Accelerate, Lightning, Ignite, BareLoopOneGroup)
}
"""All of them by name, first the one that the others are measured by, and ours."""


def find_subjects() -> tuple[list[str], dict[str, str]]:
    """Find the names of those that do the same work and can run here, and why each other one cannot."""
    alike = {name: cls for name, cls in SUBJECTS.items() if cls is not BareLoopOneGroup}
    installed = [name for name, cls in alike.items() if cls.is_installed()]
    return installed, {name: "not installed" for name in alike if name not in installed}
