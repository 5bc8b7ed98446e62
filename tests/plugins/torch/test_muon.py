from __future__ import annotations

import copy
import logging
import re

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from drivetrain import ArgumentsError
from drivetrain.parts import load_optimizer
from drivetrain.plugin import OptionsError
from drivetrain.testing import OptimizerSuite

pytestmark = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch before 2.9 has no Muon")


@pytest.mark.slow
class TestMuon(OptimizerSuite):
    name = "muon"
    accepted_options = {
        "momentum": 0.9,
        "nesterov": False,
        "ns_coefficients": (2, -1.5, 0.5),
        "ns_steps": 3,
        "eps": 1e-6,
        "adjust_lr_fn": "original",
        "adamw_lr": 1e-4,
        "adamw_betas": (0.8, 0.9),
        "adamw_eps": 1e-7,
        "adamw_modules": ("hidden.0",),
    }
    refused_options = {"momentum": 1.0, "ns_steps": 100, "adamw_betas": (0.9, 2.0), "adamw_lr": -1}


class Language(nn.Module):
    """An embedding, a block with a normalization, and a head; tied if asked for."""

    def __init__(self, *, is_tied: bool = False, head: str = "lm_head") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(11, 8)
        self.up = nn.Linear(8, 12)
        self.norm = nn.LayerNorm(12)
        self.down = nn.Linear(12, 8, bias=False)
        self.add_module(head, nn.Linear(8, 11, bias=False))
        self.head_name = head
        if is_tied:
            getattr(self, head).weight = self.embed.weight

    def forward(self, tokens):
        hidden = self.down(torch.tanh(self.norm(self.up(self.embed(tokens)))))
        return getattr(self, self.head_name)(hidden)


def train_language(model, optimizers, num_steps, scheduler=None):
    tokens = torch.arange(22).reshape(2, 11) % 11
    for _ in range(num_steps):
        model.zero_grad()
        nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.roll(-1, 1).flatten()).backward()
        for optimizer in optimizers:
            optimizer.step()
        if scheduler:
            scheduler.step()


@pytest.fixture
def make(arguments, groups_of):
    """Makes our optimizer of a model, with arguments."""
    return lambda model, **values: load_optimizer(
        arguments(**{"optim": "muon", "learning_rate": 0.02, **values})
    ).create(model, groups_of(model))


def names_for_muon(model, optimizer):
    chosen = {id(p) for group in optimizer.param_groups if group["use_muon"] for p in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in chosen}


def assert_same_state(one, other):
    assert one["param_groups"] == other["param_groups"]
    torch.testing.assert_close(one["state"], other["state"], rtol=0, atol=0)


def test_each_half_is_bit_for_bit_that_of_torch(make, weights_of):
    ours, theirs = Language(), Language()
    train_language(ours, [make(ours, adam_beta2=0.95)], 10)
    hidden = [theirs.up.weight, theirs.down.weight]
    decayed = [theirs.embed.weight, theirs.lm_head.weight]
    others = [theirs.up.bias, theirs.norm.weight, theirs.norm.bias]
    train_language(
        theirs,
        [
            torch.optim.Muon(hidden, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(decayed, lr=0.02, betas=(0.9, 0.95), weight_decay=0.1),
            torch.optim.AdamW(others, lr=0.02, betas=(0.9, 0.95), weight_decay=0.0),
        ],
        10,
    )
    assert torch.equal(weights_of(ours), weights_of(theirs))


def test_options_reach_both_halves(make):
    optimizer = make(
        Language(),
        optim_args="momentum=0.9, nesterov=False, ns_steps=3, ns_coefficients=(2, -1.5, 0.5), eps=1e-6, "
        "adjust_lr_fn=original, adamw_lr=1e-3, adamw_betas=(0.8, 0.9), adamw_eps=1e-7",
    )
    muon, adamw = optimizer.param_groups[0], optimizer.param_groups[1]
    assert {
        key: muon[key] for key in ("lr", "momentum", "nesterov", "ns_steps", "eps", "adjust_lr_fn")
    } == {
        "lr": 0.02,
        "momentum": 0.9,
        "nesterov": False,
        "ns_steps": 3,
        "eps": 1e-6,
        "adjust_lr_fn": "original",
    }
    assert muon["ns_coefficients"] == (2.0, -1.5, 0.5)
    assert (adamw["lr"], adamw["betas"], adamw["eps"]) == (1e-3, (0.8, 0.9), 1e-7)


def test_only_what_decays_decays(make):
    model = Language()
    optimizer = make(model)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name for name, p in model.named_parameters() if decays[id(p)]} == {
        "embed.weight",
        "up.weight",
        "down.weight",
        "lm_head.weight",
    }


