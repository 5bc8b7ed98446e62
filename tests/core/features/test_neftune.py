"""`neftune_noise_alpha`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import are_equal, make_args, make_trainer, weights_of
from torch import nn

from drivetrain import TrainerCallback
from drivetrain_registry import UsageError


class Tokens(nn.Module):
    """Embeddings and a classifier; keeps what the embeddings last returned."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.outer = nn.Linear(4, 3)
        self.seen = torch.empty(0)

    def forward(self, ids: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        self.seen = self.embed(ids)
        logits = self.outer(self.seen.mean(1))
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class TwoEmbeddings(Tokens):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Embedding(10, 4)


class Telling(TwoEmbeddings):
    def get_input_embeddings(self) -> nn.Module:
        return self.embed


class NotTelling(Tokens):
    def get_input_embeddings(self) -> nn.Module:
        raise NotImplementedError


def make_model(cls: type[Tokens] = Tokens) -> Tokens:
    torch.manual_seed(3)
    return cls()


def make_samples(count: int = 12) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(0, 10, (count, 9), generator=generator)
    return [{"ids": row, "labels": int(row[0] > 4)} for row in rows]


def train(model: nn.Module, **options: Any) -> Any:
    data = {"train_dataset": make_samples(), "eval_dataset": make_samples()[:4]}
    trainer = make_trainer(model=model, **data, **options)
    trainer.train()
    return trainer


class Noises(TrainerCallback):
    """Writes down the noise of each update, in units of its bound."""

    def __init__(self, alpha: float) -> None:
        self.bound = alpha / (9 * 4) ** 0.5
        self.noises: list[torch.Tensor] = []

    def on_substep_end(self, *args: Any, **kwargs: Any) -> None:
        raise AssertionError("there is no accumulation here")

    def on_pre_optimizer_step(self, *args: Any, model: Any = None, **kwargs: Any) -> None:
        rows = model.embed.weight
        closest = torch.cdist(model.seen.detach().reshape(-1, 4), rows.detach()).argmin(1)
        noise = model.seen.detach().reshape(-1, 4) - rows.detach()[closest]
        self.noises.append(noise / self.bound)


def test_noise_is_uniform_within_its_bound_and_drawn_anew() -> None:
    noises = Noises(0.01)
    train(make_model(), callbacks=[noises], neftune_noise_alpha=0.01)
    first, second, third = noises.noises
    for noise in (first, second, third):
        assert noise.abs().max() <= 1.001
        assert 0.45 < noise.abs().mean() < 0.55
    assert not torch.allclose(first, second)


def test_evaluations_and_what_comes_after_the_run_are_without_noise() -> None:
    model = make_model()
    trainer = train(model, neftune_noise_alpha=50.0)
    quiet = make_trainer(model=model, eval_dataset=make_samples()[:4])
    assert trainer.evaluate()["eval_loss"] == quiet.evaluate()["eval_loss"]
    model.train()
    ids = torch.arange(9)[None]
    assert torch.equal(model.embed(ids), nn.functional.embedding(ids, model.embed.weight))


def test_evaluations_within_training_are_without_noise() -> None:
    class Check(TrainerCallback):
        count = 0

        def on_evaluate(self, *args: Any, model: Any = None, metrics: Any = None, **kwargs: Any) -> None:
            loss = make_trainer(model=model, eval_dataset=make_samples()[:4]).evaluate()["eval_loss"]
            assert metrics["eval_loss"] == loss
            self.count += 1

    check = Check()
    train(make_model(), callbacks=[check], neftune_noise_alpha=50.0, eval_strategy="epoch")
    assert check.count == 1


def test_the_hook_is_gone_after_a_run_that_fails() -> None:
    class Fail(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

    model = make_model()
    with pytest.raises(KeyboardInterrupt):
        train(model, callbacks=[Fail()], neftune_noise_alpha=5.0)
    assert not model.embed._forward_hooks


def test_training_twice_adds_the_noise_once() -> None:
    noises = Noises(0.01)
    trainer = train(make_model(), callbacks=[noises], neftune_noise_alpha=0.01)
    trainer.train()
    assert max(float(noise.abs().max()) for noise in noises.noises) <= 1.001


def test_a_run_that_begins_again_with_a_smaller_batch_adds_the_noise_once() -> None:
    class Large(Tokens):
        def forward(self, ids: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            if len(ids) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(ids, labels)

    noises = Noises(0.01)
    model = make_model(Large)
    train(model, callbacks=[noises], neftune_noise_alpha=0.01, auto_find_batch_size=True)
    assert len(noises.noises) == 6
    assert max(float(noise.abs().max()) for noise in noises.noises) <= 1.001
    assert not model.embed._forward_hooks


@pytest.mark.parametrize("cls", [Telling, NotTelling])
def test_the_model_may_say_which_its_embeddings_are(cls: type[Tokens]) -> None:
    quiet, noisy = train(make_model(cls)), train(make_model(cls), neftune_noise_alpha=5.0)
    assert not are_equal(weights_of(quiet), weights_of(noisy))


def test_a_model_without_or_with_several_embeddings_is_refused() -> None:
    with pytest.raises(UsageError, match=r"TwoEmbeddings has 2 of them \(embed, other\)"):
        train(make_model(TwoEmbeddings), neftune_noise_alpha=5.0)
    with pytest.raises(UsageError, match="Net has no nn.Embedding"):
        make_trainer(neftune_noise_alpha=5.0).train()


def test_a_strength_that_is_no_positive_number_is_refused() -> None:
    with pytest.raises(UsageError, match="`neftune_noise_alpha`: -1 is no number above 0"):
        make_args(neftune_noise_alpha=-1)


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("accumulation", [1, 2])
def test_numbers_are_those_of_transformers(accumulation: int, tmp_path: Path) -> None:
    import both_trainers as both

    arguments = {"neftune_noise_alpha": 5.0, "gradient_accumulation_steps": accumulation}
    both.compare(both.Scenario(arguments, both.make_gpt2, both.text_samples), tmp_path)
