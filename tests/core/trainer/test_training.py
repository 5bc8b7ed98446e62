"""`Trainer.train` as a user sees it."""

from __future__ import annotations

import gc
import inspect
import logging
import weakref
from typing import Any

import pytest
import torch
from small import Net, Stream, are_equal, make_args, make_net, make_samples, make_trainer, weights_of
from torch import nn

import drivetrain
from drivetrain import Trainer, TrainerCallback, TrainingArguments
from drivetrain.plugin import OptimizerPlugin


def test_the_loss_falls_and_the_history_tells_it() -> None:
    trainer = make_trainer(num_train_epochs=20, learning_rate=0.05)
    output = trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert output.global_step == len(losses) == 120
    assert sum(losses[-6:]) < 0.5 * sum(losses[:6])
    assert output.training_loss == pytest.approx(sum(losses) / 120)
    assert trainer.state.epoch == 20


def test_the_same_seed_gives_the_same_weights() -> None:
    weights = []
    for seed in (42, 42, 1):
        trainer = make_trainer(seed=seed)
        trainer.train()
        weights.append(weights_of(trainer))
    assert are_equal(weights[0], weights[1])
    assert not are_equal(weights[0], weights[2])


def test_accumulating_micro_batches_gives_the_update_of_a_large_batch() -> None:
    """With a mean over equally large micro-batches and without dropout."""
    options: dict[str, Any] = {"optim": "sgd", "max_grad_norm": 0}
    split = make_trainer(
        model=make_net(dropout=0.0),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        **options,
    )
    whole = make_trainer(model=make_net(dropout=0.0), per_device_train_batch_size=8, **options)
    split.train()
    whole.train()
    assert split.state.global_step == whole.state.global_step == 3
    for name, weight in weights_of(whole).items():
        torch.testing.assert_close(weights_of(split)[name], weight)


def test_max_steps_repeats_the_data_as_often_as_it_takes() -> None:
    trainer = make_trainer(max_steps=15)
    assert trainer.train().global_step == 15
    assert trainer.state.epoch == 2.5


def test_an_iterable_data_set_needs_max_steps() -> None:
    with pytest.raises(
        ValueError, match=r"`max_steps`: -1 with a `train_dataset` that has no length.*max_steps=1000"
    ):
        make_trainer(train_dataset=Stream(make_samples())).train()


def test_a_stream_with_fewer_micro_batches_than_an_update_takes_is_an_error_and_no_endless_loop() -> (
    None
):
    trainer = make_trainer(
        train_dataset=Stream(make_samples(8)), max_steps=5, gradient_accumulation_steps=3
    )
    with pytest.raises(
        ValueError, match=r"`gradient_accumulation_steps`: 3 .* gave 2 in a whole pass.*=2"
    ):
        trainer.train()


def test_an_empty_stream_stops_training_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    trainer = make_trainer(train_dataset=Stream([]), max_steps=5)
    assert trainer.train().global_step == 0
    assert "gave no batch in epoch 0" in caplog.text


def test_an_empty_data_set_is_an_error() -> None:
    with pytest.raises(ValueError, match="`train_dataset`"):
        make_trainer(train_dataset=[]).train()


def test_a_missing_data_set_is_an_error() -> None:
    trainer = Trainer(make_net(), make_args())
    with pytest.raises(ValueError, match="`train_dataset`: it is missing"):
        trainer.train()
    with pytest.raises(ValueError, match="`eval_dataset`: it is missing"):
        trainer.evaluate()


def test_evaluating_without_data_is_found_when_the_trainer_is_made() -> None:
    with pytest.raises(ValueError, match=r"`eval_strategy`: 'epoch' needs data.*eval_strategy='no'"):
        Trainer(make_net(), make_args(eval_strategy="epoch"), train_dataset=make_samples())


@pytest.mark.parametrize("given", [{}, {"model": make_net(), "model_init": make_net}])
def test_one_of_model_and_model_init_is_needed(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="of `model` and `model_init` given"):
        Trainer(args=make_args(), **given)


def test_model_init_makes_the_model_anew_for_each_training() -> None:
    trainer = make_trainer(model_init=Net)
    trainer.train()
    first = weights_of(trainer)
    trainer.train()
    assert are_equal(first, weights_of(trainer))


def test_training_goes_on_from_where_a_first_training_ended() -> None:
    trainer = make_trainer()
    trainer.train()
    first = weights_of(trainer)
    trainer.train()
    assert not are_equal(first, weights_of(trainer))
    assert trainer.state.global_step == 6


def test_an_optimizer_and_a_schedule_that_are_given_are_used() -> None:
    model = make_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    trainer = make_trainer(model=model, optimizers=(optimizer, schedule))
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([0.5, 0.5, 0.05, 0.05, 0.005, 0.005])


def test_a_rate_that_is_a_tensor_is_logged_as_the_number_that_the_update_had() -> None:
    model = make_net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(0.6))
    trainer = make_trainer(model=model, optimizers=(optimizer, None))
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert all(type(rate) is float for rate in rates)


