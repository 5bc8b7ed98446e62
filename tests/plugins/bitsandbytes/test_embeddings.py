"""8-bit optimizers keep the state of embeddings in 32 bits: theirs, and nobody else's."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from tagger import make_batch, make_tagger, take_steps
from torch import nn

from drivetrain import Trainer, TrainingArguments

pytestmark = pytest.mark.slow

EIGHT_BITS = ["adamw_bnb_8bit", "paged_adamw_8bit", "lion_8bit", "ademamix_8bit", "rmsprop_bnb_8bit"]


def formats(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.dtype]:
    """The format of each weight's state."""
    return {
        name: optimizer.state[parameter]["state1"].dtype
        for name, parameter in model.named_parameters()
        if name.endswith("weight")
    }


@pytest.mark.parametrize("optim", EIGHT_BITS)
def test_embeddings_and_small_weights_have_32_bits_and_all_others_8(
    optim: str, make_optimizer: Any
) -> None:
    model = make_tagger()
    optimizer = make_optimizer(model, optim=optim)
    take_steps(model, optimizer, range(1))
    assert formats(model, optimizer) == {
        "embedding.weight": torch.float32,
        "hidden.weight": torch.uint8,
        "norm.weight": torch.float32,
        "head.weight": torch.uint8,
    }


def test_an_output_layer_that_shares_the_weight_of_an_embedding_has_32_bits(make_optimizer: Any) -> None:
    model = make_tagger()
    model.head.weight = model.embedding.weight
    optimizer = make_optimizer(model)
    take_steps(model, optimizer, range(1))
    assert optimizer.state[model.head.weight]["state1"].dtype == torch.float32
    assert optimizer.state[model.hidden.weight]["state1"].dtype == torch.uint8


def test_another_optimizer_on_the_same_weights_knows_nothing_of_it(make_optimizer: Any) -> None:
    from bitsandbytes.optim import AdamW

    model = make_tagger()
    take_steps(model, make_optimizer(model), range(1))
    of_the_library = AdamW(model.parameters(), optim_bits=8)
    take_steps(model, of_the_library, range(1))
    assert of_the_library.state[model.embedding.weight]["state1"].dtype == torch.uint8


def test_what_the_library_was_told_for_the_whole_process_still_holds(make_optimizer: Any) -> None:
    from bitsandbytes.optim import GlobalOptimManager

    model = make_tagger()
    manager = GlobalOptimManager.get_instance()
    manager.override_config(model.hidden.weight, "optim_bits", 32)
    optimizer = make_optimizer(model)
    take_steps(model, optimizer, range(1))
    assert formats(model, optimizer)["hidden.weight"] == torch.float32
    assert formats(model, optimizer)["head.weight"] == torch.uint8


def test_the_embeddings_are_named_in_the_log(
    make_optimizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="drivetrain_bitsandbytes"):
        make_optimizer(make_tagger())
    assert caplog.messages == [
        "adamw_8bit keeps the state of embeddings in 32 bits: embedding (5120 parameters)."
    ]


@pytest.mark.parametrize("optim", ["adamw_8bit", "ademamix"])
def test_nothing_is_logged_of_embeddings_that_are_frozen_or_in_32_bits_anyway(
    optim: str, make_optimizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model = make_tagger()
    model.embedding.requires_grad_(optim == "ademamix")
    with caplog.at_level(logging.INFO, logger="drivetrain_bitsandbytes"):
        make_optimizer(model, optim=optim)
    assert caplog.messages == []


def test_embeddings_go_on_in_32_bits_after_a_state_was_loaded(make_optimizer: Any) -> None:
    model = make_tagger()
    first = make_optimizer(model)
    take_steps(model, first, range(1))
    second = make_optimizer(model)
    second.load_state_dict(first.state_dict())
    take_steps(model, second, range(1, 2))
    assert formats(model, second)["embedding.weight"] == torch.float32


@pytest.mark.parametrize("is_overridden", [False, True])
def test_embeddings_have_32_bits_too_where_the_class_and_its_arguments_were_taken_by_hand(
    tmp_path: Any, is_overridden: bool
) -> None:
    class Asking(Trainer):
        @staticmethod
        def get_optimizer_cls_and_kwargs(args: Any, model: Any = None) -> Any:
            return Trainer.get_optimizer_cls_and_kwargs(args, model)

    args = TrainingArguments(
        str(tmp_path), optim="adamw_8bit", max_steps=1, report_to="none", use_cpu=True, disable_tqdm=True
    )
    model = make_tagger()
    given = (
        {} if is_overridden else {"optimizer_cls_and_kwargs": Trainer.get_optimizer_cls_and_kwargs(args)}
    )
    batch = make_batch(0)
    samples = [
        {"ids": ids, "labels": label} for ids, label in zip(batch["ids"], batch["labels"], strict=True)
    ]
    trainer = (Asking if is_overridden else Trainer)(model, args, train_dataset=samples, **given)
    trainer.train()
    assert formats(model, trainer.optimizer)["embedding.weight"] == torch.float32
    assert formats(model, trainer.optimizer)["hidden.weight"] == torch.uint8
