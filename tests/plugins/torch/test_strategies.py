from __future__ import annotations

import logging

import pytest
import torch

from drivetrain import ArgumentsError, TrainingArguments


def test_a_run_that_asks_for_the_cpu_is_on_the_cpu(arguments, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert arguments(use_cpu=True).device == torch.device("cpu")


@pytest.mark.parametrize(
    ("available", "device"),
    [
        ({"cuda", "mps"}, torch.device("cuda", 0)),
        ({"mps"}, torch.device("mps")),
        ({"xpu"}, torch.device("xpu", 0)),
        (set(), torch.device("cpu")),
    ],
)
def test_a_run_is_on_the_first_accelerator_there_is(arguments, monkeypatch, available, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in available)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in available)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: "xpu" in available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    args = arguments(use_cpu=False)
    assert args.device == device
    assert (args.world_size, args.process_index, args.local_process_index) == (1, 0, 0)


def test_the_device_is_asked_for_once(arguments, monkeypatch):
    args = arguments(use_cpu=False)
    before = args.device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("asked again"))
    assert args.device is before


def test_several_processes_are_refused_if_one_device_was_named(arguments, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(
        ArgumentsError, match=r"`strategy`: 'single' trains one copy .*WORLD_SIZE=4.*'auto'"
    ):
        arguments(strategy="single")


def test_one_launched_process_is_fine(arguments, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert isinstance(arguments(strategy="single"), TrainingArguments)


def test_idle_gpus_are_mentioned(arguments, monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with caplog.at_level(logging.WARNING):
        arguments(use_cpu=False)
    assert "`strategy`: 'single' uses cuda:0 alone, and 4 GPUs are visible" in caplog.text
    assert "4 GPUs are visible" in caplog.text