@pytest.mark.parametrize("head", ["lm_head", "classifier", "score", "another_name"])
def test_embedding_and_head_go_to_adamw(make, head):
    model = Language(head=head)
    assert names_for_muon(model, make(model)) == {"up.weight", "down.weight"}


def test_a_head_that_shares_the_weights_of_the_embedding_goes_to_adamw(make):
    model = Language(is_tied=True, head="another_name")
    model.get_output_embeddings = lambda: model.another_name
    assert names_for_muon(model, make(model)) == {"up.weight", "down.weight"}


def test_the_output_embeddings_that_a_model_declares_are_the_head(make):
    model = Language(head="another_name")
    model.get_output_embeddings = lambda: model.up
    assert names_for_muon(model, make(model)) == {"down.weight", "another_name.weight"}


def test_a_model_of_transformers_keeps_its_head_and_embeddings_from_muon(make):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=8, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=2
    )
    model = transformers.LlamaForCausalLM(config)
    chosen = names_for_muon(model, make(model))
    assert len(chosen) == 7
    assert all(name.startswith("model.layers.0.") for name in chosen)


def test_attention_heads_in_numbered_blocks_are_no_output_heads(make):
    block = nn.ModuleDict({"heads": nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])})
    model = nn.ModuleDict({"blocks": nn.ModuleList([block]), "lm_head": nn.Linear(4, 9)})
    assert names_for_muon(model, make(model)) == {"blocks.0.heads.0.weight", "blocks.0.heads.1.weight"}


def test_all_layers_of_a_head_go_to_adamw(make):
    model = nn.ModuleDict(
        {"body": nn.Linear(4, 4), "head": nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))}
    )
    assert names_for_muon(model, make(model)) == {"body.weight"}


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ((), {"up.weight", "down.weight", "lm_head.weight"}),
        ("up", {"down.weight", "lm_head.weight"}),
        (["up", "lm_.*"], {"down.weight"}),
    ],
)
def test_the_modules_for_adamw_can_be_named(make, modules, expected):
    model = Language()
    assert names_for_muon(model, make(model, optim_args={"adamw_modules": modules})) == expected


def test_a_named_module_stands_for_all_in_it(make):
    model = nn.ModuleDict(
        {"body": nn.Linear(4, 4), "top": nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))}
    )
    assert names_for_muon(model, make(model, optim_args="adamw_modules=top")) == {"body.weight"}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("haed", "'haed' matches no module.*such as that of up, down, lm_head"),
        ("(", "is no regular expression"),
    ],
)
def test_a_wrong_module_name_is_refused(make, pattern, message):
    with pytest.raises(ValueError, match=message):
        make(Language(), optim_args={"adamw_modules": pattern})


HEAD_ALONE = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 3), "f": nn.Linear(2, 2)})


@pytest.mark.parametrize(
    ("model", "modules", "explanation"),
    [
        (nn.Conv2d(3, 4, 3), None, "no trained matrix. Type optim='adamw_torch'."),
        (nn.Conv2d(3, 4, 3), [], "no trained matrix. Type optim='adamw_torch'."),
        (
            nn.ModuleDict({"wte": nn.Embedding(4, 2), "norm": nn.LayerNorm(2)}),
            None,
            "no trained matrix beside those of embeddings. Type optim='adamw_torch'.",
        ),
        (
            HEAD_ALONE,
            None,
            "no other trained one than those of f. Type optim='adamw_torch', or have Muon update what was "
            "taken for the output head: optim_args={'adamw_modules': []}.",
        ),
        (
            HEAD_ALONE,
            ["conv", "f"],
            "no other trained one than those of f. Type optim='adamw_torch', or name fewer in adamw_modules, "
            "which took the others.",
        ),
    ],
)
def test_a_model_without_hidden_matrices_is_refused(make, model, modules, explanation):
    asked = {} if modules is None else {"optim_args": {"adamw_modules": modules}}
    with pytest.raises(ValueError, match=rf"^`optim`: 'muon' .* has {re.escape(explanation)}$"):
        make(model, **asked)


