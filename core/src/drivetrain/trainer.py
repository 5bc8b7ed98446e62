"""`Trainer`: the constructor, and the methods that users call or override. The loops are in `loop/`."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Sampler
from torch.utils.hooks import RemovableHandle

from drivetrain import optimization
from drivetrain.accelerator import make_accelerator
from drivetrain.arguments import IntervalStrategy, TrainingArguments
from drivetrain.callbacks import CallbackHandler, TrainerCallback
from drivetrain.callbacks.defaults import Callback, callbacks_of
from drivetrain.callbacks.reporting import ReporterCallback
from drivetrain.checkpoint.layout import step_of
from drivetrain.checkpoint.random_state import seed_by
from drivetrain.checkpoint.saving import CheckpointSaver
from drivetrain.data import loaders
from drivetrain.data.collators import DataCollatorWithPadding, default_data_collator
from drivetrain.data.columns import (
    ColumnFilter,
    find_label_names,
    forward_parameters,
    has_keyword_parameters,
)
from drivetrain.data.devices import to_device, to_float32
from drivetrain.features import features_of
from drivetrain.hooks import Hooks, implements_hooks
from drivetrain.later import Later
from drivetrain.loop.batch_size import note_stage, run_with_fitting_batch_size
from drivetrain.loop.engine import find_metric
from drivetrain.loop.evaluation import EvaluationLoop, check_metrics_function, predict_batch
from drivetrain.loop.evaluation_weights import EvaluationWeights
from drivetrain.loop.operations import OperationsCounter
from drivetrain.loop.plan import InitialValues, initial_values
from drivetrain.loop.preparation import (
    choose_checkpoint,
    end_updates_in_backward,
    prepare_training,
    take_up_batch_size,
)
from drivetrain.loop.training import TrainingLoop
from drivetrain.loop.windows import collect_batches
from drivetrain.losses import (
    LabelSmoother,
    LossShare,
    add_decoder_inputs,
    count_labels,
    loss_in,
    loss_shares,
    predicts_next_token,
)
from drivetrain.metrics import (
    EvalLoopOutput,
    EvalPrediction,
    PredictionOutput,
    TrainOutput,
    metric_key,
    speed_metrics,
)
from drivetrain.overrides import warn_of_unheard
from drivetrain.parallel_wrappers import computes_in_parts, unwrap
from drivetrain.parts import load_hub, load_optimizer, load_plugin, load_precision, load_scheduler
from drivetrain.plugin import (
    BestRun,
    HubPlugin,
    OptimizerPlugin,
    PrecisionPlugin,
    SchedulerPlugin,
    StrategyPlugin,
)
from drivetrain.plugin.step import refuse_misfits_of_step
from drivetrain.signatures import accepted, accepts, is_overridden
from drivetrain.state import ExportableState, TrainerControl, TrainerState, is_exportable
from drivetrain.trials import apply_trial, takes_trial
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain import results
    from drivetrain.checkpoint import contents, resuming
    from drivetrain.features.measurements import Measurements
else:
    results = Later("drivetrain.results")
    contents = Later("drivetrain.checkpoint.contents")
    resuming = Later("drivetrain.checkpoint.resuming")

logger = logging.getLogger(__name__)

_output_hooks: WeakKeyDictionary[nn.Module, RemovableHandle] = WeakKeyDictionary()

Inputs = dict[str, Any]

_COUNT_OF_NON_FINITE = "eval_non_finite_losses"
"""Metric of an evaluation some of whose losses are not in its mean: such a mean is no best one."""


class Trainer:
    """Trains, evaluates and predicts with a PyTorch model.

    Args:
        model: The model. Its forward takes the batch's keys as keywords and returns the loss as
            ``"loss"`` in a dict, first in a tuple, or alone.
        args: The arguments; by default those with ``output_dir="tmp_trainer"``.
        data_collator: From a list of samples to a batch. By default: padding if ``processing_class``
            can pad, else `default_data_collator`.
        train_dataset: Samples to train on, map-style or iterable.
        eval_dataset: Samples to evaluate on, or a dict of such by name.
        processing_class: A tokenizer or similar, saved beside the model.
        model_init: Makes the model, instead of ``model``; called again at each `train`.
        compute_loss_func: Takes outputs, labels and ``num_items_in_batch`` and returns the loss.
        compute_metrics: Takes an `EvalPrediction` and returns metrics by name.
        callbacks: Added to those that come with the trainer, in this order.
        optimizers: An optimizer and a schedule to use instead of those that the arguments name.
        optimizer_cls_and_kwargs: A class and keyword arguments to make the optimizer of.
        preprocess_logits_for_metrics: Takes a batch's outputs and labels and returns what to keep.
        tokenizer: The earlier name of ``processing_class``.

    Raises:
        UsageError: What was given does not fit together; the message says what to change.
    """

    model_accepts_loss_kwargs: bool
    _found_loss_kwargs: bool | None = None
    _operations: OperationsCounter | None = None

    def __init__(
        self,
        model: nn.Module | None = None,
        args: TrainingArguments | None = None,
        data_collator: Callable[[list[Any]], Any] | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Callable[..., nn.Module] | None = None,
        compute_loss_func: Callable[..., torch.Tensor] | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, Any]] | None = None,
        callbacks: Sequence[Callback] | None = None,
        optimizers: tuple[Optimizer | None, Any] = (None, None),
        optimizer_cls_and_kwargs: tuple[type[Optimizer], dict[str, Any]] | None = None,
        preprocess_logits_for_metrics: Callable[[Any, Any], Any] | None = None,
        tokenizer: Any = None,
    ) -> None:
        warn_of_unheard(type(self), Trainer)
        self.args = TrainingArguments(output_dir="tmp_trainer") if args is None else args
        if not isinstance(self.args, TrainingArguments):
            raise UsageError(
                f"`args`: {type(self.args).__module__}.{type(self.args).__name__} are not the "
                "arguments of this "
                "trainer. Type: from drivetrain import TrainingArguments"
            )
        set_log_level(self.args.log_level, self.args.get_process_log_level())
        self._features = [feature.load(self.args) for feature in features_of(self.args)]
        seed_by(self.args)
        self.strategy: StrategyPlugin = self.args.strategy_plugin
        self.model_init = model_init
        self.precision: PrecisionPlugin = load_precision(self.args)
        self.use_model(_choose_model(model, model_init, self.call_model_init))
        self.processing_class = processing_class if processing_class is not None else tokenizer
        self.data_collator = data_collator or _default_collator(self.processing_class)
        self.train_dataset = train_dataset
        self.eval_dataset = eval_dataset
        self.compute_loss_func = compute_loss_func
        self.compute_metrics = compute_metrics
        check_metrics_function(self.args, compute_metrics)
        self.preprocess_logits_for_metrics = preprocess_logits_for_metrics
        self.optimizer: Optimizer
        self.lr_scheduler: Any
        self.optimizer, self.lr_scheduler = optimizers  # type: ignore[assignment]
        self.optimizer_cls_and_kwargs = optimizer_cls_and_kwargs
        self.was_given_optimizer = optimizers[0] is not None
        self.was_given_schedule = optimizers[1] is not None
        self._check_fits()

        self.state = TrainerState(
            is_local_process_zero=self.is_local_process_zero(),
            is_world_process_zero=self.is_world_process_zero(),
        )
        self.control = TrainerControl()
        self._altered_model: nn.Module | None = None
        self.is_in_train = False
        self.current_flos = 0.0
        self.current_gradient_accumulation_steps = self.args.gradient_accumulation_steps
        self.current_loss_share: LossShare | None = None
        self._train_batch_size = self.args.train_batch_size
        self._is_optimizer_altered = False
        self._optimizer_of_plugin: Optimizer | None = None  # what its plugin made, or what that became
        self.overwritten_checkpoints: list[Path] = []
        self.has_trained = False
        self.saver = CheckpointSaver(self)
        self.evaluation_weights: EvaluationWeights = EvaluationWeights(self)
        self.training_loop: TrainingLoop | None = None  # the one that runs
        self._warned_of: set[str] = set()
        self.num_evaluations = 0  # that are under way: one may be called from another
        self._smoothing = 0.0
        self.label_smoother: LabelSmoother | None = None
        self._note_smoothing()
        self.callback_handler = self._make_callback_handler(callbacks or [])
        self.optimizer_plugin: OptimizerPlugin = load_optimizer(self.args)
        self.scheduler_plugin: SchedulerPlugin = load_scheduler(self.args)
        self._plugins = [load_plugin(self.args, name) for name in self.args.plugins]
        self.hooks = Hooks(self)
        self._listen()
        if self.args.should_save:
            make_output_dir(self.args.output_dir)
        self.emit("on_init_end")

    # -- training ---------------------------------------------------------------------------------

    def train(
        self,
        resume_from_checkpoint: str | bool | Path | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
        *,
        model_path: str | None = None,
    ) -> TrainOutput:
        """Train the model. The loop is `drivetrain.loop.training`.

        Args:
            resume_from_checkpoint: A checkpoint to go on from, or True for the newest whole one in
                ``output_dir``.
            trial: A dict of arguments, or a trial of a search with such a dict as ``params``: they apply to
                this run only. Handed to a ``model_init`` that asks for it.
            ignore_keys_for_eval: Outputs of the model that evaluations leave out.
            model_path: The earlier name of ``resume_from_checkpoint``.

        Returns:
            Updates done, mean loss and metrics.

        Raises:
            UsageError: There is no data, or the checkpoint cannot be resumed from.
        """
        with apply_trial(self, trial):
            resume_from = model_path if resume_from_checkpoint is None else resume_from_checkpoint
            return self._train(resume_from, trial, ignore_keys_for_eval)

    def _train(
        self, resume_from: str | bool | Path | None, trial: Any, ignore_keys_for_eval: list[str] | None
    ) -> TrainOutput:
        error: BaseException | None = None
        self.is_in_train = True
        self._train_batch_size = self.args.train_batch_size
        self._note_smoothing()
        try:
            checkpoint = choose_checkpoint(resume_from, self.args)
            take_up_batch_size(self, checkpoint)

            def run() -> TrainOutput:
                self.hooks.call("on_stage_begin", stage="train")
                return prepare_training(self, checkpoint, trial, ignore_keys_for_eval).run()

            return run_with_fitting_batch_size(self, run) if self.args.auto_find_batch_size else run()
        except BaseException as caught:
            error = caught
            raise
        finally:
            self.is_in_train = False
            self.current_loss_share = None
            self.current_gradient_accumulation_steps = self.args.gradient_accumulation_steps
            try:
                self.saver.close()
                loaders.close(self.callback_handler.train_dataloader)
                self._leave_weights_to_use(error)
            finally:
                self.training_loop = None
                end_updates_in_backward(self)
                self._end_run(error)

    def training_step(
        self, model: nn.Module, inputs: Inputs, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Forward and backward of a micro-batch.

        Args:
            model: The model, as it is wrapped for training.
            inputs: The micro-batch.
            num_items_in_batch: Labels that count in all micro-batches of the update, a scalar; None
                if the model does not take it.

        Returns:
            The loss without gradients, a scalar: its share of the update's loss.
        """
        if not model.training:
            model.train()
        hooks, inputs = self.hooks, self._prepare_inputs(inputs)
        if "alter_batch" in hooks.heard:
            inputs = hooks.alter("alter_batch", "batch", batch=inputs)
        takes_count = accepts(self.compute_loss, "num_items_in_batch")
        kwargs: dict[str, Any] = {"num_items_in_batch": num_items_in_batch} if takes_count else {}
        loss: torch.Tensor
        with self.compute_loss_context_manager():
            if "alter_loss" in hooks.heard:
                loss, outputs = self.compute_loss(model, inputs, return_outputs=True, **kwargs)
                loss = hooks.alter("alter_loss", "loss", loss=loss, outputs=outputs)
            else:
                loss = self.compute_loss(model, inputs, **kwargs)
        computed = loss
        if not takes_count or not self._loss_is_normalized(num_items_in_batch):
            share, num_batches = self.current_loss_share, self.current_gradient_accumulation_steps
            if share is not None and share.is_nothing:
                # The mean over no labels is no number, and would spoil the gradients.
                return torch.zeros_like(loss.detach())
            if share is not None:
                loss = share.of(loss)
            elif num_batches > 1:  # autograd would go through a division by one, too
                loss = loss / num_batches
        with self.precision.scaled(loss) as scaled:
            self.compute_gradients(scaled)
        # A copy of what the model returned: it may compute its next loss into the same memory (CUDA graphs).
        return loss.detach().clone() if loss is computed else loss.detach()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch: the model's own, or that of ``compute_loss_func``.

        Args:
            model: The model.
            inputs: The batch, on its device.
            return_outputs: Return the model's outputs, too.
            num_items_in_batch: What a sum of losses is divided by, a scalar; see `training_step`.

        Returns:
            The loss, a scalar tensor with gradients; with ``return_outputs`` the loss and the outputs.
        """
        takes_labels = self.compute_loss_func is not None or self.label_smoother is not None
        labels = self._take_labels(inputs) if takes_labels else None
        if labels is not None:
            inputs = add_decoder_inputs(inputs, labels, self.model)
        if self.model_accepts_loss_kwargs and num_items_in_batch is not None:
            inputs = {**inputs, "num_items_in_batch": num_items_in_batch}
        outputs = model(**inputs)
        if self.compute_loss_func is not None:
            loss = self.compute_loss_func(outputs, labels, num_items_in_batch=num_items_in_batch)
        elif self.label_smoother is not None and labels is not None:
            divisor = num_items_in_batch if self.model_accepts_loss_kwargs else None
            loss = self.label_smoother(outputs, labels, predicts_next_token(self.model), divisor)
        else:
            loss = loss_in(outputs, model, inputs)
        return (loss, outputs) if return_outputs else loss

    def _take_labels(self, inputs: Inputs) -> Any:
        """Take the labels out of a batch: what is called so, or the one key that is labels."""
        is_single = "labels" not in inputs and len(self.label_names) == 1
        return inputs.pop(self.label_names[0] if is_single else "labels", None)

    def compute_loss_context_manager(self) -> AbstractContextManager[Any]:
        """The context in which losses are computed: that of the precision."""
        return self.autocast_smart_context_manager()

    def autocast_smart_context_manager(self, cache_enabled: bool = True) -> AbstractContextManager[Any]:
        """The autocast context of the precision on this process's device."""
        return self.precision.autocast(self.args.device, cache_enabled)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | None]:
        """The next micro-batches of an epoch, and how many labels count in them; see `training_step`."""
        batches = collect_batches(epoch_iterator, num_batches)
        num_items = self.count_items(batches)
        return batches, num_items if num_items is None else num_items.to(device)

    def _prepare_inputs(self, inputs: Inputs) -> Inputs:
        """A batch on this process's device.

        Raises:
            UsageError: The batch is empty.
        """
        if not isinstance(inputs, dict) and not hasattr(inputs, "keys"):
            raise TypeError(
                f"`data_collator`: it made a {type(inputs).__name__}, and a batch is a dict of tensors whose "
                "keys are parameters of the model's forward. Return such a dict."
            )
        if len(inputs) == 0:
            raise UsageError(
                "`train_dataset` or `eval_dataset`: a batch is empty: no key of its samples is one of "
                f"{type(unwrap(self.model)).__name__}.forward ({', '.join(forward_parameters(self.model))}). "
                "Rename the keys, or pass `remove_unused_columns=False`."
            )
        prepared: Inputs = to_device(inputs, self.args.device, non_blocking=self._copies_ahead)
        return prepared

    def loss_shares(self, batches: Sequence[Any]) -> list[LossShare] | None:
        """Each micro-batch's share in the loss of an update, where the trainer divides losses itself.

        A micro-batch counts by its labels that count (are not -100), or by its samples if it has none, so
        that 8 samples at once and 8 micro-batches of one give the same gradients for a model whose loss
        is a mean. Override it to return None where every micro-batch is to count the same.
        """
        return loss_shares(batches, self.model, self.label_names) if len(batches) > 1 else None

    def count_items(self, batches: Sequence[Any]) -> torch.Tensor | None:
        """Labels that count (are not -100) in micro-batches; None where no one asks for the number."""
        is_asked_for = self.model_accepts_loss_kwargs or self.compute_loss_func is not None
        return count_labels(batches, self.model) if is_asked_for else None

    # -- evaluation and prediction ----------------------------------------------------------------

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Evaluate the model and log the metrics.

        Args:
            eval_dataset: Samples instead of the trainer's, or a dict of such, or a name in the
                trainer's dict. Each of a dict is evaluated, its name put into the metrics' names.
            ignore_keys: Outputs of the model to leave out.
            metric_key_prefix: What the metrics' names begin with.

        Returns:
            The metrics: the loss, what ``compute_metrics`` returned, and the speed.
        """
        chosen = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(chosen, dict):
            metrics: dict[str, float] = {}
            for name, dataset in chosen.items():
                prefix = f"{metric_key_prefix}_{name}"
                evaluate = self.evaluate
                if not accepts(evaluate, "metric_key_prefix"):  # an earlier signature loses the names
                    evaluate = functools.partial(Trainer.evaluate, self)
                keys = accepted(evaluate, ignore_keys=ignore_keys)
                metrics.update(evaluate(dataset, metric_key_prefix=prefix, **keys))
            return metrics
        output = self._run_stage(
            "eval",
            lambda: self.get_eval_dataloader(eval_dataset),
            description="Evaluation",
            prediction_loss_only=True if self.compute_metrics is None else None,
            ignore_keys=ignore_keys,
            metric_key_prefix=metric_key_prefix,
        )
        self.call_log(output.metrics)
        self.emit("on_evaluate", metrics=output.metrics)
        return output.metrics

    def predict(
        self, test_dataset: Any, ignore_keys: list[str] | None = None, metric_key_prefix: str = "test"
    ) -> PredictionOutput:
        """Compute the model's outputs for samples, and metrics if they have labels.

        Args:
            test_dataset: The samples.
            ignore_keys: Outputs of the model to leave out.
            metric_key_prefix: What the metrics' names begin with.
        """
        output = self._run_stage(
            "test",
            lambda: self.get_test_dataloader(test_dataset),
            description="Prediction",
            ignore_keys=ignore_keys,
            metric_key_prefix=metric_key_prefix,
        )
        self.emit("on_predict", metrics=output.metrics)
        return PredictionOutput(output.predictions, output.label_ids, output.metrics)

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Compute every batch of a loader without gradients. The loop is `drivetrain.loop.evaluation`."""
        if prediction_loss_only is None:
            prediction_loss_only = self.args.prediction_loss_only
        if not self.is_in_train:
            self.alter_model_once()
        return EvaluationLoop(
            self, dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
        ).run()

    def prediction_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """The earlier name of `evaluation_loop`; a subclass that overrides this one alone is heard, too."""
        return self.evaluation_loop(
            dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
        )

    def prediction_step(
        self,
        model: nn.Module,
        inputs: Inputs,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Any, Any, Any]:
        """Compute a batch without gradients.

        Args:
            model: The model.
            inputs: The batch.
            prediction_loss_only: Return the loss only.
            ignore_keys: Outputs of the model to leave out; by default those that its configuration names.

        Returns:
            The loss (a scalar), the outputs and the labels, each None if there is none.
        """
        return predict_batch(self, model, inputs, prediction_loss_only, ignore_keys)

    # -- data -------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The loader of the training data: a new random order in each epoch."""
        if self.train_dataset is None:
            raise UsageError(
                "`train_dataset`: it is missing, and training needs one. Pass it to Trainer."
            )
        return loaders.make_loader(
            self.train_dataset,
            self.args,
            self.data_collator,
            self._column_filter,
            description="training",
            batch_size=self._train_batch_size,
            sampler=self._get_train_sampler(
                **accepted(self._get_train_sampler, train_dataset=self.train_dataset)
            ),
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """The loader of evaluation data: given, named among the trainer's, or the trainer's."""
        if isinstance(eval_dataset, str):
            dataset = self.eval_dataset[eval_dataset]
        else:
            dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if dataset is None:
            raise UsageError(
                "`eval_dataset`: it is missing, and evaluation needs one. Pass it to Trainer or `evaluate`."
            )
        return self._make_eval_loader(dataset, "evaluation")

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader[Any]:
        """The loader of data to predict for."""
        return self._make_eval_loader(test_dataset, "test")

    def num_examples(self, dataloader: Any) -> int:
        """Samples in a loader's data set, or an estimate from its batches where that has no length."""
        counted = loaders.num_samples_of(dataloader)
        return len(dataloader) * self._train_batch_size if counted is None else counted

    @staticmethod
    def num_tokens(train_dl: Any, max_steps: int | None = None) -> int:
        """Input tokens in a loader's batches, which are all read.

        Args:
            train_dl: The loader.
            max_steps: If given, those of the first batch times this number.
        """
        tokens = 0
        for batch in train_dl:
            in_batch = batch["input_ids"].numel() if "input_ids" in batch else 0
            if max_steps is not None:
                return in_batch * max_steps
            tokens += in_batch
        return tokens

    def get_total_train_batch_size(self, args: TrainingArguments) -> int:
        """Samples an update: of a micro-batch, times micro-batches, times processes that get other data."""
        replicas = args.world_size // self.get_tp_size()
        return self._train_batch_size * args.gradient_accumulation_steps * replicas

    def get_tp_size(self) -> int:
        """Processes that hold parts of the same model (tensor parallelism), as the model says; else 1."""
        return int(getattr(self.model, "tp_size", None) or 1)

    def set_initial_training_values(
        self, args: TrainingArguments, dataloader: Any, total_train_batch_size: int
    ) -> InitialValues:
        """How long a run over a loader is.

        Returns:
            The number of epochs, of updates an epoch, of samples in the data and in the run, whether the
            run is measured in epochs, the number of batches (None if it is not known), and of updates.

        Raises:
            UsageError: The loader has no length and ``max_steps`` is not set, or there is no data.
        """
        return initial_values(
            args, dataloader, total_train_batch_size, num_examples=lambda: self.num_examples(dataloader)
        )

    # -- optimizer and schedule -------------------------------------------------------------------

    def create_optimizer_and_scheduler(self, num_training_steps: int) -> None:
        """Make the optimizer, then the schedule."""
        self.create_optimizer()
        self.alter_optimizer_once()
        self.create_scheduler(
            num_training_steps=num_training_steps,
            **accepted(self.create_scheduler, optimizer=self.optimizer),
        )

    def create_optimizer(self) -> Optimizer:
        """Make the optimizer that the arguments name, unless there is one."""
        if self.optimizer is None:
            groups = optimization.decay_groups(
                self.model, self.get_decay_parameter_names(self.model), self.args.weight_decay
            )
            if self.optimizer_cls_and_kwargs is not None:
                cls, kwargs = self.optimizer_cls_and_kwargs
                self.optimizer = optimization.make_optimizer(cls, groups, kwargs)
            elif is_overridden(self, Trainer, "get_optimizer_cls_and_kwargs"):
                choose = self.get_optimizer_cls_and_kwargs
                cls, kwargs = choose(self.args, **accepted(choose, model=self.model))
                self.optimizer = optimization.make_optimizer(cls, groups, kwargs)
            else:
                self.optimizer_plugin = load_optimizer(self.args)
                self.optimizer = self.optimizer_plugin.create(unwrap(self.model), groups)
                self._optimizer_of_plugin = self.optimizer
                refuse_misfits_of_step(self.optimizer, self.args.optim)
                optimization.warn_of_left_out(self.optimizer, self.model, self.args.optim)
                self._listen()
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> Any:
        """Make the schedule that the arguments name, unless there is one.

        Args:
            num_training_steps: Updates in the run.
            optimizer: The optimizer whose rate it drives; by default the trainer's.
        """
        if self.lr_scheduler is None:
            self.scheduler_plugin = load_scheduler(self.args)
            self.lr_scheduler = self.scheduler_plugin.create(
                self.optimizer if optimizer is None else optimizer,
                self.args.get_warmup_steps(num_training_steps),
                num_training_steps,
            )
            self._listen()
        return self.lr_scheduler

    def get_learning_rates(self) -> list[float]:
        """The rate of each parameter group.

        Raises:
            UsageError: There is no optimizer yet.
        """
        return [float(group["lr"]) for group in self._existing_optimizer().param_groups]

    def get_num_trainable_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)

    def get_optimizer_group(self, param: str | nn.Parameter | None = None) -> Any:
        """The optimizer's group that a parameter (or the one of that name) is in; without one, all groups.

        Raises:
            UsageError: There is no optimizer yet, or the parameter is in none of its groups.
        """
        groups = self._existing_optimizer().param_groups
        if param is None:
            return [group["params"] for group in groups]
        wanted = dict(self.model.named_parameters()).get(param) if isinstance(param, str) else param
        for group in groups:
            if any(parameter is wanted for parameter in group["params"]):
                return group
        raise UsageError(f"`param`: {param!r} is in no group of the optimizer. Is it trained?")

    def _existing_optimizer(self) -> Optimizer:
        if self.optimizer is None:
            raise UsageError(
                "`optimizer`: there is none before training. Call trainer.create_optimizer() first."
            )
        return self.optimizer

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Parameters that weight decay applies to: all but biases and normalization layers' weights."""
        return optimization.decay_parameter_names(model)

    @staticmethod
    def get_optimizer_cls_and_kwargs(
        args: TrainingArguments, model: nn.Module | None = None
    ) -> tuple[type[Optimizer], dict[str, Any]]:
        """Class and keyword arguments of the optimizer that the arguments name.

        Where the optimizer sorts the parameters in its own way (GaLore), the keyword arguments hold
        its groups as ``params``, in place of those that one would pass.

        Raises:
            UsageError: It does so, and there is no model to sort.
        """
        return optimization.class_and_kwargs(load_optimizer(args), args, model)

    # -- logging, saving, callbacks ---------------------------------------------------------------

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Put values into the history and tell the callbacks.

        Args:
            logs: The values; ``epoch`` is added.
            start_time: When training began, as of `time.time`.
        """
        logs["epoch"] = self.state.epoch
        logs = self.hooks.alter("alter_logs", "logs", logs=logs)
        self.state.log_history.append({**logs, "step": self.state.global_step})
        self.emit("on_log", logs=logs)

    def report(self, values: Mapping[str, Any]) -> None:
        """Send values to the reporters at the current update, and into no log.

        Args:
            values: Numbers, texts, and pictures (`drivetrain.Image`) by name, as the reporters show it:
                ``{"eval/attention": Image.of(figure)}``.
        """
        self.hooks.call("on_report", values=values)

    def save_model(self, output_dir: str | Path | None = None, _internal_call: bool = False) -> None:
        """Write the model, the processing class and the arguments, so that they can be loaded again.

        Args:
            output_dir: The folder; by default that of the arguments.
            _internal_call: Set when the model is part of a checkpoint.
        """
        if self.args.should_save:
            with self.evaluation_weights.in_use():
                self._save(str(output_dir or self.args.output_dir))
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save")

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Write the model, the processing class and the arguments; on a process that saves.

        Args:
            output_dir: The folder; by default that of the arguments.
            state_dict: Weights to write instead of the model's own.
        """
        contents.write_model(self, Path(output_dir or self.args.output_dir), state_dict)

    def log_metrics(self, split: str, metrics: dict[str, float]) -> None:
        """Print metrics for people to read, on the first process.

        Args:
            split: What they are of: ``"train"``, ``"eval"``, ``"test"``.
            metrics: What `train`, `evaluate` or `predict` gave. Names with ``_mem_`` are memory in bytes,
                there if ``skip_memory_metrics`` is False: ``..._alloc_delta`` is what a stage kept,
                ``..._peaked_delta`` what it used beyond that for a time.
        """
        if self.is_world_process_zero():
            print(results.describe_metrics(split, self.metrics_format(metrics)), flush=True)

    def metrics_format(self, metrics: dict[str, float]) -> dict[str, Any]:
        """Metrics as `log_metrics` prints them: a copy with memory in MB and times as h:mm:ss."""
        return results.format_metrics(metrics)

    def save_metrics(self, split: str, metrics: dict[str, float], combined: bool = True) -> None:
        """Write metrics to ``<split>_results.json`` in the output folder, on the first process.

        Args:
            split: What they are of: ``"train"``, ``"eval"``, ``"test"`` or ``"all"``.
            metrics: What `train`, `evaluate` or `predict` gave.
            combined: Add them to ``all_results.json``, too.
        """
        if self.is_world_process_zero():
            results.save_metrics(Path(self.args.output_dir), split, metrics, combined)

    def save_state(self) -> None:
        """Write the state to ``trainer_state.json`` in the output folder."""
        if self.args.should_save:
            self.state.save_to_json(Path(self.args.output_dir, "trainer_state.json"))

    def add_callback(self, callback: Callback) -> None:
        """Append a callback, given as an instance or a class."""
        self.callback_handler.add_callback(callback)
        self._listen()

    def pop_callback(self, callback: Callback) -> TrainerCallback | None:
        """Remove and return a callback, or the first of a class; None if there is none."""
        popped = self.callback_handler.pop_callback(callback)
        self._listen()
        return popped

    def remove_callback(self, callback: Callback) -> None:
        """Remove a callback, or the first of a class."""
        self.pop_callback(callback)

    def is_local_process_zero(self) -> bool:
        """Whether this is the first process on its machine."""
        return self.args.local_process_index == 0

    def is_world_process_zero(self) -> bool:
        """Whether this is the first process of all."""
        return self.args.process_index == 0

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """Make a model with ``model_init``, handing it the trial if it asks for one.

        It does with a parameter that has no default, or that is called ``trial``.
        """
        assert self.model_init is not None
        return self.model_init(trial) if takes_trial(self.model_init) else self.model_init()

    def floating_point_ops(self, inputs: Inputs) -> int:
        """Floating-point operations of forward and backward of a batch; 0 if the model does not say.

        Six for each token and parameter that is no embedding (arXiv 2001.08361, section 2.1), for a
        model that counts its parameters as transformers' do; what the model says itself comes first.
        """
        if self._operations is None or self._operations.model is not self.model:
            self._operations = OperationsCounter(self.model)
        return self._operations.count(inputs)

    # -- the model hub, searches, and what published subclasses use -------------------------------------

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write a draft of a model card, ``README.md``, into the output folder; on the first process.

        Args:
            language: The language of the model.
            license: Its licence; by default that of the model that it was made of, if a hub says.
            tags: Tags to put into its metadata.
            model_name: What it is called; by default after the output folder.
            finetuned_from: What it was made of; by default what its configuration says.
            tasks: What it is for, as the hub names tasks.
            dataset_tags: The data's names on the hub.
            dataset: The data's names for people.
            dataset_args: What of the data was used.
        """
        from drivetrain.modelcard import write_model_card

        write_model_card(
            self,
            language=language,
            license=license,
            tags=tags,
            model_name=model_name,
            finetuned_from=finetuned_from,
            tasks=tasks,
            dataset_tags=dataset_tags,
            dataset=dataset,
            dataset_args=dataset_args,
            find_license=self._hub.find_license if self.args.push_to_hub else None,
        )

    def init_hf_repo(self, token: str | None = None) -> None:
        """Create the repository that ``hub_model_id`` names, or find it: the plugin 'hub' does.

        Raises:
            UsageError: That plugin is not installed, or the repository cannot be created.
        """
        self._hub.create_repository(self, token)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Save the model and push it to the hub with a card: the plugin 'hub' does.

        Args:
            commit_message: What the push is called.
            blocking: Return when it is done.
            token: A token instead of that of the arguments.
            revision: A branch instead of that of the arguments.
            **kwargs: Arguments of `create_model_card`.

        Returns:
            What the hub says of the push, or a future of that.

        Raises:
            UsageError: That plugin is not installed.
            OSError: The push failed; the error is the hub's.
        """
        message = commit_message or "End of training"
        return self._hub.push(self, message, blocking, token, revision, **kwargs)

    @cached_property
    def _hub(self) -> HubPlugin:
        for feature in self._features:
            if isinstance(feature, HubPlugin):
                return feature
        return load_hub(self.args)

    def hyperparameter_search(
        self,
        hp_space: Callable[[Any], dict[str, Any]] | None = None,
        compute_objective: Callable[[dict[str, float]], float | list[float]] | None = None,
        n_trials: int = 100,
        direction: str | list[str] = "minimize",
        backend: str | None = None,
        hp_name: Callable[[Any], str] | None = None,
        **kwargs: Any,
    ) -> BestRun | list[BestRun]:
        """Train with different arguments and say which were best: a searcher plugin chooses them.

        Args:
            hp_space: From a trial to arguments by name; by default the searcher's own space.
            compute_objective: From an evaluation's metrics to what is compared; by default the loss, or
                the sum of the metrics if there are others.
            n_trials: How many trainings.
            direction: ``"minimize"`` or ``"maximize"``; a list for several objectives.
            backend: The searcher by name; by default one that is installed.
            hp_name: From a trial to its name.
            **kwargs: Options of the searcher.

        Returns:
            The best run; for several objectives, those that none is better than in all of them.

        Raises:
            UsageError: No such searcher is installed, or the trainer has no ``model_init``.
        """
        from drivetrain.search import hyperparameter_search

        return hyperparameter_search(
            self, hp_space, compute_objective, n_trials, direction, backend, hp_name, **kwargs
        )

    @cached_property
    def accelerator(self) -> Any:
        """An `accelerate.Accelerator` for subclasses that call one; made when it is first asked for.

        Raises:
            UsageError: Accelerate is not installed.
        """
        return make_accelerator(self)

    def propagate_args_to_deepspeed(self, auto_find_batch_size: bool = False) -> None:
        """Hand the arguments to the strategy's DeepSpeed configuration, where it has one."""
        fill = getattr(self.strategy, "fill_config", None)
        if callable(fill):
            fill(self, auto_find_batch_size=auto_find_batch_size)

    @property
    def tokenizer(self) -> Any:
        """The earlier name of ``processing_class``."""
        return self.processing_class

    @tokenizer.setter
    def tokenizer(self, processing_class: Any) -> None:
        self.processing_class = processing_class

    # -- what the loops call ----------------------------------------------------------------------

    def emit(self, event: str, **details: Any) -> None:
        """Tell the parts and the callbacks of an event."""
        self.hooks.emit(event, **details)

    def call_log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Call `log`, which a subclass may have overridden with an earlier signature."""
        if start_time is not None and accepts(self.log, "start_time"):
            self.log(logs, start_time=start_time)
        else:
            self.log(logs)

    def store_flos(self) -> None:
        """Move the operations since the last log into the state."""
        self.state.total_flos += self.current_flos
        self.current_flos = 0.0

    @property
    def clips_gradients(self) -> bool:
        """Whether the optimizer leaves gradients to be clipped when the backward pass is done."""
        if self.has_optimizer_of_plugin:
            return "gradient_clipping" not in self.optimizer_plugin.cannot
        return not getattr(self.optimizer, "steps_in_backward", False)

    @property
    def schedule_waits_for_metrics(self) -> bool:
        """Whether the schedule moves with evaluations instead of updates."""
        if self.was_given_schedule:
            return isinstance(self.lr_scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
        return self.scheduler_plugin.steps_on_metric

    def note_best(self, metrics: dict[str, float]) -> bool:
        """Keep the metric that compares models if it is the best yet; return whether it is."""
        name = self.args.metric_for_best_model
        if name is None:
            return False
        value, best = find_metric(metrics, name), self.state.best_metric
        if metric_key(name) == "eval_loss" and metrics.get(_COUNT_OF_NON_FINITE):
            return False
        is_best = best is None or (value > best if self.args.greater_is_better else value < best)
        if is_best and not math.isnan(value):
            self.state.best_metric = value
            self.state.best_global_step = self.state.global_step
            return True
        return False

    def save_checkpoint(self) -> None:
        """Write a checkpoint of this update into the output folder, and tell `on_save` once it is whole.

        Raises:
            CheckpointWriteError: It could not be written, and ``save_on_error`` says to stop.
        """
        self.store_flos()
        self.saver.save()

    def wait_for_saves(self) -> None:
        """Wait until a checkpoint that is written in the background (``async_save``) is whole.

        Raises:
            CheckpointWriteError: It could not be written, and ``save_on_error`` says to stop.
        """
        self.saver.wait()

    def compute_gradients(self, loss: torch.Tensor, **options: Any) -> None:
        """The backward pass from a scaled loss, a scalar; parts are told when it begins and ends."""
        hooks = self.hooks
        if "on_backward_begin" in hooks.heard:
            hooks.call("on_backward_begin")
        self.strategy.backward(loss, **options)
        if "on_backward_end" in hooks.heard:
            hooks.call("on_backward_end")

    @property
    def measurements(self) -> Measurements | None:
        """What measures the run, if it is reported or shown to anyone."""
        for feature in self._features:
            if feature.option == "report_to":
                return cast("Measurements", feature)
        return None

    def reading_from_device(self) -> AbstractContextManager[None]:
        """While the loop reads what was computed, for which it may have to wait: that time is measured."""
        measurements = self.measurements
        return nullcontext() if measurements is None else measurements.reading()

    def emit_as(self, state: TrainerState, event: str) -> None:
        """Tell of an event that belongs to an earlier state: a checkpoint that was written meanwhile."""
        current, self.state = self.state, state
        try:
            self.emit(event)
        finally:
            self.state = current

    def warn_once(self, text: str) -> None:
        """Log a warning, unless this trainer has."""
        if text not in self._warned_of:
            self._warned_of.add(text)
            logger.warning("%s", text)

    def finish_training(self) -> None:
        """Load the best model, if that is asked for and there is one."""
        if not self.args.load_best_model_at_end or self.state.best_global_step is None:
            return
        path = self.state.best_model_checkpoint
        best = None if path is None else Path(path)
        if best is None or step_of(best) != self.state.best_global_step:
            logger.warning(
                "`load_best_model_at_end`: the checkpoint of the best update, %d, was not saved: "
                "the model %s.",
                self.state.best_global_step,
                "keeps the last weights" if best is None else f"gets those of {best.name}",
            )
        if best is not None:
            logger.info("Loading the best model, from %s (%s).", best, self.state.best_metric)
            resuming.read_model(self.model, best, self.args.low_cpu_mem_usage)

    # -- the constructor's own steps --------------------------------------------------------------

    def use_model(self, model: nn.Module) -> None:
        """Make this the model, place it, and learn from it what it takes and gives."""
        self.model: nn.Module = self.strategy.place_model(model) if self._places(model) else model
        self.model_wrapped: nn.Module = self.model
        self._cast_outputs()
        model = unwrap(model)
        self._note_loss_kwargs(model)
        names = self.args.label_names
        self.label_names = find_label_names(model) if names is None else names
        return_loss = forward_parameters(model).get("return_loss")
        self.can_return_loss = return_loss is not None and return_loss.default is True
        self._column_filter = (
            ColumnFilter(model, self.label_names) if self.args.remove_unused_columns else None
        )
        self._operations = None

    def _note_loss_kwargs(self, model: nn.Module) -> None:
        """Note whether the model divides its loss itself, unless a subclass has said whether it does."""
        if getattr(self, "model_accepts_loss_kwargs", None) is not self._found_loss_kwargs:
            return
        own = getattr(model, "accepts_loss_kwargs", None)
        takes_count = has_keyword_parameters(model) if own is None else bool(own)
        self._found_loss_kwargs = takes_count and not computes_in_parts(self.model)
        self.model_accepts_loss_kwargs = self._found_loss_kwargs

    def _move_model_to_device(self, model: nn.Module, device: torch.device) -> None:
        """Move another model, such as the teacher in a distillation, to a device."""
        model.to(device)

    def _places(self, model: nn.Module) -> bool:
        """Note whether the model lies on several devices, where it stays; and whether to move it."""
        devices = set((getattr(model, "hf_device_map", None) or {}).values())
        is_split = getattr(model, "is_parallelizable", False) and getattr(model, "model_parallel", False)
        self.is_model_parallel = bool(is_split) or len(devices - {"cpu", "disk"}) > 1
        self.place_model_on_device = self.args.place_model_on_device and not self.is_model_parallel
        return self.place_model_on_device

    def _cast_outputs(self) -> None:
        """Hand on what the model returns in 16 bits in 32, as the precision of this trainer wants it.

        It is a hook on the model: that of an earlier trainer over the same model is taken away.
        """
        earlier = _output_hooks.pop(self.model, None)
        if earlier is not None:
            earlier.remove()
        if self.precision.float32_outputs:
            _output_hooks[self.model] = self.model.register_forward_hook(_cast_outputs)

    def alter_model_once(self) -> None:
        """Let plugins alter the model, unless they have."""
        if self._altered_model is not self.model:
            self.model = self.model_wrapped = self.hooks.alter("alter_model", "model", model=self.model)
            self._altered_model = self.callback_handler.model = self.model

    def _note_smoothing(self) -> None:
        """Smooth labels as the arguments say now; a smoother that a subclass put there stays."""
        factor = self.args.label_smoothing_factor
        if factor != self._smoothing:
            self._smoothing = factor
            self.label_smoother = LabelSmoother(epsilon=factor) if factor else None

    def forget_optimizer(self) -> None:
        """Have the next `train` make optimizer and schedule anew, unless they were given."""
        if not self.was_given_optimizer:
            self.optimizer = self._optimizer_of_plugin = None  # type: ignore[assignment]
        if not self.was_given_schedule:
            self.lr_scheduler = None

    def alter_optimizer_once(self) -> None:
        """Let plugins alter the optimizer, unless they have in this run."""
        if not self._is_optimizer_altered:
            self._is_optimizer_altered = True
            self.replace_optimizer(
                self.hooks.alter("alter_optimizer", "optimizer", optimizer=self.optimizer)
            )

    def replace_optimizer(self, optimizer: Optimizer) -> None:
        """Step this in the optimizer's place: the same, altered; it counts as made by the same hand."""
        self._optimizer_of_plugin = optimizer if self.has_optimizer_of_plugin else None
        self.optimizer = optimizer

    @property
    def has_optimizer_of_plugin(self) -> bool:
        """Whether the optimizer is what `optim` names, rather than given, or made by a subclass."""
        return self.optimizer is not None and self.optimizer is self._optimizer_of_plugin

    def _check_fits(self) -> None:
        if self.args.eval_strategy != IntervalStrategy.NO and self.eval_dataset is None:
            raise UsageError(
                f"`eval_strategy`: {str(self.args.eval_strategy)!r} needs data to evaluate on, and Trainer "
                "was given no `eval_dataset`. Pass one, or type eval_strategy='no'."
            )
        if self.compute_loss_func is not None and self.args.label_smoothing_factor:
            logger.warning(
                "`label_smoothing_factor`: %s has no effect, for `compute_loss_func` computes the loss. "
                "Smooth the labels there, or leave out one of them.",
                self.args.label_smoothing_factor,
            )
        if self.optimizer is not None and self.optimizer_cls_and_kwargs is not None:
            raise UsageError(
                "`optimizers`: an optimizer and `optimizer_cls_and_kwargs` were both given. Pass one of them."
            )
        if self.model_init is not None and self.optimizer is not None:
            raise UsageError(
                "`optimizers`: an optimizer belongs to one model, and `model_init` makes a new one at each "
                "`train`. Pass `model`, or name the optimizer with `optim`."
            )

    def _make_callback_handler(self, callbacks: Sequence[Callback]) -> CallbackHandler:
        return CallbackHandler(
            callbacks_of(self.args, callbacks),
            self.model,
            self.processing_class,
            self.optimizer,
            self.lr_scheduler,
        )

    def _listen(self) -> None:
        """Let the parts of the run, and callbacks that implement hooks themselves, listen."""
        self.hooks.listen(
            self.strategy,
            self.precision,
            self.optimizer_plugin,
            self.scheduler_plugin,
            *self._features,
            *self._plugins,
            *(c.reporter for c in self.callback_handler.callbacks if isinstance(c, ReporterCallback)),
            *(callback for callback in self.callback_handler.callbacks if implements_hooks(callback)),
        )

    def _run_stage(
        self, stage: str, make_loader: Callable[[], Any], metric_key_prefix: str, **options: Any
    ) -> EvalLoopOutput:
        """Run the evaluation loop as a stage: its plugins are told of its begin and its end."""
        self.hooks.call("on_stage_begin", stage=stage)
        try:
            loader, loop = make_loader(), self._evaluation_loop
            start_time = time.time()
            options = accepted(loop, metric_key_prefix=metric_key_prefix, **options)
            output = loop(loader, **options)
        except BaseException as error:
            note_stage(error, stage)
            self.hooks.call_each("on_stage_failed", stage=stage, error=error)
            raise
        num_samples = self._num_computed(output, loader)
        output.metrics.update(self._speed(metric_key_prefix, start_time, num_samples))
        self.hooks.call("on_stage_end", stage=stage, metrics=output.metrics)
        return output

    @property
    def _evaluation_loop(self) -> Callable[..., EvalLoopOutput]:
        """The loop of evaluations: `prediction_loop` where a subclass overrides that one alone."""
        is_earlier = is_overridden(self, Trainer, "prediction_loop")
        if is_earlier and not is_overridden(self, Trainer, "evaluation_loop"):
            return self.prediction_loop
        return self.evaluation_loop

    @property
    def _copies_ahead(self) -> bool:
        config: Any = self.args.accelerator_config
        return config.non_blocking is not False

    def _leave_weights_to_use(self, error: BaseException | None) -> None:
        """Put the weights to use into the model; a failure of that hides no error that came before."""
        try:
            self.evaluation_weights.put_to_use()
        except Exception as failure:
            if error is None:
                raise
            logger.error("The weights to use could not be put into the model.", exc_info=failure)

    def _end_run(self, error: BaseException | None) -> None:
        """Tell the parts how the run ended."""
        interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
        outcome = "finished" if error is None else "interrupted" if interrupted else "failed"
        self.hooks.call_each("on_run_end", outcome=outcome, error=error)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        return loaders.train_sampler(dataset, self.args, self.processing_class, self._train_batch_size)

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler[int] | None:
        return loaders.eval_sampler(eval_dataset)

    def _make_eval_loader(self, dataset: Any, description: str) -> DataLoader[Any]:
        return loaders.make_loader(
            dataset,
            self.args,
            self.data_collator,
            self._column_filter,
            description=description,
            batch_size=self.args.eval_batch_size,
            sampler=self._get_eval_sampler(dataset),
        )

    def _remove_unused_columns(self, dataset: Any, description: str | None = None) -> Any:
        """A table without the columns that are not for the model, for loaders that subclasses make."""
        kept = self._column_filter
        return dataset if kept is None else kept.filter_dataset(dataset, description or loaders.TRAINING)

    def _get_collator_with_removed_columns(
        self, data_collator: Callable[[list[Any]], Any], description: str | None = None
    ) -> Callable[[list[Any]], Any]:
        """A collator that leaves out what is not for the model, for loaders that subclasses make."""
        kept = self._column_filter
        return (
            data_collator
            if kept is None
            else kept.wrap_collator(data_collator, description or loaders.TRAINING)
        )

    def _loss_is_normalized(self, num_items_in_batch: Any) -> bool:
        """Whether the loss is divided by the whole update's items already, by the model or the function."""
        if self.compute_loss_func is not None:
            return True
        return self.model_accepts_loss_kwargs and num_items_in_batch is not None

    def _num_computed(self, output: Any, loader: Any) -> int:
        """Samples that an evaluation's loop computed; that of an earlier subclass may not say."""
        count = getattr(output, "num_samples", None)
        return self.num_examples(loader) if count is None else int(count)

    def _speed(self, prefix: str, start_time: float, num_samples: int) -> dict[str, float]:
        num_steps = math.ceil(num_samples / (self.args.eval_batch_size * self.args.world_size))
        return speed_metrics(prefix, start_time, num_samples, num_steps)

    def stateful_callbacks(self) -> list[ExportableState]:
        """The callbacks, and the control, whose state checkpoints keep."""
        holders = [*self.callback_handler.callbacks, self.control]
        return [holder for holder in holders if is_exportable(holder)]


