"""Every code example of the published documentation, with its import changed, on small models and data.

What is quoted is laid out as there. Where an example needs hardware or a package that this machine may not
have, the error that says so is what is tested.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from both_trainers import make_gpt2, text_samples
from fake_hub import FakeHub
from small import are_equal, make_net, make_samples, weights_of
from torch import nn

from drivetrain import (
    DataCollatorWithPadding,
    HfArgumentParser,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_scheduler,
)
from drivetrain_registry import Entry, Registry


@pytest.fixture(autouse=True)
def without_other_reporters(our_entries: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples name no reporter, which means all that are installed: here, TensorBoard's."""
    known = {f"drivetrain-{name}" for name in ("torch", "tensorboard", "galore", "hub", "liger")}
    entries = [entry for entry in our_entries if entry.distribution in known]
    monkeypatch.setattr("drivetrain_registry.registry._default", Registry(entries))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.connect(monkeypatch)
        yield hub


def rates_of(trainer: Trainer) -> list[float]:
    return [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]


# -- text classification, as the guide has it: a model, a tokenizer, and a table in two parts --------

WORDS = ["[PAD]", "[UNK]", "good", "bad", "fine", "film", "book", "very"]


def make_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]"
    )


def make_classifier(num_labels: int = 2) -> Any:
    torch.manual_seed(7)
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=16,
            num_labels=num_labels,
        )
    )


def make_dataset(tokenizer: Any, num_labels: int = 2) -> dict[str, Any]:
    import datasets

    generator = np.random.default_rng(0)
    rows = []
    for index in range(96):
        text = " ".join(generator.choice(WORDS[4:], 3))
        label = index % num_labels
        text += (" good", " bad", "")[label]
        rows.append({"text": text, "label": label, **tokenizer(text)})
    return {
        "train": datasets.Dataset.from_list(rows[:64]),
        "test": datasets.Dataset.from_list(rows[64:]),
    }


def compute_metrics(prediction: Any) -> dict[str, float]:
    logits, labels = prediction
    return {"accuracy": float((logits.argmax(-1) == labels).mean())}


@dataclass
class Task:
    """What the guide's examples use and do not make."""

    model: Any
    dataset: dict[str, Any]
    tokenizer: Any
    data_collator: Any

    @classmethod
    def make(cls, num_labels: int = 2) -> Task:
        tokenizer = make_tokenizer()
        return cls(
            make_classifier(num_labels),
            make_dataset(tokenizer, num_labels),
            tokenizer,
            DataCollatorWithPadding(tokenizer),
        )


# -- the guide -------------------------------------------------------------------------------------


def make_guide_args(**more: Any) -> TrainingArguments:
    return TrainingArguments(
        output_dir="your-model",
        learning_rate=2e-5,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=16,
        num_train_epochs=2,
        weight_decay=0.01,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        push_to_hub=True,
        **more,
    )


def make_guide_trainer(task: Task, training_args: TrainingArguments, **more: Any) -> Trainer:
    model, dataset, tokenizer, data_collator = (
        task.model,
        task.dataset,
        task.tokenizer,
        task.data_collator,
    )
    return Trainer(
        model=model,
        args=training_args,
        train_dataset=dataset["train"],
        eval_dataset=dataset["test"],
        processing_class=tokenizer,
        data_collator=data_collator,
        compute_metrics=compute_metrics,
        **more,
    )


def test_the_guides_arguments_are_made_without_a_network() -> None:
    training_args = make_guide_args()
    assert training_args.metric_for_best_model == "loss"
    assert training_args.greater_is_better is False
    assert str(training_args.hub_strategy) == "every_save"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_the_guides_trainer_trains_evaluates_saves_and_pushes_the_best(hub: FakeHub) -> None:
    task = Task.make()
    trainer = make_guide_trainer(task, make_guide_args())
    trainer.train()
    evaluations = [entry for entry in trainer.state.log_history if "eval_accuracy" in entry]
    assert [entry["epoch"] for entry in evaluations] == [1, 2]
    assert trainer.state.best_metric == min(entry["eval_loss"] for entry in evaluations)
    assert {path.name for path in Path("your-model").glob("checkpoint-*")} == {
        "checkpoint-4",
        "checkpoint-8",
    }
    pushed = hub.files("me/your-model")
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= set(pushed)
    loaded = transformers.BertForSequenceClassification.from_pretrained("your-model")
    assert are_equal(loaded.state_dict(), weights_of(trainer))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.parametrize("resume", [True, "your-model/checkpoint-4"])
