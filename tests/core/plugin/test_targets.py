"""Which modules a text, a list or a pattern leads to, and what is said of those that lead nowhere."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from torch import nn

from drivetrain.plugin import (
    UsageError,
    explain_useless_rank,
    find_target_weights,
    split_groups,
    target_problems,
)


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


def find(model: nn.Module, targets: Any) -> set[str]:
    """The names of the modules that are found, whose weights are what is found."""
    found = find_target_weights(model, targets, "GaLore")
    assert all(weight is model.get_submodule(name).weight for name, weight in found.items())
    return set(found)


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
    targets: str | list[str], expected: set[str]
) -> None:
    assert find(Language(), targets) == expected


def test_a_text_by_itself_that_matches_whole_names_matches_no_parts() -> None:
    model = nn.Sequential()
    model.add_module("fc", nn.Linear(8, 8))
    model.add_module("fc_out", nn.Linear(8, 8))
    assert find(model, "fc") == {"fc"}
    assert find(model, ["fc"]) == {"fc", "fc_out"}


def test_a_pattern_that_also_matches_containers_takes_the_linear_modules_in_them() -> None:
    assert find(Language(), r".*mlp.*") == MLP


def test_a_weight_that_is_tied_to_an_embedding_is_left_out() -> None:
    assert "lm_head" not in find(Language(), "all-linear")
    with pytest.raises(
        ValueError, match=r"'lm_head' shares its weight with a module that is no nn\.Linear"
    ):
        find(Language(), ["lm_head"])


def test_a_frozen_module_is_left_out_and_refused_if_it_is_all_there_is() -> None:
    model = Language()
    model.h[0].requires_grad_(False)
    projected = find(model, ["attn"])
    assert projected == {"h.1.attn.q_proj", "h.1.attn.o_proj"}
    with pytest.raises(ValueError, match=r"the weight of 'h\.0\.attn\.q_proj' is frozen"):
        find(model, [r"h\.0\..*"])


def test_a_module_that_is_no_linear_is_refused_by_its_class() -> None:
    with pytest.raises(ValueError, match="'wte' is of the class Embedding") as caught:
        find(Language(), ["attn", "wte"])
    assert "`optim_target_modules`: 'wte' matches no nn.Linear" in str(caught.value)


def test_a_target_that_matches_nothing_is_refused_with_what_can_be_named() -> None:
    with pytest.raises(
        ValueError, match=r"^`optim_target_modules`: 'atn' matches no nn\.Linear"
    ) as caught:
        find(Language(num_blocks=4), ["mlp", "atn"])
    message = str(caught.value)
    assert "What can be named: h.0.attn.q_proj, h.0.attn.o_proj, h.0.mlp.0, " in message
    assert message.endswith(" and 9 more. Type optim_target_modules=['q_proj'], say, or 'all-linear'.")


def test_of_modules_with_numbers_for_names_the_full_name_is_suggested() -> None:
    model = nn.ModuleDict({"body": nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8))})
    with pytest.raises(UsageError, match=r"Type optim_target_modules=\['body\.0'\], say"):
        find(model, ["atn"])
    assert find(model, ["body.0"]) == {"body.0"}


def test_a_model_without_linear_modules_is_told_to_take_another_optimizer() -> None:
    with pytest.raises(ValueError, match=r"the model has none .* Type optim='adamw_torch'"):
        find(nn.Sequential(nn.Conv1d(4, 4, 3)), "all-linear")


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
def test_what_cannot_name_modules_is_refused_before_there_is_a_model(targets: Any, problem: str) -> None:
    (said,) = target_problems(targets, "GaLore")
    assert said.startswith(f"`optim_target_modules`: {problem}")
    assert "Type optim_target_modules=['attn', 'mlp']" in said


@pytest.mark.parametrize("targets", ["all-linear", ["attn"], ("attn", r".*\.mlp\..*"), r".*proj"])
def test_what_can_name_modules_is_not_refused(targets: Any) -> None:
    assert not list(target_problems(targets, "GaLore"))


def test_the_method_is_named_in_what_is_refused() -> None:
    (said,) = target_problems(None, "Low rank")
    assert "Low rank works on named modules only" in said
    with pytest.raises(UsageError, match=r"'atn' matches no nn\.Linear that Low rank can work on"):
        find_target_weights(Language(), ["atn"], "Low rank")


def test_groups_are_split_in_their_order_and_keep_what_they_say() -> None:
    model = Block()
    attention = find_target_weights(model, ["attn"], "GaLore")
    q, o = attention.values()
    wide, narrow = model.mlp[0].weight, model.mlp[2].weight
    groups = [
        {"params": [wide, q], "weight_decay": 0.1},
        {"params": [o], "weight_decay": 0.2},
        {"params": [narrow], "weight_decay": 0.0, "rank": 1},
    ]
    split = split_groups(groups, attention.values(), {"rank": 4})
    assert [[id(p) for p in group.pop("params")] for group in split] == [
        [id(wide)],
        [id(q)],
        [id(o)],
        [id(narrow)],
    ]
    assert split == [
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "rank": 4},
        {"weight_decay": 0.2, "rank": 4},
        {"weight_decay": 0.0, "rank": 1},
    ]
    assert [len(group["params"]) for group in groups] == [2, 1, 1]


def test_a_rank_is_useless_from_the_smaller_side_on_and_four_modules_are_named() -> None:
    weights = find_target_weights(Language(), "all-linear", "GaLore")
    assert explain_useless_rank(3, weights) == ""
    said = explain_useless_rank(4, weights)  # the classifier's smaller side
    assert said.startswith("`optim_args`: rank=4 saves no memory for 1 of 9 targeted modules")
    assert "no longer than that: score. Type a lower rank" in said
    said = explain_useless_rank(8, weights)
    assert "for 9 of 9 targeted modules" in said
    assert "h.0.attn.q_proj, h.0.attn.o_proj, h.0.mlp.0, h.0.mlp.2, .... Type" in said


@pytest.mark.slow
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
def test_the_published_trainer_takes_the_same_modules(targets: Any) -> None:
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
    assert find(model, targets) == published
