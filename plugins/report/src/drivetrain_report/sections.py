"""The sections of the page besides the charts: HTML in which every text of a run is escaped."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from drivetrain import TrainingArguments
from drivetrain_report.amounts import (
    show_count,
    show_duration,
    show_number,
    show_size,
    show_time,
)
from drivetrain_report.checkpoints import Checkpoint
from drivetrain_report.runs import RunRecord
from drivetrain_report.series import Picture, Series
from drivetrain_report.tables import compare, make_table, show_run
from drivetrain_report.troubles import describe_outcome, find_troubles
from drivetrain_torch.jsonl import RunPart

_NUM_PICTURES, _NUM_TEXTS = 12, 50
_ERROR_NAME = "run/error"
_OVERVIEW = (
    *("Run", "Ended", "Steps", "Epochs", "Time", "Last loss", "Best evaluation loss"),
    *("Samples/s", "Steps/s", "Model", "Parameters"),
)


def show_overview(runs: Sequence[RunRecord]) -> str:
    """A row for each run."""
    rows = [_overview_of(position, run) for position, run in enumerate(runs)]
    used = [column for column in range(len(_OVERVIEW)) if any(row[column] for row in rows)]
    table = make_table([_OVERVIEW[c] for c in used], [[row[c] for c in used] for row in rows])
    return f'<div class="card">{table}</div>'


def _overview_of(position: int, run: RunRecord) -> list[str]:
    loss, evaluated = run.logged.series.get("train/loss"), run.logged.series.get("eval/loss")
    summary, outcome = run.logged.summary, describe_outcome(run)
    tone = {"finished": "good", "failed": "bad"}.get(outcome, "")
    return [
        show_run(position, run.name),
        f'<span class="{tone}">{escape(outcome)}</span>',
        show_number(_last_step(run)),
        _show_epochs(run),
        _show_trained_time(run),
        show_number(loss.values[-1]) if loss else "",
        _show_best(evaluated),
        show_number(summary.get("train/train_samples_per_second")),
        show_number(summary.get("train/train_steps_per_second")),
        escape(str(run.facts.get("model", ""))),
        _show_parameters(run.facts),
    ]


def _last_step(run: RunRecord) -> int:
    steps = [series.steps[-1] for series in run.logged.series.values()]
    steps += [part.last_step for part in run.parts[-1:]]
    return max([*steps, 0 if run.parts else int(run.state.get("global_step", 0))])


def _show_epochs(run: RunRecord) -> str:
    epochs = [e for series in run.logged.series.values() for e in series.epochs[-1:] if e is not None]
    return show_number(max(epochs)) if epochs else ""


def _show_trained_time(run: RunRecord) -> str:
    """How long it ran, pauses left out."""
    if run.parts:
        return show_duration(sum(part.ended - part.began for part in run.parts))
    seconds = run.logged.summary.get("train/train_runtime")
    return "" if seconds is None else show_duration(seconds)


def _show_best(evaluated: Series | None) -> str:
    pairs = zip(evaluated.values, evaluated.steps, strict=True) if evaluated else ()
    best = min((pair for pair in pairs if math.isfinite(pair[0])), default=None)
    return "" if best is None else f"{show_number(best[0])} at step {best[1]}"


def _show_parameters(facts: Mapping[str, Any]) -> str:
    number, trainable = facts.get("num_parameters"), facts.get("num_trainable_parameters")
    if not isinstance(number, int):
        return ""
    part = f" ({trainable:,} trainable)" if isinstance(trainable, int) and trainable != number else ""
    return f"{number:,}{part}"


def show_troubles(runs: Sequence[RunRecord]) -> str:
    """What went wrong, run by run."""
    blocks = [_troubles_of(position, run) for position, run in enumerate(runs)]
    return f'<div class="card">{"".join(blocks)}</div>'


def _troubles_of(position: int, run: RunRecord) -> str:
    items = [
        f'<li class="{"bad" if trouble.is_serious else ""}"><pre>{escape(trouble.text)}</pre></li>'
        for trouble in find_troubles(run)
    ]
    heading = f"<h3>{show_run(position, run.name)}</h3>"
    if not items:
        return f'{heading}<p class="soft">Nothing, as far as what it left tells.</p>'
    return f"{heading}<ul>{''.join(items)}</ul>"


def show_parts(runs: Sequence[RunRecord]) -> str:
    """When each run was started and how that ended; empty where each was started once."""
    rows = [
        _row_of_part(position, run.name, part)
        for position, run in enumerate(runs)
        for part in run.parts
        if len(run.parts) > 1
    ]
    if not rows:
        return ""
    table = make_table(("Run", "Began", "From step", "To step", "Time", "Ended"), rows)
    return f'<h2>Starts</h2><div class="card">{table}</div>'


def _row_of_part(position: int, name: str, part: RunPart) -> list[str]:
    outcome = escape(part.outcome or "no end was logged")
    return [
        show_run(position, name),
        show_time(part.began),
        str(part.start_step),
        str(part.last_step),
        show_duration(part.ended - part.began),
        outcome if part.has_trained else f"{outcome} (without training)",
    ]


def show_checkpoints(runs: Sequence[RunRecord]) -> str:
    """What can be resumed from."""
    rows = [
        _row_of_checkpoint(position, run, checkpoint)
        for position, run in enumerate(runs)
        for checkpoint in run.checkpoints
    ]
    if not rows:
        return '<div class="card soft">There are none in the folder.</div>'
    classes = ("", "name", "number", "number", "", "")
    table = make_table(("Run", "Checkpoint", "Step", "Size", "Saved", "Whole"), rows, classes)
    note = (
        "Whole: every file is there and as long as the manifest says. Checksums are compared at loading."
    )
    return f'<div class="card"><div class="tall">{table}</div><p class="soft">{note}</p></div>'


def _row_of_checkpoint(position: int, run: RunRecord, checkpoint: Checkpoint) -> list[str]:
    name = escape(checkpoint.folder.name)
    if checkpoint.fault:
        state = f'<span class="bad">no: {escape(checkpoint.fault)}</span>'
    else:
        state = "yes" if checkpoint.has_manifest else "unknown: it has no manifest"
    is_best = checkpoint.folder.name == run.best_checkpoint
    return [
        show_run(position, run.name),
        f'{name} <b class="good">best</b>' if is_best else name,
        str(checkpoint.step),
        show_size(checkpoint.size),
        show_time(checkpoint.saved),
        state,
    ]


def show_arguments(runs: Sequence[RunRecord]) -> str:
    """The arguments: what differs, or what somebody set, comes first."""
    return compare([run.name for run in runs], [run.config for run in runs], _read_defaults())


def _read_defaults() -> dict[str, Any]:
    """The defaults of the training arguments, as they are in a configuration."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(TrainingArguments):
        if field.default is not dataclasses.MISSING:
            found[field.name] = getattr(field.default, "value", field.default)
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return found