def test_the_guides_trainer_goes_on_from_a_checkpoint(hub: FakeHub, resume: Any) -> None:
    trainer = make_guide_trainer(Task.make(), make_guide_args())
    trainer.train()
    weights = weights_of(trainer)
    trainer = make_guide_trainer(Task.make(), make_guide_args())
    assert trainer.train(resume_from_checkpoint=resume).global_step == 8
    assert are_equal(weights, weights_of(trainer))


def test_the_guides_log_level_is_that_of_all_libraries() -> None:
    import datasets

    for level, expected in (
        ("passive", logging.WARNING),
        ("info", logging.INFO),
        ("error", logging.ERROR),
    ):
        training_args = TrainingArguments(log_level=level)
        logger = logging.getLogger("my_app")

        log_level = training_args.get_process_log_level()
        logger.setLevel(log_level)
        datasets.utils.logging.set_verbosity(log_level)
        before = transformers.utils.logging.get_verbosity()
        transformers.utils.logging.set_verbosity(log_level)
        try:
            assert logger.level == transformers.utils.logging.get_verbosity() == expected
            Trainer(make_net(), training_args)
            assert logging.getLogger("drivetrain").level in (expected, logging.NOTSET)
        finally:
            transformers.utils.logging.set_verbosity(before)
            logging.getLogger("drivetrain").setLevel(logging.NOTSET)


def test_the_guides_command_line_sets_the_levels() -> None:
    (args,) = HfArgumentParser(TrainingArguments).parse_args_into_dataclasses(
        ["--log_level", "warning", "--log_level_replica", "error"]
    )
    assert (args.log_level, args.log_level_replica) == ("warning", "error")


@dataclass
class ModelArguments:
    model_name_or_path: str


@dataclass
class DataArguments:
    task_name: str | None = None
    max_seq_length: int = 64


def test_the_command_line_of_the_guides_script_is_read() -> None:
    words = [
        "--model_name_or_path",
        "google-bert/bert-base-cased",
        "--task_name",
        "mrpc",
        "--do_train",
        "--do_eval",
        "--max_seq_length",
        "128",
        "--per_device_train_batch_size",
        "16",
        "--learning_rate",
        "5e-5",
        "--num_train_epochs",
        "3",
        "--output_dir",
        "/tmp/mrpc/",
        "--overwrite_output_dir",
    ]
    parser = HfArgumentParser((ModelArguments, DataArguments, TrainingArguments))
    model_args, data_args, args = parser.parse_args_into_dataclasses(words)
    assert model_args.model_name_or_path == "google-bert/bert-base-cased"
    assert (data_args.task_name, data_args.max_seq_length) == ("mrpc", 128)
    assert [args.do_train, args.do_eval, args.overwrite_output_dir] == [True, True, True]
    assert (args.per_device_train_batch_size, args.num_train_epochs) == (16, 3.0)


