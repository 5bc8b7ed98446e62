"""`debug="underflow_overflow"`, and `DebugUnderflowOverflow` by hand."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
import torch
from small import make_net, make_samples, make_trainer
from torch import nn

from drivetrain import TrainerCallback
from drivetrain.features.overflow import DebugUnderflowOverflow


class Scale(nn.Module):
    """Multiplies by a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        return {"scaled": [x * self.factor]}


class Chain(nn.Module):
    """A layer and a multiplication."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.scale = Scale(factor)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.5, -2.0], [1.0, 0.25]]))
            self.layer.bias.zero_()

    def forward(self, x: torch.Tensor) -> Any:
        return self.scale(self.layer(x))["scaled"][0]


def count_hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


class Poison(TrainerCallback):
    """Makes a weight infinite after an update."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == self.after:
            model.norm.weight.data[3] = -math.inf


def test_a_run_stops_where_a_weight_is_not_finite_and_names_the_module(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_net()
    hooks = count_hooks(model)
    trainer = make_trainer(model=model, callbacks=[Poison(after=2)], debug="underflow_overflow")
    with pytest.raises(
        FloatingPointError, match=r"^Not finite: weight 'weight' \(inf\).* of norm \(Layer"
    ):
        trainer.train()
    assert trainer.state.global_step == 2
    assert count_hooks(model) == hooks
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    report = record.getMessage()
    assert "batch 2, inner (Linear)" in report  # what ran before, and in the batches before
    assert "batch 1, the model itself (Net)" in report
    assert "outer" not in report.rpartition("batch 2,")[2]  # what comes after was not reached


def test_a_sample_that_is_not_finite_is_found_at_the_first_module_that_gets_it() -> None:
    samples = make_samples()
    samples[5]["x"][2] = math.nan
    trainer = make_trainer(train_dataset=samples, debug=["underflow_overflow"])
    with pytest.raises(
        FloatingPointError, match=r"^Not finite: input 0 \(nan\), output \(nan\) of inner"
    ):
        trainer.train()


def test_a_loss_that_is_not_finite_is_found() -> None:
    class Diverging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 1)

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": self.inner(x).sum() / 0.0}

    trainer = make_trainer(model=Diverging(), debug="underflow_overflow")
    with pytest.raises(
        FloatingPointError, match=r"output 'loss' \(.*\) of the model itself \(Diverging\)"
    ):
        trainer.train()


def test_a_healthy_run_is_as_without_it_and_leaves_no_hooks() -> None:
    model = make_net()
    hooks = count_hooks(model)
    watched = make_trainer(model=model, debug="underflow_overflow", eval_strategy="epoch").train()
    plain = make_trainer(eval_strategy="epoch").train()
    assert watched.training_loss == plain.training_loss
    assert count_hooks(model) == hooks


def test_frames_hold_smallest_and_largest_absolute_values() -> None:
    model = Chain(factor=3.0)
    watch = DebugUnderflowOverflow(model)
    model(torch.tensor([[1.0, 2.0]]))
    layer, scale, whole = watch.frames
    assert (layer.path, layer.kind, scale.path, whole.path) == ("layer", "Linear", "scale", "")
    values = {m.name: (m.smallest, m.largest) for m in layer.measurements}
    assert values == {
        "weight 'weight'": (0.25, 2.0),
        "weight 'bias'": (0.0, 0.0),
        "input 0": (1.0, 2.0),
        "output": (1.5, 3.5),
    }
    assert [(m.name, m.largest) for m in scale.measurements] == [
        ("input 0", 3.5),
        ("output 'scaled' 0", 10.5),
    ]


def test_float16_that_overflows_is_found_with_what_led_to_it() -> None:
    model = Chain(factor=4e4).half()
    watch = DebugUnderflowOverflow(model)
    with pytest.raises(
        FloatingPointError, match=r"output 'scaled' 0 \(inf\) of scale \(Scale\), in batch 0"
    ):
        model(torch.tensor([[1.0, 2.0]], dtype=torch.float16))
    assert watch.frames[-1].path == "scale"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.complex64])
def test_large_numbers_of_every_type_are_finite(dtype: torch.dtype) -> None:
    model = nn.Identity()
    watch = DebugUnderflowOverflow(model)
    largest = 1e300 if dtype is torch.float64 else 1e38
    model(torch.tensor([largest], dtype=dtype))
    assert watch.frames[0].measurements[0].largest == pytest.approx(largest, rel=0.01)


def test_numbers_that_are_no_real_ones_are_left_alone() -> None:
    model = nn.Embedding(4, 2)
    watch = DebugUnderflowOverflow(model)
    model(torch.tensor([1, 2]))
    assert [m.name for m in watch.frames[0].measurements] == ["weight 'weight'", "output"]


def test_the_last_frames_are_kept() -> None:
    model = Chain()
    watch = DebugUnderflowOverflow(model, max_frames_to_save=4)
    for _ in range(3):
        model(torch.ones(1, 2))
    assert [(frame.batch, frame.path) for frame in watch.frames] == [
        (1, ""),
        (2, "layer"),
        (2, "scale"),
        (2, ""),
    ]


def test_batches_can_be_traced_and_are_not_checked(caplog: pytest.LogCaptureFixture) -> None:
    model = Chain()
    DebugUnderflowOverflow(model, trace_batch_nums=[1])
    model(torch.ones(1, 2))
    assert caplog.text == ""
    model(torch.full((1, 2), math.inf))
    assert "batch 1, layer (Linear)" in caplog.text
    assert "inf  input 0" in caplog.text


def test_it_can_stop_after_a_batch() -> None:
    model = Chain()
    DebugUnderflowOverflow(model, abort_after_batch_num=1)
    model(torch.ones(1, 2))
    model(torch.ones(1, 2))
    with pytest.raises(ValueError, match="`abort_after_batch_num`: batch 1 is done"):
        model(torch.ones(1, 2))


def test_removed_it_sees_nothing() -> None:
    model = Chain()
    watch = DebugUnderflowOverflow(model)
    watch.remove()
    model(torch.full((1, 2), math.nan))
    assert count_hooks(model) == 0
