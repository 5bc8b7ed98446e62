"""The small space in which APOLLO keeps its moments: which side of a weight it replaces, and its axes."""

from __future__ import annotations

import hashlib

import torch


def is_left(shape: torch.Size, proj_type: str) -> bool:
    """Whether output features (rows) are projected, rather than input features (columns)."""
    if proj_type in ("left", "right"):
        return proj_type == "left"
    out_features, in_features = shape
    return (out_features < in_features) == (proj_type == "std")


def project(gradient: torch.Tensor, axes: torch.Tensor, *, left: bool) -> torch.Tensor:
    """The gradient in the small space: (rank, columns) if the left side is projected, or (rows, rank)."""
    return axes.T @ gradient if left else gradient @ axes


def derive_seed(*parts: int) -> int:
    """A seed that looks unrelated to those of other parts."""
    text = " ".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def draw_axes(gradient: torch.Tensor, rank: int, seed: int, *, left: bool) -> torch.Tensor:
    """Random axes, (side, rank), of variance 1 / rank: lengths stay what they were, on average.

    The same on every call with one seed, on one sort of device; torch's own generators are left alone.
    """
    side = gradient.shape[0 if left else 1]
    generator = torch.Generator(gradient.device).manual_seed(seed)
    axes = torch.randn(side, rank, generator=generator, device=gradient.device)
    return axes.div_(rank**0.5).to(gradient.dtype)


def find_axes(gradient: torch.Tensor, rank: int, *, left: bool) -> torch.Tensor:
    """The first ``rank`` singular vectors of the gradient, (side, rank), or as many as there are."""
    columns, _, rows = torch.linalg.svd(gradient.float(), full_matrices=False)
    axes: torch.Tensor = columns[:, :rank] if left else rows[:rank].T
    return axes.to(gradient.dtype, copy=True, memory_format=torch.contiguous_format)
