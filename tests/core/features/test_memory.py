"""`skip_memory_metrics=False`: how much memory each stage took."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from small import make_args, make_samples, make_trainer

from drivetrain import ArgumentsError, Trainer, TrainerCallback

MEBIBYTE = 2**20
CPU = ("mem_cpu_alloc_delta", "mem_cpu_peaked_delta")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert sampling_threads() == []


def sampling_threads() -> list[threading.Thread]:
    """Those that go on; one that was told to stop is given the time to."""
    threads = [thread for thread in threading.enumerate() if thread.name == "drivetrain-memory"]
    for thread in threads:
        thread.join(timeout=5)
    return [thread for thread in threads if thread.is_alive()]


def memory_of(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if "_mem_" in name}


def use_for_a_while(mebibytes: int) -> None:
    block = np.ones(mebibytes * MEBIBYTE, dtype=np.uint8)
    time.sleep(0.2)  # many times what lies between two samples
    del block


class Greedy(TrainerCallback):
    """Holds on to memory, and uses some more for a while."""

    held: Any = None

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.held = np.ones(96 * MEBIBYTE, dtype=np.uint8)
        use_for_a_while(160)


def fail(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("broken on purpose")


def test_training_says_what_it_took_and_what_making_the_trainer_took() -> None:
    trainer = make_trainer(skip_memory_metrics=False)
    metrics = memory_of(trainer.train().metrics)
    assert set(metrics) == {
        "before_init_mem_cpu",
        *(f"{stage}_{name}" for stage in ("init", "train") for name in CPU),
    }
    assert metrics["before_init_mem_cpu"] > 50 * MEBIBYTE  # Python with torch


def test_what_is_kept_and_what_is_used_for_a_while_are_told_apart() -> None:
    trainer = make_trainer(skip_memory_metrics=False, callbacks=[Greedy()])
    metrics = trainer.train().metrics
    assert metrics["train_mem_cpu_alloc_delta"] > 90 * MEBIBYTE
    assert 120 * MEBIBYTE < metrics["train_mem_cpu_peaked_delta"] < 300 * MEBIBYTE


def test_making_the_trainer_is_measured() -> None:
    blocks = []

    def make_model() -> Any:
        from small import make_net

        blocks.append(np.ones(96 * MEBIBYTE, dtype=np.uint8))
        return make_net()

    trainer = make_trainer(skip_memory_metrics=False, model_init=make_model)
    metrics = trainer.evaluate()
    assert metrics["init_mem_cpu_alloc_delta"] > 90 * MEBIBYTE


def test_init_is_told_with_the_first_stage_only() -> None:
    trainer = make_trainer(skip_memory_metrics=False)
    first, second = memory_of(trainer.evaluate()), memory_of(trainer.evaluate())
    assert {name.partition("_mem")[0] for name in first} == {"before_init", "init", "eval"}
    assert set(second) == {f"eval_{name}" for name in CPU}
    assert set(memory_of(trainer.predict(make_samples(4)).metrics)) == {f"test_{name}" for name in CPU}


def test_it_is_logged() -> None:
    trainer = make_trainer(skip_memory_metrics=False)
    trainer.train()
    assert "train_mem_cpu_alloc_delta" in trainer.state.log_history[-1]


def test_an_evaluation_within_training_is_part_of_it() -> None:
    def compute_metrics(prediction: Any) -> dict[str, float]:
        use_for_a_while(160)
        return {}

    trainer = make_trainer(
        skip_memory_metrics=False, eval_strategy="epoch", compute_metrics=compute_metrics
    )
    metrics = trainer.train().metrics
    (evaluation,) = (entry for entry in trainer.state.log_history if "eval_loss" in entry)
    assert memory_of(evaluation) == {}
    assert metrics["train_mem_cpu_peaked_delta"] > 120 * MEBIBYTE


def test_an_evaluation_that_fails_within_training_and_is_caught_spoils_nothing() -> None:
    class Careful(Trainer):
        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            with suppress(RuntimeError):
                return super().evaluate(*args, **kwargs)
            return {}

    trainer = make_trainer(
        Careful, skip_memory_metrics=False, eval_strategy="epoch", compute_metrics=fail
    )
    assert "train_mem_cpu_alloc_delta" in trainer.train().metrics


def test_by_default_nothing_is_measured() -> None:
    assert memory_of(make_trainer().train().metrics) == {}
    assert sampling_threads() == []


def test_no_thread_samples_while_nothing_is_measured() -> None:
    args = make_args(skip_memory_metrics=False)
    assert sampling_threads() == []
    trainer = make_trainer(skip_memory_metrics=False, num_train_epochs=1)
    assert sampling_threads() == []
    trainer.train()
    assert sampling_threads() == []
    assert not args.skip_memory_metrics


def test_a_training_that_fails_stops_the_thread() -> None:
    trainer = make_trainer(skip_memory_metrics=False, compute_loss_func=fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.train()
    assert sampling_threads() == []


def test_a_trainer_that_cannot_be_made_stops_the_thread() -> None:
    with pytest.raises(RuntimeError, match="on purpose"):
        make_trainer(skip_memory_metrics=False, model_init=fail)
    gc.collect()
    assert sampling_threads() == []


def test_after_an_evaluation_that_failed_the_next_is_measured_as_ever() -> None:
    broken = make_samples(4)
    del broken[2]["x"]
    trainer = make_trainer(skip_memory_metrics=False)
    with pytest.raises((KeyError, TypeError)):
        trainer.evaluate(broken)
    assert "eval_mem_cpu_alloc_delta" in trainer.evaluate()
    assert sampling_threads() == []


def test_without_psutil_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)  # as if it were not installed
    with pytest.raises(
        ArgumentsError, match=r"`skip_memory_metrics`: False needs .* pip install psutil"
    ):
        make_args(skip_memory_metrics=False)


@pytest.mark.gpu
def test_on_a_gpu_its_memory_is_measured_too() -> None:
    class GreedyOnGpu(TrainerCallback):
        held: Any = None

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.held = torch.ones(64 * MEBIBYTE, dtype=torch.uint8, device="cuda")
            torch.ones(128 * MEBIBYTE, dtype=torch.uint8, device="cuda")

    trainer = make_trainer(skip_memory_metrics=False, use_cpu=False, callbacks=[GreedyOnGpu()])
    metrics = trainer.train().metrics
    assert metrics["train_mem_gpu_alloc_delta"] >= 64 * MEBIBYTE
    assert 120 * MEBIBYTE <= metrics["train_mem_gpu_peaked_delta"] <= 140 * MEBIBYTE
    assert metrics["before_init_mem_gpu"] >= 0
    assert metrics["init_mem_gpu_alloc_delta"] > 0
