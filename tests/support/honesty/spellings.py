"""Rows of the old spellings: for each a value, what it means today, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from drivetrain import AcceleratorConfig


@dataclass(frozen=True)
class OldRow:
    """An old spelling.

    Attributes:
        name: The spelling.
        value: A value.
        today: The arguments that mean the same today; none if it means nothing any more.
        beside: Arguments that it is given together with, where it only makes sense so.
        read: What the spelling gives when it is read as an attribute.
        refused: What is said if a value cannot work here, spelt as it is today.
    """

    name: str
    value: Any
    today: dict[str, Any]
    beside: dict[str, Any] = field(default_factory=dict)
    read: Any = None
    refused: str = ""


def same(name: str, value: Any, today: str, **beside: Any) -> OldRow:
    """A row: another name for the same thing."""
    return OldRow(name, value, {today: value}, beside, value)


OLD_ROWS = [
    same("evaluation_strategy", "epoch", "eval_strategy"),
    same("per_gpu_train_batch_size", 2, "per_device_train_batch_size"),
    same("per_gpu_eval_batch_size", 3, "per_device_eval_batch_size"),
    same("lr", 0.5, "learning_rate"),
    OldRow("fp16_backend", "amp", {"half_precision_backend": "auto"}, {"bf16": True}, "auto"),
    same("no_cuda", True, "use_cpu"),
    OldRow("use_mps_device", True, {}),
    same("torchdynamo", "eager", "torch_compile_backend"),
    OldRow(
        "include_inputs_for_metrics",
        True,
        {"include_for_metrics": ["loss", "inputs"]},
        {"include_for_metrics": ["loss"]},
        True,
    ),
    same("dataloader_seed", 7, "data_seed"),
    same("sortish_sampler", True, "group_by_length"),
    OldRow(
        "split_batches",
        True,
        {"accelerator_config": {"split_batches": True, "even_batches": False}},
        {"accelerator_config": {"even_batches": False}},
        True,
    ),
    OldRow(
        "dispatch_batches",
        True,
        {"accelerator_config": AcceleratorConfig(dispatch_batches=True)},
        {},
        True,
    ),
    OldRow("fsdp_min_num_params", 2000, {"fsdp_config": {"min_num_params": 2000}}, {}, 2000),
    OldRow(
        "fsdp_transformer_layer_cls_to_wrap",
        "Block",
        {"fsdp_config": {"transformer_layer_cls_to_wrap": "Block"}},
        {},
        "Block",
    ),
    OldRow("sharded_ddp", "zero_dp_3 offload", {"fsdp": "full_shard offload"}, refused="`fsdp`: 'fsdp'"),
    same("xpu_backend", "gloo", "ddp_backend"),
    OldRow("mp_parameters", "pipeline", {}),
    same("push_to_hub_model_id", "net", "hub_model_id"),
    OldRow("push_to_hub_organization", "team", {"hub_model_id": "team/out"}, {}, "team"),
    same("push_to_hub_token", "hf_secret", "hub_token"),
]
