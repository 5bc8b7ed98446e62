"""The family: its names are the library's, and what the arguments say reaches each of them."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from small import are_equal, make_args, make_net, make_samples, make_trainer, weights_of
from torch import nn
from torch.optim import Optimizer

from drivetrain import Trainer, TrainingArguments, UsageError
from drivetrain.cli import main as run_command
from drivetrain.parts import load_optimizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def library() -> ModuleType:
    """pytorch_optimizer; not imported when tests are collected."""
    return importlib.import_module("pytorch_optimizer")


@pytest.fixture(scope="module")
def family() -> ModuleType:
    return importlib.import_module("drivetrain_pytorch_optimizer.family")


def make_optimizer(name: str, net: nn.Module | None = None, **arguments: Any) -> Optimizer:
    args = make_args(optim=name, **arguments)
    return Trainer(net or make_net(), args, train_dataset=make_samples()).create_optimizer()


def keywords_of(name: str, **arguments: Any) -> dict[str, Any]:
    return load_optimizer(make_args(optim=name, **arguments)).build()[1]


# -- names ----------------------------------------------------------------------------------------


def test_the_names_are_those_of_the_library(library: ModuleType, family: ModuleType) -> None:
    assert family.names() == [f"po_{name}" for name in library.get_supported_optimizers()]


def test_what_a_newer_library_adds_has_a_name(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Newest(torch.optim.SGD):
        """Steps downhill."""

    monkeypatch.setitem(library.optimizer.OPTIMIZERS, "newest", Newest)
    optimizer = make_optimizer("po_newest", optim_args="momentum=0.5")
    assert type(optimizer) is Newest
    assert {group["momentum"] for group in optimizer.param_groups} == {0.5}


def test_a_name_that_it_does_not_have_comes_with_near_ones() -> None:
    with pytest.raises(
        UsageError, match=r"'po_sopa' is none of the \d+ optimizers .* Did you mean .*'po_soap'"
    ):
        make_args(optim="po_sopa")


def test_a_qualified_name_leads_to_the_same(library: ModuleType) -> None:
    optimizer = make_optimizer("drivetrain-pytorch-optimizer:po_lion")
    assert type(optimizer) is library.Lion


def test_the_library_is_not_imported_before_one_of_its_names_is_used() -> None:
    code = (
        "import sys; from drivetrain import TrainingArguments;"
        "from drivetrain_registry import default_registry;"
        "assert default_registry().resolve('optimizer', 'po_lion') is not None;"
        "TrainingArguments('out', optim='adamw_torch', report_to='none', use_cpu=True);"
        "assert 'pytorch_optimizer' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_papers_are_those_of_the_librarys_table(family: ModuleType) -> None:
    paper = "Improving and Stabilizing Shampoo using Adam, arXiv:2409.11321"
    assert family.find("po_soap").paper == paper
    without = [name for name in family.names() if not family.find(name).paper]
    assert len(without) < len(family.names()) / 5


# -- arguments ------------------------------------------------------------------------------------


def test_own_defaults_hold_unless_an_argument_is_set() -> None:
    assert keywords_of("po_lion") == {"lr": 1e-2}
    assert keywords_of("po_lion", adam_beta1=0.8) == {"lr": 1e-2, "betas": (0.8, 0.99)}
    assert keywords_of("po_lion", optim_args="betas=(0.7, 0.6)") == {"lr": 1e-2, "betas": (0.7, 0.6)}
    groups = make_optimizer("po_lion", weight_decay=0.3).param_groups
    assert [(group["betas"], group["weight_decay"]) for group in groups] == [
        ((0.9, 0.99), 0.3),
        ((0.9, 0.99), 0),
    ]


def test_it_is_the_librarys_own_class_bit_by_bit(library: ModuleType) -> None:
    ours, theirs = make_net(dropout=0.0), make_net(dropout=0.0)
    decayed = [theirs.inner.weight, theirs.outer.weight]
    others = [theirs.inner.bias, theirs.norm.weight, theirs.norm.bias, theirs.outer.bias]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    batch = torch.utils.data.default_collate(make_samples(8))
    optimizers = {
        ours: make_optimizer("po_soap", ours, weight_decay=0.1, optim_args="precondition_frequency=2"),
        theirs: library.SOAP(groups, lr=1e-2, precondition_frequency=2),
    }
    for net, optimizer in optimizers.items():
        for _ in range(5):
            net(**batch)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_a_rate_that_nobody_chose_is_set_beside_the_class_s_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        TrainingArguments("out", optim="po_prodigy", report_to="none", use_cpu=True)
    assert "that of Prodigy is 1. Type learning_rate=1 for that." in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        make_args(optim="po_prodigy")
    assert caplog.text == ""


def test_a_value_that_the_class_refuses_is_refused_with_the_arguments() -> None:
    with pytest.raises(
        UsageError,
        match=r"`optim_args`: SOAP cannot be made with betas=\(2\.0, 0\.9\): beta1 must be in",
    ):
        make_args(optim="po_soap", optim_args="betas=(2.0, 0.9)")


def test_a_rate_that_the_groups_lack_is_no_obstacle_to_a_schedule(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainer = make_trainer(optim="po_a2grad", lr_scheduler_type="linear")
    before = weights_of(trainer)
    trainer.train()
    assert not are_equal(before, weights_of(trainer))
    assert "neither `learning_rate` nor the schedule has an effect" in caplog.text


def test_options_of_what_cannot_be_used_are_not_asked_for() -> None:
    for given in (None, "num_data=24"):
        with pytest.raises(
            UsageError, match="'po_bsam' cannot be used as it is: its `step` needs a clos"
        ):
            make_args(optim="po_bsam", optim_args=given)


def test_what_an_option_brings_about_in_the_first_update_is_said_with_its_value() -> None:
    with pytest.raises(
        UsageError,
        match=r"ZeroDivisionError: .* made with lr=0\.01, d0=0\.0: if one of these is at fault",
    ):
        make_trainer(optim="po_prodigy", optim_args="d0=0").train()


def test_what_the_constructor_would_swallow_is_refused() -> None:
    with pytest.raises(UsageError, match="'precondition_freq' is no option of 'po_soap'"):
        make_args(optim="po_soap", optim_args="precondition_freq=2")


def test_an_option_without_a_default_is_asked_for() -> None:
    with pytest.raises(UsageError, match=r"'po_ranger21' .* needs num_iterations"):
        make_args(optim="po_ranger21")


def test_cautions_are_said_unless_they_are_settled(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        make_args(optim="po_adafactor")
        make_args(optim="po_kron")
    assert "'po_adafactor' computes its rate from the number of updates" in caplog.text
    assert "'po_kron' has a preconditioner for each dimension of a weight" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        make_args(optim="po_adafactor", optim_args="relative_step=False")
        make_args(optim="po_kron", optim_args="memory_save_mode=one_diag")
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["po_asgd", "po_gravity"])
def test_what_divides_by_the_rate_is_refused_with_warm_up(name: str) -> None:
    with pytest.raises(UsageError, match=f"`warmup_steps`: '{name}' divides by the rate, which is 0"):
        make_args(optim=name, warmup_steps=2)
    make_args(optim=name)


def test_what_cannot_be_used_says_so_on_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plugins", "show", "po_sophiah"]) == 0
    assert "Cannot be used: it needs gradients of gradients" in capsys.readouterr().out


def test_functions_among_the_options_are_shown_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plugins", "show", "po_adopt"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "clip_lambda" in line]
    assert line.split(maxsplit=1)[1].split("  ")[0] == "Callable[[float], float]"
    assert line.endswith(" a function")
    with pytest.raises(UsageError, match=r"clip_lambda: Callable\[\[float\], float\] = a function;"):
        make_args(optim="po_adopt", optim_args="clip=1")


# -- muon and its relatives -----------------------------------------------------------------------


class Decoder(nn.Module):
    """Modules as models have them, with an output layer tied to the embedding if wanted."""

    def __init__(self, *, is_tied: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.hidden = nn.Linear(4, 4)
        self.outer = nn.Linear(4, 5, bias=False)
        if is_tied:
            self.outer.weight = self.embedding.weight


def split_of(net: nn.Module, **options: Any) -> tuple[dict[str, float], dict[str, float]]:
    """The rates of the parameters that Muon updates, and of those that AdamW does."""
    optimizer = make_optimizer("po_muon", net, weight_decay=0.1, optim_args=options)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    split: tuple[dict[str, float], dict[str, float]] = {}, {}
    for group in optimizer.param_groups:
        rates = {names[id(parameter)]: group["lr"] for parameter in group["params"]}
        split[0 if group["use_muon"] else 1].update(rates)
    return split


def test_muon_takes_matrices_of_hidden_layers_and_adamw_the_rest() -> None:
    by_muon, by_adamw = split_of(Decoder(), adamw_modules=["outer"], adamw_lr=1e-3)
    assert by_muon == {"hidden.weight": 1e-2}
    assert by_adamw == {"embedding.weight": 1e-3, "hidden.bias": 1e-3, "outer.weight": 1e-3}


@pytest.mark.parametrize("name", ["po_muon", "po_adamuon", "po_adago", "po_normuon", "po_muonclip"])
def test_muon_and_its_relatives_take_the_matrices_of_any_layer(name: str) -> None:
    class Transposed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4) / 2)
            self.bias = nn.Parameter(torch.zeros(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight + self.bias

    net = nn.Sequential(Transposed(), nn.Conv1d(4, 4, 3), nn.EmbeddingBag(4, 4))
    groups = make_optimizer(name, net).param_groups
    taken = [id(p) for group in groups if group["use_muon"] for p in group["params"]]
    assert taken == [id(net[0].weight), id(net[1].weight)]


def test_matrices_that_are_not_trained_are_none() -> None:
    net = Decoder()
    net.hidden.weight.requires_grad_(requires_grad=False)
    with pytest.raises(UsageError, match=r"no trained one beside .* with outer in the name"):
        make_optimizer("po_muon", net, optim_args={"adamw_modules": ["outer"]})


def test_muon_leaves_an_output_layer_that_is_tied_to_an_embedding_to_adamw() -> None:
    by_muon, by_adamw = split_of(Decoder(is_tied=True))
    assert set(by_muon) == {"hidden.weight"}
    assert by_adamw == {"embedding.weight": 3e-4, "hidden.bias": 3e-4}


def test_muon_leaves_the_output_layer_that_a_model_names_to_adamw() -> None:
    class Named(Decoder):
        def get_output_embeddings(self) -> nn.Module:
            return self.outer

    assert set(split_of(Decoder())[0]) == {"hidden.weight", "outer.weight"}
    assert set(split_of(Named())[0]) == {"hidden.weight"}


def test_weight_decay_of_muon_s_adamw_is_that_of_the_arguments() -> None:
    with pytest.raises(UsageError, match="'adamw_wd' is no option of 'po_muon'"):
        make_args(optim="po_muon", optim_args="adamw_wd=0.1")
    groups = make_optimizer("po_muon", Decoder(), weight_decay=0.1).param_groups
    decays = {(group["use_muon"], group["weight_decay"]) for group in groups}
    assert decays == {(True, 0.1), (False, 0.1), (False, 0.0)}


def test_muon_needs_a_matrix() -> None:
    with pytest.raises(
        UsageError, match=r"^`optim`: 'po_muon' is for the weight matrices of hidden layers, .* has no"
    ) as caught:
        make_optimizer("po_muon", nn.Sequential(nn.Embedding(3, 4), nn.LayerNorm(4)))
    assert "adamw_modules" not in str(caught.value)
    with pytest.raises(UsageError, match=r"with head or .* in the name, .*\{'adamw_modules': \[\]\}"):
        make_optimizer("po_muon", nn.ModuleDict({"head": nn.Linear(3, 4)}))


# -- Adam-mini ------------------------------------------------------------------------------------


def test_adam_mini_has_the_trainers_weight_decay_and_the_models_heads() -> None:
    class Attention(nn.Module):
        class Config:
            hidden_size, num_attention_heads, num_key_value_heads = 8, 4, 2

        def __init__(self) -> None:
            super().__init__()
            self.config = self.Config()
            self.q_proj = nn.Linear(8, 8)

    optimizer = make_optimizer("po_adammini", Attention(), weight_decay=0.1)
    weight, bias = optimizer.param_groups
    assert (weight["weight_decay"], bias["weight_decay"]) == (0.1, 0.0)
    assert weight["parameter_per_head"] == 8 * 8 // 4
    assert (optimizer.num_heads, optimizer.num_query_groups) == (4, 2)  # type: ignore[attr-defined]
    args = make_args(optim="po_adammini", weight_decay=0.1)
    cls, keywords = Trainer.get_optimizer_cls_and_kwargs(args, Attention())
    groups = cls(**keywords).param_groups
    assert [(group["weight_decay"], group["lr"]) for group in groups] == [(0.1, 1e-2), (0.0, 1e-2)]
    given = make_optimizer("po_adammini", Attention(), optim_args="num_heads=2, num_query_groups=1")
    assert given.param_groups[0]["parameter_per_head"] == 8 * 8 // 2
