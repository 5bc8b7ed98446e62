"""Which modules' matrices Muon leaves to AdamW."""

from __future__ import annotations

import itertools
import re
from typing import Any

from torch import nn

from drivetrain.plugin import UsageError

HEAD_NAMES = frozenset(
    {
        "lm_head",
        "head",
        "heads",
        "classifier",
        "score",
        "output_projection",
        "embed_out",
        "qa_outputs",
    }
)
"""Last parts of module names that output heads commonly have."""


def find_adamw_modules(model: nn.Module, patterns: str | tuple[str, ...] | None) -> dict[str, nn.Module]:
    """Modules whose matrices go to AdamW: all embeddings, and the output head.

    The head is what matches ``patterns`` if any are given. Otherwise it is what the model's
    ``get_output_embeddings`` returns (models of transformers have it) and the modules that are named
    like a head (`HEAD_NAMES`, outside of numbered blocks) or lie in one; where there is neither, it
    is the last `nn.Linear`.

    Raises:
        UsageError: A pattern is no regular expression, or matches no module.
    """
    modules = dict(model.named_modules())
    embeddings = {
        name: module
        for name, module in modules.items()
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag))
    }
    if patterns is not None:
        given = (patterns,) if isinstance(patterns, str) else patterns
        return embeddings | {name: modules[name] for name in _match(given, modules)}
    return embeddings | (_declared_head(model, modules) | _named_heads(modules) or _last_linear(modules))


def _match(patterns: tuple[str, ...], modules: dict[str, nn.Module]) -> list[str]:
    matches: list[str] = []
    for pattern in patterns:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise UsageError(
                f"`optim_args`: adamw_modules={pattern!r} is no regular expression: {error}."
            ) from error
        found = [name for name in modules if _is_match(expression, name)]
        if not found:
            raise UsageError(
                f"`optim_args`: adamw_modules={pattern!r} matches no module of the model. It must match a "
                f"whole name or its last part, such as that of {_some_linears(modules)}."
            )
        matches += found
    return matches


def _is_match(expression: re.Pattern[str], name: str) -> bool:
    return bool(expression.fullmatch(name) or expression.fullmatch(name.rpartition(".")[2]))


def _declared_head(model: nn.Module, modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
    get: Any = getattr(model, "get_output_embeddings", None)
    head = get() if callable(get) else None
    return {name: module for name, module in modules.items() if module is head}


def _named_heads(modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """What is named like a head or lies in it, not counting names inside of numbered blocks."""
    found = {}
    for name, module in modules.items():
        outside_blocks = itertools.takewhile(lambda part: not part.isdecimal(), name.split("."))
        if not HEAD_NAMES.isdisjoint(outside_blocks):
            found[name] = module
    return found


def _last_linear(modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
    linears = [(name, module) for name, module in modules.items() if isinstance(module, nn.Linear)]
    return dict(linears[-1:])


def _some_linears(modules: dict[str, nn.Module]) -> str:
    names = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
