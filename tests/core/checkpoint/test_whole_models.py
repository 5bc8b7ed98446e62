"""A run of a transformers model that was killed and resumed is the uninterrupted one to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import both_trainers as both
import pytest
import tokenizers
import torch
import transformers
from peft import LoraConfig, get_peft_model
from whole_runs import MIDDLES, Run, differences, with_every_step

from drivetrain import Seq2SeqTrainer, Seq2SeqTrainingArguments, Trainer

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


def make_causal(seed: int) -> Any:
    model = both.make_gpt2()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model


def make_adapted(seed: int) -> Any:
    model = both.make_gpt2()  # what is adapted is not in the checkpoint
    torch.manual_seed(seed)
    config = LoraConfig(
        r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM", lora_dropout=0.1
    )
    return get_peft_model(model, config)


def make_sequences(seed: int) -> Any:
    torch.manual_seed(seed)
    config = transformers.T5Config(
        d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=50, decoder_start_token_id=0
    )
    return transformers.T5ForConditionalGeneration(config)


def make_tokenizer() -> Any:
    words = {
        word: number for number, word in enumerate(["<pad>", "<eos>", *(f"w{n}" for n in range(48))])
    }
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<pad>"))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>"
    )


def make_seq2seq_trainer(
    cls: Any, *, output_dir: Path, model: Any, train_dataset: Any, callbacks: Any, **arguments: Any
) -> Trainer:
    args = Seq2SeqTrainingArguments(
        str(output_dir), report_to="none", use_cpu=True, disable_tqdm=True, **arguments
    )
    parts = {"train_dataset": train_dataset, "eval_dataset": train_dataset[:5], "callbacks": callbacks}
    return Seq2SeqTrainer(model, args, compute_metrics=count_tokens, **parts)


def count_tokens(prediction: Any) -> dict[str, float]:
    return {"sum": float(prediction.predictions.sum())}


TEXT: dict[str, Any] = {
    "eval_dataset": both.text_samples(6),
    "eval_strategy": "epoch",
    "logging_steps": 2,
}
RUNS: dict[str, Run] = {
    "a causal model and its tokenizer": Run(
        with_every_step(
            processing_class=make_tokenizer(),
            gradient_checkpointing=True,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            neftune_noise_alpha=5.0,
            gradient_accumulation_steps=2,
            include_num_input_tokens_seen=True,
            per_device_train_batch_size=4,
            **{key: value for key, value in TEXT.items() if key != "eval_strategy"},
        ),
        make_causal,
        both.text_samples,
    ),
    "in the background": Run(
        with_every_step(async_save=True, bf16=True, **TEXT),
        make_causal,
        both.text_samples,
        starts=MIDDLES,
    ),
    "adapters": Run(with_every_step(**TEXT), make_adapted, both.text_samples, starts=MIDDLES),
    "adapters in the background": Run(
        with_every_step(async_save=True, **TEXT), make_adapted, both.text_samples, starts=MIDDLES
    ),
    "sequences, with answers drawn at random": Run(
        with_every_step(
            predict_with_generate=True,
            generation_config=transformers.GenerationConfig(
                do_sample=True, max_length=6, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0
            ),
            eval_strategy="steps",
            eval_steps=2,
            learning_rate=1e-2,
        ),
        make_sequences,
        both.text_samples,
        make=make_seq2seq_trainer,
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_as_if_it_had_not_stopped(name: str, tmp_path: Path) -> None:
    assert differences(RUNS[name], tmp_path) == {}
