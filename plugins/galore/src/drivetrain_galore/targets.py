"""Which weights `optim_target_modules` means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from drivetrain.plugin import UsageError

_MOST_NAMES = 8
_WHAT_TO_TYPE = (
    "Type optim_target_modules=['attn', 'mlp'] (parts of the names of nn.Linear modules, regular "
    "expressions or full names), or 'all-linear'."
)


def find_problems(targets: object) -> Iterator[str]:
    """What can be said against the argument before there is a model: whole messages."""
    if not targets and (targets is None or isinstance(targets, (str, list, tuple))):
        yield (
            f"`optim_target_modules`: {targets!r} names no module, and GaLore projects the gradients of "
            f"named modules only. {_WHAT_TO_TYPE}"
        )
    elif isinstance(targets, str):
        yield from _find_problems_of(targets)
    elif isinstance(targets, (list, tuple)):
        for target in targets:
            yield from _find_problems_of(target)
    else:
        yield f"`optim_target_modules`: {targets!r} is neither a text nor a list of texts. {_WHAT_TO_TYPE}"


def _find_problems_of(target: object) -> Iterator[str]:
    if not isinstance(target, str) or not target:
        yield f"`optim_target_modules`: {target!r} in it is no name of a module. {_WHAT_TO_TYPE}"
        return
    try:
        re.compile(target)
    except re.error as error:
        yield (
            f"`optim_target_modules`: {target!r} is no regular expression ({error}). Any text is "
            f"'.*', not '*'. {_WHAT_TO_TYPE}"
        )


def find_weights(model: nn.Module, targets: str | Sequence[str]) -> dict[str, nn.Parameter]:
    """The weights to project, by the full names of their modules.

    A text in a list matches as in the published trainer: it is a full name, a part of one, or a
    regular expression for a whole one. A text by itself is a regular expression for whole names, and
    a part of a name only if that finds nothing. Of the modules that match, nn.Linear ones are taken.

    Raises:
        UsageError: A target leads to no nn.Linear with a trainable weight of its own.
    """
    linears = _find_linears(model)
    found: dict[str, nn.Parameter] = {}
    for target in [targets] if isinstance(targets, str) else targets:
        names = _match(target, linears, is_alone=isinstance(targets, str))
        if not names:
            raise UsageError(_explain(model, target, linears))
        found.update((name, linears[name]) for name in names)
    return found


def _find_linears(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every nn.Linear with a trainable weight that no other sort of module shares, by full name."""
    modules = list(model.named_modules(remove_duplicate=False))
    shared = {
        id(parameter)
        for _, module in modules
        if not isinstance(module, nn.Linear)
        for parameter in module.parameters(recurse=False)
    }
    weights = ((name, _weight_of(module)) for name, module in modules if isinstance(module, nn.Linear))
    return {
        name: weight
        for name, weight in weights
        if weight is not None and weight.requires_grad and id(weight) not in shared
    }


def _weight_of(module: nn.Linear) -> nn.Parameter | None:
    """Its weight, if that is a parameter rather than computed from others."""
    return dict(module.named_parameters(recurse=False)).get("weight")


def _match(target: str, linears: Mapping[str, nn.Parameter], *, is_alone: bool) -> list[str]:
    if target.replace("_", "-") == "all-linear":
        return list(linears)
    whole = [name for name in linears if name == target or re.fullmatch(target, name)]
    if is_alone and whole:
        return whole
    return [name for name in linears if target in name or name in whole]


def _explain(model: nn.Module, target: str, linears: Mapping[str, nn.Parameter]) -> str:
    problem = f"`optim_target_modules`: {target!r} matches no nn.Linear that GaLore can work on"
    matching = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if name and (target in name or re.fullmatch(target, name))
    }
    if matching:
        name = min(
            matching, key=lambda name: (name != target, not isinstance(matching[name], nn.Linear))
        )
        problem += f" ({_describe(name, matching[name])})"
    if not linears:
        return (
            f"{problem}, and the model has none with a trainable weight of its own. "
            "Type optim='adamw_torch', or the name of another optimizer that is not GaLore's."
        )
    shown = ", ".join(list(linears)[:_MOST_NAMES])
    rest = f" and {len(linears) - _MOST_NAMES} more" if len(linears) > _MOST_NAMES else ""
    example = next(iter(linears)).rpartition(".")[2]
    return (
        f"{problem}. What can be named: {shown}{rest}. "
        f"Type optim_target_modules=[{example!r}], say, or 'all-linear'."
    )


def _describe(name: str, module: nn.Module) -> str:
    """Why a module that matches is not taken."""
    if not isinstance(module, nn.Linear):
        return f"{name!r} is of the class {type(module).__name__}"
    weight = _weight_of(module)
    if weight is None:
        return f"the weight of {name!r} is computed from other parameters"
    if not weight.requires_grad:
        return f"the weight of {name!r} is frozen"
    return f"{name!r} shares its weight with a module that is no nn.Linear"
