"""`gradient_checkpointing`: activations are computed again in the backward pass instead of being kept."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from drivetrain.features.forwards import ReplacedForward
from drivetrain.hookspecs import hookimpl
from drivetrain.parallel_wrappers import unwrap
from drivetrain.plugin.part import Plugin
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)

_OPTIONS: dict[str, Any] = {
    "use_reentrant": bool,
    "preserve_rng_state": bool,
    "context_fn": callable,
    "determinism_check": ("default", "none"),
    "debug": bool,
    "early_stop": bool,
}
"""What torch.utils.checkpoint.checkpoint takes besides the function and its inputs."""

_METHODS = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
"""How a model offers it itself: transformers' name of today first, for the other one warns there."""

_MODULES = "gradient_checkpointing_modules"


class GradientCheckpointing(Plugin):
    """Has a model compute activations again, each time it is trained.

    A model of transformers does it itself, and so does any model with a method
    ``gradient_checkpointing_enable()``; if that takes ``gradient_checkpointing_kwargs``, it gets the
    options. It stays switched on after training, where it has no effect on evaluations.

    Another model names the modules whose activations are not kept, by their class or by a pattern of
    their full names, and gets its forward back when the training ends::

        class Net(nn.Module):
            gradient_checkpointing_modules = ("Block", "encoder.layers.*")

    Of modules inside one another, the outermost is taken. Random numbers are the same the second time,
    so that training gives the same weights as without.
    """

    _replaced: tuple[ReplacedForward, ...] = ()
    _config: Any = None

    def problems(self) -> Iterator[str]:
        """Refuse options that torch.utils.checkpoint does not have."""
        for name, value in self._given.items():
            problem = _find_problem(name, value)
            if problem is not None:
                yield f"`gradient_checkpointing_kwargs`: {problem}"
        for name in ("context_fn", "debug"):
            if name in self._given and self._given.get("use_reentrant") is True:
                yield (
                    f"`gradient_checkpointing_kwargs`: {name} does not go with use_reentrant=True. "
                    "Leave out one of them."
                )

    @hookimpl
    def on_train_begin(self, trainer: Trainer) -> None:
        """Switch it on.

        Raises:
            UsageError: The model does not offer it.
        """
        self._undo()  # what a run that begins again has left
        model = unwrap(trainer.model)
        enable = next((getattr(model, name) for name in _METHODS if _has_method(model, name)), None)
        if enable is not None:
            self._enable(model, enable)
        elif getattr(model, _MODULES, None):
            self._replace_forwards(model)
        else:
            raise UsageError(_explain_missing(model))

    @hookimpl
    def on_run_end(self) -> None:
        """Give modules their forward back, and the configuration its cache."""
        self._undo()

    def _undo(self) -> None:
        for replaced in self._replaced:
            replaced.restore()
        self._replaced = ()
        if self._config is not None:
            self._config.use_cache = True
        self._config = None

    @property
    def _given(self) -> dict[str, Any]:
        given = self.args.gradient_checkpointing_kwargs
        return given if isinstance(given, dict) else {}

    @property
    def _chosen(self) -> dict[str, Any]:
        return {"use_reentrant": False, **self._given}

    def _enable(self, model: nn.Module, enable: Callable[..., Any]) -> None:
        """Have the model do it itself."""
        parameter = _options_parameter(enable)
        if parameter is None and self._given:
            raise UsageError(
                f"`gradient_checkpointing_kwargs`: {type(model).__name__}.{enable.__name__} takes none. "
                "Leave it out, or give it a parameter `gradient_checkpointing_kwargs`."
            )
        self._switch_off_cache(model)
        try:
            enable(**({parameter: self._chosen} if parameter else {}))
        except ValueError as error:
            raise UsageError(
                f"`gradient_checkpointing`: {type(model).__name__} cannot do it: {error} Leave it out."
            ) from error
        if self._chosen["use_reentrant"]:
            _let_gradients_through(model)

    def _switch_off_cache(self, model: nn.Module) -> None:
        """Keys and values that are kept for later tokens cannot be computed a second time."""
        config = getattr(model, "config", None)
        if getattr(config, "use_cache", False) is True:
            logger.info(
                "`gradient_checkpointing`: the configuration's `use_cache` is off while the model trains."
            )
            self._config = config
            self._config.use_cache = False

    def _replace_forwards(self, model: nn.Module) -> None:
        if self._chosen["use_reentrant"]:
            raise UsageError(
                "`gradient_checkpointing_kwargs`: use_reentrant=True loses gradients where a module's inputs "
                f"carry none or are keywords, and {type(model).__name__} does not see to that. "
                "Type use_reentrant=False."
            )
        modules = _find_modules(model)
        logger.info("`gradient_checkpointing`: %s compute activations again.", ", ".join(modules))
        self._replaced = tuple(_replace(module, self._chosen) for module in modules.values())


