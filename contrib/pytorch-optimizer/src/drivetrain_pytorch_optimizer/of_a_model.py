"""Adam-mini, which is made of a model: it tells blocks of parameters apart by their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from drivetrain_pytorch_optimizer.member import Member

_FROM_CONFIG = {
    "num_embeds": "hidden_size",
    "num_heads": "num_attention_heads",
    "num_query_groups": "num_key_value_heads",
}
"""Options that say how attention is divided, and where the configuration of a model says so."""


@dataclass(frozen=True)
class Sorted:
    """A model, and the groups that the trainer has its parameters in."""

    model: nn.Module
    groups: list[dict[str, Any]]


class OfAModel(Member):
    """An optimizer that takes the model in place of parameters, and makes the groups itself.

    Weight decay, and a rate of its own if there is one, are what the trainer gives each parameter; the
    library's own choice by name would have decay on biases. What ``model.config`` says of attention heads
    holds unless the option is given.
    """

    def group_parameters(self, model: nn.Module, groups: list[dict[str, Any]]) -> Any:
        """The model and the groups: the class makes other ones of them, one for each parameter."""
        return Sorted(model, groups)


def take_sorted(cls: type[Any]) -> type[Optimizer]:
    """The same class, made of what `OfAModel.group_parameters` gives as ``params``."""

    def __init__(self: Optimizer, params: Sorted, **kwargs: Any) -> None:
        cls.__init__(self, params.model, **{**_read_heads(params.model), **kwargs})
        group_of = {id(parameter): group for group in params.groups for parameter in group["params"]}
        for group in self.param_groups:
            (parameter,) = group["params"]
            group.update({**group_of[id(parameter)], "params": [parameter]})

    attributes = {"__doc__": cls.__doc__, "__module__": __name__, "__init__": __init__}
    return type(cls.__name__, (cls,), attributes)


def _read_heads(model: nn.Module) -> dict[str, int]:
    config = getattr(model, "config", None)
    known = {name: getattr(config, attribute, None) for name, attribute in _FROM_CONFIG.items()}
    return {name: value for name, value in known.items() if isinstance(value, int)}
