"""What the arguments lead to: defaults, groups, messages, and a README whose snippet runs."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from drivetrain import ArgumentsError
from drivetrain.parts import load_optimizer

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[3] / "plugins" / "apollo" / "README.md"


@pytest.mark.parity
def test_groups_and_defaults_are_those_that_the_published_trainer_makes(
    make_model: Any, make_optimizer: Any, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import Trainer, TrainingArguments

        args = TrainingArguments(
            str(tmp_path),
            optim="apollo_adamw",
            optim_target_modules=["mlp"],
            use_cpu=True,
            report_to="none",
        )
        _, keywords = Trainer.get_optimizer_cls_and_kwargs(args, make_model())
    (published,) = (group for group in keywords["params"] if "rank" in group)
    ours = make_optimizer(make_model(), optim_args=None)
    (group,) = (group for group in ours.param_groups if "rank" in group)
    shapes = [[tuple(p.shape) for p in one.pop("params")] for one in (group, published)]
    assert shapes[0] == shapes[1]
    assert published.items() <= group.items()


def test_groups_are_split_by_weight_decay_and_by_target(make_model: Any, make_optimizer: Any) -> None:
    model = make_model()
    optimizer = make_optimizer(model, weight_decay=0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [
        ({names[id(p)] for p in group["params"]}, group["weight_decay"], group.get("rank"))
        for group in optimizer.param_groups
    ]
    biases = {"mlp.up.bias", "mlp.square.bias", "mlp.down.bias", "norm.weight", "norm.bias", "head.bias"}
    assert groups == [
        ({"head.weight"}, 0.1, None),
        ({"mlp.up.weight", "mlp.square.weight", "mlp.down.weight"}, 0.1, 4),
        (biases, 0.0, None),
    ]


@pytest.mark.parametrize("optim", ["apollo_adamw", "apollo_adamw_layerwise"])
def test_missing_targets_are_refused(optim: str, make_args: Any) -> None:
    with pytest.raises(ArgumentsError, match="APOLLO works on named modules only"):
        make_args(optim=optim, optim_target_modules=None)


def test_a_value_that_is_given_twice_is_refused(make_args: Any) -> None:
    with pytest.raises(
        ArgumentsError, match=r"eps=1e-06 contradicts `adam_epsilon`=1e-05\. Leave out one"
    ):
        make_args(optim_args="eps=1e-6", adam_epsilon=1e-5)


def test_a_refused_option_says_what_to_type(make_args: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^`optim_args`: rank=0 is not from 1 up\. Type rank=128, say\."
    ):
        make_args(optim_args="rank=0")


def test_a_rank_that_saves_nothing_is_said(
    make_model: Any, make_optimizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        make_optimizer(make_model(), optim_args="rank=16")
    assert "rank=16 saves no memory for 2 of 3 targeted modules" in caplog.text
    assert "mlp.up, mlp.down" in caplog.text


@pytest.mark.parametrize("proj", ["random", "svd"])
def test_a_rank_beyond_the_smaller_side_still_trains(
    proj: str, make_model: Any, make_optimizer: Any, train: Any
) -> None:
    for proj_type in ("std", "reverse_std", "left", "right"):
        model = make_model()
        optimizer = make_optimizer(model, optim_args={"rank": 128, "proj": proj, "proj_type": proj_type})
        losses = train(model, optimizer, range(30))
        assert losses[-1] < losses[0]


def test_stepping_inside_backward_gives_the_same_weights(
    make_model: Any, make_optimizer: Any, train: Any, assert_same_weights: Any
) -> None:
    layerwise, ordinary = make_model(), make_model()
    train(
        layerwise, make_optimizer(layerwise, optim="apollo_adamw_layerwise", weight_decay=0.1), range(8)
    )
    train(ordinary, make_optimizer(ordinary, weight_decay=0.1), range(8))
    assert_same_weights(layerwise, ordinary)


def test_options_that_a_checkpoint_overrides_are_named(
    make_model: Any, make_optimizer: Any, train: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first = make_model()
    optimizer = make_optimizer(first, optim_args="rank=4")
    train(first, optimizer, range(2))
    second = make_optimizer(make_model(), optim_args="rank=8, scale=0.5")
    with caplog.at_level(logging.WARNING):
        second.load_state_dict(optimizer.state_dict())
    assert [record.getMessage() for record in caplog.records] == [
        f"`optim_args`: {given} has no effect on a run that goes on with {saved} from its checkpoint. "
        "Type the latter, or start anew."
        for given, saved in (("rank=8", "rank=4"), ("scale=0.5", "scale=1.0"))
    ]
    train(first, second, range(2))


def test_the_seed_of_the_arguments_is_that_of_the_axes(make_args: Any) -> None:
    assert load_optimizer(make_args(seed=3)).build()[1]["seed"] == 3


def test_the_snippet_of_the_readme_runs() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("proj", ["random", "svd"])
def test_on_a_gpu_training_lowers_the_loss_and_steps_inside_backward_are_the_same(
    proj: str, make_model: Any, make_optimizer: Any, train: Any, assert_same_weights: Any
) -> None:
    options = {"rank": 4, "update_proj_gap": 20, "proj": proj}
    models = []
    for optim in ("apollo_adamw", "apollo_adamw_layerwise"):
        model = make_model().to("cuda")
        optimizer = make_optimizer(model, optim=optim, use_cpu=False, optim_args=options)
        losses = train(model, optimizer, range(150))
        assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
        models.append(model)
    assert_same_weights(*models)
