"""Which weights `optim_target_modules` means, for optimizers that treat those of some modules apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from drivetrain_registry import UsageError

_MOST_NAMES = 8
_MOST_USELESS = 4
_WHAT_TO_TYPE = (
    "Type optim_target_modules=['attn', 'mlp'] (parts of the names of nn.Linear modules, regular "
    "expressions or full names), or 'all-linear'."
)


def target_problems(targets: object, method: str) -> Iterator[str]:
    """What can be said against `optim_target_modules` before there is a model: whole messages.

    For use in `OptimizerPlugin.problems`.

    Args:
        targets: The argument.
        method: What the optimizer does to the weights, as the subject of a sentence: ``"GaLore"``.
    """
    if not targets and (targets is None or isinstance(targets, (str, list, tuple))):
        yield (
            f"`optim_target_modules`: {targets!r} names no module, and {method} works on named "
            f"modules only. {_WHAT_TO_TYPE}"
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


def find_target_weights(
    model: nn.Module, targets: str | Sequence[str], method: str
) -> dict[str, nn.Parameter]:
    """The weights that `optim_target_modules` means, by the full names of their modules.

    A text in a list matches as in the published trainer: it is a full name, a part of one, or a
    regular expression for a whole one. A text by itself is a regular expression for whole names, and
    a part of a name only if that finds nothing. Of the modules that match, nn.Linear ones are taken.

    Args:
        model: The model that is trained.
        targets: The argument: a text, or several; ``"all-linear"`` means every nn.Linear.
        method: What the optimizer does to the weights, as the subject of a sentence: ``"GaLore"``.

    Raises:
        UsageError: A target leads to no nn.Linear with a trainable weight of its own.
    """
    linears = _find_linears(model)
    found: dict[str, nn.Parameter] = {}
    for target in [targets] if isinstance(targets, str) else targets:
        names = _match(target, linears, is_alone=isinstance(targets, str))
        if not names:
            raise UsageError(_explain(model, target, linears, method))
        found.update((name, linears[name]) for name in names)
    return found


def split_groups(
    groups: Iterable[Mapping[str, Any]], weights: Iterable[nn.Parameter], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Split each parameter group into what is not targeted and, after it, what is; empty ones are left out.

    Both keep what the group says, such as its weight decay. For use in `OptimizerPlugin.group_parameters`.

    Args:
        groups: The groups.
        weights: The targeted weights: values of what `find_target_weights` returns.
        settings: What the groups of targeted weights say beside that.
    """
    targeted = {id(weight) for weight in weights}
    split = []
    for group in groups:
        others = [parameter for parameter in group["params"] if id(parameter) not in targeted]
        own = [parameter for parameter in group["params"] if id(parameter) in targeted]
        split += [{**group, "params": others}, {**group, "params": own, **settings}]
    return [group for group in split if group["params"]]


def explain_useless_rank(rank: int, weights: Mapping[str, nn.Parameter]) -> str:
    """Which targeted weights are no larger than what a rank makes of them, and what to type; or nothing.

    Args:
        rank: The option of that name.
        weights: What `find_target_weights` returns.
    """
    useless = [name for name, weight in weights.items() if rank >= min(weight.shape)]
    if not useless:
        return ""
    shown = ", ".join(useless[:_MOST_USELESS]) + (", ..." if len(useless) > _MOST_USELESS else "")
    return (
        f"`optim_args`: rank={rank} saves no memory for {len(useless)} of {len(weights)} targeted modules, "
        f"whose smaller side is no longer than that: {shown}. Type a lower rank, or leave them out of "
        "`optim_target_modules`."
    )


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


def _explain(model: nn.Module, target: str, linears: Mapping[str, nn.Parameter], method: str) -> str:
    problem = f"`optim_target_modules`: {target!r} matches no nn.Linear that {method} can work on"
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
            "Type optim='adamw_torch', say, which works on all sorts of weights."
        )
    shown = ", ".join(list(linears)[:_MOST_NAMES])
    rest = f" and {len(linears) - _MOST_NAMES} more" if len(linears) > _MOST_NAMES else ""
    name = next(iter(linears))
    last = name.rpartition(".")[2]
    example = name if last.isdecimal() else last  # a number alone is a part of many other names
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
