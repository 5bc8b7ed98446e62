"""Options, contradictions, and what is said of devices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tagger import make_tagger

from drivetrain.arguments import ArgumentsError
from drivetrain.parts import load_optimizer
from drivetrain.plugin import OptionsError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("optim", ["adamw_8bit", "lion_32bit", "ademamix"])
def test_betas_that_are_given_twice_are_refused(optim: str, make_args: Any) -> None:
    with pytest.raises(ArgumentsError, match=r"betas=\(0\.9, 0\.99\) contradicts `adam_beta2`=0\.95"):
        make_args(optim=optim, optim_args="betas=(0.9, 0.99)", adam_beta2=0.95)


def test_an_epsilon_that_is_given_twice_is_refused(make_args: Any) -> None:
    with pytest.raises(ArgumentsError, match=r"eps=1e-06 contradicts `adam_epsilon`=1e-05"):
        make_args(optim_args="eps=1e-6", adam_epsilon=1e-5)


def test_an_epsilon_of_zero_is_an_epsilon(make_args: Any, make_optimizer: Any) -> None:
    for group in make_optimizer(make_tagger(), optim_args="eps=0").param_groups:
        assert group["eps"] == 0.0


@pytest.mark.parametrize("optim", ["paged_adamw_32bit", "lion_32bit", "ademamix", "rmsprop_bnb"])
def test_an_optimizer_in_32_bits_has_no_size_for_8_bits(optim: str, make_args: Any) -> None:
    with pytest.raises(OptionsError, match="'min_8bit_size' is no option of"):
        make_args(optim=optim, optim_args="min_8bit_size=16")


@pytest.mark.parametrize("given", [{"adam_beta1": 0.0}, {"adam_beta1": 0.9999}])
def test_a_slow_decay_that_cannot_rise_to_its_value_is_refused(
    given: dict[str, float], make_args: Any
) -> None:
    make_args(optim="ademamix", **given)
    with pytest.raises(
        ArgumentsError, match=r"t_beta3=10 lets the slow decay rise .* Leave out t_beta3"
    ):
        make_args(optim="ademamix", optim_args="t_beta3=10", **given)


def test_lion_and_rmsprop_say_which_arguments_they_do_not_use(make_args: Any) -> None:
    lion = load_optimizer(make_args(optim="lion_8bit", adam_epsilon=1e-5))
    rmsprop = load_optimizer(make_args(optim="rmsprop_bnb_8bit", adam_beta1=0.5, adam_beta2=0.6))
    assert [text.split(":")[0] for text in lion.warnings()] == ["`adam_epsilon`"]
    assert [text.split(":")[0] for text in rmsprop.warnings()] == ["`adam_beta1`", "`adam_beta2`"]


@pytest.mark.parametrize(
    ("optim", "unpaged"),
    {
        "paged_adamw_32bit": "adamw_torch",
        "paged_adamw_8bit": "adamw_8bit",
        "paged_lion_32bit": "lion_32bit",
        "paged_lion_8bit": "lion_8bit",
        "paged_ademamix_32bit": "ademamix",
        "paged_ademamix_8bit": "ademamix_8bit",
    }.items(),
)
def test_a_paged_optimizer_says_that_there_is_nothing_to_page_to_on_the_cpu(
    optim: str, unpaged: str, make_args: Any
) -> None:
    assert list(load_optimizer(make_args(optim=optim)).warnings()) == [
        f"`optim`: {optim!r} pages its state on 'cuda' and 'xpu' only; "
        f"on 'cpu' it is the same as {unpaged!r}."
    ]


def test_the_library_has_code_for_the_cpu_in_both_formats() -> None:
    from drivetrain_bitsandbytes.library import find_obstacle

    assert find_obstacle(8, torch.device("cpu")) is None
    assert find_obstacle(32, torch.device("cpu")) is None


@pytest.mark.parametrize("device", ["mps", "hpu", "privateuseone"])
def test_a_device_that_the_library_has_no_code_for_is_told_apart(device: str) -> None:
    from drivetrain_bitsandbytes.library import find_obstacle

    assert find_obstacle(32, torch.device(device)) is None
    assert "has no 8-bit optimizers for it" in str(find_obstacle(8, torch.device(device)))