PREDICTION_STEP = Trainer.prediction_step
"""As it is written here: evaluations take a shortcut where nobody has put another in its place."""


def make_output_dir(path: str) -> None:
    """Make the folder of a run.

    Raises:
        UsageError: It cannot be made.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"`output_dir`: {path!r} cannot be made ({error.strerror}). Type another one, or let this user "
            "write there."
        ) from error


def set_log_level(name: str, level: int) -> None:
    """Let drivetrain's loggers tell what the arguments say; 'passive' leaves them as they are."""
    if name != "passive":
        logging.getLogger("drivetrain").setLevel(level)


def _choose_model(
    model: nn.Module | None, model_init: Callable[..., nn.Module] | None, make: Callable[[], nn.Module]
) -> nn.Module:
    if (model is None) == (model_init is None):
        given = "neither" if model is None else "both"
        raise UsageError(
            f"`model`: {given} of `model` and `model_init` given. Pass one of them to Trainer."
        )
    return make() if model is None else model


def _cast_outputs(model: nn.Module, inputs: Any, outputs: Any) -> Any:
    return to_float32(outputs)


def _default_collator(processing_class: Any) -> Callable[[list[Any]], Any]:
    can_pad = callable(getattr(processing_class, "pad", None))
    return DataCollatorWithPadding(processing_class) if can_pad else default_data_collator
