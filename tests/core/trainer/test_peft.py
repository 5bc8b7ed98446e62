"""Models of PEFT: adapters are trained, saved and resumed, found by what they can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import both_trainers as both
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from small import are_equal, make_args, weights_of

from drivetrain import Trainer, UsageError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


def make_adapted() -> Any:
    model = both.make_gpt2()
    torch.manual_seed(1)
    config = LoraConfig(
        r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM", lora_dropout=0.1
    )
    return get_peft_model(model, config)


def make_trainer(folder: Path, **arguments: Any) -> Trainer:
    samples = both.text_samples()
    args = make_args(
        folder, **{"save_strategy": "steps", "save_steps": 3, "num_train_epochs": 2, **arguments}
    )
    return Trainer(make_adapted(), args, train_dataset=samples, eval_dataset=samples[:8])


@pytest.mark.parity
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"neftune_noise_alpha": 5.0},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}},
        {
            "save_strategy": "steps",
            "save_steps": 4,
            "eval_strategy": "steps",
            "eval_steps": 4,
            "load_best_model_at_end": True,
        },
    ],
    ids=["plain", "neftune", "gradient checkpointing", "best model"],
)
def test_training_gives_the_same_numbers_as_transformers(arguments: Any, tmp_path: Path) -> None:
    both.compare(both.Scenario(arguments, make_model=make_adapted, samples=both.text_samples), tmp_path)


def test_a_checkpoint_holds_the_adapter_and_resuming_from_it_is_exact(tmp_path: Path) -> None:
    whole = make_trainer(tmp_path)
    whole.train()
    checkpoint = tmp_path / "checkpoint-3"
    assert (checkpoint / "adapter_model.safetensors").is_file()
    assert not (checkpoint / "model.safetensors").exists()
    files = json.loads((checkpoint / "manifest.json").read_text())["files"]
    assert "adapter_model.safetensors" in files
    resumed = make_trainer(tmp_path)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert are_equal(weights_of(whole), weights_of(resumed))
    assert resumed.state.global_step == whole.state.global_step


def test_a_saved_adapter_can_be_loaded_by_peft(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "run", max_steps=2)
    trainer.train()
    trainer.save_model(tmp_path / "saved")
    loaded = PeftModel.from_pretrained(both.make_gpt2(), str(tmp_path / "saved")).eval()
    batch = torch.stack([sample["input_ids"] for sample in both.text_samples(4)])
    with torch.no_grad():
        expected = trainer.model.eval()(input_ids=batch).logits
        torch.testing.assert_close(loaded(input_ids=batch).logits, expected, rtol=0, atol=0)


def test_the_checkpoint_of_an_adapter_does_not_fit_a_plain_model(tmp_path: Path) -> None:
    make_trainer(tmp_path, max_steps=3).train()
    args = make_args(tmp_path / "other")
    plain = Trainer(both.make_gpt2(), args, train_dataset=both.text_samples())
    with pytest.raises((UsageError, FileNotFoundError), match=r"`resume_from_checkpoint`: .*adapter"):
        plain.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