class CustomTrainer(Trainer):
    """The guide's; the comma that is missing there is set, and ``reduction`` is the loss's."""

    def compute_loss(  # type: ignore[override]
        self,
        model: Any,
        inputs: dict[str, torch.Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        labels = inputs.pop("labels")
        # forward pass
        outputs = model(**inputs)
        logits = outputs.get("logits")
        # compute custom loss for 3 labels with different weights
        reduction = "sum" if num_items_in_batch is not None else "mean"
        loss_fct = nn.CrossEntropyLoss(
            weight=torch.tensor([1.0, 2.0, 3.0], device=model.device), reduction=reduction
        )
        loss = loss_fct(logits.view(-1, self.model.config.num_labels), labels.view(-1))  # type: ignore[union-attr]
        if num_items_in_batch is not None:
            loss = loss / num_items_in_batch
        return (loss, outputs) if return_outputs else loss


@pytest.mark.parametrize("cls", [CustomTrainer, Trainer])
def test_the_guides_weighted_loss_is_what_is_trained_and_evaluated(cls: type[Trainer]) -> None:
    task = Task.make(num_labels=3)
    trainer = cls(
        model=task.model,
        args=TrainingArguments(
            "out", use_cpu=True, report_to="none", max_steps=1, logging_steps=1, save_strategy="no"
        ),
        train_dataset=task.dataset["train"],
        eval_dataset=task.dataset["test"],
        data_collator=task.data_collator,
        compute_metrics=compute_metrics,
    )
    # Evenly many of each label, and a model that tells them apart little: twice the loss.
    unweighted = 1.0986
    evaluated = trainer.evaluate()
    expected = 2 * unweighted if cls is CustomTrainer else unweighted
    assert evaluated["eval_loss"] == pytest.approx(expected, rel=0.1)
    assert 0 <= evaluated["eval_accuracy"] <= 1
    trainer.train()
    (loss,) = (entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    assert (loss > 1.3 * unweighted) is (cls is CustomTrainer)


@pytest.mark.parametrize("accumulation", [2, 4])
def test_the_guides_weighted_loss_is_the_same_however_an_update_is_split(accumulation: int) -> None:
    losses = []
    for steps in (1, accumulation):
        task = Task.make(num_labels=3)
        trainer = CustomTrainer(
            model=task.model,
            args=TrainingArguments(
                "out",
                use_cpu=True,
                report_to="none",
                max_steps=1,
                logging_steps=1,
                per_device_train_batch_size=16 // steps,
                gradient_accumulation_steps=steps,
                save_strategy="no",
            ),
            train_dataset=task.dataset["train"],
            data_collator=task.data_collator,
        )
        for module in task.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_guides_callback_stops_after_ten_steps() -> None:
    class EarlyStoppingCallback(TrainerCallback):
        def __init__(self, num_steps: int = 10) -> None:
            self.num_steps = num_steps

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            if state.global_step >= self.num_steps:
                return {"should_training_stop": True}
            else:  # noqa: RET505  # as it is published
                return {}

    args = TrainingArguments(
        "out", use_cpu=True, report_to="none", num_train_epochs=5, save_strategy="no"
    )
    trainer = make_guide_trainer(Task.make(), args, callbacks=[EarlyStoppingCallback()])
    assert trainer.train().global_step == 10


def test_the_guides_arguments_of_compilation_are_taken() -> None:
    training_args = TrainingArguments(
        torch_compile=True,
        torch_compile_backend="inductor",
        torch_compile_mode="default",
        output_dir="out",
    )
    assert training_args.torch_compile


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_guides_arguments_of_compilation_compile() -> None:
    args = TrainingArguments(
        output_dir="out",
        torch_compile=True,
        torch_compile_backend="aot_eager",  # "inductor" needs a compiler of C++
        report_to="none",
        use_cpu=True,
        save_strategy="no",
        max_steps=2,
    )
    assert Trainer(make_net(), args, train_dataset=make_samples()).train().global_step == 2
    torch.compiler.reset()


def test_the_guides_galore_targets_layers_by_pattern() -> None:
    torch.manual_seed(7)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=50,
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            use_cache=False,
        )
    )
    args = TrainingArguments(
        output_dir="./test-galore",
        max_steps=3,
        optim="galore_adamw",
        optim_target_modules=[r".*.attn.*", r".*.mlp.*"],
        optim_args="rank=64, update_proj_gap=100, scale=0.10",
        gradient_checkpointing=True,
        max_grad_norm=0.0,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = Trainer(model=model, args=args, train_dataset=text_samples())
    assert trainer.train().global_step == 3
    groups = [group for group in trainer.optimizer.param_groups if "rank" in group]
    assert [(g["rank"], g["update_proj_gap"], g["scale"]) for g in groups] == [(64, 100, 0.10)]
    assert len(groups[0]["params"]) == 7  # of attention and of the perceptron
    assert all(not torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.skipif(
    importlib.util.find_spec("liger_kernel") is not None, reason="tests what is said without Liger"
)
@pytest.mark.parametrize(
    "config",
    [
        {},
        {
            "liger_kernel_config": {
                "rope": True,
                "cross_entropy": True,
                "rms_norm": False,
                "swiglu": True,
            }
        },
    ],
)
def test_the_guides_liger_says_what_it_needs(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"`use_liger_kernel`: .*pip install liger-kernel"):
        make_guide_args(use_liger_kernel=True, **config)


def test_the_guides_neftune_trains_and_the_embeddings_are_as_before() -> None:
    training_args = TrainingArguments(
        "out",
        neftune_noise_alpha=0.1,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        max_steps=2,
        logging_steps=1,
    )
    model: Any = make_gpt2()
    trainer = Trainer(model=model, train_dataset=text_samples(), args=training_args)
    ids = {"input_ids": torch.arange(12)[None]}
    seen = []

    class Looking(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            embedding = model.get_input_embeddings()
            seen.append(torch.equal(embedding(ids["input_ids"]), embedding(ids["input_ids"])))

    trainer.add_callback(Looking)
    trainer.train()
    assert seen == [False, False]
    embedding = model.get_input_embeddings()
    assert torch.equal(embedding(ids["input_ids"]), embedding.weight[ids["input_ids"]])


# -- the quick reference ---------------------------------------------------------------------------


def test_the_quick_reference_trains_gpt2() -> None:
    model, train_ds, eval_ds = make_gpt2(), text_samples(70), text_samples(6)

    args = TrainingArguments(
        output_dir="checkpoints/gpt2-ft",
        per_device_train_batch_size=4,
        num_train_epochs=2,
        gradient_accumulation_steps=8,  # global batch = 4 * 8 = 32 per device
        do_train=True,
        do_eval=True,
    )

    trainer = Trainer(model=model, args=args, train_dataset=train_ds, eval_dataset=eval_ds)
    trainer.train()
    assert trainer.get_total_train_batch_size(args) == 32
    assert trainer.state.global_step == 2 * 3
    assert Path("checkpoints/gpt2-ft/checkpoint-6").is_dir()


def test_the_quick_reference_makes_an_optimizer() -> None:
    args = TrainingArguments("out", learning_rate=0.5, optim="sgd")
    optimizer_grouped_parameters = [{"params": list(make_net().parameters())}]

    optimizer_cls, optimizer_kwargs = Trainer.get_optimizer_cls_and_kwargs(args)
    optimizer = optimizer_cls(optimizer_grouped_parameters, **optimizer_kwargs)
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_the_quick_reference_changes_the_schedule() -> None:
    args = TrainingArguments(
        output_dir="out",
        lr_scheduler_type="cosine",
        num_train_epochs=3,
        warmup_ratio=0.1,
        learning_rate=1.0,
        per_device_train_batch_size=3,
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        report_to="none",
    )
    trainer = Trainer(make_net(), args, train_dataset=make_samples(30))
    trainer.train()
    warmup, total = 3, 30
    after = [0.5 * (1 + np.cos(np.pi * (t - warmup) / (total - warmup))) for t in range(warmup, total)]
    assert rates_of(trainer) == pytest.approx([0, 1 / 3, 2 / 3, *after])


def plot_schedule(
    plt: Any, scheduler_type: str, total_steps: int = 1000, warmup_ratio: float = 0.1
) -> list[float]:
    """The quick reference's helper, without showing the figure; it returns what it draws."""
    base_lr = 2e-4
    optimizer = torch.optim.AdamW([torch.zeros(1)], lr=base_lr)
    scheduler = get_scheduler(
        scheduler_type,
        optimizer=optimizer,
        num_warmup_steps=int(total_steps * warmup_ratio),
        num_training_steps=total_steps,
    )

    lrs = []
    for _step in range(total_steps):
        optimizer.step()  # no-op updates
        scheduler.step()
        lrs.append(optimizer.param_groups[0]["lr"])

    plt.plot(lrs, label=scheduler_type)
    plt.xlabel("Step")
    plt.ylabel("Learning rate")
    plt.title("Warmup + decay profile")
    plt.legend()
    return lrs


@pytest.mark.slow
def test_the_quick_reference_plots_schedules() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    linear, cosine = plot_schedule(plt, "linear"), plot_schedule(plt, "cosine")
    plt.savefig("schedules.png")
    plt.close("all")
    assert Path("schedules.png").stat().st_size > 1000
    assert max(linear) == max(cosine) == linear[99] == cosine[99] == 2e-4
    assert linear[549] == pytest.approx(1e-4)
    assert cosine[549] == pytest.approx(1e-4)
    assert linear[-1] == cosine[-1] == 0


def test_the_quick_references_anyprecision_trains() -> None:
    args = TrainingArguments(
        output_dir="out",
        optim="adamw_anyprecision",
        optim_args="momentum_dtype=float32,variance_dtype=bfloat16",
        gradient_checkpointing=True,
        max_steps=2,
        use_cpu=True,
        report_to="none",
    )
    model = make_gpt2()
    trainer = Trainer(model, args, train_dataset=text_samples())
    trainer.train()
    state = trainer.optimizer.state[model.transformer.wte.weight]
    assert (state["exp_avg"].dtype, state["exp_avg_sq"].dtype) == (torch.float32, torch.bfloat16)


@pytest.mark.slow
def test_the_quick_reference_evaluates_and_saves_every_thousand_updates() -> None:
    args = TrainingArguments(
        output_dir="runs",
        evaluation_strategy="steps",  # type: ignore[call-arg]  # an older spelling
        eval_steps=1000,
        save_strategy="steps",
        save_steps=1000,
        logging_strategy="steps",
        logging_steps=100,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        greater_is_better=True,
        use_cpu=True,
        report_to="none",
        max_steps=2000,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
    )
    trainer = Trainer(
        make_net(),
        args,
        train_dataset=make_samples(64),
        eval_dataset=make_samples(200)[64:],
        compute_metrics=compute_metrics,
    )
    trainer.train()
    evaluated = [entry for entry in trainer.state.log_history if "eval_accuracy" in entry]
    assert [entry["step"] for entry in evaluated] == [1000, 2000]
    assert trainer.state.best_metric == max(entry["eval_accuracy"] for entry in evaluated)
    assert len([entry for entry in trainer.state.log_history if "loss" in entry]) == 20
    assert {path.name for path in Path("runs").glob("checkpoint-*")} == {
        "checkpoint-1000",
        "checkpoint-2000",
    }
    best = next(e for e in evaluated if e["eval_accuracy"] == trainer.state.best_metric)
    assert Path(trainer.state.best_model_checkpoint or "").name == f"checkpoint-{best['step']}"
    assert trainer.evaluate()["eval_accuracy"] == best["eval_accuracy"]


def test_the_quick_reference_generates_while_it_predicts() -> None:
    torch.manual_seed(7)
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=30,
            d_model=16,
            d_kv=8,
            d_ff=16,
            num_layers=1,
            num_heads=2,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    )
    samples = [{"input_ids": torch.arange(2, 8), "labels": torch.tensor([5, 6, 1])}] * 3
    args = Seq2SeqTrainingArguments(
        "out",
        predict_with_generate=True,
        generation_max_length=7,
        generation_num_beams=2,
        use_cpu=True,
        report_to="none",
    )
    output = Seq2SeqTrainer(model, args).predict(samples)
    inputs = {"input_ids": torch.stack([sample["input_ids"] for sample in samples])}

    generated_tokens = model.generate(inputs["input_ids"], max_length=7, num_beams=2)
    width = generated_tokens.shape[1]
    assert (output.predictions[:, :width] == generated_tokens.numpy()).all()
    assert (output.predictions[:, width:] == 0).all()


def make_half_precision_args(**more: Any) -> TrainingArguments:
    return TrainingArguments(
        output_dir="out",
        fp16=True,  # use mixed precision
        gradient_checkpointing=True,  # reduce activation memory
        gradient_checkpointing_kwargs={"use_reentrant": False},
        **more,
    )


def test_the_quick_references_half_precision_trains() -> None:
    args = make_half_precision_args(max_steps=2, use_cpu=True, save_strategy="no")
    trainer = Trainer(make_gpt2(), args, train_dataset=text_samples())
    assert trainer.train().training_loss < 10
    with trainer.compute_loss_context_manager():
        assert nn.functional.linear(torch.ones(1, 2), torch.ones(2, 2)).dtype == torch.float16


@pytest.mark.skipif(torch.cuda.is_available(), reason="tests what is said without a GPU")
def test_the_quick_references_tensor_float_32_says_that_there_is_no_gpu() -> None:
    with pytest.raises(ValueError, match=r"`tf32`: True is for NVIDIA GPUs .* computes on cpu"):
        make_half_precision_args(tf32=True)  # allow TF32 on Ampere GPUs


# -- the examples of the set_... methods -----------------------------------------------------------

SETTERS: dict[str, tuple[dict[str, Any], str, Any]] = {
    "set_dataloader": (
        {"train_batch_size": 16, "eval_batch_size": 64},
        "per_device_train_batch_size",
        16,
    ),
    "set_evaluate": ({"strategy": "steps", "steps": 100}, "eval_steps", 100),
    "set_logging": ({"strategy": "steps", "steps": 100}, "logging_steps", 100),
    "set_lr_scheduler": ({"name": "cosine", "warmup_ratio": 0.05}, "warmup_ratio", 0.05),
    "set_optimizer": ({"name": "adamw_torch", "beta1": 0.8}, "optim", "adamw_torch"),
    "set_push_to_hub": ({"model_id": "me/awesome-model"}, "hub_model_id", "me/awesome-model"),
    "set_save": ({"strategy": "steps", "steps": 100}, "save_steps", 100),
    "set_testing": ({"batch_size": 32}, "per_device_eval_batch_size", 32),
    "set_training": ({"learning_rate": 1e-4, "batch_size": 32}, "learning_rate", 1e-4),
}


@pytest.mark.parametrize("method", SETTERS)
def test_a_setter_does_what_its_example_shows(method: str) -> None:
    given, attribute, expected = SETTERS[method]
    args = TrainingArguments("working_dir")
    args = getattr(args, method)(**given)
    assert isinstance(args, TrainingArguments)
    assert getattr(args, attribute) == expected


# -- the fields that the description of the class shows ---------------------------------------------

FIELDS = {
    "overwrite_output_dir": False,
    "do_train": False,
    "do_eval": False,
    "do_predict": False,
    "prediction_loss_only": False,
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "eval_accumulation_steps": None,
    "learning_rate": 5e-5,
    "weight_decay": 0.0,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "max_grad_norm": 1.0,
    "num_train_epochs": 3.0,
    "max_steps": -1,
    "lr_scheduler_type": "linear",
    "warmup_ratio": 0.0,
    "warmup_steps": 0,
    "log_level": "passive",
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_has_the_default_that_is_shown_and_a_help(name: str) -> None:
    (field,) = (field for field in dataclasses.fields(TrainingArguments) if field.name == name)
    assert field.default == FIELDS[name]
    assert field.metadata["help"]
    assert getattr(TrainingArguments("out"), name) == FIELDS[name]


@pytest.mark.parametrize("name", ["log_level", "log_level_replica"])
def test_levels_of_logs_have_the_choices_that_are_shown(name: str) -> None:
    (field,) = (field for field in dataclasses.fields(TrainingArguments) if field.name == name)
    assert set(field.metadata["choices"]) >= {
        "debug",
        "info",
        "warning",
        "error",
        "critical",
        "passive",
    }


@pytest.mark.parametrize(
    ("old", "value", "today"),
    [
        ("evaluation_strategy", "epoch", "eval_strategy"),
        ("per_gpu_train_batch_size", 4, "per_device_train_batch_size"),
        ("per_gpu_eval_batch_size", 4, "per_device_eval_batch_size"),
    ],
)
def test_an_older_field_that_is_shown_sets_todays_and_says_so(
    old: str, value: Any, today: str, caplog: pytest.LogCaptureFixture
) -> None:
    args = TrainingArguments("out", **{old: value})
    assert getattr(args, today) == getattr(args, old) == value
    assert f"`{old}`: the name today is `{today}`" in caplog.text


def test_the_arguments_become_a_command_line() -> None:
    words = ["--output_dir", "out", "--learning_rate", "1e-3", "--warmup_ratio", "0.1"]
    (args,) = HfArgumentParser(TrainingArguments).parse_args_into_dataclasses(words)
    assert (args.output_dir, args.learning_rate, args.warmup_ratio) == ("out", 1e-3, 0.1)