def test_what_is_advised_for_a_model_with_a_head_alone_works(make):
    asked = {"adamw_modules": []}
    assert names_for_muon(HEAD_ALONE, make(HEAD_ALONE, optim_args=asked)) == {"f.weight"}


def test_frozen_matrices_are_left_out(make):
    model = Language()
    model.up.requires_grad_(False)
    assert names_for_muon(model, make(model)) == {"down.weight"}


def test_a_model_of_hidden_matrices_alone_needs_no_adamw(make, weights_of):
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    optimizer = make(model, optim_args={"adamw_modules": []})
    before = weights_of(model)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    assert len(optimizer.param_groups) == 1
    assert not torch.equal(weights_of(model), before)


def test_what_goes_where_is_logged(make, caplog):
    with caplog.at_level(logging.INFO):
        make(Language())
    assert (
        "muon updates 2 matrices; AdamW updates what is not 2-D, and the matrices of: embed, lm_head"
        in caplog.text
    )


def test_training_with_a_schedule_goes_on_bit_for_bit_from_a_saved_state(make, weights_of, through_disk):
    def prepare(model):
        optimizer = make(model, optim_args="adamw_lr=0.001")
        return optimizer, LambdaLR(optimizer, lambda step: 1 / (1 + step))

    model = Language()
    optimizer, scheduler = prepare(model)
    train_language(model, [optimizer], 3, scheduler)
    saved = through_disk([model.state_dict(), optimizer.state_dict(), scheduler.state_dict()])
    train_language(model, [optimizer], 3, scheduler)

    resumed = Language()
    resumed.load_state_dict(saved[0])
    other, other_scheduler = prepare(resumed)
    train_language(resumed, [other], 1)  # what it knew before is forgotten
    resumed.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    other_scheduler.load_state_dict(saved[2])
    assert_same_state(other.state_dict(), saved[1])
    train_language(resumed, [other], 3, other_scheduler)
    assert torch.equal(weights_of(resumed), weights_of(model))
    assert_same_state(other.state_dict(), optimizer.state_dict())


def test_a_copy_works_on_its_own_state(make, weights_of):
    model = Language()
    optimizer = make(model)
    train_language(model, [optimizer], 1)
    twin, other = copy.deepcopy((model, optimizer))
    train_language(model, [optimizer], 2)
    before = weights_of(model)
    train_language(twin, [other], 2)
    assert torch.equal(weights_of(twin), before)
    assert torch.equal(weights_of(model), before)


def test_a_group_that_is_added_later_goes_to_adamw(make):
    optimizer = make(Language())
    late = nn.Parameter(torch.ones(2, 2))
    optimizer.add_param_group({"params": [late]})
    late.grad = torch.ones(2, 2)
    optimizer.step()
    assert torch.allclose(late, torch.full((2, 2), 0.98))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("adjust_lr_fn=mine", "'mine' is no 'original' | 'match_rms_adamw'"),
        ("adamw_betas=(0.9, 2)", "adamw_betas=.* must both be in"),
    ],
)
def test_wrong_options_are_refused(arguments, options, message):
    with pytest.raises(OptionsError, match=message):
        arguments(optim="muon", optim_args=options)


def test_a_value_that_is_given_twice_is_refused(arguments):
    with pytest.raises(ArgumentsError, match=r"adamw_betas=.* contradicts `adam_beta1`=0.8"):
        arguments(optim="muon", adam_beta1=0.8, optim_args="adamw_betas=(0.9, 0.99)")


def test_a_torch_without_muon_is_refused_with_what_to_install(arguments, monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(
        ArgumentsError, match=r"`optim`: 'muon' needs torch 2.9 .*pip install --upgrade 'torch>=2.9'"
    ):
        arguments(optim="muon")
