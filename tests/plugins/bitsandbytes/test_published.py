"""Each name is what it is in the published trainer: the same class, arguments, and trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from both_trainers import Scenario, compare
from tagger import make_samples, make_tagger, take_steps

import drivetrain_bitsandbytes.library  # noqa: F401  (before transformers, which lets it make noise)
from drivetrain import Trainer

pytestmark = pytest.mark.slow

NAMES = [
    "adamw_bnb_8bit",
    "adamw_8bit",
    "paged_adamw_32bit",
    "paged_adamw_8bit",
    "lion_32bit",
    "lion_8bit",
    "paged_lion_32bit",
    "paged_lion_8bit",
    "ademamix",
    "ademamix_8bit",
    "paged_ademamix_32bit",
    "paged_ademamix_8bit",
    "rmsprop_bnb",
    "rmsprop_bnb_8bit",
    "rmsprop_bnb_32bit",
]


def settings(cls: type[torch.optim.Optimizer], keywords: dict[str, Any]) -> dict[str, Any]:
    """Everything that an optimizer goes by, whether it was given or is a default of its class.

    Paging is left out: on the CPU there is none, and it is not asked for here.
    """
    optimizer: Any = cls([torch.nn.Parameter(torch.zeros(2))], **keywords)
    (group,) = optimizer.param_groups
    return {**group, **vars(optimizer.args), "name": optimizer.optimizer_name, "params": None}


@pytest.mark.parametrize("optim", NAMES)
def test_class_and_arguments_are_the_published_ones(optim: str, make_args: Any, tmp_path: Path) -> None:
    import transformers

    given = {"adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-6}
    theirs_args = transformers.TrainingArguments(
        str(tmp_path), optim=optim, learning_rate=1e-3, use_cpu=True, report_to="none", **given
    )
    theirs, their_keywords = transformers.Trainer.get_optimizer_cls_and_kwargs(theirs_args)
    ours, our_keywords = Trainer.get_optimizer_cls_and_kwargs(make_args(optim=optim, **given))
    assert issubclass(ours, theirs)
    assert settings(ours, our_keywords) == settings(theirs, their_keywords)


@pytest.mark.parametrize("optim", ["adamw_bnb_8bit", "lion_8bit", "ademamix_8bit", "rmsprop_bnb"])
def test_a_run_gives_the_published_weights_to_the_last_bit(optim: str, tmp_path: Path) -> None:
    arguments = {"optim": optim, "weight_decay": 0.1, "learning_rate": 1e-3}
    compare(Scenario(arguments=arguments, make_model=make_tagger, samples=make_samples), tmp_path)


def test_the_schedules_of_ademamix_are_the_published_ones(tmp_path: Path) -> None:
    arguments = {
        "optim": "ademamix",
        "optim_args": "beta3=0.99, alpha=3.0, t_alpha=5, t_beta3=7",
        "learning_rate": 1e-3,
    }
    compare(Scenario(arguments=arguments, make_model=make_tagger, samples=make_samples), tmp_path)


def test_a_checkpoint_of_the_published_trainer_goes_on_here(make_optimizer: Any, tmp_path: Path) -> None:
    """Its optimizer state is that of the library's own class."""
    from bitsandbytes.optim import AdamW

    theirs, ours = make_tagger(), make_tagger()
    groups = make_optimizer(theirs).param_groups
    published = AdamW(
        [{k: g[k] for k in ("params", "weight_decay")} for g in groups], 1e-3, optim_bits=8
    )
    take_steps(theirs, published, range(3))
    torch.save(published.state_dict(), tmp_path / "optimizer.pt")
    ours.load_state_dict(theirs.state_dict())
    goes_on = make_optimizer(ours)
    goes_on.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    assert take_steps(ours, goes_on, range(3, 6)) == take_steps(theirs, published, range(3, 6))
