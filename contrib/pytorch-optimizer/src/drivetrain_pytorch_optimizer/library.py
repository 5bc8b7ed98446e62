"""pytorch_optimizer, imported without its noise.

It imports transformers where that is installed, which takes two seconds and warns of things that have
nothing to do with optimizers.
"""

from __future__ import annotations

from importlib import metadata

from torch.optim import Optimizer

from drivetrain.plugin import quietly

with quietly():
    import pytorch_optimizer


def list_optimizers() -> list[str]:
    """The names that the library has for its optimizers, in lower case."""
    return list(pytorch_optimizer.get_supported_optimizers())


def get_class(name: str) -> type[Optimizer]:
    """The optimizer of a name that `list_optimizers` has."""
    cls: type[Optimizer] = pytorch_optimizer.load_optimizer(name)
    return cls


def read_description() -> str:
    """The library's README, which pip keeps with its metadata; empty if it does not."""
    fields = metadata.metadata("pytorch_optimizer").json
    return str(fields.get("description", ""))
