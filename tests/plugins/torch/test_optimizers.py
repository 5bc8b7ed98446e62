from __future__ import annotations

import pytest
import torch

from drivetrain import ArgumentsError
from drivetrain.parts import load_optimizer
from drivetrain.plugin import OptionsError
from drivetrain.testing import OptimizerSuite


class TestAdamW(OptimizerSuite):
    name = "adamw_torch"
    accepted_options = {
        "betas": (0.5, 0.6),
        "eps": 1e-3,
        "amsgrad": True,
        "maximize": True,
        "foreach": False,
    }
    refused_options = {"betas": (0.9, 1.0), "eps": -1, "capturable": True}


@pytest.mark.slow
class TestFusedAdamW(OptimizerSuite):
    name = "adamw_torch_fused"
    accepted_options = {"betas": (0.5, 0.6), "eps": 1e-3, "amsgrad": True, "maximize": True}
    refused_options = {"betas": (0.9, 1.0), "eps": -1, "capturable": True}


@pytest.mark.slow
class TestUncorrectedAdamW(OptimizerSuite):
    name = "adamw_torch"
    arguments = {"adam_bias_correction": False}


@pytest.mark.slow
class TestSGD(OptimizerSuite):
    name = "sgd"
    learning_rate = 0.3
    accepted_options = {"momentum": 0.9, "maximize": True, "foreach": True, "fused": True}
    refused_options = {"momentum": 1.5, "nesterov": True}


@pytest.mark.slow
class TestSGDWithMomentum(OptimizerSuite):
    name = "sgd"
    learning_rate = 0.1
    options = {"momentum": 0.9}
    accepted_options = {"nesterov": True, "dampening": 0.1}


@pytest.mark.slow
class TestAdagrad(OptimizerSuite):
    name = "adagrad"
    learning_rate = 1e-2
    accepted_options = {"lr_decay": 0.1, "initial_accumulator_value": 1, "eps": 1e-3, "foreach": True}
    refused_options = {"lr_decay": -1, "eps": -1}


@pytest.mark.slow
class TestRMSprop(OptimizerSuite):
    name = "rmsprop"
    accepted_options = {"alpha": 0.9, "eps": 1e-3, "momentum": 0.9, "centered": True}
    refused_options = {"alpha": 2, "momentum": 1, "eps": -1, "capturable": True}


@pytest.fixture
def make(arguments, groups_of):
    """Makes the optimizer that arguments ask for, of a model."""
    return lambda model, **values: load_optimizer(arguments(**values)).create(model, groups_of(model))


PLAIN = {
    "adamw_torch": (torch.optim.AdamW, {"betas": (0.8, 0.99), "eps": 1e-7}),
    "adamw_torch_fused": (torch.optim.AdamW, {"betas": (0.8, 0.99), "eps": 1e-7, "fused": True}),
    "sgd": (torch.optim.SGD, {}),
    "adagrad": (torch.optim.Adagrad, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
}


@pytest.mark.parametrize("name", PLAIN)
def test_an_optimizer_is_made_with_the_published_arguments_and_nothing_else(
    make, make_model, groups_of, name
):
    cls, keywords = PLAIN[name]
    adam = (
        {"adam_beta1": 0.8, "adam_beta2": 0.99, "adam_epsilon": 1e-7} if name.startswith("adam") else {}
    )
    model = make_model()
    ours = make(model, optim=name, learning_rate=0.01, **adam)
    theirs = cls(groups_of(model), lr=0.01, **keywords)
    assert type(ours) is cls
    assert ours.defaults == theirs.defaults
    assert [group["weight_decay"] for group in ours.param_groups] == [0.1, 0.0]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adamw_torch", "betas=(0.9, 1.0)", r"`optim_args`: betas=.* must both be in \[0, 1\)"),
        ("adamw_torch_fused", "foreach=True", "'foreach' is no option of 'adamw_torch_fused'"),
        ("sgd", "nesterov=True", "nesterov=True needs momentum above 0.*type momentum=0.9"),
        ("sgd", "momentum=0.9, dampening=0.1, nesterov=True", "no dampening, and has.*dampening=0.1"),
        ("sgd", "foreach=True, fused=True", "exclude each other"),
        ("rmsprop", "eps=-1", "eps=-1.0 must be 0 or more"),
    ],
)
def test_options_that_torch_would_refuse_later_are_refused_with_the_arguments(
    arguments, name, options, message
):
    with pytest.raises(OptionsError, match=message):
        arguments(optim=name, optim_args=options)


@pytest.mark.parametrize("name", ["adamw_torch", "adamw_torch_fused", "rmsprop"])
def test_cuda_graphs_are_refused_on_the_cpu(arguments, name):
    with pytest.raises(
        ArgumentsError, match="capturable=True is for CUDA graphs, and the run is on 'cpu'"
    ):
        arguments(optim=name, optim_args="capturable=True")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"adam_beta2": 0.95, "optim_args": "betas=(0.9, 0.99)"},
            r"betas=.* contradicts `adam_beta2`=0.95",
        ),
        ({"adam_epsilon": 1e-6, "optim_args": "eps=1e-7"}, "eps=1e-07 contradicts `adam_epsilon`=1e-06"),
    ],
)
def test_a_value_that_is_given_twice_is_refused(arguments, values, message):
    with pytest.raises(ArgumentsError, match=message):
        arguments(**values)


@pytest.mark.parity
@pytest.mark.parametrize("name", [*PLAIN, "adafactor"])
def test_weights_equal_those_of_the_optimizer_of_transformers(
    make, make_model, groups_of, train, weights_of, tmp_path, name
):
    transformers = pytest.importorskip("transformers")
    ours, theirs = make_model(), make_model()
    settings = {"optim": name, "learning_rate": 0.01, "adam_beta2": 0.99}
    train(ours, make(ours, **settings), 10)
    args = transformers.TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, **settings)
    cls, keywords = transformers.Trainer.get_optimizer_cls_and_kwargs(args)
    train(theirs, cls(groups_of(theirs), **keywords), 10)
    assert torch.equal(weights_of(ours), weights_of(theirs))


@pytest.mark.parametrize(
    ("optim", "given", "typed"),
    [
        ("sgd", "momentum=1.5", "momentum=0.9"),
        ("sgd", "momentum=-0.1", "momentum=0.9"),
        ("rmsprop", "alpha=2", "alpha=0.99"),
        ("rmsprop", "alpha=1", "alpha=0.99"),
        ("rmsprop", "momentum=1", "momentum=0.9"),
    ],
)
def test_a_mean_that_would_grow_without_end_is_refused(arguments, optim, given, typed):
    with pytest.raises(ValueError, match=rf"`optim_args`: .* must be in \[0, 1\): type {typed}, say\."):
        arguments(optim=optim, optim_args=given)