def test_an_optimizer_class_and_its_arguments_are_used() -> None:
    trainer = make_trainer(optimizer_cls_and_kwargs=(torch.optim.SGD, {"lr": 0.25, "momentum": 0.5}))
    trainer.train()
    assert isinstance(trainer.optimizer, torch.optim.SGD)
    assert trainer.optimizer.param_groups[0]["momentum"] == 0.5


def test_weight_decay_is_for_matrices_only() -> None:
    trainer = make_trainer(weight_decay=0.3)
    decayed, others = trainer.create_optimizer().param_groups
    assert decayed["weight_decay"] == 0.3
    assert others["weight_decay"] == 0.0
    assert {p.dim() for p in decayed["params"]} == {2}
    assert {p.dim() for p in others["params"]} == {1}


def test_frozen_parameters_are_not_in_the_optimizer_and_stay() -> None:
    model = make_net()
    model.inner.requires_grad_(False)
    before = model.inner.weight.clone()
    trainer = make_trainer(model=model)
    trainer.train()
    assert torch.equal(model.inner.weight, before)
    assert len([p for g in trainer.optimizer.param_groups for p in g["params"]]) == 4


@pytest.mark.parametrize(
    "optim", ["sgd", "adamw_torch", "adamw_torch_fused", "adagrad", "rmsprop", "adafactor", "muon"]
)
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_every_optimizer_of_torch_trains_in_every_precision(optim: str, precision: str) -> None:
    trainer = make_trainer(optim=optim, precision=precision, num_train_epochs=8, learning_rate=0.02)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before


def test_a_loss_that_is_not_finite_is_counted_and_does_not_hide_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Poisoned(Trainer):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any
        ) -> Any:
            loss = super().compute_loss(model, inputs, return_outputs, **kwargs)
            return loss * float("nan") if self.state.global_step == 2 else loss

    trainer = make_trainer(Poisoned, optim="sgd", learning_rate=0.0, logging_strategy="epoch")
    output = trainer.train()
    assert 0 < output.training_loss < 10
    assert "4 micro-batches had a loss that is not finite" in caplog.text  # from the poisoned step on
    unfiltered = make_trainer(Poisoned, optim="sgd", learning_rate=0.0, logging_nan_inf_filter=False)
    assert str(unfiltered.train().training_loss) == "nan"


