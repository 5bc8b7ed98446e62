"""What reporters get beside the logs: speed, shares of an update, memory, losses that are no numbers."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from small import Net, make_samples, make_trainer

from drivetrain import Trainer, TrainerCallback, default_data_collator, register
from drivetrain.features.measurements import PHASES
from drivetrain.plugin import ReporterPlugin, hookimpl

SHARES = [f"perf/{phase}_share" for phase in PHASES]


class Told(ReporterPlugin):
    """Keeps what it is told."""

    logs: list[tuple[int, dict[str, Any]]] = []

    def log(self, values: Mapping[str, Any], step: int) -> None:
        self.logs.append((step, dict(values)))


@pytest.fixture
def train() -> Any:
    Told.logs = []
    register("reporter", "told", Told)

    def run(**options: Any) -> list[tuple[int, dict[str, Any]]]:
        trainer = make_trainer(report_to="told", **options)
        trainer.train()
        history = trainer.state.log_history
        assert not any(name.startswith("perf") for entry in history for name in entry)
        return [(step, values) for step, values in Told.logs if "train/loss" in values]

    return run


class SlowPhase(Net):
    """A net one phase of whose updates takes longest."""

    def __init__(self, phase: str) -> None:
        super().__init__()
        self.phase = phase

    def forward(self, x: Any, labels: Any = None) -> Any:
        outputs = super().forward(x, labels)
        if self.training and self.phase == "forward":
            time.sleep(0.05)
        if self.training and self.phase == "backward":
            loss = outputs["loss"] if isinstance(outputs, dict) else outputs[0]
            loss.register_hook(lambda gradient: time.sleep(0.05))
        return outputs


class SlowOptimizer(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        time.sleep(0.05)
        return super().step(closure)


class SlowData(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self) -> None:
        self.samples = make_samples(8)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.03)
        return self.samples[index]


@pytest.mark.parametrize("phase", PHASES)
def test_the_phase_that_takes_longest_has_the_largest_share(train: Any, phase: str) -> None:
    options: dict[str, Any] = {
        "model": SlowPhase(phase),
        "max_steps": 2,
        "logging_steps": 2,
    }
    if phase == "data":
        options["train_dataset"] = SlowData()
    if phase == "optimizer":
        model = options["model"]
        options["optimizers"] = (SlowOptimizer(model.parameters(), lr=0.1), None)
    ((_, values),) = train(**options)
    shares = {name: values[name] for name in SHARES}
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=lambda name: shares[name]) == f"perf/{phase}_share"


class Waiting(TrainerCallback):
    """Takes its time between two updates."""

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        time.sleep(0.2)


def test_what_comes_between_updates_is_no_part_of_them(train: Any) -> None:
    ((_, values),) = train(max_steps=3, logging_steps=3, callbacks=[Waiting()])
    assert values["perf/samples_per_second"] > 3 * 4 / 0.4


class Words(torch.nn.Module):
    main_input_name = "words"

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(5, 1)

    def forward(self, words: torch.Tensor, extra: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.table(words).square().mean()}


def test_tokens_are_counted_in_the_models_main_input(train: Any) -> None:
    samples = [{"words": torch.arange(5), "extra": torch.zeros(3)} for _ in range(8)]
    logs = train(model=Words(), train_dataset=samples, max_steps=2, logging_steps=1)
    assert [step for step, _ in logs] == [1, 2]
    for _, values in logs:
        per_sample = values["perf/tokens_per_second"] / values["perf/samples_per_second"]
        assert per_sample == pytest.approx(5)


def test_data_without_tokens_has_no_speed_in_tokens(train: Any) -> None:
    ((_, values),) = train(max_steps=1)
    assert values["perf/samples_per_second"] > 0
    assert "perf/tokens_per_second" not in values


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads what Linux says")
def test_memory_is_that_of_the_process(train: Any) -> None:
    ((_, values),) = train(max_steps=1)
    psutil = pytest.importorskip("psutil")
    assert values["perf/memory_mb"] == pytest.approx(psutil.Process().memory_info().rss / 2**20, rel=0.3)


class OftenBroken(Net):
    """A net whose loss is no number at every second micro-batch."""

    calls = 0

    def forward(self, x: Any, labels: Any = None) -> Any:
        self.calls += 1
        outputs = super().forward(x, labels)
        if self.calls % 2:
            return outputs
        return {**outputs, "loss": outputs["loss"] + math.nan}


def test_losses_that_are_no_numbers_are_counted_over_the_run(train: Any) -> None:
    logs = train(model=OftenBroken(), max_steps=4, logging_steps=1)
    assert [values["perf/non_finite_losses"] for _, values in logs] == [0, 1, 1, 2]


class OwnBackward(Trainer):
    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        loss = self.compute_loss(model, self._prepare_inputs(inputs))
        loss.backward()
        return loss.detach()


def test_a_subclass_that_computes_gradients_by_itself_is_measured_as_far_as_it_can_be(
    train: Any,
) -> None:
    ((_, values),) = train(max_steps=1, cls=OwnBackward)
    assert values["perf/optimizer_share"] > 0  # and what nobody told of the backward pass is in it
    assert values["perf/backward_share"] == 0


class SlowToRead:
    """Stands in for the losses of a device that has much to do before they can be read."""

    def __init__(self, meter: Any) -> None:
        self.meter = meter

    def take(self) -> float:
        time.sleep(0.2)
        return float(self.meter.take())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.meter, name)


class WaitsForDevice(TrainerCallback):
    @hookimpl
    def on_train_begin(self, trainer: Trainer) -> None:
        assert trainer.training_loop is not None
        trainer.training_loop.meter = SlowToRead(trainer.training_loop.meter)  # type: ignore[assignment]


def test_waiting_for_the_device_when_losses_are_read_counts_as_time(train: Any) -> None:
    ((_, values),) = train(max_steps=1, callbacks=[WaitsForDevice()])
    assert values["perf/samples_per_second"] < 4 / 0.2
    assert sum(values[name] for name in SHARES) == pytest.approx(1)


class SkipsBrokenBatches(Trainer):
    def get_batch_samples(self, batches: Any, num_batches: int, device: Any = None) -> Any:
        collected: list[Any] = []
        while len(collected) < num_batches:
            try:
                collected.append(next(batches))
            except ArithmeticError:
                continue
            except StopIteration:
                break
        return collected, None


def collate(samples: Any) -> Any:
    if any(sample["x"][0] > 1.5 for sample in samples):
        raise ArithmeticError("a broken batch")
    return default_data_collator(samples)


def test_a_batch_that_cannot_be_read_may_be_passed_over_as_without_measuring(train: Any) -> None:
    options: dict[str, Any] = {"cls": SkipsBrokenBatches, "data_collator": collate}
    trainers = [make_trainer(report_to=to, **options) for to in ("none", "told")]
    steps = [trainer.train().global_step for trainer in trainers]
    assert steps[0] == steps[1] > 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_measured_by_its_own_clock_without_waiting_for_it(train: Any) -> None:
    torch.cuda.set_sync_debug_mode("error")
    try:
        ((_, values),) = train(max_steps=2, logging_steps=2, use_cpu=False)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sum(values[name] for name in SHARES) == pytest.approx(1)
    assert values["perf/device_memory_peak_mb"] > 0
