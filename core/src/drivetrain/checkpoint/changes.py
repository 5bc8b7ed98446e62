"""What changed between a checkpoint and the run that resumes from it, and what that means.

What each argument means is in the tables of `drivetrain.checkpoint.meanings`; here is what they are told
with, and what is compared by more than one argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from drivetrain.checkpoint.comparison import NOT_EXACT, Changes, as_options, as_sentence, show
from drivetrain.checkpoint.data_changes import changed_loading, compare_orders, compare_update_sizes
from drivetrain.checkpoint.meanings import AMONG_PROCESSES, COMPUTED, HELD_BY_OPTIMIZER, ROUNDED
from drivetrain_registry.messages import join

_CURVES = ("LambdaLR", "MultiplicativeLR")
"""Schedules whose state lacks their curve: it is made anew from the arguments."""
_PLATEAU = "reduce_lr_on_plateau"
_ENDLESS = ("constant", "constant_with_warmup", "inverse_sqrt", _PLATEAU)
"""Schedules that do not depend on how long the run is."""


def find_changes(saved: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Compare what a checkpoint was saved with to what a run resumes from it with.

    Args:
        saved: The arguments of the run that saved it, as JSON values, and the facts ``world_size``,
            ``num_examples`` (None: a stream), ``num_updates`` of the whole run, ``train_batch_size``,
            ``classes``, ``packages``, ``precision``, ``strategy``, ``torch`` and ``drivetrain``. Of what is
            missing nothing is said.
        now: The same of the run that resumes.

    Returns:
        Messages about what cannot work, and about what changes the meaning of the run or its numbers.
    """
    changes = Changes(saved, now)
    errors = [*_classes(changes), *_target_modules(changes)]
    warnings = [
        *compare_update_sizes(changes),
        *compare_orders(changes),
        *_optimizer(changes),
        *_schedule(changes),
        *_precision(changes),
        *_computed(changes),
        *_best_metric(changes),
        *_rounded(changes),
    ]
    return errors, warnings


# -- what cannot work -----------------------------------------------------------------------------


def _classes(changes: Changes) -> Iterator[str]:
    for part, option in (("optimizer", "optim"), ("scheduler", "lr_scheduler_type")):
        before, now = changes.class_of(part)
        if before is not None and before == now and changes.among((option,)):
            before, now = _with_packages(changes, part, before)
        if before is None or now is None or before == now:
            continue
        others = ("adam_bias_correction",) if part == "optimizer" else ()
        named = changes.among((option, *others))[:1] or [option]
        name = named[0]
        was, is_now = (f" {show(values[name])}" if name in values else "" for values in changes.pair)
        advice = (
            f"Type {changes.typed(named)}" if changes.among(named) else f"Pass one of the class {before}"
        )
        yield (
            f"`{name}`: the checkpoint was saved with{was} ({before}), whose state{is_now} ({now}) cannot "
            f"take over. {advice}, or start anew."
        )


def _with_packages(changes: Changes, part: str, name: str) -> tuple[str, str]:
    """Two classes of one name, each with the package that it is from: AdamW is in several."""
    packages = changes.package_of(part)
    if None in packages:
        return name, name
    before, now = (f"{package}'s {name}" for package in packages)
    return before, now


def _target_modules(changes: Changes) -> Iterator[str]:
    for name in changes.among(["optim_target_modules"]):
        before, now = changes.both(name)
        yield (
            f"`{name}`: the checkpoint was saved with {show(before)}, and now it is {show(now)}: the states "
            "of the optimizer are told apart by their place, which depends on it, and would go to other "
            f"parameters. Type {changes.typed([name])}, or start anew."
        )


# -- what changes the meaning ---------------------------------------------------------------------


def _optimizer(changes: Changes) -> Iterator[str]:
    before, now = changes.class_of("optimizer")
    if changes.among(["optim"]) and (before is None or before == now):
        yield (
            f"{changes.taken_up(['optim'])}, with the state and the options that are in the checkpoint. "
            f"Type {changes.typed(['optim'])} to go on as before."
        )
    held = changes.among(HELD_BY_OPTIMIZER)
    if held:
        yield (
            f"{changes.passed_over(held)}: the optimizer's state in the checkpoint holds what it was made "
            f"with.{_recomputed_curve(changes)} Type {changes.typed(held)}; or, for the new, load the "
            "checkpoint's model and call `train` without `resume_from_checkpoint`."
        )


def _recomputed_curve(changes: Changes) -> str:
    """What to say of a curve that is made anew from the rate that has no effect otherwise."""
    name, options = changes.now.get("lr_scheduler_type"), changes.now.get("lr_scheduler_kwargs")
    is_share = name == "polynomial" or (name != _PLATEAU and "min_lr" in as_options(options))
    if not is_share or not changes.among(["learning_rate"]):
        return ""
    return f" But the curve of {name!r} ends at a share of `learning_rate`, and ends otherwise now."


def _schedule(changes: Changes) -> Iterator[str]:
    before, cls = changes.class_of("scheduler")
    if cls is None and changes.now.get("lr_scheduler_type") == _PLATEAU:
        cls = "ReduceLROnPlateau"
    if before not in (None, cls):
        return
    shape = [*changes.among(["lr_scheduler_type", "lr_scheduler_kwargs"]), *_changed_warmup(changes)]
    length = _changed_length(changes)
    if cls is None or cls in _CURVES:
        yield from _new_curve(changes, shape + length)
    else:
        yield from _kept_curve(changes, cls, shape, length)
    if changes.now.get("lr_scheduler_type") == _PLATEAU:
        yield from _patience(changes)


