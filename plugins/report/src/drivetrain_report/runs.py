"""Finds what a run left in its folder, and reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from drivetrain.plugin import UsageError
from drivetrain_report.checkpoints import STATE_FILE, Checkpoint, find_checkpoints, read_object
from drivetrain_report.series import Logged, sort_lines
from drivetrain_torch.jsonl import RunPart, read_log, read_parts

LOG_FILE = "log.jsonl"


@dataclass(frozen=True)
class RunRecord:
    """What is known of one run.

    Attributes:
        name: What it is called in the report.
        folder: Where it was looked for.
        source: The file that the curves are from.
        config: The arguments, nested ones under dotted names.
        parts: The times that it was started, if they were noted.
        num_earlier_parts: How many belong to runs that were in the folder before.
        state: The newest ``trainer_state.json``.
    """

    name: str
    folder: Path
    source: Path
    logged: Logged
    config: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    parts: Sequence[RunPart] = ()
    num_earlier_parts: int = 0
    checkpoints: Sequence[Checkpoint] = ()
    state: Mapping[str, Any] = field(default_factory=dict)

    @property
    def best_checkpoint(self) -> str:
        """The name of the folder with the best checkpoint; empty if nobody looked for the best."""
        best = self.state.get("best_model_checkpoint")
        return Path(best).name if isinstance(best, str) else ""


def read_runs(paths: Sequence[str]) -> list[RunRecord]:
    """Read several runs, and give each a name of its own.

    Raises:
        UsageError: There is no run at one of the paths.
    """
    runs = [read_run(Path(path)) for path in paths]
    names = [run.name for run in runs]
    return [
        run if names.count(run.name) == 1 else replace(run, name=f"{run.name} ({path})")
        for run, path in zip(runs, paths, strict=True)
    ]


def read_run(path: Path) -> RunRecord:
    """Read what a run left.

    Args:
        path: The folder, or the file of lines or ``trainer_state.json`` itself.

    Raises:
        UsageError: It is not there, has no run in it, or is broken.
    """
    if not path.exists():
        raise UsageError(f"RUN: there is no {str(path)!r}. Give the `output_dir` of a run.")
    folder = path if path.is_dir() else path.parent
    checkpoints = find_checkpoints(folder)
    if path.is_file():
        source: Path | None = path
    else:
        source = _find_log(path) or _find_state(path, checkpoints)
    if source is None:
        raise UsageError(_explain_nothing(path))
    if source.name.endswith(".jsonl"):
        return _read_lines(folder, source, checkpoints)
    return _read_state(folder, source, checkpoints)


def _find_log(folder: Path) -> Path | None:
    """The file of lines: in the folder, or the only one in a folder below it."""
    if (folder / LOG_FILE).is_file():
        return folder / LOG_FILE
    found = sorted([*folder.glob(f"*/{LOG_FILE}"), *folder.glob(f"*/*/{LOG_FILE}")])
    if len(found) > 1:
        shown = " ".join(repr(str(file.parent)) for file in found[:8])
        raise UsageError(
            f"RUN: {str(folder)!r} has {len(found)} runs in it. Type one or more of: {shown}"
        )
    return found[0] if found else None


def _find_state(folder: Path, checkpoints: Sequence[Checkpoint]) -> Path | None:
    candidates = [folder / STATE_FILE, *(c.folder / STATE_FILE for c in reversed(checkpoints))]
    there = [file for file in candidates if file.is_file()]
    return next((file for file in there if read_object(file)), there[0] if there else None)


def _explain_nothing(folder: Path) -> str:
    return (
        f"RUN: there is no run in {str(folder)!r}: neither {LOG_FILE}, which `report_to`='jsonl' writes, nor "
        f"{STATE_FILE}, nor a checkpoint-* with one. Give the `output_dir` of a run."
    )


def _read_lines(folder: Path, file: Path, checkpoints: Sequence[Checkpoint]) -> RunRecord:
    try:
        lines, parts = read_log(file), read_parts(file)
    except OSError as error:
        raise UsageError(f"RUN: {str(file)!r} cannot be read: {error.strerror}.") from error
    if not parts:
        raise UsageError(f"RUN: {str(file)!r} is broken or empty: no line in it is one of a run's log.")
    parts, num_earlier = _of_the_last_run(parts)
    first, last = parts[0], parts[-1]
    return RunRecord(
        name=_choose_name(last, folder),
        folder=folder,
        source=file,
        logged=sort_lines(lines, first.began, file.parent),
        config=flatten(last.config),
        facts=last.facts,
        versions=last.versions or _newest_versions(checkpoints),
        parts=parts,
        num_earlier_parts=num_earlier,
        checkpoints=checkpoints,
        state=_newest_state(folder, checkpoints),
    )


def _of_the_last_run(parts: list[RunPart]) -> tuple[list[RunPart], int]:
    """The parts of the run that trained last, and how many parts came before it."""
    begins = [i for i, part in enumerate(parts) if part.has_trained and part.start_step == 0]
    first = begins[-1] if begins else 0
    return parts[first:], first


def _choose_name(part: RunPart, folder: Path) -> str:
    is_typed = part.run and part.run != part.config.get("output_dir")
    return part.run if is_typed else folder.resolve().name


def _read_state(folder: Path, file: Path, checkpoints: Sequence[Checkpoint]) -> RunRecord:
    state = read_object(file)
    history = state.get("log_history") if state else None
    if state is None or not isinstance(history, list):
        raise UsageError(f"RUN: {str(file)!r} is broken: it is no JSON object with a `log_history`.")
    lines = [_rename(entry) for entry in history if isinstance(entry, dict) and _has_step(entry)]
    config = (read_object(file.parent / "training_args.json") or {}) if state else {}
    return RunRecord(
        name=folder.resolve().name,
        folder=folder,
        source=file,
        logged=sort_lines(lines, None, folder),
        config=flatten(config),
        versions=_newest_versions(checkpoints),
        checkpoints=checkpoints,
        state=state,
    )


def _has_step(entry: Mapping[str, Any]) -> bool:
    return type(entry.get("step")) is int


def _rename(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a trainer's history, by the names that reporters get."""
    return {_reported(name): value for name, value in entry.items()}


def _reported(name: str) -> str:
    if name in ("step", "epoch"):
        return name
    for split in ("eval", "test"):
        if name.startswith(f"{split}_"):
            return f"{split}/{name.removeprefix(f'{split}_')}"
    return f"train/{name}"


def _newest_state(folder: Path, checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    file = _find_state(folder, checkpoints)
    return (read_object(file) or {}) if file else {}


def _newest_versions(checkpoints: Sequence[Checkpoint]) -> Mapping[str, Any]:
    found = (checkpoint.manifest.get("versions") for checkpoint in reversed(checkpoints))
    return next((versions for versions in found if isinstance(versions, dict)), {})


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
