"""Muon and its relatives: matrices of hidden layers are orthogonalized, all else is AdamW's."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from drivetrain.plugin import UsageError
from drivetrain_pytorch_optimizer.member import Member

logger = logging.getLogger(__name__)

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NOT_HIDDEN = ("head", "classifier", "score")
"""Parts of the names that output layers usually have."""


class Orthogonal(Member):
    """An optimizer whose groups say whether their parameters are matrices of hidden layers.

    Those are the parameters of two dimensions and the weights of convolutions, but for embeddings and
    what shares their weights, for the output layer that the model names itself, and for what has one of
    the texts in ``adamw_modules`` in its name. The rate of AdamW's groups is ``adamw_lr``; one schedule
    drives both.
    """

    def build(self) -> tuple[type[Any], dict[str, Any]]:
        """The class and its keyword arguments, without the option that is this plugin's own."""
        cls, kwargs = super().build()
        return cls, {name: value for name, value in kwargs.items() if name != "adamw_modules"}

    def group_parameters(self, model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Split each group in two; weight decay stays what it is.

        Raises:
            UsageError: There is no matrix.
        """
        matrices = {id(p) for p in _find_matrices(model, self.options.adamw_modules).values()}
        split = [
            *(_select(group, matrices, use_muon=True) for group in groups),
            *(
                {**_select(group, matrices, use_muon=False), "lr": self._adamw_rate()}
                for group in groups
            ),
        ]
        split = [group for group in split if group["params"]]
        if not any(group["use_muon"] for group in split):
            raise UsageError(self._explain_lack(model))
        return split

    def create(self, model: nn.Module, groups: list[dict[str, Any]]) -> Optimizer:
        made: Optimizer = super().create(model, groups)
        names = ", ".join(_find_matrices(model, self.options.adamw_modules))
        logger.info("%s orthogonalizes the updates of: %s", self.name, names)
        return made

    def _explain_lack(self, model: nn.Module) -> str:
        kept, advice = "embeddings and the output layer", ""
        if _find_matrices(model, ()):
            kept += f", and those with {' or '.join(self.options.adamw_modules)} in the name"
            advice = ", or give AdamW fewer of them: optim_args={'adamw_modules': []}"
        return (
            f"`optim`: {self.name!r} is for the weight matrices of hidden layers, and the model has no "
            f"trained one beside {kept}, which AdamW takes. Type optim='adamw_torch'{advice}."
        )

    def _adamw_rate(self) -> float:
        rate = self.options.adamw_lr
        return float(getattr(rate, "value", rate))  # an option that was not given holds its default


def _find_matrices(model: nn.Module, adamw_modules: Sequence[str]) -> dict[str, torch.Tensor]:
    """By their names; a parameter is none if any of the modules that share it keeps it from that."""
    find_output = getattr(model, "get_output_embeddings", None)
    output = find_output() if callable(find_output) else None
    hidden: dict[str, torch.Tensor] = {}
    others: set[int] = set()
    for prefix, module in model.named_modules(remove_duplicate=False):
        for own_name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            name = f"{prefix}.{own_name}" if prefix else own_name
            is_apart = module is output or any(text in name for text in adamw_modules)
            if is_apart or not _is_matrix(parameter, module):
                others.add(id(parameter))
            elif parameter.requires_grad:
                hidden[name] = parameter
    return {name: parameter for name, parameter in hidden.items() if id(parameter) not in others}


def _is_matrix(parameter: torch.Tensor, module: nn.Module) -> bool:
    if isinstance(module, _CONVOLUTIONS):
        return parameter is module.weight
    return parameter.dim() == 2 and not isinstance(module, _EMBEDDINGS)


def _select(group: dict[str, Any], matrices: set[int], *, use_muon: bool) -> dict[str, Any]:
    chosen = [parameter for parameter in group["params"] if (id(parameter) in matrices) == use_muon]
    return {**group, "params": chosen, "use_muon": use_muon}
