"""Train a small Llama or GPT-2 from nothing to write like Python's documentation.

python examples/language_modeling/train.py examples/language_modeling/settings.json
python examples/language_modeling/train.py --do_train --do_eval --output_dir runs/documentation
python examples/language_modeling/train.py --help
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from documentation import read_documentation, train_tokenizer

from drivetrain import HfArgumentParser, TrainingArguments, UsageError

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from drivetrain import EvalPrediction, Trainer


@dataclass
class ModelArguments:
    """The model, which starts from random weights."""

    model_type: Literal["llama", "gpt2"] = field(default="llama", metadata={"help": "Its architecture."})
    hidden_size: int = field(default=128, metadata={"help": "Numbers that describe a token inside it."})
    num_layers: int = field(default=2, metadata={"help": "Blocks of attention and feed-forward."})
    num_heads: int = field(default=4, metadata={"help": "Heads of each attention."})
    vocab_size: int = field(default=1000, metadata={"help": "Tokens that its tokenizer knows."})


@dataclass
class DataArguments:
    """What it learns from, and what it writes at the end."""

    block_size: int = field(default=128, metadata={"help": "Tokens in a sample."})
    eval_share: float = field(default=0.05, metadata={"help": "The share of the text to evaluate with."})
    prompt: str = field(default="The ", metadata={"help": "What the text at the end begins with."})


def main() -> None:
    model_args, data_args, training_args = parse_arguments()

    # After the command line is read: these take seconds, and `--help` needs none of them.
    from drivetrain import Trainer, default_data_collator, set_seed

    set_seed(training_args.seed)
    train_text, eval_text = read_documentation(data_args.eval_share)
    tokenizer = train_tokenizer(train_text, model_args.vocab_size)
    with training_args.main_process_first(desc="cutting the text into blocks"):
        train = make_blocks(train_text, tokenizer, data_args.block_size)
        evaluation = make_blocks(eval_text, tokenizer, data_args.block_size)

    trainer = Trainer(
        model=make_model(model_args, data_args, tokenizer),
        args=training_args,
        data_collator=default_data_collator,  # blocks are of one length
        train_dataset=train,
        eval_dataset=evaluation,
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
        preprocess_logits_for_metrics=keep_likeliest,
    )

    if training_args.do_train:
        result = trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        trainer.save_model()
        trainer.log_metrics("train", {**result.metrics, "train_samples": len(train)})
        trainer.save_metrics("train", result.metrics)
        trainer.save_state()

    if training_args.do_eval:
        metrics = trainer.evaluate()
        metrics["perplexity"] = math.exp(metrics["eval_loss"])
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)
        if trainer.is_world_process_zero():
            write_sample(trainer, tokenizer, data_args)


def parse_arguments() -> tuple[ModelArguments, DataArguments, TrainingArguments]:
    """The arguments, from a JSON file if that is all that is given, else from the command line."""
    parser = HfArgumentParser((ModelArguments, DataArguments, TrainingArguments))
    if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        return parser.parse_json_file(sys.argv[1])
    return parser.parse_args_into_dataclasses()


def make_model(
    model_args: ModelArguments, data_args: DataArguments, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    """A model of the size asked for, which knows nothing yet."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        model_args.model_type,
        vocab_size=len(tokenizer),
        hidden_size=model_args.hidden_size,
        num_hidden_layers=model_args.num_layers,
        num_attention_heads=model_args.num_heads,
        max_position_embeddings=data_args.block_size,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=model_args.hidden_size**-0.5,
        tie_word_embeddings=True,
        **(
            {"intermediate_size": 3 * model_args.hidden_size} if model_args.model_type == "llama" else {}
        ),
    )
    return AutoModelForCausalLM.from_config(config)


def make_blocks(text: str, tokenizer: PreTrainedTokenizerFast, block_size: int) -> Dataset:
    """The text as blocks of one length; the few tokens after the last whole block are left out."""
    from datasets import Dataset

    paragraphs = Dataset.from_dict({"text": [f"{part}\n\n" for part in text.split("\n\n")]})

    def tokenize(samples: dict[str, list[str]]) -> Any:
        return tokenizer(samples["text"], return_attention_mask=False)

    def group(samples: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        ids = [token for tokens in samples["input_ids"] for token in tokens]
        starts = range(0, len(ids) - block_size + 1, block_size)
        blocks = [ids[start : start + block_size] for start in starts]
        return {"input_ids": blocks, "labels": blocks}

    tokens = paragraphs.map(tokenize, batched=True, remove_columns="text", desc="Tokenizing")
    return tokens.map(group, batched=True, batch_size=len(tokens), desc="Cutting into blocks")


def keep_likeliest(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The likeliest tokens, of shape (B, T): all scores of all batches would fill the memory."""
    return logits.argmax(dim=-1)


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """The share of tokens that the model had thought the likeliest."""
    predicted, labels = prediction.predictions[:, :-1], prediction.label_ids[:, 1:]
    return {"accuracy": float((predicted == labels).mean())}


def write_sample(trainer: Trainer, tokenizer: PreTrainedTokenizerFast, data_args: DataArguments) -> None:
    """Let the model go on from the prompt; print that and keep it in a file."""
    model: Any = trainer.model.eval()
    prompt = tokenizer(data_args.prompt, return_tensors="pt").to(model.device)
    ids = model.generate(**prompt, max_length=data_args.block_size, do_sample=True, temperature=0.7)
    text = tokenizer.decode(ids[0], skip_special_tokens=True)
    (Path(trainer.args.output_dir) / "sample.txt").write_text(text + "\n", encoding="utf-8")
    print(
        "\n".join(["***** what the model writes *****", *(f"  | {line}" for line in text.splitlines())])
    )


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
