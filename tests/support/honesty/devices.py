"""Rows of the arguments of devices."""

from __future__ import annotations

import torch
from small import weights_of

from drivetrain import TrainingArguments
from honesty.table import Case, refused, row, warned


@row("use_cpu", True)
def use_cpu(case: Case) -> None:
    case.monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    case.monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert TrainingArguments("out", report_to="none").device == torch.device("cuda", 0)
    args = TrainingArguments("out", report_to="none", **case.setting)
    assert args.device == torch.device("cpu")
    trainer = case.changed()
    assert {weight.device for weight in weights_of(trainer).values()} == {torch.device("cpu")}


ROWS = [
    use_cpu,
    refused("tpu_num_cores", 8, "asks for a TPU, and torch_xla"),
    warned("use_ipex", True, "has no effect: Intel has ended its extension"),
    warned("torch_empty_cache_steps", 2, "has no effect on cpu, for which torch keeps no cache"),
]
