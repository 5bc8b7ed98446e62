"""Train a small convolutional network to read handwritten digits.

python examples/image_classification/train.py examples/image_classification/settings.json
python examples/image_classification/train.py --do_train --do_eval --output_dir runs/digits
python examples/image_classification/train.py --help
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from drivetrain import HfArgumentParser, TrainingArguments, UsageError

if TYPE_CHECKING:
    from drivetrain import EvalPrediction


@dataclass
class ModelArguments:
    """The network."""

    width: int = field(default=32, metadata={"help": "Channels of the first convolution."})
    dropout: float = field(
        default=0.2, metadata={"help": "Share of activations set to zero in training."}
    )


@dataclass
class DataArguments:
    """What it learns from."""

    test_share: float = field(default=0.2, metadata={"help": "The share of the images held out."})
    max_shift: int = field(
        default=1, metadata={"help": "Pixels by which training images are moved at random."}
    )


def main() -> None:
    model_args, data_args, training_args = parse_arguments()

    # After the command line is read: these take seconds, and `--help` needs none of them.
    from digits import load_digits
    from net import DigitNet
    from picture import draw_results

    from drivetrain import Trainer, set_seed

    set_seed(training_args.seed)
    train, test = load_digits(data_args.test_share, data_args.max_shift)
    trainer = Trainer(
        model=DigitNet(model_args.width, model_args.dropout),
        args=training_args,
        train_dataset=train,
        eval_dataset=test,
        compute_metrics=compute_metrics,
    )

    if training_args.do_train:
        result = trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        trainer.save_model()
        trainer.log_metrics("train", result.metrics)
        trainer.save_metrics("train", result.metrics)
        trainer.save_state()

    if training_args.do_eval:
        output = trainer.predict(test, metric_key_prefix="eval")
        trainer.log_metrics("eval", output.metrics)
        trainer.save_metrics("eval", output.metrics)
        if trainer.is_world_process_zero():
            predicted = output.predictions.argmax(axis=-1)
            file = Path(training_args.output_dir) / "predictions.png"
            draw_results(test.images.numpy(), test.digits.numpy(), predicted, file)


def parse_arguments() -> tuple[ModelArguments, DataArguments, TrainingArguments]:
    """The arguments, from a JSON file if that is all that is given, else from the command line."""
    parser = HfArgumentParser((ModelArguments, DataArguments, TrainingArguments))
    if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        return parser.parse_json_file(sys.argv[1])
    return parser.parse_args_into_dataclasses()


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """The share of images that were read right."""
    is_right = prediction.predictions.argmax(axis=-1) == prediction.label_ids
    return {"accuracy": float(is_right.mean())}


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
