"""Train a small T5 from nothing to put spaces between the words of a name: getfilename, get file name.

python examples/seq2seq/train.py examples/seq2seq/settings.json
python examples/seq2seq/train.py --do_train --do_eval --predict_with_generate --output_dir runs/words
python examples/seq2seq/train.py --help
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from identifiers import MOST_CHARACTERS, make_tokenizer, read_identifiers

from drivetrain import HfArgumentParser, Seq2SeqTrainingArguments, UsageError

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

    from drivetrain import EvalPrediction

LONGEST = 2 * MOST_CHARACTERS
"""Tokens that an answer can have."""


@dataclass
class ModelArguments:
    """The model, which starts from random weights."""

    d_model: int = field(default=64, metadata={"help": "Numbers that describe a letter inside it."})
    num_layers: int = field(default=2, metadata={"help": "Blocks of the encoder, and of the decoder."})
    num_heads: int = field(default=4, metadata={"help": "Heads of each attention."})


@dataclass
class DataArguments:
    """What it learns from."""

    num_eval: int = field(default=300, metadata={"help": "Names to evaluate with."})
    num_predict: int = field(default=300, metadata={"help": "Further names to predict the words of."})
    max_train_samples: int | None = field(
        default=None, metadata={"help": "Names to train on. By default: all others."}
    )


def main() -> None:
    model_args, data_args, training_args = parse_arguments()

    # After the command line is read: these take seconds, and `--help` needs none of them.
    from transformers import DataCollatorForSeq2Seq

    from drivetrain import Seq2SeqTrainer, set_seed

    set_seed(training_args.seed)
    tokenizer = make_tokenizer()
    model = make_model(model_args, tokenizer)
    with training_args.main_process_first(desc="reading the names"):
        train, evaluation, test = make_datasets(data_args, tokenizer)

    trainer = Seq2SeqTrainer(
        model=model,
        args=training_args,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        train_dataset=train,
        eval_dataset=evaluation,
        processing_class=tokenizer,
        compute_metrics=make_metrics(tokenizer) if training_args.predict_with_generate else None,
    )

    if training_args.do_train:
        result = trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        trainer.save_model()
        trainer.log_metrics("train", {**result.metrics, "train_samples": len(train)})
        trainer.save_metrics("train", result.metrics)
        trainer.save_state()

    if training_args.do_eval:
        metrics = trainer.evaluate(metric_key_prefix="eval")
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)

    if training_args.do_predict:
        output = trainer.predict(test, metric_key_prefix="predict")
        trainer.log_metrics("predict", output.metrics)
        trainer.save_metrics("predict", output.metrics)
        if trainer.is_world_process_zero() and training_args.predict_with_generate:
            file = Path(training_args.output_dir) / "predictions.csv"
            write_predictions(file, test, decode(output.predictions, tokenizer))


def parse_arguments() -> tuple[ModelArguments, DataArguments, Seq2SeqTrainingArguments]:
    """The arguments, from a JSON file if that is all that is given, else from the command line."""
    parser = HfArgumentParser((ModelArguments, DataArguments, Seq2SeqTrainingArguments))
    if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        return parser.parse_json_file(sys.argv[1])
    return parser.parse_args_into_dataclasses()


def make_model(
    model_args: ModelArguments, tokenizer: PreTrainedTokenizerFast
) -> T5ForConditionalGeneration:
    """A T5 of the size asked for, which knows nothing yet."""
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=model_args.d_model,
        d_kv=model_args.d_model // model_args.num_heads,
        d_ff=2 * model_args.d_model,
        num_layers=model_args.num_layers,
        num_heads=model_args.num_heads,
        feed_forward_proj="gated-gelu",
        relative_attention_max_distance=LONGEST,
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    model = T5ForConditionalGeneration(config)
    model.generation_config.max_length = LONGEST
    return model


def make_datasets(data_args: DataArguments, tokenizer: PreTrainedTokenizerFast) -> list[Dataset]:
    """The names to train on, to evaluate with and to predict, as tokens."""
    from datasets import Dataset

    num_held_out = data_args.num_eval + data_args.num_predict
    train, held_out = map(Dataset.from_dict, read_identifiers(num_held_out))
    train = train.select(range(min(len(train), data_args.max_train_samples or len(train))))
    evaluation = held_out.select(range(data_args.num_eval))
    test = held_out.select(range(data_args.num_eval, num_held_out))

    def tokenize(samples: dict[str, list[str]]) -> Any:
        return tokenizer(samples["text"], text_target=samples["words"])

    return [data.map(tokenize, batched=True, desc="Tokenizing") for data in (train, evaluation, test)]


def make_metrics(tokenizer: PreTrainedTokenizerFast) -> Callable[[EvalPrediction], dict[str, float]]:
    """What makes metrics of token ids: the share of names that are split right in every place."""

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        answers = decode(prediction.predictions, tokenizer)
        words = decode(prediction.label_ids, tokenizer)
        is_right = [answer == right for answer, right in zip(answers, words, strict=True)]
        return {"exact_match": sum(is_right) / len(is_right)}

    return compute_metrics


def decode(ids: np.ndarray, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """The texts of rows of token ids, where -100 is nothing."""
    ids = ids.copy()
    ids[ids < 0] = tokenizer.pad_token_id
    texts: list[str] = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return texts


def write_predictions(file: Path, test: Dataset, answers: list[str]) -> None:
    """A table of the names with their words and what the model says."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["text", "words", "predicted"])
        table.writerows(zip(test["text"], test["words"], answers, strict=True))


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as error:
        print(
            f"{error.name} is not installed. Type: pip install -r requirements/examples.txt",
            file=sys.stderr,
        )
        sys.exit(1)
    except UsageError as error:  # a wrong value in the JSON file, a checkpoint that is not there, ...
        print(error, file=sys.stderr)
        sys.exit(2)
