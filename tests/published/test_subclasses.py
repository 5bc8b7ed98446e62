"""Subclasses: every documented method that is overridden is called, whichever published signature it has."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from both_trainers import make_gpt2, text_samples
from small import Stream, are_equal, make_args, make_net, make_samples, make_trainer, weights_of
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, SequentialSampler

from drivetrain import EvalLoopOutput, PredictionOutput, Trainer, speed_metrics

# -- one method at a time --------------------------------------------------------------------------

TRAINING = {
    "autocast_smart_context_manager",
    "call_model_init",
    "compute_loss",
    "compute_loss_context_manager",
    "create_optimizer",
    "create_optimizer_and_scheduler",
    "create_scheduler",
    "floating_point_ops",
    "get_batch_samples",
    "get_decay_parameter_names",
    "get_num_trainable_parameters",
    "get_optimizer_cls_and_kwargs",
    "get_total_train_batch_size",
    "get_tp_size",
    "get_train_dataloader",
    "is_local_process_zero",
    "is_world_process_zero",
    "log",
    "num_examples",
    "num_tokens",
    "save_model",
    "set_initial_training_values",
    "train",
    "training_step",
    "_get_train_sampler",
    "_prepare_inputs",
    "_save",
}
EVALUATION = {
    "autocast_smart_context_manager",
    "compute_loss",
    "compute_loss_context_manager",
    "evaluate",
    "evaluation_loop",
    "get_eval_dataloader",
    "log",
    "prediction_loop",
    "prediction_step",
    "_get_eval_sampler",
    "_prepare_inputs",
}
PREDICTION = (EVALUATION - {"evaluate", "get_eval_dataloader", "log"}) | {
    "get_test_dataloader",
    "predict",
}


def overriding(name: str, calls: list[str]) -> type[Trainer]:
    """A subclass with one method of its own, which notes that it was called and calls the trainer's."""
    published = inspect.getattr_static(Trainer, name)
    is_static = isinstance(published, staticmethod)
    function = published.__func__ if is_static else published

    @functools.wraps(function)
    def method(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return function(*args, **kwargs)

    return type("Overriding", (Trainer,), {name: staticmethod(method) if is_static else method})


def make_overriding(name: str, calls: list[str], folder: Path, **options: Any) -> Trainer:
    """A trainer of such a subclass, with arguments under which each method has something to do."""
    trainer = make_trainer(
        overriding(name, calls),
        model_init=make_net,
        output_dir=folder,
        save_strategy="epoch",
        include_tokens_per_second=True,
        train_dataset=[{**sample, "input_ids": torch.ones(3)} for sample in make_samples(8)],
        remove_unused_columns=True,
        **options,
    )
    calls.clear()
    return trainer


@pytest.mark.parametrize("name", sorted(TRAINING))
def test_an_overridden_method_is_called_by_training(name: str, tmp_path: Path) -> None:
    calls: list[str] = []
    make_overriding(name, calls, tmp_path).train()
    assert name in calls


@pytest.mark.parametrize("name", sorted(EVALUATION))
def test_an_overridden_method_is_called_by_evaluation(name: str, tmp_path: Path) -> None:
    calls: list[str] = []
    metrics = make_overriding(name, calls, tmp_path).evaluate()
    assert name in calls
    assert metrics["eval_loss"] > 0


@pytest.mark.parametrize("name", sorted(EVALUATION))
def test_an_overridden_method_is_called_by_evaluations_within_training(
    name: str, tmp_path: Path
) -> None:
    within: list[str] = []
    calls: list[str] = []
    make_overriding(name, calls, tmp_path).train()
    without = calls.count(name)
    make_overriding(name, within, tmp_path, eval_strategy="epoch").train()
    assert within.count(name) > without


@pytest.mark.parametrize("name", sorted(PREDICTION))
def test_an_overridden_method_is_called_by_prediction(name: str, tmp_path: Path) -> None:
    calls: list[str] = []
    output = make_overriding(name, calls, tmp_path).predict(make_samples(6))
    assert name in calls
    assert output.predictions.shape == (6, 3)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("metrics_format", lambda trainer: trainer.log_metrics("train", {"loss": 1.0})),
        ("is_world_process_zero", lambda trainer: trainer.save_metrics("train", {"loss": 1.0})),
        (
            "pop_callback",
            lambda trainer: trainer.remove_callback(trainer.callback_handler.callbacks[-1]),
        ),
        ("_save", lambda trainer: trainer.save_model()),
    ],
)
def test_an_overridden_method_is_called_by_another_one(name: str, call: Any, tmp_path: Path) -> None:
    calls: list[str] = []
    call(make_overriding(name, calls, tmp_path))
    assert name in calls


