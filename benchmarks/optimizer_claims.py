"""What was published about optimizers, and whether it held for what `optimizers.py` measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

REFERENCE = "adamw_torch"
TOLERANCES = {"state": 0.02, "loss": 0.01}
"""How much more a measurement may be than what was claimed, as a share of AdamW's."""
LOWER = 1.0 - TOLERANCES["loss"]
"""What a loss that is lower comes to at most, the tolerance taken off."""


@dataclass(frozen=True)
class Claim:
    """Something published that can be measured here.

    Attributes:
        names: Optimizers that it is about.
        measure: Of what.
        at_most: The share of AdamW's that it comes to.
        text: What is claimed.
        source: Where.
    """

    names: tuple[str, ...]
    measure: Literal["state", "loss", "seconds"]
    at_most: float
    text: str
    source: str


@dataclass(frozen=True)
class Verdict:
    """A claim beside what was measured."""

    claim: Claim
    name: str
    measured: str
    held: str


_DETTMERS = "Dettmers et al., arXiv:2110.02861"
_GALORE = "Zhao et al., arXiv:2403.03507"
_APOLLO = "Zhu et al., arXiv:2412.05270"
_LION = "Chen et al., arXiv:2302.06675"
_MUON = "Liu et al., arXiv:2502.16982"
_SCHEDULE_FREE = "Defazio et al., arXiv:2405.15682"
_ADEMAMIX = "Pagliardini et al., arXiv:2409.03137"

CLAIMS = (
    Claim(("galore_adamw", "galore_adamw_layerwise"), "state", 0.345, "65.5 % less state", _GALORE),
    Claim(
        ("galore_adamw_8bit", "galore_adamw_8bit_layerwise"),
        "state",
        0.175,
        "82.5 % less state with 8 bits (there: than AdamW in bfloat16; here: in float32)",
        _GALORE,
    ),
    Claim(
        ("adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit"),
        "state",
        0.25,
        "75 % less state: 2 bytes for each parameter instead of 8",
        _DETTMERS,
    ),
    Claim(
        ("adamw_bnb_8bit", "adamw_8bit"),
        "loss",
        1.0,
        "the loss of AdamW in 32 bits",
        _DETTMERS,
    ),
    Claim(("adamw_torch_8bit",), "state", 0.25, "2 bytes for each parameter", "torchao's documentation"),
    Claim(
        ("adamw_torch_4bit",),
        "state",
        0.125,
        "1 byte for each parameter",
        "Li et al., arXiv:2309.01507",
    ),
    Claim(("adamw_torch_fp8",), "state", 0.25, "2 bytes for each parameter", "torchao's documentation"),
    Claim(
        ("apollo_adamw", "apollo_adamw_layerwise"),
        "state",
        0.25,
        "2nr + 2 numbers for an m x n matrix where AdamW has 2mn; here r = m / 4",
        _APOLLO,
    ),
    Claim(("apollo_adamw",), "loss", 1.0, "a loss no higher than AdamW's", _APOLLO),
    Claim(("lion_32bit", "paged_lion_32bit", "po_lion"), "state", 0.5, "half the state", _LION),
    Claim(("lion_8bit", "paged_lion_8bit"), "state", 0.125, "1 byte for each parameter", _DETTMERS),
    Claim(
        ("adafactor",),
        "state",
        0.02,
        "a row and a column for each matrix",
        "Shazeer & Stern, arXiv:1804.04235",
    ),
    Claim(("lomo",), "state", 0.0, "no state", "Lv et al., arXiv:2306.09782"),
    Claim(
        ("adalomo",), "state", 0.02, "a row and a column for each matrix", "Lv et al., arXiv:2310.10195"
    ),
    Claim(("adalomo",), "loss", 1.0, "a loss close to AdamW's", "Lv et al., arXiv:2310.10195"),
    Claim(("muon",), "state", 0.5, "half the state for matrices", _MUON),
    Claim(("muon",), "loss", LOWER, "a lower loss than AdamW's after as many updates", _MUON),
    Claim(
        ("schedule_free_adamw",),
        "loss",
        1.0,
        "without a schedule, the loss of AdamW with one",
        _SCHEDULE_FREE,
    ),
    Claim(("ademamix", "ademamix_8bit"), "loss", LOWER, "a lower loss than AdamW's", _ADEMAMIX),
    Claim(
        ("adamw_torch_fused",),
        "seconds",
        1.0,
        "steps faster than without",
        "PyTorch's documentation of torch.optim",
    ),
    Claim(
        ("po_soap",),
        "loss",
        LOWER,
        "a lower loss than AdamW's after as many updates",
        "arXiv:2409.11321",
    ),
    Claim(("po_prodigy",), "loss", 1.0, "the loss of AdamW, without a rate to find", "arXiv:2306.06101"),
    Claim(("po_adammini",), "state", 0.55, "45 to 50 % less state", "Zhang et al., arXiv:2406.16793"),
    Claim(("po_adopt",), "loss", 1.0, "no worse than AdamW", "Taniguchi et al., arXiv:2411.02853"),
)


def judge(results: Mapping[str, Mapping[str, Any]]) -> Iterator[Verdict]:
    """Each claim about each name that was asked for, measured or not.

    Args:
        results: What came of each name; that of AdamW among them.
    """
    for claim in CLAIMS:
        for name in claim.names:
            if name in results:
                yield Verdict(claim, name, *_judge(claim, results[name], results[REFERENCE]))


def _judge(claim: Claim, result: Mapping[str, Any], reference: Mapping[str, Any]) -> tuple[str, str]:
    """What was measured, and whether the claim held."""
    if "loss" not in result:
        return "cannot run here", "not measured"
    if claim.measure == "seconds":
        return _judge_time(*result["ratio"])
    if claim.measure == "state":
        shares = (result[size] / reference[size] for size in ("state", "matrix"))
        return _judge_state(claim.at_most, *shares)
    is_held = result["loss"] <= reference["loss"] * (claim.at_most + TOLERANCES["loss"])
    return f"{result['loss']:.3f} beside {reference['loss']:.3f}", "yes" if is_held else "no"


def _judge_time(least: float, middle: float, most: float) -> tuple[str, str]:
    """Where some turns were faster and some slower, nothing can be said."""
    measured = f"{middle:.2f} ({least:.2f} to {most:.2f}) of the time"
    return measured, "yes" if most < 1.0 else "no" if least > 1.0 else "unclear"


def _judge_state(at_most: float, whole: float, matrix: float) -> tuple[str, str]:
    """A model has small tensors and embeddings too, which some methods leave as they are."""
    at_most += TOLERANCES["state"]
    measured = f"{1 - whole:.1%} less; {1 - matrix:.1%} for one matrix"
    if whole <= at_most:
        return measured, "yes"
    return measured, "for matrices" if matrix <= at_most else "no"
