"""`bf16_full_eval` and `fp16_full_eval`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small import Net, are_equal, make_args, make_net, make_samples, make_trainer, weights_of
from torch import nn

from drivetrain import Trainer
from drivetrain_registry import UsageError

FORMATS = {"bf16_full_eval": torch.bfloat16, "fp16_full_eval": torch.float16}


class Watched(Net):
    """Writes down the formats that it computes with, and has buffers."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        self.register_buffer("scale", torch.full((16,), 1 / 3))
        self.register_buffer("count", torch.tensor(2**20 + 1))
        self.formats: set[torch.dtype] = set()

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        self.formats |= {x.dtype, self.scale.dtype, *(p.dtype for p in self.parameters())}
        assert self.count.dtype == torch.int64
        return super().forward(x, labels)


def make_watched() -> Watched:
    torch.manual_seed(7)
    return Watched()


@pytest.mark.parametrize(("argument", "dtype"), FORMATS.items())
def test_the_model_computes_in_the_format_and_gets_its_weights_back(
    argument: str, dtype: torch.dtype
) -> None:
    model = make_watched()
    objects = list(model.parameters())
    trainer = make_trainer(model=model, **{argument: True})
    before = weights_of(trainer)
    output = trainer.predict(make_samples(6))
    assert model.formats == {dtype}
    assert are_equal(before, weights_of(trainer))
    assert all(p is q for p, q in zip(model.parameters(), objects, strict=True))
    assert output.predictions.dtype == np.float32


@pytest.mark.parametrize(("argument", "dtype"), FORMATS.items())
def test_metrics_are_those_of_a_model_that_was_cast(argument: str, dtype: torch.dtype) -> None:
    samples = make_samples(6)
    model = make_net().to(dtype).eval()
    x, labels = torch.stack([s["x"] for s in samples]), torch.tensor([s["labels"] for s in samples])
    with torch.no_grad():
        expected = model(x.to(dtype), labels)["loss"].float().item()
    trainer = make_trainer(eval_dataset=samples, **{argument: True})
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-6)
    assert make_trainer(eval_dataset=samples).evaluate()["eval_loss"] != pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize("argument", FORMATS)
def test_training_is_the_same_with_evaluations_in_between(argument: str) -> None:
    options: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 2}
    plain = make_trainer(**options)
    plain.train()
    cast = make_trainer(**options, **{argument: True})
    cast.train()
    assert are_equal(weights_of(plain), weights_of(cast))
    states = cast.optimizer.state_dict()["state"].values()
    assert all(state["exp_avg"].dtype == torch.float32 for state in states)


def test_weights_are_put_back_if_the_evaluation_fails() -> None:
    class Fails(Watched):
        def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            raise RuntimeError("enough")

    torch.manual_seed(7)
    trainer = make_trainer(model=Fails(), bf16_full_eval=True)
    before = weights_of(trainer)
    with pytest.raises(RuntimeError, match="enough"):
        trainer.evaluate()
    assert are_equal(before, weights_of(trainer))
    assert not trainer.model._forward_pre_hooks


def test_autocast_may_be_on_too() -> None:
    trainer = make_trainer(model=make_watched(), bf16=True, bf16_full_eval=True, eval_strategy="epoch")
    trainer.train()
    assert trainer.model.formats == {torch.bfloat16, torch.float32}
    assert trainer.predict(make_samples(4)).predictions.dtype == np.float32


def test_labels_keep_their_format() -> None:
    class Regression(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 1)

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            assert labels.dtype == torch.float32
            prediction = self.inner(x).squeeze(-1)
            return {"loss": nn.functional.mse_loss(prediction, labels), "prediction": prediction}

    samples = [{"x": sample["x"], "labels": 1 / 3} for sample in make_samples(6)]
    trainer = make_trainer(model=Regression(), eval_dataset=samples, bf16_full_eval=True)
    assert trainer.predict(samples).label_ids.tolist() == [pytest.approx(1 / 3, rel=1e-7)] * 6


def test_tied_weights_stay_tied() -> None:
    class Tied(Net):
        def __init__(self) -> None:
            super().__init__()
            self.again = nn.Linear(6, 16)
            self.again.weight = self.inner.weight

        def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            assert self.again.weight.data_ptr() == self.inner.weight.data_ptr()
            return super().forward(x, labels)

    model = Tied()
    make_trainer(model=model, fp16_full_eval=True).evaluate()
    assert model.again.weight is model.inner.weight


def test_both_formats_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match="`fp16_full_eval`: True contradicts `bf16_full_eval`"):
        make_args(bf16_full_eval=True, fp16_full_eval=True)


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.filterwarnings("default")
def test_an_evaluation_gives_the_numbers_of_transformers(tmp_path: Any) -> None:
    import both_trainers as both
    import transformers

    losses = []
    for library, trainer_class in ((transformers, transformers.Trainer), (None, Trainer)):
        arguments = {**both.COMMON, "bf16_full_eval": True}
        make: Any = library.TrainingArguments if library else make_args
        args = make(output_dir=str(tmp_path), **arguments)
        trainer: Any = trainer_class(
            model=both.make_gpt2(), args=args, eval_dataset=both.text_samples(10)
        )
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[0] == losses[1]