def _find_problem(name: str, value: Any) -> str | None:
    if name not in _OPTIONS:
        return f"{name!r} is none of torch.utils.checkpoint's options. Allowed: {', '.join(_OPTIONS)}."
    expected = _OPTIONS[name]
    if isinstance(expected, tuple):
        is_right, wanted = value in expected, "one of " + ", ".join(map(repr, expected))
    else:
        is_right = callable(value) if expected is callable else isinstance(value, expected)
        wanted = "a function" if expected is callable else "True or False"
    return None if is_right else f"{name} is {value!r}. Type {wanted} for it."


def _has_method(model: nn.Module, name: str) -> bool:
    return callable(getattr(model, name, None))


def _options_parameter(enable: Callable[..., Any]) -> str | None:
    names = inspect.signature(enable).parameters
    offered = ("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs")
    return next((name for name in offered if name in names), None)


def _let_gradients_through(model: nn.Module) -> None:
    """Let frozen embeddings' output carry gradients, without which the first layers would get none."""
    let_through = getattr(model, "enable_input_require_grads", None)
    if callable(let_through) and getattr(model, "_require_grads_hook", None) is None:
        let_through()


def _replace(module: nn.Module, options: dict[str, Any]) -> ReplacedForward:
    # A partial of a method, for that is copied and pickled along with its module.
    return ReplacedForward(module, functools.partial(_recompute, module, module.forward, options))


def _recompute(
    module: nn.Module, forward: Callable[..., Any], options: dict[str, Any], *args: Any, **kwargs: Any
) -> Any:
    if not (module.training and torch.is_grad_enabled()):
        return forward(*args, **kwargs)
    return checkpoint(functools.partial(forward, **kwargs), *args, **options)


def _find_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that a model names, by their full names."""
    wanted: Any = getattr(model, _MODULES)
    if isinstance(wanted, str) or not all(isinstance(pattern, str) for pattern in wanted):
        raise UsageError(
            f"`gradient_checkpointing`: {type(model).__name__}.{_MODULES} is {wanted!r}. "
            "Write a tuple of texts: names of classes, or patterns of modules' names."
        )
    found: dict[str, nn.Module] = {}
    matched: set[str] = set()
    for name, module in model.named_modules():
        patterns = {pattern for pattern in wanted if name and _matches(pattern, name, module)}
        matched |= patterns
        if patterns and not any(name.startswith(f"{outer}.") for outer in found):
            found[name] = module
    missed = [pattern for pattern in wanted if pattern not in matched]
    if missed:
        raise UsageError(_explain_missed(model, missed))
    return found


def _matches(pattern: str, name: str, module: nn.Module) -> bool:
    return type(module).__name__ == pattern or fnmatchcase(name, pattern)


def _explain_missed(model: nn.Module, missed: Iterable[str]) -> str:
    modules = [(name, type(module).__name__) for name, module in model.named_modules() if name]
    shown = ", ".join(f"{name!r} ({cls})" for name, cls in modules[:8]) or "none"
    return (
        f"`gradient_checkpointing`: {', '.join(map(repr, missed))} in {type(model).__name__}.{_MODULES} is "
        f"neither the class nor the name of a module. Its modules: {shown}"
        f"{', ...' if len(modules) > 8 else ''}."
    )


def _explain_missing(model: nn.Module) -> str:
    name = type(model).__name__
    return (
        f"`gradient_checkpointing`: {name} does not offer it. Name the modules whose activations are "
        f"computed again, by class or by a pattern of names, in the class: {_MODULES} = ('Block', "
        f"'layers.*'); or give it a method `gradient_checkpointing_enable`; or leave the argument out."
    )
