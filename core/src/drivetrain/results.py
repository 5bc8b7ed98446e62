"""Metrics for people to read and for files to keep: `Trainer.log_metrics` and `Trainer.save_metrics`."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drivetrain.checkpoint.writing import write_whole


def format_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Values as people read them: memory in MB, run times in hours, minutes and seconds, four digits.

    Floating-point operations are given in GF, 10^9 of them.
    """
    return {name: _format(name, value) for name, value in metrics.items()}


def _format(name: str, value: Any) -> Any:
    if "_mem_" in name:
        return f"{int(value) >> 20}MB"
    if name.endswith("_runtime"):
        return _format_seconds(value)
    if name == "total_flos":
        return f"{int(value) >> 30}GF"
    return round(value, 4) if isinstance(value, float) else value


def _format_seconds(seconds: float) -> str:
    whole = datetime.timedelta(seconds=int(seconds))
    return f"{whole}.{int(seconds * 100 % 100):02d}"


def describe_metrics(split: str, formatted_metrics: Mapping[str, Any]) -> str:
    """A split's metrics, as `format_metrics` makes them, as lines: names and values each in a column."""
    formatted = {name: str(value) for name, value in sorted(formatted_metrics.items())}
    name_width = max(map(len, formatted), default=0)
    value_width = max(map(len, formatted.values()), default=0)
    lines = (f"  {name:<{name_width}} = {value:>{value_width}}" for name, value in formatted.items())
    return "\n".join([f"***** {split} metrics *****", *lines])


def save_metrics(folder: Path, split: str, metrics: Mapping[str, Any], combined: bool) -> None:
    """Write metrics to ``<split>_results.json``, and add them to ``all_results.json`` if ``combined``."""
    if split != "all" or not combined:
        _write(folder / f"{split}_results.json", metrics)
    if combined:
        file = folder / "all_results.json"
        earlier = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        _write(file, {**earlier, **metrics})


def _write(file: Path, metrics: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(metrics, indent=4, sort_keys=True) + "\n")