def test_an_optimizer_class_that_a_subclass_chooses_is_made() -> None:
    class Choosing(Trainer):
        @staticmethod
        def get_optimizer_cls_and_kwargs(args: Any, model: Any = None) -> tuple[Any, dict[str, Any]]:
            return torch.optim.SGD, {"lr": 0.25, "momentum": 0.5}

    trainer = make_trainer(Choosing)
    trainer.train()
    assert isinstance(trainer.optimizer, torch.optim.SGD)
    assert trainer.optimizer.param_groups[0]["momentum"] == 0.5


# -- earlier signatures: each gives the weights and metrics of the trainer itself --------------------


class EarlierLoss(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False) -> Any:  # type: ignore[override]
        outputs = model(**inputs)
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]


class EarlierLossOfSuper(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False) -> Any:  # type: ignore[override]
        return super().compute_loss(model, inputs, return_outputs=return_outputs)


class EarlierStep(Trainer):
    def training_step(self, model: Any, inputs: Any) -> Any:  # type: ignore[override]
        return super().training_step(model, inputs)


class EarlierLog(Trainer):
    def log(self, logs: Any) -> None:  # type: ignore[override]
        super().log(logs)


class EarlierPredictionStep(Trainer):
    def prediction_step(self, model: Any, inputs: Any, prediction_loss_only: bool) -> Any:  # type: ignore[override]
        return super().prediction_step(model, inputs, prediction_loss_only)


class EarlierEvaluationLoop(Trainer):
    def evaluation_loop(  # type: ignore[override]
        self, dataloader: Any, description: str, prediction_loss_only: bool | None = None
    ) -> EvalLoopOutput:
        return super().evaluation_loop(dataloader, description, prediction_loss_only)


class EarlierPredictionLoop(Trainer):
    def prediction_loop(  # type: ignore[override]
        self, dataloader: Any, description: str, prediction_loss_only: bool | None = None
    ) -> EvalLoopOutput:
        return super().prediction_loop(dataloader, description, prediction_loss_only)


class PredictionLoopWithoutCount(Trainer):
    def prediction_loop(self, *args: Any, **kwargs: Any) -> Any:
        output = super().prediction_loop(*args, **kwargs)
        return PredictionOutput(output.predictions, output.label_ids, output.metrics)


class EarlierEvaluate(Trainer):
    def evaluate(self, eval_dataset: Any = None) -> dict[str, float]:  # type: ignore[override]
        return super().evaluate(eval_dataset)


class EvaluateWithoutPrefix(Trainer):
    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None) -> dict[str, float]:  # type: ignore[override]
        return super().evaluate(eval_dataset, ignore_keys)


class EarlierPredict(Trainer):
    def predict(self, test_dataset: Any) -> PredictionOutput:  # type: ignore[override]
        return super().predict(test_dataset)


class EarlierScheduler(Trainer):
    def create_scheduler(self, num_training_steps: int) -> Any:  # type: ignore[override]
        return super().create_scheduler(num_training_steps)


class EarlierSampler(Trainer):
    def _get_train_sampler(self) -> Any:  # type: ignore[override]
        return super()._get_train_sampler()


class EarlierBatchSamples(Trainer):
    def get_batch_samples(self, epoch_iterator: Any, num_batches: int) -> Any:  # type: ignore[override]
        return super().get_batch_samples(epoch_iterator, num_batches, self.args.device)


class EarlierSave(Trainer):
    def save_model(self, output_dir: str | None = None) -> None:  # type: ignore[override]
        super().save_model(output_dir)

    def _save(self, output_dir: str | None = None) -> None:  # type: ignore[override]
        super()._save(output_dir)


