"""The projection of one weight's gradients, stored compactly, and as plain data in checkpoints."""

from __future__ import annotations

from typing import Any

import torch

from drivetrain_galore.library import GaLoreProjector

SETTINGS = ("rank", "update_proj_gap", "scale", "proj_type")
"""What a parameter group of GaLore says of the projection; a group without it is not projected."""


class Projector(GaLoreProjector):  # type: ignore[misc]
    """A projector of galore-torch that holds no more memory than its matrix has elements.

    The library keeps a view of the first ``rank`` singular vectors, and with it all of them: for a
    512 x 512 float32 weight at rank 8, 1 MiB instead of 16 KiB, in memory and in a checkpoint.
    """

    def get_orthogonal_matrix(
        self, weights: torch.Tensor, rank: int, type: str
    ) -> torch.Tensor | list[torch.Tensor]:
        """The ``rank`` first singular vectors of a gradient: one matrix, or two for ``"full"``."""
        matrix = super().get_orthogonal_matrix(weights, rank, type)
        return [_compact(half) for half in matrix] if isinstance(matrix, list) else _compact(matrix)


def make_projector(group: dict[str, Any]) -> Projector:
    """A projector that follows the settings of a parameter group and has no matrix yet."""
    return Projector(**{name: group[name] for name in SETTINGS})


def write_projector(projector: GaLoreProjector) -> dict[str, Any]:
    """What a projector holds, as tensors, numbers and texts."""
    settings = {name: getattr(projector, name) for name in SETTINGS}
    return {**settings, "ortho_matrix": projector.ortho_matrix}


def read_projector(written: dict[str, Any], device: torch.device) -> Projector:
    """The projector that `write_projector` wrote, with its matrix on ``device``."""
    projector = make_projector(written)
    matrix = written["ortho_matrix"]
    if isinstance(matrix, list):
        projector.ortho_matrix = [half.to(device, copy=True) for half in matrix]
    elif matrix is not None:
        projector.ortho_matrix = matrix.to(device, copy=True)
    return projector


def _compact(matrix: torch.Tensor) -> torch.Tensor:
    """A copy without gaps that keeps the order of the strides.

    The order decides which multiplication runs: with another one, results differ in the last bits.
    """
    is_by_column = matrix.stride(0) < matrix.stride(1)
    copy = matrix.t().contiguous().t() if is_by_column else matrix.contiguous()
    return copy.clone() if copy.untyped_storage().nbytes() > copy.nbytes else copy
