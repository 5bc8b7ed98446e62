"""What computes the batches of an evaluation: the trainer's own way, or that of a subclass or a patch."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from drivetrain import Trainer, TrainingArguments

NUM_BATCHES = 3


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.layer(x)
        loss = {} if labels is None else {"loss": nn.functional.cross_entropy(logits, labels)}
        return {**loss, "logits": logits, "more": logits + 1}


def make_trainer(folder: Path, cls: type[Trainer] = Trainer, **options: Any) -> Trainer:
    data = [{"x": torch.randn(2), "labels": n % 3} for n in range(4 * NUM_BATCHES)]
    args = TrainingArguments(
        str(folder), per_device_eval_batch_size=4, report_to="none", disable_tqdm=True
    )
    return cls(Net(), args, eval_dataset=data, **options)


class Counting(Trainer):
    """Counts the calls of what may be overridden."""

    calls: dict[str, int]

    def count(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1

    def _prepare_inputs(self, inputs: Any) -> Any:
        self.count("_prepare_inputs")
        return super()._prepare_inputs(inputs)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        self.count("compute_loss")
        return super().compute_loss(*args, **kwargs)

    def compute_loss_context_manager(self) -> Any:
        self.count("compute_loss_context_manager")
        return super().compute_loss_context_manager()

    def count_items(self, batches: Any) -> Any:
        self.count("count_items")
        return super().count_items(batches)


def test_every_method_that_may_be_overridden_is_called_for_every_batch(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Counting)
    assert isinstance(trainer, Counting)
    trainer.calls = {}
    trainer.evaluate()
    names = ("_prepare_inputs", "compute_loss_context_manager", "count_items", "compute_loss")
    assert trainer.calls == dict.fromkeys(names, NUM_BATCHES)


@pytest.mark.parametrize("how", ["subclass", "instance", "class", "wrapped"])
def test_another_prediction_step_is_heard_wherever_it_comes_from(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, models = Trainer.prediction_step, []

    def step(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        models.append(model)
        return original(self, model, *args, **kwargs)

    cls = type("Other", (Trainer,), {"prediction_step": step}) if how == "subclass" else Trainer
    trainer = make_trainer(tmp_path, cls)
    if how == "instance":
        monkeypatch.setattr(trainer, "prediction_step", functools.partial(step, trainer))
    elif how == "class":
        monkeypatch.setattr(Trainer, "prediction_step", step)
    elif how == "wrapped":
        monkeypatch.setattr(Trainer, "prediction_step", functools.wraps(original)(step))
    trainer.evaluate()
    assert models == [trainer.model_wrapped] * NUM_BATCHES


def test_an_evaluation_gives_what_prediction_step_gives_for_each_batch(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    for ignore_keys in (None, ["more"], ["logits", "more"]):
        output = trainer.predict(trainer.eval_dataset, ignore_keys)
        steps = [
            trainer.prediction_step(trainer.model, batch, False, ignore_keys)
            for batch in trainer.get_eval_dataloader()
        ]
        losses, outputs, labels = zip(*steps, strict=True)
        assert output.metrics["test_loss"] == pytest.approx(float(sum(losses) / NUM_BATCHES))
        assert output.label_ids.tolist() == torch.cat(labels).tolist()
        if ignore_keys is None:
            for index in (0, 1):
                whole = torch.cat([output[index] for output in outputs])
                assert output.predictions[index].tolist() == whole.tolist()
        else:
            assert (output.predictions is None) == (outputs[0] is None) == ("logits" in ignore_keys)


def test_nothing_that_is_computed_in_an_evaluation_holds_on_to_gradients(tmp_path: Path) -> None:
    class WithGradients(Net):
        def forward(
            self, x: torch.Tensor, labels: torch.Tensor | None = None
        ) -> dict[str, torch.Tensor]:
            with torch.enable_grad():
                return super().forward(x, labels)

    trainer = make_trainer(tmp_path)
    trainer.use_model(WithGradients())
    batch = next(iter(trainer.get_eval_dataloader()))
    loss, outputs, _ = trainer.prediction_step(trainer.model, batch, False)
    assert not loss.requires_grad
    assert not any(output.requires_grad for output in outputs)
    assert torch.is_grad_enabled()


def test_a_method_of_another_trainer_is_called_with_that_trainer(tmp_path: Path) -> None:
    class Fixed(Trainer):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss, outputs = super().compute_loss(*args, **kwargs)
            return loss * 0 + 42.0, outputs

    first, second = make_trainer(tmp_path, Fixed), make_trainer(tmp_path)
    second.prediction_step = first.prediction_step  # type: ignore[method-assign]
    assert second.evaluate()["eval_loss"] == 42.0


def test_a_wrapper_that_looks_like_the_original_is_called(tmp_path: Path) -> None:
    calls: list[None] = []
    trainer = make_trainer(tmp_path)
    original = Trainer.prediction_step

    def wrapper(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return original(self, *args, **kwargs)

    for name in ("__module__", "__name__", "__qualname__"):
        setattr(wrapper, name, getattr(original, name))
    trainer.prediction_step = wrapper.__get__(trainer)  # type: ignore[method-assign]
    trainer.evaluate()
    assert len(calls) == NUM_BATCHES


def test_labels_are_those_of_the_batch_whatever_the_model_does_to_its_own(tmp_path: Path) -> None:
    class Squeezes(Net):
        def forward(
            self, x: torch.Tensor, labels: torch.Tensor | None = None
        ) -> dict[str, torch.Tensor]:
            return super().forward(x, None if labels is None else labels.squeeze_(-1))

    trainer = make_trainer(tmp_path)
    trainer.use_model(Squeezes())
    trainer.data_collator = lambda samples: {
        "x": torch.stack([s["x"] for s in samples]),
        "labels": torch.tensor([[s["labels"]] for s in samples]),
    }
    predicted = trainer.predict(trainer.eval_dataset)
    assert predicted.label_ids.shape == (4 * NUM_BATCHES, 1)


def test_losses_that_a_model_keeps_in_one_place_are_told_apart(tmp_path: Path) -> None:
    class OneBuffer(Net):
        def forward(
            self, x: torch.Tensor, labels: torch.Tensor | None = None
        ) -> dict[str, torch.Tensor]:
            outputs = super().forward(x, labels)
            if not hasattr(self, "kept"):
                self.kept = torch.zeros(())
            return {**outputs, "loss": self.kept.copy_(outputs["loss"])}

    trainer = make_trainer(tmp_path)
    trainer.use_model(OneBuffer())
    losses = [
        trainer.prediction_step(trainer.model, batch, True)[0] for batch in trainer.get_eval_dataloader()
    ]
    assert len({float(loss) for loss in losses}) == NUM_BATCHES
