"""Runs one trainer on a device that sees every read, and prints who read from it between two logs, as JSON.

python benchmarks/reads_subjects.py TRAINER [SCENARIO ...]
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from reads_device import NAME, Phantom, install
from torch import nn
from torch.utils.data import DataLoader, default_collate

UPDATES, LOG_EVERY, BATCH = 20, 10, 4
WORDS, LENGTH = 32, 6

HEADLINE = "plain"
"""What is held beside other trainers, which clip at 1, too."""

SCENARIOS: dict[str, dict[str, Any]] = {
    HEADLINE: {},
    "clipping, a schedule": {"max_grad_norm": 1.0, "lr_scheduler_type": "cosine", "warmup_steps": 5},
    "no clipping, AdamW that is not fused": {"optim": "adamw_torch", "max_grad_norm": 0},
    "accumulation of 4, labels that do not count": {"gradient_accumulation_steps": 4},
    "bf16": {"bf16": True},
    "losses that are not finite counted as they are": {"logging_nan_inf_filter": False},
    "samples grouped by length": {"group_by_length": True},
    "label smoothing": {"label_smoothing_factor": 0.1},
    "tokens counted": {"include_num_input_tokens_seen": "all"},
    "tokens that are no padding counted": {"include_num_input_tokens_seen": "non_padding"},
    "a model that takes the number of labels": {"gradient_accumulation_steps": 4, "takes_count": True},
    "a loss function of one's own": {"gradient_accumulation_steps": 4, "has_loss_function": True},
    "a callback that hears everything": {"gradient_accumulation_steps": 4, "has_callback": True},
    "more micro-batches than are kept": {"gradient_accumulation_steps": 120},
}
"""What drivetrain is asked for, over fused AdamW and clipping at 1."""


class Tagger(nn.Module):
    """A word for each word; it tells the device when an update begins."""

    def __init__(self, device: Phantom, micro_batches: int) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 8)
        self.inner, self.outer = nn.Linear(8, 8), nn.Linear(8, WORDS)
        self.num_forwards = 0
        self.register_forward_pre_hook(lambda *_: self._count(device, micro_batches))

    def _count(self, device: Phantom, micro_batches: int) -> None:
        device.moment = self.num_forwards // micro_batches + 1
        self.num_forwards += 1

    def forward(self, input_ids: Any, attention_mask: Any = None, labels: Any = None) -> Any:
        logits = self.outer(torch.relu(self.inner(self.words(input_ids)))).float()
        if labels is None:
            return {"logits": logits}
        return {
            "loss": nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()),
            "logits": logits,
        }


class CountedTagger(Tagger):
    """One whose forward divides the sum of losses itself."""

    def forward(
        self, input_ids: Any, attention_mask: Any = None, labels: Any = None, **kwargs: Any
    ) -> Any:
        outputs = super().forward(input_ids)
        outputs["loss"] = sum_of_losses(outputs, labels, kwargs["num_items_in_batch"])
        return outputs


def sum_of_losses(outputs: Any, labels: Any, num_items_in_batch: Any) -> Any:
    """Over the number of labels in the whole update."""
    flat = outputs["logits"].flatten(0, 1), labels.flatten()
    return nn.functional.cross_entropy(*flat, reduction="sum") / num_items_in_batch


def make_samples(count: int) -> list[dict[str, torch.Tensor]]:
    """Samples of which some labels do not count, and some words are padding."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for index in range(count):
        words = torch.randint(1, WORDS, (LENGTH,), generator=generator)
        labels, mask = words.roll(1), torch.ones(LENGTH, dtype=torch.int64)
        labels[: index % 3], mask[LENGTH - index % 2 :] = -100, 0
        samples.append({"input_ids": words, "attention_mask": mask, "labels": labels})
    return samples


def run_drivetrain(device: Phantom, scenario: dict[str, Any]) -> list[float]:
    """Train; return the losses that were logged."""
    from drivetrain import Trainer, TrainerCallback, TrainingArguments

    class Listener(TrainerCallback):
        def __getattribute__(self, name: str) -> Any:
            return (lambda *_, **__: None) if name.startswith("on_") else super().__getattribute__(name)

    options = dict(scenario)
    has_callback, has_loss_function = options.pop("has_callback", 0), options.pop("has_loss_function", 0)
    cls = CountedTagger if options.pop("takes_count", False) else Tagger
    accumulation = options.get("gradient_accumulation_steps", 1)
    trainer = Trainer(
        cls(device, accumulation),
        TrainingArguments(tempfile.mkdtemp(), **{**_published(), **options}),
        train_dataset=make_samples(24 * BATCH),
        data_collator=default_collate,
        compute_loss_func=sum_of_losses if has_loss_function else None,
        callbacks=[Listener()] if has_callback else None,
    )
    trainer.train()
    return [logs["loss"] for logs in trainer.state.log_history if "loss" in logs]


