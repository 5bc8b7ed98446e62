"""`Seq2SeqTrainer`: with any module that can generate, and with a small T5 beside transformers' own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import drivetrain
from drivetrain import UsageError
from drivetrain.arguments.seq2seq import Seq2SeqTrainingArguments
from drivetrain.seq2seq import Seq2SeqTrainer

QUIET: dict[str, Any] = {"report_to": "none", "use_cpu": True, "disable_tqdm": True}


class Echo(nn.Module):
    """Generates what it reads, cut to ``max_length``, and notes how it was asked to."""

    def __init__(self, pad_token_id: int | None = 0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.config = SimpleNamespace(pad_token_id=pad_token_id)
        self.calls: list[dict[str, Any]] = []

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, Any]:
        logits = self.scale * input_ids
        if labels is None:
            return {"logits": logits}
        return {"loss": (logits.mean() - labels.float().mean()).pow(2), "logits": logits}

    def generate(self, input_ids: torch.Tensor, max_length: int = 5, num_beams: int = 1) -> torch.Tensor:
        assert not self.training
        self.calls.append({"max_length": max_length, "num_beams": num_beams})
        return input_ids[:, :max_length]


def samples_of(lengths: list[int]) -> list[dict[str, Any]]:
    return [{"input_ids": torch.arange(1, n + 1), "labels": torch.arange(n) + 1} for n in lengths]


def make_trainer(model: nn.Module, lengths: list[int] | None = None, **options: Any) -> Seq2SeqTrainer:
    names = ("compute_metrics", "processing_class", "callbacks", "model_init")
    parameters = {name: options.pop(name) for name in names if name in options}
    samples = samples_of(lengths or [3, 3, 4, 4])
    args = Seq2SeqTrainingArguments(
        "out",
        **{
            **QUIET,
            "predict_with_generate": True,
            "per_device_eval_batch_size": 2,
            "per_device_train_batch_size": 2,
            "save_strategy": "no",
            **options,
        },
    )
    if "model_init" not in parameters:
        parameters["model"] = model
    return Seq2SeqTrainer(args=args, train_dataset=samples, eval_dataset=samples, **parameters)


def exact(prediction: Any) -> dict[str, float]:
    return {"exact": float((prediction.predictions == prediction.label_ids).mean())}


def test_predictions_are_generated_and_filled_up_with_the_padding_token() -> None:
    output = make_trainer(Echo(), [1, 1, 3, 3]).predict(samples_of([1, 1, 3, 3]))
    assert output.predictions.tolist() == [[1, 0, 0], [1, 0, 0], [1, 2, 3], [1, 2, 3]]
    assert output.label_ids.tolist() == output.predictions.tolist()
    assert output.metrics["test_loss"] == 0


def test_the_processing_class_says_which_token_is_the_padding_if_there_is_one() -> None:
    def last_row(model: nn.Module, processing_class: Any = None) -> list[int]:
        trainer = make_trainer(model, processing_class=processing_class)
        last: list[int] = trainer.predict(samples_of([2, 2, 1, 1])).predictions[-1].tolist()
        return last

    assert last_row(Echo(), SimpleNamespace(pad_token_id=9)) == [1, 9]
    assert last_row(Echo(), SimpleNamespace(pad_token_id=None, eos_token_id=8)) == [1, 8]
    assert last_row(Echo(pad_token_id=7), SimpleNamespace()) == [1, 7]
    assert last_row(Echo(pad_token_id=None)) == [1, -100]


def test_the_loss_is_that_of_compute_loss() -> None:
    class Doubled(Seq2SeqTrainer):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any
        ) -> Any:
            loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
            return (loss + 1, outputs) if return_outputs else loss + 1

    args = Seq2SeqTrainingArguments("out", predict_with_generate=True, **QUIET)
    trainer = Doubled(model=Echo(), args=args, eval_dataset=samples_of([3]), compute_metrics=exact)
    metrics = trainer.evaluate()
    assert metrics["eval_loss"] == 1
    assert metrics["eval_exact"] == 1


def test_what_a_call_says_comes_before_what_the_arguments_say() -> None:
    model = Echo()
    trainer = make_trainer(
        model,
        [3, 3],
        generation_max_length=2,
        generation_num_beams=3,
        compute_metrics=lambda prediction: {},
    )
    trainer.evaluate()
    trainer.evaluate(max_length=4)
    trainer.predict(samples_of([3]), num_beams=1)
    trainer.evaluate(max_length=None, num_beams=None)
    batch = {"input_ids": torch.ones(1, 3, dtype=torch.long)}
    assert trainer.prediction_step(model, batch, False, max_length=1)[1].tolist() == [[1]]
    assert model.calls == [
        {"max_length": 2, "num_beams": 3},
        {"max_length": 4, "num_beams": 3},
        {"max_length": 2, "num_beams": 1},
        {"max_length": 2, "num_beams": 3},
        {"max_length": 1, "num_beams": 3},
    ]


def test_each_of_several_sets_is_generated_as_the_call_says() -> None:
    model = Echo()
    trainer = make_trainer(model, compute_metrics=exact)
    sets = {"one": samples_of([2]), "two": samples_of([2])}
    assert {"eval_one_exact", "eval_two_exact"} < trainer.evaluate(sets, max_length=2).keys()
    assert [call["max_length"] for call in model.calls] == [2, 2]


def test_nothing_is_generated_where_only_the_loss_is_wanted_or_nobody_asks() -> None:
    model = Echo()
    assert "eval_loss" in make_trainer(model).evaluate()  # without metrics to compute
    trainer = make_trainer(model, predict_with_generate=False)
    assert trainer.predict(samples_of([3, 3])).predictions.dtype == np.float32
    assert model.calls == []


def test_samples_without_labels_are_generated_for() -> None:
    output = make_trainer(Echo()).predict([{"input_ids": torch.arange(1, 4)}])
    assert output.predictions.tolist() == [[1, 2, 3]]
    assert output.label_ids is None
    assert "test_loss" not in output.metrics


def test_training_evaluates_what_is_generated() -> None:
    trainer = make_trainer(Echo(), compute_metrics=exact, eval_strategy="epoch", num_train_epochs=2)
    trainer.train()
    logged = [entry["eval_exact"] for entry in trainer.state.log_history if "eval_exact" in entry]
    assert logged == [1.0, 1.0]


def test_a_model_that_cannot_generate_is_an_error_when_the_trainer_is_made() -> None:
    with pytest.raises(UsageError, match=r"`predict_with_generate`: .* Linear has none"):
        make_trainer(nn.Linear(1, 1))
    with pytest.raises(UsageError, match=r"`predict_with_generate`: .* Linear has none"):
        make_trainer(nn.Identity(), model_init=lambda: nn.Linear(1, 1))


def test_arguments_that_say_nothing_of_generating_are_an_error() -> None:
    with pytest.raises(UsageError, match="Pass Seq2SeqTrainingArguments"):
        Seq2SeqTrainer(model=Echo(), args=drivetrain.TrainingArguments("out", **QUIET))


def test_a_configuration_for_a_model_that_has_none_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"`generation_config`: Echo has no attribute of that name"):
        make_trainer(Echo(), generation_config="some/folder")


def test_impossible_numbers_are_an_error_and_idle_ones_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(
        ValueError, match=r"(?s)2 problems.*`generation_max_length`: 0.*`save_total_limit`"
    ):
        Seq2SeqTrainingArguments("out", generation_max_length=0, save_total_limit=0)
    Seq2SeqTrainingArguments("out", generation_num_beams=4)
    assert "`generation_num_beams`: 4 has no effect without `predict_with_generate`" in caplog.text
    caplog.clear()
    Seq2SeqTrainingArguments("out", predict_with_generate=True, prediction_loss_only=True)
    assert "`predict_with_generate`: True has no effect with `prediction_loss_only`=True" in caplog.text


def test_the_arguments_are_read_from_a_command_line() -> None:
    words = "--output_dir out --predict_with_generate --generation_config a/b --generation_max_length 9"
    (args,) = drivetrain.HfArgumentParser(Seq2SeqTrainingArguments).parse_args_into_dataclasses(
        words.split()
    )
    assert (args.predict_with_generate, args.generation_config) == (True, "a/b")
    assert args.generation_max_length == 9


# -- with transformers -------------------------------------------------------------------------------


def make_t5() -> Any:
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    import transformers

    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=32,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        dropout_rate=0.0,
    )
    return transformers.T5ForConditionalGeneration(config)


def text_samples(count: int = 8, length: int = 4) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        {
            "input_ids": torch.randint(2, 32, (6,), generator=generator),
            "attention_mask": torch.ones(6, dtype=torch.long),
            "labels": torch.randint(2, 32, (length,), generator=generator),
        }
        for _ in range(count)
    ]


def tokens_right(prediction: Any) -> dict[str, float]:
    predictions, labels = prediction.predictions, prediction.label_ids
    width = min(predictions.shape[1], labels.shape[1])
    return {"right": float((predictions[:, :width] == labels[:, :width]).mean())}


def collate_for_decoder(samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """A batch with the labels shifted by one, too, as the decoder reads them."""
    batch = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
    shifted = batch["labels"].roll(1, dims=1)
    shifted[:, 0] = 0
    return {**batch, "decoder_input_ids": shifted}


def train_and_predict(library: Any, folder: Path, options: dict[str, Any], call: dict[str, Any]) -> Any:
    """Metrics of an evaluation, then what is predicted, of a short training."""
    is_ours = library is drivetrain
    trainer_class = Seq2SeqTrainer if is_ours else library.Seq2SeqTrainer
    args_class = Seq2SeqTrainingArguments if is_ours else library.Seq2SeqTrainingArguments
    args = args_class(
        str(folder),
        predict_with_generate=True,
        per_device_eval_batch_size=4,
        per_device_train_batch_size=4,
        max_steps=3,
        learning_rate=1e-2,
        optim="adamw_torch",
        save_strategy="no",
        **QUIET,
        **options,
    )
    samples = text_samples()
    trainer = trainer_class(
        model=make_t5(),
        args=args,
        train_dataset=samples,
        eval_dataset=samples,
        compute_metrics=tokens_right,
        data_collator=collate_for_decoder if "label_smoothing_factor" in options else None,
    )
    trainer.train()
    metrics = trainer.evaluate(**call)
    return {name: metrics[name] for name in ("eval_loss", "eval_right")}, trainer.predict(
        samples, **call
    )


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "shorter than the configuration": ({"generation_max_length": 9}, {}),
    "longer, with beams": ({"generation_num_beams": 3}, {"max_length": 25}),
    "more new tokens": ({"generation_max_length": 9}, {"max_new_tokens": 23}),
    "label smoothing": ({"generation_max_length": 9, "label_smoothing_factor": 0.1}, {}),
}


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("case", CASES)
def test_ids_and_metrics_are_those_of_transformers(tmp_path: Path, case: str) -> None:
    import transformers

    theirs, their_output = train_and_predict(transformers, tmp_path, *CASES[case])
    ours, our_output = train_and_predict(drivetrain, tmp_path, *CASES[case])
    assert ours == theirs
    np.testing.assert_array_equal(our_output.predictions, their_output.predictions)
    np.testing.assert_array_equal(our_output.label_ids, their_output.label_ids)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_configuration_can_be_an_object_a_path_or_a_dict(tmp_path: Path) -> None:
    import transformers

    config = transformers.GenerationConfig(
        max_length=7, num_beams=2, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0
    )
    config.save_pretrained(tmp_path)
    model = make_t5()
    for given in (
        config,
        config.to_dict(),
        str(tmp_path),
        tmp_path,
        tmp_path / "generation_config.json",
    ):
        trainer = make_trainer(model, generation_config=given)
        used: Any = trainer.model.generation_config
        assert (used.max_length, used.num_beams) == (7, 2)
        assert trainer.predict(text_samples(3)).predictions.shape == (3, 7)
    args = make_trainer(model, generation_config=config).args
    assert args.generation_config is config
    assert json.loads(args.to_json_string())["generation_config"]["max_length"] == 7


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_configuration_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`generation_config`: .*nowhere cannot be used"):
        make_trainer(make_t5(), generation_config=str(tmp_path / "nowhere"))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_decoder_is_not_given_the_answer() -> None:
    samples = text_samples(4)
    trainer = make_trainer(make_t5())
    plain = trainer.predict(samples).predictions
    trainer.data_collator = collate_for_decoder
    np.testing.assert_array_equal(trainer.predict(samples).predictions, plain)
