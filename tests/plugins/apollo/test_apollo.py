"""The update: against apollo-torch, against the paper's formulas, and what its state takes."""

from __future__ import annotations

import copy
import io
import itertools
from typing import Any

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.slow

PUBLISHED = {"rank": 4, "update_proj_gap": 3, "scale": 1.0, "proj_type": "std", "proj": "svd"}


def step_with(optimizer: torch.optim.Optimizer, weight: nn.Parameter, gradient: torch.Tensor) -> Any:
    """By how much a step moves the weight."""
    before = weight.detach().clone()
    weight.grad = gradient.clone()
    optimizer.step()
    return weight.detach() - before


def make_single(make_optimizer: Any, shape: tuple[int, int] = (6, 10), **given: Any) -> Any:
    """An optimizer of one weight, (rows, columns), and the weight."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(shape[1], shape[0], bias=False))
    given = {"optim_target_modules": "all-linear", "learning_rate": 1.0, **given}
    return make_optimizer(model, **given), model[0].weight


@pytest.mark.parametrize("scale", [1.0, 128.0])
@pytest.mark.parametrize("scale_type", ["channel", "tensor"])
def test_with_singular_vectors_weights_are_those_of_apollo_torch(
    scale_type: str, scale: float, make_model: Any, make_optimizer: Any, make_published: Any, train: Any
) -> None:
    settings = {**PUBLISHED, "scale_type": scale_type, "scale": scale}
    start, ours, theirs = make_model(), make_model(), make_model()
    train(ours, make_optimizer(ours, optim_args=settings, learning_rate=1e-3), range(10))
    train(theirs, make_published(theirs, lr=1e-3, **settings), range(10))
    for a, b, before in zip(ours.parameters(), theirs.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(a - before, b - before, rtol=1e-3, atol=1e-5)
        assert (a - before).abs().max() > 1e-3


def test_without_a_limiter_weights_are_those_of_apollo_torch_without_it(
    make_model: Any, make_optimizer: Any, make_published: Any, train: Any
) -> None:
    settings = {**PUBLISHED, "scale_type": "channel"}
    ours, theirs, limited = make_model(), make_model(), make_model()
    free = {**settings, "disable_nl": True}
    train(ours, make_optimizer(ours, optim_args=free, learning_rate=1e-3), range(10))
    train(theirs, make_published(theirs, lr=1e-3, **free), range(10))
    train(limited, make_optimizer(limited, optim_args=settings, learning_rate=1e-3), range(10))
    torch.testing.assert_close(ours.mlp.up.weight, theirs.mlp.up.weight, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours.mlp.up.weight, limited.mlp.up.weight, rtol=1e-4, atol=1e-5)


def test_on_its_random_axes_updates_are_those_of_apollo_torch(
    make_model: Any, make_optimizer: Any, make_published: Any, train: Any
) -> None:
    # Generators differ, so the axes that apollo-torch has drawn are put into a state that keeps axes.
    theirs = make_model()
    settings = {**PUBLISHED, "proj": "random", "update_proj_gap": 100, "scale_type": "channel"}
    published = make_published(theirs, **settings)
    train(theirs, published, range(3))
    ours = copy.deepcopy(theirs)
    optimizer = make_optimizer(ours, optim_args={**settings, "proj": "svd"})
    numbers = {name: number for number, (name, _) in enumerate(theirs.named_parameters())}
    saved = optimizer.state_dict()
    order = [p for group in optimizer.param_groups for p in group["params"]]
    names = {id(p): name for name, p in ours.named_parameters()}
    parameters = list(theirs.parameters())
    for key, parameter in enumerate(order):
        state = published.state[parameters[numbers[names[id(parameter)]]]]
        kept = {"step": state["step"], "exp_avg": state["exp_avg"], "exp_avg_sq": state["exp_avg_sq"]}
        if "projector" in state:
            matrix = state["projector"].ortho_matrix
            kept |= {"axes": matrix if matrix.shape[1] == 4 else matrix.T, "seed": 0}
            kept |= {"norm": state["scaled_grad"]}
        saved["state"][key] = kept
    optimizer.load_state_dict(saved)
    train(ours, optimizer, range(3, 9))
    train(theirs, published, range(3, 9))
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)


def test_random_axes_are_spread_as_those_of_apollo_torch(make_published: Any) -> None:
    from drivetrain_apollo.projection import draw_axes

    model = nn.Sequential()
    model.add_module("mlp", nn.Linear(256, 512, bias=False))
    settings = {**PUBLISHED, "rank": 64, "proj": "random", "scale_type": "channel"}
    optimizer = make_published(model, **settings)
    weight = model.mlp.weight
    weight.grad = torch.randn(512, 256)
    optimizer.step()
    theirs = optimizer.state[weight]["projector"].ortho_matrix.T
    ours = draw_axes(weight.grad, 64, 0, left=False)
    assert ours.shape == theirs.shape == (256, 64)
    for axes in (ours, theirs):
        torch.testing.assert_close(axes.std(), torch.tensor(64**-0.5), rtol=0.03, atol=0)
        assert axes.mean().abs() < 4 / 64**0.5 / axes.numel() ** 0.5
        lengths = (weight.grad @ axes).norm(dim=1) / weight.grad.norm(dim=1)
        torch.testing.assert_close(lengths.mean(), torch.tensor(1.0), rtol=0.03, atol=0)


def test_with_random_axes_the_loss_falls_as_with_apollo_torch(
    make_model: Any, make_optimizer: Any, make_published: Any, train: Any
) -> None:
    settings = {**PUBLISHED, "proj": "random", "update_proj_gap": 50, "scale_type": "channel"}
    ours, theirs = make_model(), make_model()
    our_losses = train(ours, make_optimizer(ours, optim_args=settings), range(200))
    their_losses = train(theirs, make_published(theirs, **settings), range(200))
    our_end, their_end = (sum(losses[-20:]) / 20 for losses in (our_losses, their_losses))
    assert our_end < 0.1 * our_losses[0]
    assert 0.7 < our_end / their_end < 1.4


@pytest.mark.parametrize(
    ("proj_type", "shape", "dim"),
    [
        ("std", (6, 10), 0),
        ("std", (10, 6), 1),
        ("reverse_std", (6, 10), 1),
        ("reverse_std", (10, 6), 0),
        ("left", (10, 6), 0),
        ("right", (6, 10), 1),
    ],
)
def test_the_first_update_scales_each_channel_of_the_gradient_by_what_adam_makes_of_it(
    proj_type: str, shape: tuple[int, int], dim: int, make_optimizer: Any
) -> None:
    # Adam's first step is the sign of its gradient. With all singular vectors, a rotation of it.
    options = {"rank": min(shape), "proj": "svd", "proj_type": proj_type, "scale": 4.0}
    optimizer, weight = make_single(make_optimizer, shape, optim_args=options)
    gradient = torch.randn(shape)
    columns, _, rows = torch.linalg.svd(gradient, full_matrices=False)
    small = columns.T @ gradient if dim == 0 else gradient @ rows.T
    scales = small.sign().norm(dim=dim, keepdim=True) / small.norm(dim=dim, keepdim=True)
    update = step_with(optimizer, weight, gradient)
    torch.testing.assert_close(update, -2 * gradient * scales, rtol=1e-4, atol=1e-5)


def test_a_single_scale_leaves_the_direction_of_the_gradient(make_optimizer: Any) -> None:
    options = {"rank": 1, "scale": 128.0, "scale_type": "tensor"}
    optimizer, weight = make_single(make_optimizer, optim_args=options)
    for _ in range(3):
        gradient = torch.randn(6, 10)
        update = step_with(optimizer, weight, gradient)
        cosine = torch.nn.functional.cosine_similarity(update.flatten(), gradient.flatten(), dim=0)
        torch.testing.assert_close(cosine, torch.tensor(-1.0))


def test_the_norm_of_an_update_grows_by_a_hundredth_at_most(make_optimizer: Any) -> None:
    # With betas of zero, updates are as large as their limit, and their start is not corrected.
    given = {"optim_args": {"rank": 4, "betas": (0.0, 0.0)}}
    optimizer, weight = make_single(make_optimizer, **given)
    free, other = make_single(make_optimizer, optim_args={**given["optim_args"], "disable_nl": True})
    norms, unlimited = [], []
    torch.manual_seed(1)
    for _ in range(20):
        gradient = torch.randn(6, 10)
        norms.append(step_with(optimizer, weight, gradient).norm().item())
        unlimited.append(step_with(free, other, gradient).norm().item())
    growths = [after / before for before, after in itertools.pairwise(norms)]
    assert max(growths) == pytest.approx(1.01, rel=1e-4)
    assert max(after / before for before, after in itertools.pairwise(unlimited)) > 1.01


def test_a_gradient_of_zero_does_not_stop_the_updates_after_it(make_optimizer: Any) -> None:
    optimizer, weight = make_single(make_optimizer)
    assert not step_with(optimizer, weight, torch.zeros(6, 10)).any()
    update = step_with(optimizer, weight, torch.randn(6, 10))
    assert 0.1 < update.norm() < 10


def test_parameters_that_are_not_targeted_are_updated_as_by_torch_to_the_bit(
    make_model: Any, make_optimizer: Any
) -> None:
    ours, theirs = make_model(), make_model()
    optimizer = make_optimizer(ours, weight_decay=0.1, optim_target_modules=["mlp.square"])
    plain = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.0)
    decayed = [p for name, p in theirs.named_parameters() if "norm" not in name and "bias" not in name]
    plain.param_groups[0]["params"] = [
        p for p in theirs.parameters() if all(p is not q for q in decayed)
    ]
    plain.add_param_group({"params": decayed, "weight_decay": 0.1})
    for step in range(5):
        torch.manual_seed(step)
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        optimizer.step()
        plain.step()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b) == (name != "mlp.square.weight"), name


def test_axes_differ_between_weights_and_choices_and_follow_from_the_seed(make_optimizer: Any) -> None:
    torch.manual_seed(0)
    gradients = [torch.randn(16, 16) for _ in range(4)]

    def run(seed: int) -> list[torch.Tensor]:
        model = nn.Sequential(nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False))
        options = "rank=2, update_proj_gap=1, betas=(0.0, 0.0)"
        given = {"optim_target_modules": "all-linear", "optim_args": options, "seed": seed}
        optimizer = make_optimizer(model, **given)
        moments = []
        for gradient in gradients:
            for layer in model:
                layer.weight.grad = gradient.clone()
            optimizer.step()
            moments += [optimizer.state[layer.weight]["exp_avg"].clone() for layer in model]
        return moments

    once, again, other = run(1), run(1), run(2)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(once, other, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(once[::2], once[1::2], strict=True))


def test_steps_do_not_touch_the_generator_of_torch(make_model: Any, make_optimizer: Any) -> None:
    model = make_model()
    optimizer = make_optimizer(model, optim_args="rank=4, update_proj_gap=1")
    model(torch.ones(4, 16)).sum().backward()
    before = torch.get_rng_state()
    optimizer.step()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("proj", ["random", "svd"])
def test_sixteen_bit_weights_resume_exactly(
    proj: str, make_model: Any, make_optimizer: Any, train: Any, assert_same_weights: Any
) -> None:
    options = {"rank": 4, "update_proj_gap": 5, "proj": proj}
    whole, stopped = make_model(torch.bfloat16), make_model(torch.bfloat16)
    train(whole, make_optimizer(whole, optim_args=options), range(12))
    first = make_optimizer(stopped, optim_args=options)
    train(stopped, first, range(7))  # past one choice of axes, and short of the next
    written = io.BytesIO()
    torch.save(first.state_dict(), written)
    written.seek(0)
    resumed = copy.deepcopy(stopped)
    second = make_optimizer(resumed, optim_args=options, seed=7)
    second.load_state_dict(torch.load(written, weights_only=True))
    assert second.state[resumed.mlp.up.weight]["norm"].dtype == torch.float32
    train(resumed, second, range(7, 12))
    assert_same_weights(resumed, whole)


@pytest.mark.parametrize(
    ("options", "num_elements"),
    [
        ({"rank": 8}, 2 * 512 * 8),
        ({"rank": 8, "proj_type": "reverse_std"}, 2 * 128 * 8),
        ({"rank": 8, "proj": "svd"}, 2 * 512 * 8 + 128 * 8),
        ({"rank": 1, "scale": 128.0, "scale_type": "tensor"}, 2 * 512),
    ],
)
def test_the_state_is_two_moments_in_the_small_space(
    options: dict[str, Any], num_elements: int, make_optimizer: Any
) -> None:
    optimizer, weight = make_single(make_optimizer, (128, 512), optim_args=options)
    step_with(optimizer, weight, torch.randn(128, 512))
    tensors = [value for value in optimizer.state[weight].values() if isinstance(value, torch.Tensor)]
    assert sum(tensor.untyped_storage().nbytes() for tensor in tensors) == 4 * num_elements + 4
