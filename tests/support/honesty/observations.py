"""What can be seen of a trainer: a function does what it needs with it, and returns what there was to see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from small import Net, make_samples
from torch import nn

from drivetrain import Trainer

# -- training ----------------------------------------------------------------------------------------


def updates(trainer: Trainer) -> int:
    """Updates in the run."""
    return trainer.train().global_step


def logged(key: str, digits: int = 3) -> Callable[[Trainer], list[float]]:
    """What was logged under a name in a training."""

    def observe(trainer: Trainer) -> list[float]:
        trainer.train()
        return [round(entry[key], digits) for entry in trainer.state.log_history if key in entry]

    return observe


def logged_at(key: str) -> Callable[[Trainer], list[int]]:
    """The updates of a training at which something was logged under a name."""

    def observe(trainer: Trainer) -> list[int]:
        trainer.train()
        return [entry["step"] for entry in trainer.state.log_history if key in entry]

    return observe


def relative_rates(trainer: Trainer) -> list[float]:
    """The learning rate of each update, as a share of the highest."""
    rates = logged("learning_rate", digits=9)(trainer)
    return [round(rate / trainer.args.learning_rate, 3) for rate in rates]


def of_groups(key: str) -> Callable[[Trainer], list[Any]]:
    """An entry of each of the optimizer's groups."""
    return lambda trainer: [group[key] for group in trainer.create_optimizer().param_groups]


# -- data --------------------------------------------------------------------------------------------


def inputs_of(trainer: Trainer, run: Callable[[], Any]) -> list[dict[str, Any]]:
    """The keywords of each call of the model during a run."""
    calls: list[dict[str, Any]] = []
    handle = trainer.model.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(kwargs), with_kwargs=True
    )
    try:
        run()
    finally:
        handle.remove()
    return calls


def train_batches(trainer: Trainer) -> list[int]:
    """Samples in each micro-batch of a training."""
    return [len(inputs["x"]) for inputs in inputs_of(trainer, trainer.train)]


def eval_batches(trainer: Trainer) -> list[int]:
    """Samples in each batch of an evaluation."""
    return [len(inputs["x"]) for inputs in inputs_of(trainer, trainer.evaluate)]


def order(trainer: Trainer, **how: Any) -> list[int]:
    """The samples of a training by number, in the order in which the model got them."""
    numbers = {tuple(sample["x"].tolist()): number for number, sample in enumerate(make_samples())}
    calls = inputs_of(trainer, lambda: trainer.train(**how))
    return [numbers[tuple(x.tolist())] for inputs in calls for x in inputs["x"]]


# -- what is written ---------------------------------------------------------------------------------


def checkpoints(trainer: Trainer) -> list[int]:
    """The updates whose checkpoints there are after a training."""
    trainer.train()
    return checkpoints_in(trainer.args.output_dir)


def checkpoints_in(folder: str) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in Path(folder).glob("checkpoint-*"))


def files_of_checkpoint(trainer: Trainer) -> set[str]:
    """The files of the last checkpoint of a training."""
    trainer.train()
    folder = Path(trainer.args.output_dir, f"checkpoint-{trainer.state.global_step}")
    return {path.name for path in folder.iterdir()}


# -- models ------------------------------------------------------------------------------------------


class Formats(Net):
    """Notes in which number format its weights are, and those that it computes, in each call."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        self.weights: list[torch.dtype] = []
        self.computed: list[torch.dtype] = []

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        outputs = super().forward(x, labels)
        self.weights.append(self.inner.weight.dtype)
        self.computed.append(outputs["logits"].dtype)
        return outputs


class Words(nn.Module):
    """Classifies rows of tokens, and notes what its embeddings returned."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(20, 8)
        self.outer = nn.Linear(8, 3)
        self.embedded: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(
        self, input_ids: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        embedded = self.embeddings(input_ids)
        self.embedded.append((self.embeddings.weight[input_ids].detach(), embedded.detach()))
        logits = self.outer(embedded.mean(dim=1))
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def make_words(count: int = 16, length: int = 5) -> list[dict[str, Any]]:
    """Samples for `Words`, all of one length."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(20, (count, length), generator=generator)
    return [{"input_ids": row, "labels": int(row[0]) % 3} for row in ids]


class Broken(Net):
    """Its loss is not a number in the second call of a training."""

    num_calls = 0

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        outputs = super().forward(x, labels)
        self.num_calls += self.training
        if self.training and self.num_calls == 2:
            outputs["loss"] = 0 * outputs["loss"] + float("nan")  # with gradients of 0
        return outputs
