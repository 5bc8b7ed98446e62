"""Ways to evaluate a model, each as its users would write it, in a process of its own.

    python benchmarks/evaluation_subjects.py NAME BATCH_SIZE SAMPLES WHAT_IS_KEPT

Evaluates once for each line that it reads, and answers with what that took, as JSON: seconds of the
processor, MB of memory at most above what there was before, and the loss and the accuracy that came out.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, default_collate

NUM_INPUTS, NUM_CLASSES = 16, 1000
LOGITS, LOSS, BATCHES = "logits", "loss", "batches"
"""What is kept: all logits, for metrics at the end; the loss alone; what metrics gather batch by batch."""

Metrics = dict[str, float]


class Linear(nn.Module):
    """A linear model, which computes its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(NUM_INPUTS, NUM_CLASSES)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.layer(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def make_samples(count: int) -> list[dict[str, torch.Tensor]]:
    """Random samples."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(count, NUM_INPUTS, generator=generator)
    labels = torch.randint(NUM_CLASSES, (count,), generator=generator)
    return [{"x": row, "labels": label} for row, label in zip(rows, labels, strict=True)]


@dataclass
class Task:
    """What is evaluated.

    Attributes:
        batch_size: Samples a batch.
        num_samples: Samples in all.
        kept: What is kept of each batch, as above.
    """

    batch_size: int
    num_samples: int
    kept: str = LOGITS
    model: nn.Module = field(default_factory=Linear)
    samples: Any = field(init=False)

    def __post_init__(self) -> None:
        self.samples = make_samples(self.num_samples)

    def make_loader(self) -> DataLoader[Any]:
        """The loader of those that have none of their own."""
        return DataLoader(self.samples, self.batch_size, collate_fn=default_collate)


class Subject(ABC):
    """A way to evaluate."""

    name: ClassVar[str]
    library: ClassVar[str] = "torch"

    def __init__(self, task: Task) -> None:
        self.task = task

    @classmethod
    def is_installed(cls) -> bool:
        """Whether its library is there."""
        return importlib.util.find_spec(cls.library) is not None

    @abstractmethod
    def evaluate(self) -> Metrics:
        """Evaluate all samples; return the mean loss, and the accuracy unless only the loss is kept."""


def accuracy(logits: Any, labels: Any) -> float:
    """The share of samples whose largest logit is the label's."""
    return float((logits.argmax(-1) == labels).mean())


class Hits:
    """Counts right answers batch by batch; as published metrics do, with ``compute_result``."""

    def __init__(self) -> None:
        self.right = self.all = 0

    def add(self, logits: Any, labels: Any) -> None:
        self.right += int((logits.argmax(-1) == labels).sum())
        self.all += len(labels)

    def __call__(self, prediction: Any, compute_result: bool) -> Metrics:
        self.add(prediction.predictions, prediction.label_ids)
        if not compute_result:
            return {}
        share, self.right, self.all = self.right / self.all, 0, 0
        return {"accuracy": share}


class BareLoop(Subject):
    """PyTorch alone, with room for all logits made at the begin."""

    name = "bare loop"

    def evaluate(self) -> Metrics:
        """Evaluate."""
        task, model, loss_sum, end, hits = self.task, self.task.model, 0.0, 0, Hits()
        all_logits = np.empty((task.num_samples, NUM_CLASSES), np.float32)
        all_labels = np.empty(task.num_samples, np.int64)
        model.eval()
        with torch.no_grad():
            for batch in task.make_loader():
                outputs, labels = model(**batch), batch["labels"]
                start, end = end, end + len(labels)
                loss_sum += outputs["loss"].item() * (end - start)
                if task.kept == LOGITS:
                    all_logits[start:end] = outputs["logits"].numpy()
                    all_labels[start:end] = labels.numpy()
                elif task.kept == BATCHES:
                    hits.add(outputs["logits"], labels)
        metrics = {"loss": loss_sum / end}
        if task.kept == LOGITS:
            metrics["accuracy"] = accuracy(all_logits, all_labels)
        return metrics if task.kept != BATCHES else {**metrics, "accuracy": hits.right / hits.all}


class ListLoop(Subject):
    """PyTorch alone, with a list of the batches' logits that are concatenated at the end."""

    name = "bare loop with a list"

    def evaluate(self) -> Metrics:
        """Evaluate."""
        task, model, loss_sum, kept = self.task, self.task.model, 0.0, Kept()
        model.eval()
        with torch.no_grad():
            for batch in task.make_loader():
                outputs, labels = model(**batch), batch["labels"]
                loss_sum += outputs["loss"].item() * len(labels)
                kept.add(task, outputs["logits"], labels)
        return {"loss": loss_sum / task.num_samples, **kept.metrics(task)}


class Kept:
    """Lists of what batches gave, put together at the end; or hits, counted as they come."""

    def __init__(self) -> None:
        self.logits: list[torch.Tensor] = []
        self.labels: list[torch.Tensor] = []
        self.hits = Hits()

    def add(self, task: Task, logits: torch.Tensor, labels: torch.Tensor) -> None:
        if task.kept == LOGITS:
            self.logits.append(logits)
            self.labels.append(labels)
        elif task.kept == BATCHES:
            self.hits.add(logits, labels)

    def metrics(self, task: Task) -> Metrics:
        if task.kept == LOGITS:
            return {"accuracy": accuracy(torch.cat(self.logits).numpy(), torch.cat(self.labels).numpy())}
        return {"accuracy": self.hits.right / self.hits.all} if task.kept == BATCHES else {}


class Published(Subject):
    """A trainer with the published interface."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        library = importlib.import_module(self.library)
        args = library.TrainingArguments(
            output_dir=tempfile.mkdtemp(prefix="evaluation-"),
            per_device_eval_batch_size=task.batch_size,
            batch_eval_metrics=task.kept == BATCHES,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        compute_metrics = {
            LOGITS: lambda prediction: {
                "accuracy": accuracy(prediction.predictions, prediction.label_ids)
            },
            BATCHES: Hits(),
            LOSS: None,
        }
        self.trainer = library.Trainer(
            task.model,
            args,
            data_collator=default_collate,
            eval_dataset=task.samples,
            compute_metrics=compute_metrics[task.kept],
        )
        for callback in list(self.trainer.callback_handler.callbacks):
            if type(callback).__name__ == "PrinterCallback":  # the line that it prints is no answer
                self.trainer.remove_callback(callback)
        Path(args.output_dir).rmdir()

    def evaluate(self) -> Metrics:
        """Evaluate."""
        metrics = self.trainer.evaluate()
        return {
            name: metrics[f"eval_{name}"] for name in ("loss", "accuracy") if f"eval_{name}" in metrics
        }


class Drivetrain(Published):
    """This trainer."""

    name = library = "drivetrain"


class Transformers(Published):
    """transformers' Trainer, whose interface drivetrain has."""

    name = library = "transformers"


class Accelerate(Subject):
    """The loop that Accelerate's documentation shows, with `gather_for_metrics`."""

    name = "Accelerate"
    library = "accelerate"

    def evaluate(self) -> Metrics:
        """Evaluate."""
        from accelerate import Accelerator

        task, loss_sum, kept = self.task, 0.0, Kept()
        accelerator = Accelerator(cpu=True)
        model, loader = accelerator.prepare(task.model, task.make_loader())
        model.eval()
        for batch in loader:
            with torch.no_grad():
                outputs = model(**batch)
            logits, labels = accelerator.gather_for_metrics((outputs["logits"], batch["labels"]))
            loss_sum += outputs["loss"].item() * len(labels)
            kept.add(task, logits, labels)
        return {"loss": loss_sum / task.num_samples, **kept.metrics(task)}


class Lightning(Subject):
    """Lightning's `validate`, with the outputs kept by the module."""

    name = "Lightning"
    library = "lightning"

    def evaluate(self) -> Metrics:
        """Evaluate."""
        import lightning

        task, kept, found = self.task, Kept(), {}

        class Module(lightning.LightningModule):
            def __init__(module) -> None:
                super().__init__()
                module.model = task.model

            def validation_step(module, batch: Any, batch_idx: int) -> None:
                outputs, labels = module.model(**batch), batch["labels"]
                module.log("loss", outputs["loss"], batch_size=len(labels))
                kept.add(task, outputs["logits"], labels)

            def on_validation_epoch_end(module) -> None:
                found.update(kept.metrics(task))

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # devices, tips
        trainer = lightning.Trainer(
            accelerator="cpu",
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            logger=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about loading processes, which nobody has here
            (logged,) = trainer.validate(Module(), task.make_loader(), verbose=False)
        return {"loss": logged["loss"], **found}


SUBJECTS = {
    subject.name: subject
    for subject in (BareLoop, ListLoop, Drivetrain, Transformers, Accelerate, Lightning)
}


# -- measuring --------------------------------------------------------------------------------------


def take_turn(subject: Subject) -> dict[str, Any]:
    """Evaluate once; return what it took and gave."""
    gc.collect()
    before = reset_peak()
    start = time.process_time()
    metrics = subject.evaluate()
    seconds = time.process_time() - start
    return {"seconds": seconds, "megabytes": peak_above(before), "metrics": metrics}


def reset_peak() -> int:
    """Give free memory back, set the process's peak back to what it has now, and return that, in KiB.

    Linux alone can do that; elsewhere it is 0.
    """
    if not Path("/proc/self/clear_refs").exists():
        return 0
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def peak_above(before: int) -> float | None:
    """MB of memory that there were at most since `reset_peak`, above what it returned."""
    return (memory("VmHWM") - before) * 1024 / 1e6 if before else None


def memory(what: str) -> int:
    """A line of the process's status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def main(name: str, batch_size: int, num_samples: int, kept: str) -> None:
    """Evaluate for each line, after a short evaluation that warms everything up."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    answers, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115  (as long as the process)
    model = Linear()
    SUBJECTS[name](Task(batch_size, 2 * batch_size, kept, model)).evaluate()
    subject = SUBJECTS[name](Task(batch_size, num_samples, kept, model))
    gc.collect()
    gc.freeze()  # what was imported is not looked through while one of them is timed
    for _ in sys.stdin:
        print(json.dumps(take_turn(subject)), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