class OldTrainer(Trainer):
    """Overrides methods with signatures from years ago."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False) -> Any:  # type: ignore[override]
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = nn.functional.cross_entropy(outputs["logits"], labels)
        self.called.add("compute_loss")
        return (loss, outputs) if return_outputs else loss

    def training_step(self, model: Any, inputs: Any) -> torch.Tensor:  # type: ignore[override]
        self.called.add("training_step")
        return super().training_step(model, inputs)

    def log(self, logs: dict[str, Any]) -> None:  # type: ignore[override]
        self.called.add("log")
        super().log(logs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.called: set[str] = set()
        super().__init__(*args, **kwargs)


def test_a_subclass_written_for_earlier_signatures_works() -> None:
    trainer = make_trainer(OldTrainer, gradient_accumulation_steps=2)
    trainer.train()
    assert isinstance(trainer, OldTrainer)
    assert trainer.called == {"compute_loss", "training_step", "log"}
    trainer.called.clear()
    trainer.evaluate()
    assert "compute_loss" in trainer.called


def test_a_loss_function_gets_the_labels_of_the_whole_update() -> None:
    counts: list[int] = []

    def sum_over_count(
        outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        counts.append(int(num_items_in_batch))
        return (
            nn.functional.cross_entropy(outputs["logits"], labels, reduction="sum") / num_items_in_batch
        )

    trainer = make_trainer(compute_loss_func=sum_over_count, gradient_accumulation_steps=4)
    trainer.train()
    assert counts == [16, 16, 16, 16, 8, 8]


def test_samples_may_have_more_than_the_model_takes() -> None:
    samples = [{**sample, "text": "left out", "id": 3} for sample in make_samples()]
    trainer = make_trainer(train_dataset=samples)
    assert trainer.train().global_step == 6
    with pytest.raises(TypeError, match="id"):
        make_trainer(train_dataset=samples, remove_unused_columns=False).train()


def test_samples_of_which_the_model_takes_nothing_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"a batch is empty.*Net.forward \(x, labels\)"):
        make_trainer(train_dataset=[{"text": "a"}] * 8).train()


def test_samples_that_are_no_mappings_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(TypeError, match="a sample is a tuple.*Return a dict"):
        make_trainer(train_dataset=[(torch.zeros(6), 1)] * 8).train()


def test_a_model_without_a_loss_is_an_error_that_says_what_to_do() -> None:
    samples = [{"x": sample["x"]} for sample in make_samples()]
    with pytest.raises(ValueError, match=r"Net returned logits and no 'loss' for the inputs x"):
        make_trainer(train_dataset=samples).train()


@pytest.mark.parametrize("shape", ["dict", "tuple", "loss alone"])
def test_a_model_may_return_its_loss_in_a_dict_in_a_tuple_or_alone(shape: str) -> None:
    class Shaped(Net):
        def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            outputs = super().forward(x, labels)
            return {"dict": outputs, "tuple": tuple(outputs.values()), "loss alone": outputs["loss"]}[
                shape
            ]

    trainer = make_trainer(model=Shaped())
    assert trainer.train().global_step == 6
    output = trainer.predict(make_samples(5))
    assert output.metrics["test_loss"] > 0
    assert (output.predictions is None) == (shape == "loss alone")


def test_callbacks_written_for_transformers_work() -> None:
    transformers = pytest.importorskip("transformers")
    steps: list[int] = []

    class Theirs(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            steps.append(state.global_step)
            control.should_training_stop = state.global_step == 2
            return control

    assert make_trainer(callbacks=[Theirs()]).train().global_step == 2
    assert steps == [1, 2]


def test_a_training_step_of_ones_own_may_take_batches_of_any_sort() -> None:
    class Own(Trainer):
        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
            x, labels = inputs
            loss = model(x, labels)["loss"]
            loss.backward()
            return loss.detach()

    pairs = [(sample["x"], sample["labels"]) for sample in make_samples()]
    collate = torch.utils.data.default_collate
    trainer = make_trainer(Own, train_dataset=pairs, data_collator=collate, remove_unused_columns=False)
    assert trainer.train().global_step == 6


def test_nothing_of_a_trainer_is_kept_when_it_is_gone() -> None:
    def train() -> Any:
        model = make_net()

        class Closing(Trainer):
            def compute_loss(self, _: Any, inputs: Any, return_outputs: bool = False) -> Any:  # type: ignore[override]
                outputs = model(**inputs)
                return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

        make_trainer(Closing, model=model, max_steps=1).train()
        return weakref.ref(model)

    kept = train()
    gc.collect()
    assert kept() is None


def test_a_model_returns_what_the_precision_of_its_last_trainer_wants() -> None:
    model = make_net().bfloat16()
    make_trainer(model=model, precision="bf16")
    make_trainer(model=model, precision="bf16")
    assert len(model._forward_hooks) == 1
    assert model(torch.zeros(1, 6).bfloat16())["logits"].dtype == torch.float32
    make_trainer(model=model)
    assert len(model._forward_hooks) == 0


def test_parameters_that_an_optimizer_leaves_out_are_said(caplog: pytest.LogCaptureFixture) -> None:
    class Half(OptimizerPlugin):
        def build(self) -> Any:
            return torch.optim.SGD, {"lr": 0.1}

        def group_parameters(self, model: Any, groups: Any) -> Any:
            return groups[:1]

    drivetrain.register("optimizer", "half", Half)
    make_trainer(optim="half", max_steps=1).train()
    assert (
        "leaves out 4 trainable parameters, which will not change: inner.bias, norm.weight"
        in caplog.text
    )


def test_no_more_than_ten_frames_lie_between_train_and_forward() -> None:
    depths: list[int] = []

    class Watched(Net):
        def forward(
            self, x: torch.Tensor, labels: torch.Tensor | None = None
        ) -> dict[str, torch.Tensor]:
            names = [frame.function for frame in inspect.stack(context=0)]
            depths.append(names.index("train", 1) - 1)
            return super().forward(x, labels)

    make_trainer(model=Watched(), max_steps=1).train()
    assert depths[0] <= 10


def test_the_first_learning_rate_of_a_warm_up_is_logged_before_the_schedule_moves() -> None:
    trainer = make_trainer(warmup_steps=2, learning_rate=1.0, optim="sgd")
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([0, 0.5, 1, 0.75, 0.5, 0.25])


def test_an_error_in_the_model_leaves_train_and_the_trainer_can_be_used_again() -> None:
    class Failing(TrainerCallback):
        armed = True

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.armed:
                raise RuntimeError("boom")

    callback = Failing()
    trainer = make_trainer(callbacks=[callback])
    with pytest.raises(RuntimeError, match="boom"):
        trainer.train()
    assert trainer.is_in_train is False
    callback.armed = False
    assert trainer.train().global_step == 6


def test_without_arguments_there_are_defaults() -> None:
    trainer = Trainer(make_net(), train_dataset=make_samples())
    assert trainer.args.output_dir == "tmp_trainer"
    assert trainer.args.optim == "adamw_torch"


def test_what_a_run_is_like_is_logged_at_its_start(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="drivetrain"):
        make_trainer(gradient_accumulation_steps=2).train()
    assert "24 samples, 3 updates of 8 samples (4 a micro-batch, 2 micro-batches)" in caplog.text


def test_arguments_survive_being_sent_to_another_process() -> None:
    import pickle

    args = TrainingArguments("out", use_cpu=True, report_to="none")
    assert args.device.type == "cpu"
    assert pickle.loads(pickle.dumps(args)).to_dict() == args.to_dict()