class EarlierEvalLoader(Trainer):
    def get_eval_dataloader(self, eval_dataset: Any) -> Any:  # type: ignore[override]
        return super().get_eval_dataloader(eval_dataset)


class EarlierModelCard(Trainer):
    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        super().create_model_card(*args, **kwargs)


class EarlierTrain(Trainer):
    def train(self, model_path: str | None = None) -> Any:  # type: ignore[override]
        return super().train(model_path=model_path)


class OwnPreparation(Trainer):
    def _prepare_inputs(self, inputs: Any) -> Any:
        return {name: value.to(self.args.device) for name, value in inputs.items()}


EARLIER = [
    EarlierLoss,
    EarlierLossOfSuper,
    EarlierStep,
    EarlierLog,
    EarlierPredictionStep,
    EarlierEvaluationLoop,
    EarlierPredictionLoop,
    PredictionLoopWithoutCount,
    EarlierEvaluate,
    EvaluateWithoutPrefix,
    EarlierPredict,
    EarlierScheduler,
    EarlierSampler,
    EarlierBatchSamples,
    EarlierSave,
    EarlierEvalLoader,
    EarlierModelCard,
    EarlierTrain,
    OwnPreparation,
]


def without_times(metrics: dict[str, float]) -> dict[str, float]:
    return {k: v for k, v in metrics.items() if not k.endswith(("_runtime", "_per_second"))}


def without_prefix(metrics: dict[str, float]) -> dict[str, float]:
    return {name.split("_", 1)[1]: value for name, value in without_times(metrics).items()}


@pytest.mark.parametrize("cls", EARLIER)
def test_a_subclass_of_an_earlier_signature_gives_the_numbers_of_the_trainer(
    cls: type[Trainer], tmp_path: Path
) -> None:
    results = []
    for kind in (Trainer, cls):
        trainer = make_trainer(
            kind,
            output_dir=tmp_path / kind.__name__,
            gradient_accumulation_steps=2,
            eval_strategy="epoch",
            save_strategy="epoch",
            compute_metrics=lambda prediction: {"count": len(prediction.predictions)},
        )
        trainer.train()
        results.append((trainer, trainer.evaluate(), trainer.predict(make_samples(7))))
    (ours, metrics, predicted), (theirs, their_metrics, their_predicted) = results
    assert are_equal(weights_of(theirs), weights_of(ours))
    assert without_times(their_metrics) == without_times(metrics)
    assert (their_predicted.predictions == predicted.predictions).all()
    # A loop that is not told a prefix has the one of those days, for predictions, too.
    assert without_prefix(their_predicted.metrics) == without_prefix(predicted.metrics)
    logged = [without_times(entry) for entry in ours.state.log_history]
    assert [without_times(entry) for entry in theirs.state.log_history] == logged


def make_plain_gpt2() -> torch.nn.Module:
    """A causal language model without dropout, the same at each call."""
    model = make_gpt2()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def gradient_of(cls: type[Trainer], batch_size: int, **given: Any) -> torch.Tensor:
    """What an update of eight samples, in micro-batches of a size, changes about the weights."""
    before = make_plain_gpt2().state_dict()
    trainer = make_trainer(
        cls,
        **given,
        train_dataset=text_samples(8),
        eval_dataset=None,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=8 // batch_size,
        optim="sgd",
        learning_rate=1.0,
        max_grad_norm=0,
        max_steps=1,
    )
    trainer.train()
    return torch.cat([(before[k] - value).flatten() for k, value in weights_of(trainer).items()])


@pytest.mark.parametrize("cls", [EarlierLoss, EarlierLossOfSuper, EarlierStep])
def test_a_loss_of_an_earlier_signature_is_divided_by_the_trainer(cls: type[Trainer]) -> None:
    """A transformers model divides its loss itself if it is told by what; these do not tell it."""
    whole, split = (gradient_of(cls, size, model=make_plain_gpt2()) for size in (8, 2))
    assert (split - whole).norm() < 1e-5 * whole.norm()


