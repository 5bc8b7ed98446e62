"""What it means for a run that is resumed if an argument is not what it was.

Every argument is in one of these tables; `drivetrain.checkpoint.changes` tells what changed by them.
"""

from __future__ import annotations

from collections.abc import Mapping

SILENT: Mapping[str, tuple[str, ...]] = {
    "where a run writes, and what scripts read of it": (
        *("output_dir", "overwrite_output_dir", "do_train", "do_eval", "do_predict"),
        *("resume_from_checkpoint", "ray_scope"),
    ),
    "it says how to resume, and not what was trained": (
        *("ignore_data_skip", "restore_callback_states_from_checkpoint", "low_cpu_mem_usage"),
        "allow_partial_resume",
    ),
    "the checkpoints, and not what is in them": (
        *("save_strategy", "save_steps", "save_total_limit", "save_only_model", "save_safetensors"),
        *("save_on_each_node", "load_best_model_at_end", "async_save", "save_on_error"),
        "preemption_signals",
    ),
    "logs and measurements": (
        *("log_level", "log_level_replica", "log_on_each_node", "logging_strategy", "logging_steps"),
        *("logging_first_step", "logging_nan_inf_filter", "logging_dir", "report_to", "run_name"),
        *("project", "reporter_args", "reporter_errors", "reporter_timeout"),
        *("disable_tqdm", "include_num_input_tokens_seen", "include_tokens_per_second"),
        *("skip_memory_metrics", "debug", "profile"),
    ),
    "how an evaluation computes; the random numbers of training go on as after any other": (
        *("per_device_eval_batch_size", "prediction_loss_only", "eval_accumulation_steps"),
        *("eval_do_concat_batches", "eval_use_gather_object", "batch_eval_metrics"),
        *("include_for_metrics", "jit_mode_eval", "bf16_full_eval", "fp16_full_eval"),
        *("predict_with_generate", "generation_max_length", "generation_num_beams"),
        "generation_config",
    ),
    "the evaluation before training; random numbers are restored after it": ("eval_on_start",),
    "when training stops, by what is measured from now on": ("early_stopping_patience",),
    "what is pushed to a hub": (
        *("push_to_hub", "hub_model_id", "hub_strategy", "hub_token", "hub_private_repo"),
        *("hub_always_push", "hub_revision"),
    ),
    "memory and time, at the same numbers": (
        *("gradient_checkpointing", "gradient_checkpointing_kwargs", "torch_empty_cache_steps"),
        *("dataloader_pin_memory", "dataloader_prefetch_factor", "local_rank", "ddp_timeout"),
        *("ddp_find_unused_parameters", "ddp_gradient_as_bucket_view"),
        *("accelerator_config.non_blocking", "accelerator_config.use_configured_state"),
    ),
    "nothing reads it": ("optim_target_precision", "use_ipex", "tpu_num_cores"),
    "the samples a micro-batch that it finds are compared": ("auto_find_batch_size",),
    "it is `gradient_accumulation_steps`": ("accelerator_config.gradient_accumulation_kwargs",),
}
"""Arguments of whose changes nothing is said, by the reason."""

HELD_BY_OPTIMIZER = (
    "learning_rate",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "optim_args",
)
"""Arguments that are in the optimizer's parameter groups, which are loaded: a new value has no effect."""

ORDERING = (
    "group_by_length",
    "accelerator_config.split_batches",
    "accelerator_config.dispatch_batches",
    "accelerator_config.even_batches",
)
"""Arguments on which the order of the samples depends, whatever the others are."""

COMPUTED: Mapping[str, str] = {
    "max_grad_norm": "what gradients are clipped to",
    "label_smoothing_factor": "the loss",
    "neftune_noise_alpha": "the noise on embeddings",
    "past_index": "what is handed from batch to batch",
    "average_tokens_across_devices": "what losses are divided by",
    "ddp_broadcast_buffers": "whose buffers, such as running means, count",
    "fp16_opt_level": "what is computed in 16 bits",
    "dataloader_drop_last": "whether a smaller batch at the end of an epoch is trained on",
    "remove_unused_columns": "what the model is given",
    "label_names": "what are labels",
    "plugins": "what takes part in the run",
}
"""Arguments that change what is computed, with what of it."""

ROUNDED: Mapping[str, str] = {
    "torch_compile": "other kernels",
    "torch_compile_backend": "other kernels",
    "torch_compile_mode": "other kernels",
    "use_liger_kernel": "other kernels",
    "liger_kernel_config": "other kernels",
    "full_determinism": "other kernels",
    "tf32": "fewer or more bits in products",
    "use_cpu": "another device",
    "ddp_backend": "sums in another order",
    "ddp_bucket_cap_mb": "sums in another order",
    "fsdp": "sums in another order",
    "fsdp_config": "sums in another order",
    "deepspeed": "sums in another order",
    "dataloader_persistent_workers": "random numbers drawn for each pass or once",
    "eval_strategy": "each evaluation draws a random number",
    "eval_steps": "each evaluation draws a random number",
    "eval_delay": "each evaluation draws a random number",
}
"""Arguments that mean the same to the run, and after which its weights are not equal to the last bit."""

AMONG_PROCESSES = frozenset(
    ["average_tokens_across_devices", "ddp_broadcast_buffers", "ddp_backend", "ddp_bucket_cap_mb"]
)
"""Those of them that mean something to several processes only."""

COMPARED_TOGETHER: Mapping[str, str] = {
    "optim": "with the class of the optimizer",
    "adam_bias_correction": "it is a class of its own",
    "optim_target_modules": "the places of the optimizer's states depend on it",
    "lr_scheduler_type": "with the class of the schedule",
    "lr_scheduler_kwargs": "some schedules have it in their state",
    "warmup_steps": "it overrides `warmup_ratio`",
    "warmup_ratio": "`warmup_steps` overrides it",
    "max_steps": "it overrides `num_train_epochs`",
    "num_train_epochs": "`max_steps` overrides it",
    "seed": "the seed of the order, unless `data_seed` is",
    "data_seed": "the seed of the order, if it is set",
    "length_column_name": "read if `group_by_length` is True",
    "accelerator_config.use_seedable_sampler": "read unless `group_by_length` is True",
    "dataloader_num_workers": "0 or not is what matters, but for streams",
    "per_device_train_batch_size": "a factor of the samples an update",
    "gradient_accumulation_steps": "a factor of the samples an update",
    "precision": "the name of what computes",
    "bf16": "it asks for a precision",
    "fp16": "it asks for a precision",
    "half_precision_backend": "it asks for a precision",
    "strategy": "with the number of processes",
    "metric_for_best_model": "with or without 'eval_'",
    "greater_is_better": "with the metric",
}
"""Arguments that are compared together with others, with the reason."""
