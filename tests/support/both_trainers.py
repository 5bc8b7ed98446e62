"""Runs the same training with transformers' Trainer and with ours, and compares bit for bit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import torch
import transformers
from torch import nn

import drivetrain

TIMES = ("runtime", "per_second", "preparation_time")
COMMON = {
    "per_device_train_batch_size": 4,
    "num_train_epochs": 2,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "optim": "adamw_torch",
    "report_to": "none",
    "use_cpu": True,
    "disable_tqdm": True,
    "save_strategy": "no",
}


class SmallNet(nn.Module):
    """Two layers with dropout and a normalization; forward takes ``x`` (batch, 6) and ``labels`` (batch,)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 16)
        self.norm = nn.LayerNorm(16)
        self.dropout = nn.Dropout(0.2)
        self.outer = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.outer(self.dropout(torch.relu(self.norm(self.inner(x)))))
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def make_small_net() -> SmallNet:
    torch.manual_seed(7)
    return SmallNet()


def make_gpt2() -> nn.Module:
    torch.manual_seed(7)
    config = transformers.GPT2Config(
        vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2, use_cache=False
    )
    return transformers.GPT2LMHeadModel(config)


def classification_samples(count: int = 30) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 6, generator=generator)
    return [{"x": row, "labels": int(row.sum() > 0) + int(row[0] > 1)} for row in x]


def text_samples(count: int = 22) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 50, (count, 12), generator=generator)
    samples = [{"input_ids": row, "labels": row.clone()} for row in ids]
    for index, sample in enumerate(samples):
        sample["labels"][: index % 7] = -100
    return samples


class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """The samples without a length."""

    def __init__(self, samples: list[dict[str, Any]]) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.samples)


def accuracy(prediction: Any) -> dict[str, float]:
    logits, labels = prediction
    return {"accuracy": float((logits.argmax(-1) == labels).mean())}


@dataclass
class Scenario:
    """One training, to be run with each trainer.

    Attributes:
        arguments: Arguments besides `COMMON`.
        make_model: Makes the model, the same at each call.
        samples: The training data; evaluation uses the first 10.
        is_stream: Hand the data over without a length.
        resume_from: An update; the training is done again from its checkpoint.
        trainer_options: More of the constructor's parameters.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    make_model: Callable[[], nn.Module] = make_small_net
    samples: Callable[[], list[dict[str, Any]]] = classification_samples
    is_stream: bool = False
    resume_from: int | None = None
    trainer_options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Result:
    """What is compared."""

    logs: list[dict[str, Any]]
    weights: dict[str, torch.Tensor]
    events: list[str]
    train_loss: float


def run(library: Any, scenario: Scenario, output_dir: Path) -> Result:
    """Train with the trainer of a library, ``transformers`` or ``drivetrain``."""
    events: list[str] = []

    class Recorder(library.TrainerCallback):  # type: ignore[misc,name-defined]
        """Writes down every event with the update that it happened at."""

        def __getattribute__(self, name: str) -> Any:
            if not name.startswith("on_"):
                return super().__getattribute__(name)
            return lambda args, state, control, **kwargs: events.append(f"{name} {state.global_step}")

    samples = scenario.samples()
    args = library.TrainingArguments(output_dir=str(output_dir), **{**COMMON, **scenario.arguments})
    trainer = library.Trainer(
        model=scenario.make_model(),
        args=args,
        train_dataset=Stream(samples) if scenario.is_stream else samples,
        eval_dataset=samples[:10],
        callbacks=[Recorder()],
        **scenario.trainer_options,
    )
    checkpoint = None
    if scenario.resume_from is not None:
        checkpoint = str(output_dir / f"checkpoint-{scenario.resume_from}")
    output = trainer.train(resume_from_checkpoint=checkpoint)
    logs = [
        {key: value for key, value in entry.items() if not any(time in key for time in TIMES)}
        for entry in trainer.state.log_history
    ]
    weights = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    return Result(logs, weights, events, output.training_loss)


def assert_equal(theirs: Result, ours: Result) -> None:
    """Every log entry, every event and every weight is the same, to the last bit."""
    assert ours.events == theirs.events
    assert ours.logs == theirs.logs
    assert ours.train_loss == theirs.train_loss
    assert ours.weights.keys() == theirs.weights.keys()
    for name, weight in theirs.weights.items():
        assert torch.equal(ours.weights[name], weight), f"{name} differs"


def compare(scenario: Scenario, folder: Path) -> None:
    """Run a scenario with both and compare; one that resumes is first run without.

    The mean loss that is told at the end is that of the whole run here, and of its last part there.
    """
    whole = Scenario(**{**vars(scenario), "resume_from": None})
    theirs, ours = run(transformers, whole, folder / "theirs"), run(drivetrain, whole, folder / "ours")
    assert_equal(theirs, ours)
    if scenario.resume_from is not None:
        of_whole = theirs.train_loss
        theirs = run(transformers, scenario, folder / "theirs")
        theirs.train_loss = theirs.logs[-1]["train_loss"] = of_whole
        assert_equal(theirs, run(drivetrain, scenario, folder / "ours"))