@pytest.mark.parametrize("signature", [EarlierEvaluate, EvaluateWithoutPrefix])
def test_an_earlier_evaluate_is_given_a_dict_of_data_sets(signature: type[Trainer]) -> None:
    sets = {"one": make_samples(4), "two": make_samples(6)}
    metrics = make_trainer(signature, eval_dataset=sets).evaluate()
    assert {"eval_one_loss", "eval_two_loss"} <= metrics.keys()


# -- what published subclasses set and do ----------------------------------------------------------


def test_a_tokenizer_is_taken_and_can_be_set_by_its_earlier_name(tmp_path: Path) -> None:
    class Tokenizer:
        def save_pretrained(self, folder: str) -> None:
            Path(folder, "tokenizer.txt").write_text("words")

    first, second = Tokenizer(), Tokenizer()
    trainer = make_trainer(tokenizer=first, output_dir=tmp_path)
    assert trainer.tokenizer is trainer.processing_class is first
    trainer.tokenizer = second
    assert trainer.processing_class is second
    trainer.save_model()
    assert (tmp_path / "tokenizer.txt").read_text() == "words"


@pytest.mark.parametrize("is_class_attribute", [True, False])
@pytest.mark.parametrize("has_model_init", [True, False])
def test_a_subclass_that_ignores_the_number_of_items_can_say_so(
    is_class_attribute: bool, has_model_init: bool
) -> None:
    """As documented: it sets ``model_accepts_loss_kwargs`` to False, and the trainer divides the loss."""

    class Ignoring(Trainer):
        if is_class_attribute:
            model_accepts_loss_kwargs = False

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if not is_class_attribute:
                self.model_accepts_loss_kwargs = False

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            outputs = model(**inputs)
            return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def gradient(size: int) -> torch.Tensor:
        given = {"model_init": make_plain_gpt2} if has_model_init else {"model": make_plain_gpt2()}
        return gradient_of(Ignoring, size, **given)

    whole, split = gradient(8), gradient(2)
    assert (split - whole).norm() < 1e-5 * whole.norm()


def test_optimizer_and_schedule_can_be_made_in_one_place() -> None:
    class Own(Trainer):
        def create_optimizer_and_scheduler(self, num_training_steps: int) -> None:
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1.0)
            self.lr_scheduler = LambdaLR(self.optimizer, lambda step: 1 - step / num_training_steps)

    trainer = make_trainer(Own)
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([1 - step / 6 for step in range(6)])


def test_a_schedule_can_be_made_for_an_optimizer_made_by_the_subclass() -> None:
    class Own(Trainer):
        def create_optimizer(self) -> Any:
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.5)
            return self.optimizer

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            assert optimizer is self.optimizer
            self.lr_scheduler = LambdaLR(optimizer, lambda step: 0.5**step)
            return self.lr_scheduler

    trainer = make_trainer(Own, max_steps=3)
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([0.5, 0.25, 0.125])


def test_a_training_step_written_out_as_published_gives_the_weights_of_the_trainer() -> None:
    class Written(Trainer):
        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            model.train()
            inputs = self._prepare_inputs(inputs)
            with self.compute_loss_context_manager():
                loss = self.compute_loss(model, inputs)
            if self.args.n_gpu > 1:
                loss = loss.mean()
            if self.args.gradient_accumulation_steps > 1:
                loss = loss / self.args.gradient_accumulation_steps
            self.accelerator.backward(loss)
            return loss.detach()

    weights = []
    for cls in (Trainer, Written):
        trainer = make_trainer(cls, gradient_accumulation_steps=2)
        trainer.train()
        weights.append(weights_of(trainer))
    assert are_equal(*weights)


def test_a_loader_written_out_as_published_is_trained_with() -> None:
    class Written(Trainer):
        def get_train_dataloader(self) -> Any:
            collator = self._get_collator_with_removed_columns(self.data_collator, "training")
            return self.accelerator.prepare(
                DataLoader(
                    self.train_dataset,
                    batch_size=self._train_batch_size,
                    sampler=SequentialSampler(self.train_dataset),
                    collate_fn=collator,
                    drop_last=self.args.dataloader_drop_last,
                    num_workers=self.args.dataloader_num_workers,
                    pin_memory=self.args.dataloader_pin_memory,
                )
            )

    samples = [{**sample, "text": "left out"} for sample in make_samples()]
    trainer = make_trainer(Written, train_dataset=samples, dataloader_pin_memory=False)
    assert trainer.train().global_step == 6
    assert set(next(iter(trainer.get_train_dataloader()))) == {"x", "labels"}


