"""The two names that the published trainer has are what they are there; all three are torchao's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from both_trainers import Scenario, compare
from tagger import make_samples, make_tagger, take_steps

from drivetrain import Trainer
from drivetrain.parts import load_optimizer
from drivetrain_torchao.library import LibraryAdamW4bit, LibraryAdamW8bit, LibraryAdamWFp8

pytestmark = pytest.mark.slow

LIBRARY = {
    "adamw_torch_4bit": LibraryAdamW4bit,
    "adamw_torch_8bit": LibraryAdamW8bit,
    "adamw_torch_fp8": LibraryAdamWFp8,
}
PUBLISHED = ["adamw_torch_4bit", "adamw_torch_8bit"]


@pytest.mark.parametrize("options", [None, "block_size=128, bf16_stochastic_round=True"])
@pytest.mark.parametrize("optim", PUBLISHED)
def test_class_and_arguments_are_the_published_ones(
    optim: str, options: str | None, make_args: Any, tmp_path: Path
) -> None:
    import transformers

    given = {"adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-6, "learning_rate": 1e-3}
    given |= {"optim": optim, "optim_args": options}
    theirs, their_keywords = transformers.Trainer.get_optimizer_cls_and_kwargs(
        transformers.TrainingArguments(str(tmp_path), use_cpu=True, report_to="none", **given)
    )
    if options is not None:  # it leaves the number a text
        their_keywords["block_size"] = int(their_keywords["block_size"])
    ours, our_keywords = Trainer.get_optimizer_cls_and_kwargs(make_args(**given))
    assert issubclass(ours, theirs)
    assert our_keywords.pop("is_compiled") is True
    assert our_keywords == their_keywords


@pytest.mark.parametrize("optim", PUBLISHED)
def test_a_run_gives_the_published_weights_to_the_last_bit(optim: str, tmp_path: Path) -> None:
    arguments = {"optim": optim, "weight_decay": 0.1, "learning_rate": 1e-3}
    scenario = Scenario(arguments=arguments, make_model=make_tagger, samples=make_samples)
    with torch.compiler.set_stance("force_eager"):  # both, without the time that compiling takes
        compare(scenario, tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("optim", LIBRARY)
def test_updates_equal_those_of_torchao(optim: str, dtype: torch.dtype, make_args: Any) -> None:
    model, other = make_tagger().to(dtype), make_tagger().to(dtype)
    groups = [{"params": list(model.parameters()), "weight_decay": 0.1}]
    optimizer = load_optimizer(make_args(optim=optim)).create(model, groups)
    library = LIBRARY[optim](other.parameters(), lr=1e-3, weight_decay=0.1, block_size=256)
    take_steps(model, optimizer, range(4))
    with torch.compiler.set_stance("force_eager"):
        take_steps(other, library, range(4))
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two), name
    assert type(optimizer.state[model.hidden.weight]["exp_avg"]).__name__.startswith("OptimState")
