from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from drivetrain import ArgumentsError
from drivetrain.parts import load_optimizer
from drivetrain.plugin import OptionsError
from drivetrain.testing import OptimizerSuite

OPTIONS = [
    {},
    {"beta1": 0.9},
    {"eps": (1e-20, 1e-2), "clip_threshold": 0.5, "decay_rate": -0.5},
    {"scale_parameter": True},
    {"relative_step": True},
    {"relative_step": True, "scale_parameter": True, "warmup_init": True},
]


@pytest.mark.slow
class TestAdafactor(OptimizerSuite):
    name = "adafactor"
    accepted_options = {
        "eps": (1e-20, 1e-2),
        "clip_threshold": 0.5,
        "decay_rate": -0.5,
        "beta1": 0.9,
        "scale_parameter": True,
    }
    refused_options = {"eps": (-1, 0), "clip_threshold": 0, "decay_rate": 0.8, "beta1": 1.0}


@pytest.mark.slow
class TestAdafactorWithMomentum(OptimizerSuite):
    name = "adafactor"
    options = {"beta1": 0.9}


@pytest.fixture
def make(arguments, groups_of):
    """Makes our Adafactor of a model, with options."""

    def create(model, **options):
        schedule = "constant" if options.get("relative_step") else "linear"
        args = arguments(
            optim="adafactor", optim_args=options, learning_rate=0.01, lr_scheduler_type=schedule
        )
        return load_optimizer(args).create(model, groups_of(model))

    return create


@pytest.fixture
def make_theirs(groups_of):
    """Makes that of transformers."""
    optimization = pytest.importorskip("transformers.optimization")

    def create(model, **options):
        lr = None if options.get("relative_step") else 0.01
        settings = {"scale_parameter": False, "relative_step": False, **options}
        return optimization.Adafactor(groups_of(model), lr=lr, **settings)

    return create


def test_the_first_update_of_a_matrix_is_that_of_the_paper(make):
    gradient = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    model = nn.Linear(2, 2, bias=False)
    model.weight.grad = gradient
    before = model.weight.detach().clone()
    optimizer = make(model, clip_threshold=1.0)
    optimizer.step()

    # At step 1 the decay is 0, so that V = R C / (1^T R) of the squared gradient, and U = G / sqrt(V).
    rows, columns = gradient.square().sum(1), gradient.square().sum(0)
    update = gradient / (torch.outer(rows, columns) / rows.sum()).sqrt()
    update /= max(1.0, update.square().mean().sqrt())
    assert torch.allclose(model.weight, before * (1 - 0.1 * 0.01) - 0.01 * update, rtol=1e-6, atol=1e-7)


def test_a_vector_keeps_its_whole_second_moment(make):
    model = nn.LayerNorm(4)
    model.weight.grad = torch.tensor([1.0, -2.0, 4.0, -8.0])
    make(model).step()
    assert torch.allclose(model.weight, torch.tensor([0.99, 1.01, 0.99, 1.01]))


@pytest.mark.parametrize("beta1", [None, 0.9])
def test_the_state_of_a_matrix_is_a_row_and_a_column(make, make_model, train, beta1):
    model = make_model()
    optimizer = make(model, beta1=beta1)
    train(model, optimizer, 1)
    matrix, convolution, bias = (
        optimizer.state[p] for p in (model[2].weight, model[0].weight, model[2].bias)
    )
    momentum = {"exp_avg"} if beta1 else set()
    assert matrix.keys() == {"step", "RMS", "exp_avg_sq_row", "exp_avg_sq_col"} | momentum
    assert (matrix["exp_avg_sq_row"].shape, matrix["exp_avg_sq_col"].shape) == ((16,), (32,))
    assert (convolution["exp_avg_sq_row"].shape, convolution["exp_avg_sq_col"].shape) == ((4, 3), (4, 3))
    assert bias.keys() == {"step", "RMS", "exp_avg_sq"} | momentum


@pytest.mark.parity
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", OPTIONS)
def test_weights_equal_those_of_transformers(
    make, make_theirs, make_model, train, weights_of, options, dtype
):
    ours, theirs = make_model(dtype), make_model(dtype)
    train(ours, make(ours, **options), 30)
    train(theirs, make_theirs(theirs, **options), 30)
    if options.get("scale_parameter"):  # theirs takes eps[1] in float64 where a parameter is smaller
        assert torch.allclose(weights_of(ours), weights_of(theirs), rtol=1e-6, atol=1e-6)
    else:
        assert torch.equal(weights_of(ours), weights_of(theirs))


@pytest.mark.parity
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", OPTIONS[:3])
@pytest.mark.parametrize("is_ours_first", [True, False])
def test_a_checkpoint_moves_between_transformers_and_us(
    make, make_theirs, make_model, train, weights_of, through_disk, options, dtype, is_ours_first
):
    first, second = (make, make_theirs) if is_ours_first else (make_theirs, make)
    model = make_model(dtype)
    optimizer = first(model, **options)
    train(model, optimizer, 5)
    saved = through_disk({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    train(model, optimizer, 5)

    moved = make_model(dtype)
    moved.load_state_dict(saved["model"])
    other = second(moved, **options)
    other.load_state_dict(saved["optimizer"])
    assert [group.keys() for group in other.param_groups] == [
        group.keys() for group in optimizer.param_groups
    ]
    train(moved, other, 5)
    if is_ours_first and dtype == torch.bfloat16:  # theirs rounds a state that it loads to bfloat16
        assert torch.allclose(weights_of(moved), weights_of(model), rtol=0.1, atol=0.02)
    else:
        assert torch.equal(weights_of(moved), weights_of(model))


def test_torch_adafactor_is_no_substitute(make, make_model, train, weights_of):
    model, other = make_model(), make_model()
    train(model, make(model), 30)
    train(other, torch.optim.Adafactor(other.parameters(), lr=0.01), 30)
    assert (weights_of(model) - weights_of(other)).abs().max() > 0.01


def test_a_loaded_state_is_a_copy(make, make_model, train):
    model = make_model()
    optimizer, other = make(model), make(model)
    train(model, optimizer, 1)
    other.load_state_dict(optimizer.state_dict())
    row = optimizer.state[model[2].weight]["exp_avg_sq_row"]
    before = row.clone()
    train(model, other, 1)
    assert torch.equal(row, before)


def test_sparse_gradients_are_refused(make):
    model = nn.Embedding(4, 2, sparse=True)
    optimizer = make(model)
    model(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse=False"):
        optimizer.step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("eps=1e-30", "is no tuple"),
        ("decay_rate=0.8", "decay_rate=0.8 must be 0 or less"),
        ("beta1=1.0", r"beta1=1.0 must be in \[0, 1\)"),
        ("warmup_init=True", "part of the schedule of relative_step=True"),
    ],
)
def test_wrong_options_are_refused(arguments, options, message):
    with pytest.raises(OptionsError, match=message):
        arguments(optim="adafactor", optim_args=options)


def test_a_relative_step_excludes_a_schedule(arguments):
    with pytest.raises(ArgumentsError, match=r"relative_step=True.*Type lr_scheduler_type='constant'"):
        arguments(optim="adafactor", optim_args="relative_step=True", lr_scheduler_type="cosine")


def test_a_relative_step_says_that_the_learning_rate_is_not_used(arguments, caplog):
    with caplog.at_level(logging.WARNING):
        arguments(optim="adafactor", optim_args="relative_step=True", lr_scheduler_type="constant")
    assert "`learning_rate`: 5e-05 is logged but not used" in caplog.text