def test_columns_of_a_table_are_removed_for_loaders_written_out_as_published() -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list([{"x": [0.0] * 6, "labels": 1, "text": "left out"}])
    trainer = make_trainer()
    kept = trainer._remove_unused_columns(table, description="training")
    assert kept.column_names == ["x", "labels"]


def test_evaluation_with_postprocessing_as_in_the_published_question_answering() -> None:
    class Answering(Trainer):
        def evaluate(  # type: ignore[override]
            self,
            eval_dataset: Any = None,
            eval_examples: Any = None,
            ignore_keys: Any = None,
            metric_key_prefix: str = "eval",
        ) -> dict[str, float]:
            loader = self.get_eval_dataloader(eval_dataset)
            compute_metrics = self.compute_metrics
            self.compute_metrics = None
            try:
                output = self.evaluation_loop(
                    loader,
                    description="Evaluation",
                    prediction_loss_only=True if compute_metrics is None else None,
                    ignore_keys=ignore_keys,
                    metric_key_prefix=metric_key_prefix,
                )
            finally:
                self.compute_metrics = compute_metrics
            batch_size = self.args.eval_batch_size * self.args.world_size
            steps = -(-output.num_samples // batch_size)
            output.metrics.update(
                speed_metrics(metric_key_prefix, 0.0, num_samples=output.num_samples, num_steps=steps)
            )
            metrics = {f"{metric_key_prefix}_exact": float((output.predictions.argmax(-1) == 0).mean())}
            metrics.update(output.metrics)
            if self.args.should_log:
                self.log(metrics)
            self.control = self.callback_handler.on_evaluate(  # type: ignore[call-arg]
                self.args, self.state, self.control, metrics
            )
            return metrics

    trainer = make_trainer(
        Answering,
        compute_metrics=lambda prediction: {},
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="exact",
        num_train_epochs=2,
    )
    trainer.train()
    evaluated = [entry for entry in trainer.state.log_history if "eval_exact" in entry]
    assert len(evaluated) == 2
    assert trainer.state.best_metric == max(entry["eval_exact"] for entry in evaluated)


@pytest.mark.parametrize("name", ["_inner_training_loop", "_save_checkpoint", "_load_best_model"])
def test_an_overridden_step_of_transformers_own_loop_is_said_to_be_unheard(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(type("Own", (Trainer,), {name: lambda self, *args, **kwargs: None}))
    assert f"Own.{name} is never called" in caplog.text
    caplog.clear()
    make_trainer(EarlierLoss)
    assert "is never called" not in caplog.text


def test_logs_that_a_subclass_adds_to_reach_the_history() -> None:
    class Adding(Trainer):
        def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
            super().log({**logs, "extra": 1}, start_time)

    trainer = make_trainer(Adding)
    trainer.train()
    assert all(entry["extra"] == 1 for entry in trainer.state.log_history)


def test_operations_that_a_subclass_counts_are_in_the_state() -> None:
    class Counting(Trainer):
        def floating_point_ops(self, inputs: Any) -> int:
            return len(inputs["x"])

    trainer = make_trainer(Counting, train_dataset=Stream(make_samples(8)), max_steps=2)
    output = trainer.train()
    assert trainer.state.total_flos == output.metrics["total_flos"] == 8


def test_a_subclass_may_take_arguments_of_its_own() -> None:
    class Distilling(Trainer):
        def __init__(self, *args: Any, teacher: Any = None, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.teacher = teacher

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            student = super().compute_loss(model, inputs, *args, **kwargs)
            with torch.no_grad():
                self.teacher(**inputs)
            return student

    trainer = Distilling(make_net(), make_args(), train_dataset=make_samples(), teacher=make_net(3))
    assert trainer.train().global_step == 6
