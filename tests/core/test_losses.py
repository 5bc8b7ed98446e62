"""Losses: what micro-batches count for, and label smoothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import make_net, make_trainer
from torch import nn

from drivetrain import LabelSmoother, Trainer
from drivetrain.losses import loss_shares


class Tagger(nn.Module):
    """A label for each token, its loss the mean over those that are not -100. forward: ``input_ids``,
    ``labels`` (batch, length)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embedding = nn.Embedding(20, 8)
        self.outer = nn.Linear(8, 5)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.outer(self.embedding(input_ids))
        return {
            "loss": nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()),
            "logits": logits,
        }


class Regressor(nn.Module):
    """Two numbers for each sample; its loss the mean of their squared errors."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.outer = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": nn.functional.mse_loss(self.outer(x), labels)}


def tagged(count: int = 8, length: int = 10) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    samples = []
    for index in range(count):
        ids = torch.randint(0, 20, (length,), generator=generator)
        labels = ids % 5
        labels[: index + 1] = -100
        samples.append({"input_ids": ids, "labels": labels})
    return samples


def gradients_of_an_update(batch_size: int, samples: Any, model: nn.Module) -> list[torch.Tensor]:
    """The gradients of one update over all samples, in micro-batches of that size."""
    seen: list[torch.Tensor] = []

    class Recorder(Trainer):
        """Keeps the gradients that the optimizer is about to see."""

        def emit(self, event: str, **details: Any) -> None:
            if event == "on_pre_optimizer_step":
                seen.extend(p.grad.clone() for p in self.model.parameters() if p.grad is not None)
            super().emit(event, **details)

    make_trainer(
        Recorder,
        model=model,
        train_dataset=samples,
        eval_dataset=None,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=len(samples) // batch_size,
        max_steps=1,
        max_grad_norm=0,
    ).train()
    return seen


@pytest.mark.parametrize("batch_size", [4, 2, 1])
def test_how_a_batch_is_split_does_not_change_the_gradients_of_a_mean_over_tokens(
    batch_size: int,
) -> None:
    whole = gradients_of_an_update(8, tagged(), Tagger())
    split = gradients_of_an_update(batch_size, tagged(), Tagger())
    for expected, found in zip(whole, split, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_nor_does_a_micro_batch_whose_labels_do_not_count() -> None:
    samples = tagged()
    samples[3]["labels"][:] = -100
    whole = gradients_of_an_update(8, samples, Tagger())
    split = gradients_of_an_update(1, samples, Tagger())
    for expected, found in zip(whole, split, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_nor_does_it_for_a_mean_over_numbers() -> None:
    generator = torch.Generator().manual_seed(1)
    samples = [
        {"x": torch.randn(6, generator=generator), "labels": torch.randn(2, generator=generator)}
        for _ in range(6)
    ]
    whole = gradients_of_an_update(6, samples, Regressor())
    split = gradients_of_an_update(2, samples, Regressor())
    for expected, found in zip(whole, split, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_smaller_last_micro_batch_counts_by_its_samples() -> None:
    samples = [{"x": x, "labels": x[:2]} for x in torch.randn(6, 6)]
    losses: list[float] = []

    class Recorder(Trainer):
        """Keeps the share of the update's loss of each micro-batch."""

        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            loss = super().training_step(*args, **kwargs)
            losses.append(loss.item())
            return loss

    model = Regressor()
    trainer = make_trainer(
        Recorder,
        model=model,
        train_dataset=samples,
        eval_dataset=samples,
        gradient_accumulation_steps=2,
        learning_rate=0.0,
    )
    output = trainer.train()
    assert len(losses) == 2
    assert sum(losses) == pytest.approx(trainer.evaluate()["eval_loss"], abs=1e-6)
    assert output.training_loss == pytest.approx(sum(losses))


def test_a_subclass_may_let_all_micro_batches_count_the_same() -> None:
    class Even(Trainer):
        """Weighs micro-batches as the published trainer does."""

        def loss_shares(self, batches: Any) -> None:
            return None

    samples = tagged(2)
    trainer = make_trainer(
        Even,
        model=Tagger(),
        train_dataset=samples,
        eval_dataset=None,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=2,
    )
    means = [
        float(Tagger()(**{k: v[None] for k, v in sample.items()})["loss"].detach()) for sample in samples
    ]
    assert trainer.train().training_loss == pytest.approx(sum(means) / 2)


def test_label_smoothing_is_torchs() -> None:
    logits, labels = torch.randn(4, 7, 5), torch.randint(0, 5, (4, 7))
    labels[0, :3] = -100
    ours = LabelSmoother(epsilon=0.2)({"logits": logits}, labels)
    theirs = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=0.2)
    torch.testing.assert_close(ours, theirs)


def test_label_smoothing_of_a_causal_model_compares_with_the_next_token() -> None:
    logits, labels = torch.randn(4, 7, 5), torch.randint(0, 5, (4, 7))
    ours = LabelSmoother(epsilon=0.2)((logits,), labels, shift_labels=True)
    shifted = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    torch.testing.assert_close(ours, nn.functional.cross_entropy(*shifted, label_smoothing=0.2))


def test_labels_that_numpy_cannot_hold_are_counted() -> None:
    rows = [torch.tensor([1, 2, -100]), torch.tensor([3])]
    jagged = torch.nested.nested_tensor(rows, layout=torch.jagged)
    batches = [{"labels": jagged}, {"labels": torch.tensor([1, -100, 2, 3])}]
    shares = loss_shares(batches, make_net(), ["labels"])
    assert [float(share.count) for share in shares] == [3, 3]


def test_no_batches_have_no_shares() -> None:
    assert loss_shares([], make_net(), ["labels"]) == []
