"""Older spellings of arguments: each is taken to what it means today, and said.

They are no fields: they are given as keywords or on the command line, and read as attributes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from drivetrain.arguments.composed import TrainingArguments


@dataclass(frozen=True)
class OldSpelling:
    """An earlier name of an argument, or one that means nothing any more.

    Attributes:
        hint: The type of its values, for the command line.
        translate: From its value to arguments of today, given the others that were passed.
        read: From the arguments to its value, for scripts that read it.
        note: What to say besides, or instead if it means nothing any more.
    """

    hint: Any
    translate: Callable[[Any, Mapping[str, Any]], dict[str, Any]]
    read: Callable[[TrainingArguments], Any]
    note: str = ""


def _renamed(new: str, hint: Any) -> OldSpelling:
    return OldSpelling(hint, lambda value, _: {new: value}, lambda args: getattr(args, new))


def _without_meaning(hint: Any, note: str) -> OldSpelling:
    return OldSpelling(hint, lambda value, _: {}, lambda args: None, note)


def _into_dict(argument: str, key: str, hint: Any) -> OldSpelling:
    """An argument that is a key of another one, which is a dict, today."""

    def translate(value: Any, others: Mapping[str, Any]) -> dict[str, Any]:
        given = others.get(argument)
        if given is None or isinstance(given, dict):
            return {argument: {**(given or {}), key: value}}
        if hasattr(given, "to_dict"):
            return {argument: {**given.to_dict(), key: value}}
        return {argument: given}

    def read(args: TrainingArguments) -> Any:
        holder = getattr(args, argument)
        return holder.get(key) if isinstance(holder, dict) else getattr(holder, key, None)

    return OldSpelling(hint, translate, read)


_SHARDED_DDP = {
    "simple": "shard_grad_op",
    "zero_dp_2": "shard_grad_op",
    "zero_dp_3": "full_shard",
    "offload": "offload",
    "auto_wrap": "auto_wrap",
}


def _from_sharded_ddp(value: Any, others: Mapping[str, Any]) -> dict[str, Any]:
    words = (
        value.split() if isinstance(value, str) else ["simple"] if value is True else list(value or [])
    )
    return {"fsdp": [_SHARDED_DDP.get(str(word), str(word)) for word in words]} if words else {}


def _from_organization(value: str, others: Mapping[str, Any]) -> dict[str, Any]:
    name = others.get("hub_model_id") or others.get("push_to_hub_model_id")
    name = name or os.path.basename(os.path.normpath(others.get("output_dir") or "trainer_output"))
    return {"hub_model_id": f"{value}/{name.split('/')[-1]}"}


def _from_inputs_for_metrics(value: Any, others: Mapping[str, Any]) -> dict[str, Any]:
    names = list(others.get("include_for_metrics") or [])
    return {"include_for_metrics": names if "inputs" in names or not value else [*names, "inputs"]}


OLD_SPELLINGS: Mapping[str, OldSpelling] = {
    "evaluation_strategy": _renamed("eval_strategy", str),
    "per_gpu_train_batch_size": _renamed("per_device_train_batch_size", int),
    "per_gpu_eval_batch_size": _renamed("per_device_eval_batch_size", int),
    "lr": _renamed("learning_rate", float),
    "fp16_backend": OldSpelling(
        str,
        lambda value, _: {
            "half_precision_backend": {"amp": "auto", "cuda": "cuda_amp"}.get(value, value)
        },
        lambda args: args.half_precision_backend,
    ),
    "no_cuda": _renamed("use_cpu", bool),
    "use_mps_device": _without_meaning(
        bool, "an Apple GPU is used where there is one, as a CUDA device is. Leave it out."
    ),
    "torchdynamo": _renamed("torch_compile_backend", str),
    "include_inputs_for_metrics": OldSpelling(
        bool, _from_inputs_for_metrics, lambda args: "inputs" in args.include_for_metrics
    ),
    "dataloader_seed": _renamed("data_seed", int),
    "sortish_sampler": _renamed("group_by_length", bool),
    "split_batches": _into_dict("accelerator_config", "split_batches", bool),
    "dispatch_batches": _into_dict("accelerator_config", "dispatch_batches", bool),
    "fsdp_min_num_params": _into_dict("fsdp_config", "min_num_params", int),
    "fsdp_transformer_layer_cls_to_wrap": _into_dict(
        "fsdp_config", "transformer_layer_cls_to_wrap", str
    ),
    "sharded_ddp": OldSpelling(
        str, _from_sharded_ddp, lambda args: " ".join(map(str, cast("list[str]", args.fsdp)))
    ),
    "xpu_backend": _renamed("ddp_backend", str),
    "mp_parameters": _without_meaning(
        str,
        "it was read by SageMaker's library for models in parts, which is no more. Name a strategy that "
        "shards the model: strategy='fsdp', say.",
    ),
    "push_to_hub_model_id": _renamed("hub_model_id", str),
    "push_to_hub_organization": OldSpelling(
        str, _from_organization, lambda args: (args.hub_model_id or "").rpartition("/")[0] or None
    ),
    "push_to_hub_token": _renamed("hub_token", str),
}
"""Old name to what it means today."""


def translate(
    given: dict[str, Any], positional: Mapping[str, Any], fields: Collection[str]
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Replace old spellings among keyword arguments.

    Args:
        given: The keyword arguments.
        positional: Those that were given without a name, by name.
        fields: What is no old spelling, whatever it is called: a subclass may have fields of its own.

    Returns:
        The keywords of today; a message for each old spelling that was set; and one for each that
        contradicts the argument that it is called today.
    """
    old_spellings = {name: old for name, old in OLD_SPELLINGS.items() if name not in fields}
    current = {name: value for name, value in given.items() if name not in old_spellings}
    warnings, problems = [], []
    for old, spelling in old_spellings.items():
        value = given.get(old)
        if value is None:
            continue
        new = spelling.translate(value, {**positional, **given, **current})
        warnings.append(_explain(old, value, spelling, new))
        for name, translated in new.items():
            if given.get(name) is not None and not _agree(given[name], translated):
                problems.append(
                    f"`{old}`: {_show(old, value)} contradicts `{name}`={_show(name, given[name])}, which is "
                    f"the name today. Leave out {old}."
                )
            current[name] = translated
    return current, warnings, problems


def _agree(given: Any, translated: Any) -> bool:
    """Whether an argument says what its old spelling does; a dict and a list may say more.

    A repository without an owner agrees with one that has one.
    """
    if isinstance(translated, str) and isinstance(given, str):
        return translated == given or translated.endswith(f"/{given}")
    if isinstance(translated, dict):
        old = given.to_dict() if hasattr(given, "to_dict") else given
        return isinstance(old, dict) and all(
            translated[k] == v for k, v in old.items() if k in translated
        )
    if isinstance(translated, list):
        return set(given) <= set(translated) if isinstance(given, (list, tuple)) else given == translated
    return bool(given == translated)


def _explain(old: str, value: Any, spelling: OldSpelling, new: Mapping[str, Any]) -> str:
    if spelling.note:
        return f"`{old}`: {_show(old, value)} has no effect: {spelling.note}"
    if not new:
        return f"`{old}`: {_show(old, value)} sets nothing. Leave it out."
    today = ", ".join(f"{name}={_show(name, translated)}" for name, translated in new.items())
    return f"`{old}`: the name today is {' and '.join(f'`{name}`' for name in new)}. Type {today}."


def _show(name: str, value: Any) -> str:
    return "..." if name.endswith("token") else repr(value)