def show_versions(runs: Sequence[RunRecord]) -> str:
    """Versions: what differs comes first."""
    return compare([run.name for run in runs], [run.versions for run in runs], {})


def show_media(runs: Sequence[RunRecord]) -> str:
    """Pictures and texts that were reported; empty if there are none."""
    blocks = [block for position, run in enumerate(runs) for block in _media_of(position, run)]
    if not blocks:
        return ""
    return f'<h2>Pictures and texts</h2><div class="card">{"".join(blocks)}</div>'


def _media_of(position: int, run: RunRecord) -> Iterator[str]:
    texts = [text for text in run.logged.texts if text.name != _ERROR_NAME]
    if texts or run.logged.pictures:
        yield f"<h3>{show_run(position, run.name)}</h3>"
    by_name: dict[str, list[Picture]] = {}
    for picture in run.logged.pictures:
        by_name.setdefault(picture.name, []).append(picture)
    for name, pictures in by_name.items():
        yield f'<p class="soft">{escape(name)}{_show_left_out(len(pictures), _NUM_PICTURES)}</p>'
        yield f'<div class="pictures">{"".join(map(_show_picture, pictures[-_NUM_PICTURES:]))}</div>'
    if texts:
        rows = [
            [escape(text.name), str(text.step), f"<pre>{escape(text.text)}</pre>"]
            for text in texts[-_NUM_TEXTS:]
        ]
        yield f'<p class="soft">Texts{_show_left_out(len(texts), _NUM_TEXTS)}</p>'
        yield make_table(("Name", "Step", "Text"), rows, ("name", "number"))


def _show_left_out(number: int, limit: int) -> str:
    return f": the last {limit} of {show_count(number, 'one')}" if number > limit else ""


def _show_picture(picture: Picture) -> str:
    data = base64.b64encode(picture.file.read_bytes()).decode("ascii")
    caption = f"step {picture.step}" + (f": {picture.caption}" if picture.caption else "")
    return (
        f'<figure><img alt="{escape(picture.name)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