def _new_curve(changes: Changes, names: list[str]) -> Iterator[str]:
    if names:
        yield (
            f"{changes.taken_up(names)}. From here on the learning rate follows the new curve, as if it had "
            f"from the first update: it may jump. Type {changes.typed(names)} to have the earlier curve."
        )


def _kept_curve(changes: Changes, cls: str, shape: list[str], length: list[str]) -> Iterator[str]:
    if shape:
        yield (
            f"{changes.passed_over(shape)}: the schedule's state in the checkpoint ({cls}) holds what it was "
            f"made with. Type {changes.typed(shape)}; or, for the new, load the checkpoint's model and call "
            "`train` without `resume_from_checkpoint`."
        )
    if length:
        yield (
            f"{changes.taken_up(length)}, and the schedule does not know: its state in the checkpoint "
            f"({cls}) has the earlier length. Type {changes.typed(length)}, or choose a schedule without an "
            "end."
        )


def _patience(changes: Changes) -> Iterator[str]:
    names = _changed_evaluations(changes)
    if names:
        yield (
            f"{changes.taken_up(names)}, and the patience of {_PLATEAU!r} counts evaluations: the learning "
            f"rate falls after more or fewer updates. Type {changes.typed(names)} to go on as before."
        )


def _changed_warmup(changes: Changes) -> list[str]:
    overrides = all((steps or 0) > 0 for steps in changes.both("warmup_steps"))
    return changes.among(["warmup_steps"] if overrides else ["warmup_steps", "warmup_ratio"])


def _changed_length(changes: Changes) -> list[str]:
    """What makes the run another number of updates, if the schedule depends on that."""
    num_updates = [values.get("num_updates") for values in changes.pair]
    if num_updates[0] is not None and num_updates[0] == num_updates[1]:
        return []
    is_share = bool(changes.now.get("warmup_ratio")) and not changes.now.get("warmup_steps")
    if changes.now.get("lr_scheduler_type") in _ENDLESS and not is_share:
        return []
    are_set = [(steps or 0) > 0 for steps in changes.both("max_steps")]
    return changes.among(["max_steps"] if any(are_set) else ["num_train_epochs"])


def _precision(changes: Changes) -> Iterator[str]:
    before, now = map(_precision_of, changes.pair)
    if before is not None and now is not None and before != now:
        yield (
            f"`precision`: {now!r} goes on where {before!r} was. Numbers are computed in another format, and "
            f"what scales the loss, if anything does, starts afresh. Type precision={before!r}, and leave "
            "out `bf16` and `fp16`, to go on as before."
        )


def _precision_of(values: Mapping[str, Any]) -> Any:
    name = values.get("precision")
    if name != "auto":
        return name
    return "fp16" if values.get("fp16") else "bf16" if values.get("bf16") else "no"


def _computed(changes: Changes) -> Iterator[str]:
    names = _without_idle(changes, changes.among(COMPUTED))
    if set(map(_precision_of, changes.pair)) != {"apex"}:
        names = [name for name in names if name != "fp16_opt_level"]
    if names:
        reasons = join(list(dict.fromkeys(COMPUTED[name] for name in names)))
        yield (
            f"{changes.taken_up(names)}. From here on this is another computation ({reasons}). "
            f"Type {changes.typed(names)} to go on as before."
        )


def _without_idle(changes: Changes, names: list[str]) -> list[str]:
    has_several = any((size or 1) > 1 for size in changes.both("world_size"))
    return [name for name in names if has_several or name not in AMONG_PROCESSES]


def _best_metric(changes: Changes) -> Iterator[str]:
    names = changes.among(["metric_for_best_model", "greater_is_better"])
    names = [name for name in names if None not in changes.both(name)]
    if names:
        yield (
            f"{changes.taken_up(names)}: the best value so far was found by the earlier, and new values are "
            f"compared with it. Type {changes.typed(names)} to go on as before."
        )


def _rounded(changes: Changes) -> Iterator[str]:
    names = [name for name in changes.among(ROUNDED) if not name.startswith("eval_")]
    names = [*_without_idle(changes, names), *changed_loading(changes)]
    if changes.now.get("lr_scheduler_type") != _PLATEAU:  # of which more is said
        names += _changed_evaluations(changes)
    if not changes.among(["world_size"]) and "auto" not in changes.both("strategy"):
        names += changes.among(["strategy"])
    told = [changes.taken_up(names)] if names else []
    advice = [f"type {changes.typed(names)}"] if names else []
    for library in changes.among(["torch", "drivetrain"]):
        before, now = changes.both(library)
        told.append(f"{library} {now} goes on where {before} was")
        advice.append(f"install {library} {before}")
    if told:
        yield (
            f"{'; '.join(told)}. That means the same, but numbers may be rounded and random numbers drawn "
            f"otherwise: {NOT_EXACT}. {as_sentence(join(advice))} to go on as before."
        )


def _changed_evaluations(changes: Changes) -> list[str]:
    """What makes evaluations come at other updates."""
    before, now = changes.both("eval_strategy")
    names = ["eval_strategy"]
    if before == now == "steps":
        names.append("eval_steps")
    if "no" not in (before, now):
        names.append("eval_delay")
    return changes.among(names)
