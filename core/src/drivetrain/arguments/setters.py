"""The `set_...` methods: several arguments of a theme at once, by their short names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from drivetrain.arguments.choices import HubStrategy, IntervalStrategy, SaveStrategy
    from drivetrain.arguments.names import OptimizerNames, SchedulerType

SetterT = TypeVar("SetterT", bound="Setters")


class Setters:
    """Methods that set arguments of a theme, those that are left out to their defaults.

    Each returns the arguments, so that calls can be chained, and checks them as when they are made:

    Raises:
        UsageError: They cannot work; they are as they were then.
    """

    def update(self: SetterT, **values: Any) -> SetterT:
        """Set arguments by name, and check them all."""
        raise NotImplementedError

    def set_training(
        self: SetterT,
        learning_rate: float = 5e-5,
        batch_size: int = 8,
        weight_decay: float = 0.0,
        num_epochs: float = 3.0,
        max_steps: int = -1,
        gradient_accumulation_steps: int = 1,
        seed: int = 42,
        gradient_checkpointing: bool = False,
        *,
        num_train_epochs: float | None = None,
    ) -> SetterT:
        """Set the basic arguments of training; ``num_train_epochs`` is another name of ``num_epochs``.

        Example:
            >>> TrainingArguments("out").set_training(learning_rate=1e-4, batch_size=32).learning_rate
            0.0001
        """
        return self.update(
            learning_rate=learning_rate,
            per_device_train_batch_size=batch_size,
            weight_decay=weight_decay,
            num_train_epochs=num_epochs if num_train_epochs is None else num_train_epochs,
            max_steps=max_steps,
            gradient_accumulation_steps=gradient_accumulation_steps,
            seed=seed,
            gradient_checkpointing=gradient_checkpointing,
        )

    def set_evaluate(
        self: SetterT,
        strategy: str | IntervalStrategy = "no",
        steps: int = 500,
        batch_size: int = 8,
        accumulation_steps: int | None = None,
        delay: float | None = None,
        loss_only: bool = False,
        jit_mode: bool = False,
    ) -> SetterT:
        """Set the arguments of evaluation; any strategy but 'no' sets ``do_eval``."""
        is_left_out = steps == 500 and strategy != "steps"
        return self.update(
            eval_strategy=strategy,
            eval_steps=None if is_left_out else steps,
            per_device_eval_batch_size=batch_size,
            eval_accumulation_steps=accumulation_steps,
            eval_delay=0 if delay is None else delay,
            prediction_loss_only=loss_only,
            jit_mode_eval=jit_mode,
        )

    def set_testing(
        self: SetterT, batch_size: int = 8, loss_only: bool = False, jit_mode: bool = False
    ) -> SetterT:
        """Set the arguments of prediction, and ``do_predict``."""
        return self.update(
            do_predict=True,
            per_device_eval_batch_size=batch_size,
            prediction_loss_only=loss_only,
            jit_mode_eval=jit_mode,
        )

    def set_save(
        self: SetterT,
        strategy: str | SaveStrategy = "steps",
        steps: int = 500,
        total_limit: int | None = None,
        on_each_node: bool = False,
    ) -> SetterT:
        """Set the arguments of checkpoints."""
        return self.update(
            save_strategy=strategy,
            save_steps=steps,
            save_total_limit=total_limit,
            save_on_each_node=on_each_node,
        )

    def set_logging(
        self: SetterT,
        strategy: str | IntervalStrategy = "steps",
        steps: int = 500,
        report_to: str | list[str] = "all",
        level: str = "passive",
        first_step: bool = False,
        nan_inf_filter: bool = True,
        on_each_node: bool = True,
        replica_level: str = "passive",
    ) -> SetterT:
        """Set the arguments of logging."""
        return self.update(
            logging_strategy=strategy,
            logging_steps=steps,
            report_to=report_to,
            log_level=level,
            logging_first_step=first_step,
            logging_nan_inf_filter=nan_inf_filter,
            log_on_each_node=on_each_node,
            log_level_replica=replica_level,
        )

    def set_push_to_hub(
        self: SetterT,
        model_id: str,
        strategy: str | HubStrategy = "every_save",
        token: str | None = None,
        private_repo: bool | None = None,
        always_push: bool = False,
        revision: str | None = None,
    ) -> SetterT:
        """Set ``push_to_hub`` and the arguments of the hub."""
        return self.update(
            push_to_hub=True,
            hub_model_id=model_id,
            hub_strategy=strategy,
            hub_token=token,
            hub_private_repo=private_repo,
            hub_always_push=always_push,
            hub_revision=revision,
        )

    def set_optimizer(
        self: SetterT,
        name: str | OptimizerNames = "adamw_torch",
        learning_rate: float = 5e-5,
        weight_decay: float = 0.0,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        args: str | dict[str, Any] | None = None,
    ) -> SetterT:
        """Set the arguments of the optimizer."""
        return self.update(
            optim=name,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            adam_beta1=beta1,
            adam_beta2=beta2,
            adam_epsilon=epsilon,
            optim_args=args,
        )

    def set_lr_scheduler(
        self: SetterT,
        name: str | SchedulerType = "linear",
        num_epochs: float = 3.0,
        max_steps: int = -1,
        warmup_ratio: float = 0.0,
        warmup_steps: int = 0,
    ) -> SetterT:
        """Set the arguments of the schedule, and how long it is."""
        return self.update(
            lr_scheduler_type=name,
            num_train_epochs=num_epochs,
            max_steps=max_steps,
            warmup_ratio=warmup_ratio,
            warmup_steps=warmup_steps,
        )

    def set_dataloader(
        self: SetterT,
        train_batch_size: int = 8,
        eval_batch_size: int = 8,
        drop_last: bool = False,
        num_workers: int = 0,
        pin_memory: bool = True,
        persistent_workers: bool = False,
        prefetch_factor: int | None = None,
        auto_find_batch_size: bool = False,
        ignore_data_skip: bool = False,
        sampler_seed: int | None = None,
    ) -> SetterT:
        """Set the arguments of the loaders."""
        return self.update(
            per_device_train_batch_size=train_batch_size,
            per_device_eval_batch_size=eval_batch_size,
            dataloader_drop_last=drop_last,
            dataloader_num_workers=num_workers,
            dataloader_pin_memory=pin_memory,
            dataloader_persistent_workers=persistent_workers,
            dataloader_prefetch_factor=prefetch_factor,
            auto_find_batch_size=auto_find_batch_size,
            ignore_data_skip=ignore_data_skip,
            data_seed=sampler_seed,
        )
