from __future__ import annotations

import logging

import pytest
import torch

from drivetrain import ArgumentsError
from drivetrain.parts import load_optimizer
from drivetrain.plugin import OptionsError


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
    ("name", "options", "expected"),
    [
        ("adamw_torch", "betas=(0.5, 0.6), eps=1e-3", {"betas": (0.5, 0.6), "eps": 1e-3}),
        ("adamw_torch", "amsgrad=True, foreach=False", {"amsgrad": True, "foreach": False}),
        ("adamw_torch_fused", {"betas": [0.5, 0.6]}, {"betas": (0.5, 0.6), "fused": True}),
        ("sgd", "momentum=0.9, nesterov=True", {"momentum": 0.9, "nesterov": True}),
        ("sgd", "fused=True", {"fused": True}),
        (
            "adagrad",
            "lr_decay=0.1, initial_accumulator_value=1",
            {"lr_decay": 0.1, "initial_accumulator_value": 1},
        ),
        ("rmsprop", "alpha=0.9, centered=True", {"alpha": 0.9, "centered": True}),
    ],
)
def test_options_reach_the_optimizer(make, make_model, train, name, options, expected):
    model = make_model()
    optimizer = make(model, optim=name, optim_args=options)
    assert {key: optimizer.defaults[key] for key in expected} == expected
    train(model, optimizer, 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adamw_torch", "betas=(0.9, 1.0)", r"`optim_args`: betas=.* must both be in \[0, 1\)"),
        ("adamw_torch", "eps=-1", "`optim_args`: eps=-1.0 must be 0 or more"),
        ("adamw_torch", "beta=0.9", "'beta' is no option of 'adamw_torch'.*Did you mean 'betas'"),
        ("adamw_torch_fused", "foreach=True", "'foreach' is no option of 'adamw_torch_fused'"),
        ("sgd", "nesterov=True", "nesterov=True needs momentum above 0.*type momentum=0.9"),
        ("sgd", "momentum=0.9, dampening=0.1, nesterov=True", "no dampening, and has.*dampening=0.1"),
        ("sgd", "momentum=-0.9", "momentum=-0.9 must be 0 or more"),
        ("sgd", "foreach=True, fused=True", "exclude each other"),
        ("adagrad", "lr_decay=-1", "lr_decay=-1.0 must be 0 or more"),
        ("rmsprop", "alpha=-1", "alpha=-1.0 must be 0 or more"),
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


@pytest.mark.parametrize("name", ["sgd", "adagrad", "rmsprop", "adafactor"])
def test_arguments_of_adam_are_said_to_have_no_effect_without_it(arguments, caplog, name):
    with caplog.at_level(logging.WARNING):
        arguments(optim=name, adam_beta1=0.8)
    assert f"`adam_beta1`: 0.8 has no effect with `optim`='{name}'" in caplog.text


@pytest.mark.parametrize("name", [*PLAIN, "adafactor", "muon"])
def test_training_goes_on_bit_for_bit_from_a_saved_state(
    make, make_model, train, weights_of, through_disk, name
):
    model = make_model()
    optimizer = make(model, optim=name, learning_rate=0.01)
    train(model, optimizer, 3)
    saved = through_disk({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    train(model, optimizer, 3)

    resumed = make_model()
    resumed.load_state_dict(saved["model"])
    other = make(resumed, optim=name, learning_rate=0.01)
    other.load_state_dict(saved["optimizer"])
    train(resumed, other, 3)
    assert torch.equal(weights_of(resumed), weights_of(model))


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