def _published() -> dict[str, Any]:
    """Arguments that both trainers know."""
    return {
        "max_steps": UPDATES,
        "per_device_train_batch_size": BATCH,
        "logging_steps": LOG_EVERY,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "learning_rate": 1e-2,
    }


def run_transformers(device: Phantom, scenario: dict[str, Any]) -> list[float]:
    """The same with transformers' Trainer; the device is set, for Accelerate cannot find it."""
    from accelerate import PartialState
    from transformers import Trainer, TrainingArguments

    class Arguments(TrainingArguments):  # type: ignore[misc]
        @property
        def device(self) -> torch.device:
            super().device  # noqa: B018  (makes Accelerate's state)
            PartialState().device = torch.device(NAME, 0)
            return torch.device(NAME, 0)

    trainer = Trainer(
        Tagger(device, 1).to(NAME),
        Arguments(tempfile.mkdtemp(), use_cpu=True, **_published()),
        train_dataset=make_samples(24 * BATCH),
        data_collator=default_collate,
    )
    trainer.train()
    return [logs["loss"] for logs in trainer.state.log_history if "loss" in logs]


def run_accelerate(device: Phantom, scenario: dict[str, Any]) -> list[float]:
    """A loop of one's own around Accelerate, as its documentation has it."""
    from accelerate import Accelerator, PartialState

    PartialState(cpu=True).device = torch.device(NAME, 0)
    accelerator = Accelerator(cpu=True)
    model = Tagger(device, 1)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    loader = DataLoader(make_samples(24 * BATCH), BATCH, collate_fn=default_collate)  # type: ignore[arg-type]
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    return _loop(model, optimizer, loader, accelerator.backward, accelerator.clip_grad_norm_)


def run_bare(device: Phantom, scenario: dict[str, Any]) -> list[float]:
    """A loop of PyTorch alone."""
    model = Tagger(device, 1).to(NAME)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    samples = make_samples(24 * BATCH)
    loader = [
        {key: value.to(NAME) for key, value in default_collate(samples[start : start + BATCH]).items()}
        for start in range(0, len(samples), BATCH)
    ]
    return _loop(model, optimizer, loader, torch.Tensor.backward, nn.utils.clip_grad_norm_)


def _loop(model: Any, optimizer: Any, loader: Any, backward: Any, clip: Any) -> list[float]:
    losses, total = [], torch.zeros((), device=NAME)
    for step, batch in enumerate(loader, 1):
        loss = model(**batch)["loss"]
        backward(loss)
        clip(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        total += loss.detach()
        if step % LOG_EVERY == 0:
            losses.append(total.item() / LOG_EVERY)
            total.zero_()
        if step == UPDATES:
            break
    return losses


def run_lightning(device: Phantom, scenario: dict[str, Any]) -> list[float]:
    """Lightning's Trainer, with a logger in memory."""
    import lightning
    from lightning.pytorch.accelerators import CPUAccelerator
    from lightning.pytorch.loggers import CSVLogger
    from lightning.pytorch.strategies import SingleDeviceStrategy

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.tagger = Tagger(device, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = self.tagger(**batch)["loss"]
            self.log("loss", loss, on_step=True)
            losses.append(loss.detach())
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), 1e-2)

    class OnPhantom(CPUAccelerator):  # type: ignore[misc]
        def setup_device(self, device: torch.device) -> None:
            pass

    losses: list[torch.Tensor] = []
    folder = tempfile.mkdtemp()
    trainer = lightning.Trainer(
        max_steps=UPDATES,
        log_every_n_steps=LOG_EVERY,
        strategy=SingleDeviceStrategy(torch.device(NAME, 0), OnPhantom()),
        logger=CSVLogger(folder),
        gradient_clip_val=1.0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), DataLoader(make_samples(24 * BATCH), BATCH, collate_fn=default_collate))  # type: ignore[arg-type]
    return [loss.item() for loss in losses]


TRAINERS: dict[str, Callable[[Phantom, dict[str, Any]], list[float]]] = {
    "drivetrain": run_drivetrain,
    "transformers": run_transformers,
    "Accelerate": run_accelerate,
    "Lightning": run_lightning,
    "bare loop": run_bare,
}


def main(trainer: str, scenarios: Sequence[str]) -> None:
    """Run each scenario, and print what was read between the first log and the second, and at all."""
    torch.set_num_threads(1)
    device = install()
    found = {}
    for scenario in scenarios:
        torch.manual_seed(0)
        device.reads.clear()
        losses = TRAINERS[trainer](device, SCENARIOS[scenario])
        between = [read for read in device.reads if LOG_EVERY < read.moment < UPDATES]
        found[scenario] = {
            "between": len(between),
            "updates": UPDATES - LOG_EVERY - 1,
            "where": Counter(f"{read.operation}: {' > '.join(read.where)}" for read in between),
            "in all": len(device.reads),
            "losses": losses,
        }
    print(json.dumps(found))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as tempfile.tempdir:  # whatever a trainer makes is in it
        main(sys.argv[1], sys.argv[2:] or [HEADLINE])
