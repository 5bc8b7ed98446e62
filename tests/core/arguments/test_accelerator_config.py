"""`accelerator_config`: each of its keys has an effect that is seen, or is said to have none."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from honesty.observations import order, updates
from small import make_args, make_samples, make_trainer

from drivetrain import AcceleratorConfig, UsageError, default_data_collator

OF_SEVERAL_PROCESSES = {
    "split_batches": True,
    "dispatch_batches": True,
    "even_batches": False,
    "use_configured_state": True,
}
SEEN = {"use_seedable_sampler", "non_blocking", "gradient_accumulation_kwargs"}


class Shipped(torch.Tensor):
    """A tensor that is not where the model is, and notes how it is brought there."""

    ways: list[Any] = []

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("cuda", 0)

    def to(self, *args: Any, non_blocking: bool = False, **kwargs: Any) -> torch.Tensor:
        self.ways.append(non_blocking)
        return self.as_subclass(torch.Tensor)


def test_every_key_is_tested() -> None:
    keys = {field.name for field in dataclasses.fields(AcceleratorConfig)}
    assert keys == {*OF_SEVERAL_PROCESSES, *SEEN}


@pytest.mark.parametrize("key", OF_SEVERAL_PROCESSES)
def test_what_is_for_several_processes_is_said_to_have_no_effect_on_one(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    value = OF_SEVERAL_PROCESSES[key]
    with caplog.at_level(logging.WARNING):
        make_args(accelerator_config={key: value})
    (said,) = caplog.messages
    assert said.startswith(f"`accelerator_config`: {key}={value} has no effect with `strategy`='single'")


def test_the_orders_of_all_epochs_can_be_drawn_from_one_generator() -> None:
    generator = torch.Generator().manual_seed(42)
    drawn = [int(i) for _ in range(2) for i in torch.randperm(24, generator=generator)]
    other = make_trainer(num_train_epochs=2, accelerator_config={"use_seedable_sampler": False})
    assert order(other) == drawn
    assert order(make_trainer(num_train_epochs=2)) != drawn


@pytest.mark.parametrize(("config", "way"), [({}, True), ({"non_blocking": False}, False)])
def test_copies_to_the_device_are_waited_for_or_not(config: dict[str, Any], way: bool) -> None:
    def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
        return {k: v.as_subclass(Shipped) for k, v in default_data_collator(samples).items()}

    Shipped.ways.clear()
    make_trainer(accelerator_config=config, data_collator=collate).predict(make_samples(4))
    assert set(Shipped.ways) == {way}


def test_micro_batches_can_be_given_there_in_every_form(tmp_path: Path) -> None:
    config: dict[str, Any] = {"gradient_accumulation_kwargs": {"num_steps": 3}}
    file = tmp_path / "config.json"
    file.write_text('{"gradient_accumulation_kwargs": {"num_steps": 3}}', encoding="utf-8")
    forms = (config, AcceleratorConfig(**config), AcceleratorConfig.from_json_file(file), str(file))
    for form in forms:
        assert updates(make_trainer(accelerator_config=form)) == 2


def test_a_key_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="`accelerator_config`: 'batches' is none of its keys. Allowed: split"
    ):
        make_args(accelerator_config={"batches": 1})
    file = tmp_path / "config.json"
    file.write_text('{"batches": 1}', encoding="utf-8")
    with pytest.raises(TypeError, match="batches"):
        AcceleratorConfig.from_json_file(file)
