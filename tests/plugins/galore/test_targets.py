from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from drivetrain import ArgumentsError


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.ModuleDict({"q_proj": nn.Linear(8, 8), "o_proj": nn.Linear(8, 8)})
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.norm = nn.LayerNorm(8)


class Language(nn.Module):
    """Names as language models have them, with the head tied to the embedding."""

    def __init__(self, num_blocks: int = 2) -> None:
        super().__init__()
        self.wte = nn.Embedding(32, 8)
        self.h = nn.ModuleList(Block() for _ in range(num_blocks))
        self.score = nn.Linear(8, 4)
        self.lm_head = nn.Linear(8, 32, bias=False)
        self.lm_head.weight = self.wte.weight


ATTENTION = {f"h.{i}.attn.{name}" for i in range(2) for name in ("q_proj", "o_proj")}
MLP = {f"h.{i}.mlp.{position}" for i in range(2) for position in (0, 2)}
ALL = ATTENTION | MLP | {"score"}


def find_projected(model: nn.Module, make_optimizer: Any, targets: Any) -> set[str]:
    """Modules whose weight is in a group of GaLore."""
    optimizer = make_optimizer(model, optim_target_modules=targets)
    groups = [group for group in optimizer.param_groups if "rank" in group]
    projected = {id(parameter) for group in groups for parameter in group["params"]}
    named = {name for name, parameter in model.named_parameters() if id(parameter) in projected}
    assert all(name.endswith(".weight") for name in named)
    return {name.removesuffix(".weight") for name in named}


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["attn"], ATTENTION),
        (["attn", "mlp"], ATTENTION | MLP),
        (["h.0.mlp.0"], {"h.0.mlp.0"}),
        ([r".*.attn.*", r".*.mlp.*"], ATTENTION | MLP),
        ([r"h\.\d\.mlp\.2", "score"], {"h.0.mlp.2", "h.1.mlp.2", "score"}),
        ("all-linear", ALL),
        ("all_linear", ALL),
        (["all-linear"], ALL),
        (r"h\.0\..*", {name for name in ATTENTION | MLP if name.startswith("h.0")}),
        ("score", {"score"}),
        ("attn", ATTENTION),
    ],
)
def test_targets_are_names_parts_of_names_and_regular_expressions(
    targets: str | list[str], expected: set[str], make_optimizer: Any
) -> None:
    assert find_projected(Language(), make_optimizer, targets) == expected


def test_a_text_by_itself_that_matches_whole_names_matches_no_parts(make_optimizer: Any) -> None:
    model = nn.Sequential()
    model.add_module("fc", nn.Linear(8, 8))
    model.add_module("fc_out", nn.Linear(8, 8))
    assert find_projected(model, make_optimizer, "fc") == {"fc"}
    assert find_projected(model, make_optimizer, ["fc"]) == {"fc", "fc_out"}


def test_a_pattern_that_also_matches_containers_takes_the_linear_modules_in_them(
    make_optimizer: Any,
) -> None:
    assert find_projected(Language(), make_optimizer, r".*mlp.*") == MLP


def test_a_weight_that_is_tied_to_an_embedding_is_left_out(make_optimizer: Any) -> None:
    assert "lm_head" not in find_projected(Language(), make_optimizer, "all-linear")
    with pytest.raises(
        ValueError, match=r"'lm_head' shares its weight with a module that is no nn\.Linear"
    ):
        make_optimizer(Language(), optim_target_modules=["lm_head"])


def test_a_frozen_module_is_left_out_and_refused_if_it_is_all_there_is(make_optimizer: Any) -> None:
    model = Language()
    model.h[0].requires_grad_(False)
    projected = find_projected(model, make_optimizer, ["attn"])
    assert projected == {"h.1.attn.q_proj", "h.1.attn.o_proj"}
    with pytest.raises(ValueError, match=r"the weight of 'h\.0\.attn\.q_proj' is frozen"):
        make_optimizer(model, optim_target_modules=[r"h\.0\..*"])


def test_a_module_that_is_no_linear_is_refused_by_its_class(make_optimizer: Any) -> None:
    with pytest.raises(ValueError, match="'wte' is of the class Embedding") as caught:
        make_optimizer(Language(), optim_target_modules=["attn", "wte"])
    assert "`optim_target_modules`: 'wte' matches no nn.Linear" in str(caught.value)


def test_a_target_that_matches_nothing_is_refused_with_what_can_be_named(make_optimizer: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^`optim_target_modules`: 'atn' matches no nn\.Linear"
    ) as caught:
        make_optimizer(Language(num_blocks=4), optim_target_modules=["mlp", "atn"])
    message = str(caught.value)
    assert "What can be named: h.0.attn.q_proj, h.0.attn.o_proj, h.0.mlp.0, " in message
    assert message.endswith(" and 9 more. Type optim_target_modules=['q_proj'], say, or 'all-linear'.")


def test_a_model_without_linear_modules_is_told_to_take_another_optimizer(make_optimizer: Any) -> None:
    with pytest.raises(ValueError, match=r"the model has none .* Type optim='adamw_torch'"):
        make_optimizer(nn.Sequential(nn.Conv1d(4, 4, 3)), optim_target_modules="all-linear")


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        (None, "None names no module"),
        ([], "[] names no module"),
        ("", "'' names no module"),
        (["attn", ""], "'' in it is no name of a module"),
        (["attn", 3], "3 in it is no name of a module"),
        (3, "3 is neither a text nor a list of texts"),
        ("*attn*", "'*attn*' is no regular expression (nothing to repeat at position 0)"),
    ],
)
def test_what_cannot_name_modules_is_refused_before_there_is_a_model(
    targets: Any, problem: str, make_args: Any
) -> None:
    with pytest.raises(ArgumentsError, match="^`optim_target_modules`: " + re.escape(problem)) as caught:
        make_args(optim_target_modules=targets)
    assert "Type optim_target_modules=['attn', 'mlp']" in str(caught.value)


@pytest.mark.parity
@pytest.mark.parametrize(
    "targets",
    [
        ["attn"],
        ["attn", "mlp"],
        [r".*.attn.*", r".*.mlp.*"],
        ["h.1"],
        ["h.0.mlp.0", "score"],
        [r"h\.\d\.mlp\.2"],
        r".*proj",
        r".*mlp.*",
        "score",
        "all-linear",
    ],
)
def test_the_published_trainer_takes_the_same_modules(targets: Any, make_optimizer: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.trainer_utils import check_target_module_exists
    model = Language()
    parameters = {name for name, _ in model.named_parameters()}
    published = {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and f"{name}.weight" in parameters
        and (targets == "all-linear" or check_target_module_exists(targets, name))
    }
    assert find_projected(model, make_optimizer, targets) == published


def test_groups_are_split_by_weight_decay_and_by_projection(
    make_model: Any, make_optimizer: Any
) -> None:
    model = make_model()
    optimizer = make_optimizer(model, weight_decay=0.1, optim_target_modules=["mlp"])
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
    assert all(isinstance(p, torch.Tensor) for group in optimizer.param_groups for p in group["params"])
