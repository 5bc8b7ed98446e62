"""What changed in how data comes to a run that is resumed: samples an update, and their order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from drivetrain.checkpoint.comparison import NOT_EXACT, Changes, as_sentence
from drivetrain.checkpoint.meanings import ORDERING
from drivetrain_registry.messages import join


def compare_update_sizes(changes: Changes) -> Iterator[str]:
    """The samples an update: those of a micro-batch of a process, times micro-batches, times processes."""
    names = ("train_batch_size", "gradient_accumulation_steps", "world_size")
    if "train_batch_size" not in changes.saved or "train_batch_size" not in changes.now:
        names = ("per_device_train_batch_size", *names[1:])
    changed = changes.among(names)
    if not changed:
        return
    factors = [[int(values.get(name) or 1) for name in names] for values in changes.pair]
    before, now = map(math.prod, factors)
    was, is_now = (f"{' x '.join(map(str, row))} = {math.prod(row)}" for row in factors)
    yield (
        f"{join([_CALLED.get(name, f'`{name}`') for name in changed])}: {is_now} samples an update go on "
        f"where {was} were (a micro-batch x micro-batches x processes). "
        f"{_meaning_of_size(changes, before, now)} {_earlier_size(changes, factors)}"
    )


_CALLED = {"train_batch_size": "`per_device_train_batch_size`", "world_size": "the number of processes"}
"""What facts that are no arguments are told by."""


def _meaning_of_size(changes: Changes, before: int, now: int) -> str:
    if before == now:
        sentences = [
            f"That is as many, but sums are rounded and random numbers drawn otherwise: {NOT_EXACT}."
        ]
    else:
        sentences = list(_meaning_of_another_size(changes.now, "more" if now > before else "fewer"))
    if changes.among(["world_size"]):
        sentences.append("Processes that have no random state in the checkpoint are seeded afresh.")
    return " ".join(sentences)


def _meaning_of_another_size(now: Mapping[str, Any], amount: str) -> Iterator[str]:
    yield "The run goes on at the same sample, with `learning_rate` as it was."
    if (now.get("max_steps") or 0) > 0:
        yield f"`max_steps` counts updates, so that {amount} samples are trained on."
    else:
        yield (
            "The updates that remain are counted anew, and the learning rate, which goes by updates, follows "
            "another curve."
        )
    if now.get("group_by_length"):
        yield (
            "`group_by_length` sorts by the samples an update: in the epoch that is resumed, some may come "
            "twice and others not at all."
        )


def _earlier_size(changes: Changes, factors: list[list[int]]) -> str:
    """What to do for the factors of before, and what for their product with what cannot be chosen."""
    (batch_before, steps_before, processes_before), (batch, steps, processes) = factors
    is_found = bool(changes.now.get("auto_find_batch_size"))
    actions = []
    if batch_before != batch and not is_found:
        actions.append(f"type per_device_train_batch_size={batch_before}")
    if steps_before != steps:
        actions.append(f"type gradient_accumulation_steps={steps_before}")
    if processes_before != processes:
        actions.append(f"start {processes_before} process{'' if processes_before == 1 else 'es'}")
    advice = [f"{join(actions)} to go on as before"] if actions else []
    fitting, rest = divmod(batch_before * steps_before * processes_before, batch * processes)
    if rest == 0 and fitting != steps and (is_found or processes_before != processes):
        advice.append(f"type gradient_accumulation_steps={fitting} for as many samples an update")
    return f"{as_sentence(', or '.join(advice) or 'so many were found to fit into memory')}."


def compare_orders(changes: Changes) -> Iterator[str]:
    """The order of the samples in an epoch, which a run that is resumed enters in its middle."""
    names = changes.among(ORDERING)
    if all(values.get("group_by_length") for values in changes.pair):
        names += changes.among(["length_column_name"])
    elif not changes.now.get("group_by_length"):
        names += changes.among(["accelerator_config.use_seedable_sampler"])
    if _order_seed(changes.saved) != _order_seed(changes.now):
        is_by_seed = None in changes.both("data_seed")
        names += changes.among(["seed", "data_seed"] if is_by_seed else ["data_seed"])
    if changes.both("num_examples", default=0) == (None, None):
        names += changes.among(["dataloader_num_workers"])
    told = [changes.taken_up(names)] if names else []
    actions = [f"type {changes.typed(names)}"] if names else []
    if changes.among(["num_examples"]):
        was, is_now = map(_count, changes.both("num_examples"))
        told.append(f"`train_dataset`: it was {was} and is {is_now}")
        actions.append("pass the earlier data")
    if told:
        yield (
            f"{'; '.join(told)}. In the epoch that is resumed the samples have another order, so that some "
            "may come twice and others not at all; later epochs are whole. "
            f"{as_sentence(join(actions))} to go on as before."
        )


def _count(num_examples: int | None) -> str:
    return "a stream" if num_examples is None else f"{num_examples} samples"


def _order_seed(values: Mapping[str, Any]) -> Any:
    data_seed = values.get("data_seed")
    return values.get("seed") if data_seed is None else data_seed


def changed_loading(changes: Changes) -> list[str]:
    """What makes random numbers that are drawn while samples are loaded come from elsewhere."""
    before, now = changes.both("dataloader_num_workers", default=0)
    if changes.both("num_examples", default=0) == (None, None):
        return []  # it is said of the order
    names = changes.among(["dataloader_num_workers"]) if bool(before) != bool(now) else []
    if before and now and _order_seed(changes.saved) == _order_seed(changes.now):
        names += changes.among(["seed"])
    return names
