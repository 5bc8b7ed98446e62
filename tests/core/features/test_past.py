"""`past_index`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import are_equal, make_args, make_net, make_samples, make_trainer, weights_of
from torch import nn

from drivetrain import Trainer
from drivetrain_registry import UsageError


class Recurrent(nn.Module):
    """Adds what it remembers to its input; returns loss, logits and what the next batch remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 5)
        self.outer = nn.Linear(5, 3)
        self.given: list[Any] = []
        self.returned: list[list[torch.Tensor]] = []

    def forward(
        self, x: torch.Tensor, labels: torch.Tensor | None = None, mems: list[torch.Tensor] | None = None
    ) -> Any:
        self.given.append(mems)
        hidden = torch.tanh(self.inner(x) + (0 if mems is None else mems[0]))
        logits = self.outer(hidden)
        self.returned.append([hidden])
        if labels is None:
            return logits, [hidden]
        return nn.functional.cross_entropy(logits, labels), logits, [hidden]


class AsDict(Recurrent):
    def forward(
        self, x: torch.Tensor, labels: torch.Tensor | None = None, mems: list[torch.Tensor] | None = None
    ) -> Any:
        outputs = super().forward(x, labels, mems)
        names = ("loss", "logits", "mems")[-len(outputs) :]
        return dict(zip(names, outputs, strict=True))


def make_model(cls: type[Recurrent] = Recurrent) -> Recurrent:
    torch.manual_seed(3)
    return cls()


def make_past_trainer(model: nn.Module | None = None, **options: Any) -> Trainer:
    defaults: dict[str, Any] = {"past_index": 2}
    return make_trainer(
        model=make_model() if model is None else model,
        remove_unused_columns=False,
        **{"per_device_eval_batch_size": 4, **defaults, **options},
    )


def are_handed_on(model: Recurrent, calls: range) -> bool:
    """Whether each of these calls got what the one before it returned."""
    pairs = [(model.given[i], model.returned[i - 1]) for i in calls]
    return all(g is not None and type(g) is list and torch.equal(g[0], r[0]) for g, r in pairs)


@pytest.mark.parametrize("cls", [Recurrent, AsDict])
def test_each_step_gets_what_the_one_before_returned_without_gradients(cls: type[Recurrent]) -> None:
    model = make_model(cls)
    make_past_trainer(model, num_train_epochs=2).train()
    assert [given is None for given in model.given] == [True, *[False] * 5] * 2  # six updates an epoch
    assert are_handed_on(model, range(1, 6))
    assert are_handed_on(model, range(7, 12))
    assert not any(given[0].requires_grad for given in model.given if given is not None)


def test_states_are_handed_on_between_micro_batches_too() -> None:
    model = make_model()
    make_past_trainer(model, gradient_accumulation_steps=3).train()
    assert are_handed_on(model, range(1, 6))


@pytest.mark.parametrize("cls", [Recurrent, AsDict])
def test_evaluation_hands_states_on_and_begins_without(cls: type[Recurrent]) -> None:
    model = make_model(cls)
    trainer = make_past_trainer(model)
    for _ in range(2):
        model.given.clear()
        model.returned.clear()
        trainer.evaluate()
        assert [given is None for given in model.given] == [True, False, True]  # the last one is smaller
        assert are_handed_on(model, range(1, 2))
    assert not model._forward_hooks


@pytest.mark.parametrize("cls", [Recurrent, AsDict])
def test_prediction_without_labels_hands_on_the_same_output(cls: type[Recurrent]) -> None:
    model = make_model(cls)
    trainer = make_past_trainer(model)
    rows = torch.randn(12, 6, generator=torch.Generator().manual_seed(5))
    trainer.predict([{"x": row} for row in rows])
    assert are_handed_on(model, range(1, 3))
    trainer.train()
    model.given.clear()
    model.returned.clear()
    trainer.predict([{"x": row} for row in rows])
    assert are_handed_on(model, range(1, 3))


def test_an_evaluation_within_training_changes_nothing_of_it() -> None:
    plain = make_past_trainer()
    plain.train()
    evaluating = make_past_trainer(eval_strategy="steps", eval_steps=2)
    evaluating.train()
    assert are_equal(weights_of(plain), weights_of(evaluating))


def test_a_resumed_run_goes_on_with_the_states_of_its_checkpoint(tmp_path: Path) -> None:
    options: dict[str, Any] = {"output_dir": tmp_path, "save_strategy": "steps", "save_steps": 1}
    whole = make_past_trainer(num_train_epochs=2, **options)
    whole.train()
    for step in (4, 6, 7):  # within the first epoch, between the two, within the second
        model = make_model()
        resumed = make_past_trainer(model, num_train_epochs=2, output_dir=tmp_path)
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert are_equal(weights_of(whole), weights_of(resumed))
        assert (model.given[0] is None) == (step == 6)


def test_with_a_loss_function_of_ones_own_outputs_are_counted_without_a_loss() -> None:
    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs[0], labels)

    model = make_model()
    trainer = make_past_trainer(model, compute_loss_func=loss, past_index=1)
    trainer.train()
    assert are_handed_on(model, range(1, 6))
    model.given.clear()
    model.returned.clear()
    trainer.evaluate()
    assert are_handed_on(model, range(1, 2))


@pytest.mark.parametrize("index", [0, 3, 7])
def test_an_index_that_leads_to_no_states_is_refused(index: int) -> None:
    with pytest.raises(UsageError, match=f"`past_index`: {index} is none of the states.*3 outputs"):
        make_past_trainer(past_index=index).train()


def test_a_model_that_takes_no_states_is_refused_before_the_first_step() -> None:
    model = make_net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UsageError, match=r"`mems`, which is no parameter of Net.forward \(x, labels\)"):
        make_past_trainer(model).train()
    assert are_equal(before, model.state_dict())


def test_the_model_is_left_alone_after_a_run_that_fails() -> None:
    class Fails(Recurrent):
        def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None, mems: Any = None) -> Any:
            if len(self.given) == 3:
                raise RuntimeError("enough")
            return super().forward(x, labels, mems)

    model = make_model(Fails)
    with pytest.raises(RuntimeError, match="enough"):
        make_past_trainer(model).train()
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_a_batch_of_another_size_begins_without_states() -> None:
    model = make_model()
    make_past_trainer(model, train_dataset=make_samples(11), num_train_epochs=2).train()
    assert [given is None for given in model.given] == [True, False, True] * 2


def test_traced_evaluation_is_refused() -> None:
    with pytest.raises(UsageError, match="`past_index`: 2 .*`jit_mode_eval`=True cannot"):
        make_args(past_index=2, jit_mode_eval=True)
