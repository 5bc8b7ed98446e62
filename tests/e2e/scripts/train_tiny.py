"""Train a line through 64 points with the optimizer that the command line names: a user's script.

Prints a line when the model is built, and as its last line what came of it, as JSON.
"""

from __future__ import annotations

import argparse
import json

import torch

from drivetrain import Trainer, TrainingArguments


class Line(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        print("model built")
        self.linear = torch.nn.Linear(4, 1)

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.linear(inputs).squeeze(-1)
        return {"loss": torch.nn.functional.mse_loss(logits, labels), "logits": logits}


def make_dataset(num_samples: int) -> list[dict[str, torch.Tensor]]:
    inputs = torch.randn(num_samples, 4, generator=torch.Generator().manual_seed(0))
    labels = inputs @ torch.tensor([1.0, -2.0, 3.0, 0.5])
    return [{"inputs": x, "labels": y} for x, y in zip(inputs, labels, strict=True)]


parser = argparse.ArgumentParser()
parser.add_argument("--optim", default="adamw_torch")
parser.add_argument("--report-to", default="none")
chosen = parser.parse_args()

args = TrainingArguments(
    output_dir="run",
    optim=chosen.optim,
    report_to=chosen.report_to,
    learning_rate=0.1,
    per_device_train_batch_size=8,
    max_steps=24,
    logging_steps=8,
    save_strategy="no",
    disable_tqdm=True,
    use_cpu=True,
)
trainer = Trainer(model=Line(), args=args, train_dataset=make_dataset(64))
trainer.train()
losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
optimizer = type(trainer.optimizer)
print(json.dumps({"losses": losses, "optimizer": f"{optimizer.__module__}.{optimizer.__qualname__}"}))
