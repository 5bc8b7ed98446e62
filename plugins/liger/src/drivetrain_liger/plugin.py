"""The plugin `liger`: layers of a transformers model computed by Liger's Triton kernels."""

from __future__ import annotations

import importlib.util
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import Plugin, UsageError, hookimpl

if TYPE_CHECKING:
    from torch import nn


class Liger(Plugin):
    """Patches the model with the kernels that liger-kernel has for its type, before it is trained.

    Which ones is said by ``liger_kernel_config``: keyword arguments of liger-kernel's function for the type.
    """

    api_version = 1

    def problems(self) -> Iterable[str]:
        if importlib.util.find_spec("liger_kernel") is None:
            yield (
                f"`{self.option}`: liger-kernel, which has the kernels, is not installed. "
                "Type: pip install liger-kernel"
            )
        elif self.args.device.type not in ("cuda", "xpu") and not _is_interpreted():
            yield (
                f"`{self.option}`: Liger's kernels are written in Triton, which needs a GPU, and this run "
                f"computes on {self.args.device}. Leave it out. (TRITON_INTERPRET=1 in the environment "
                "computes them on the CPU, very slowly, to try them.)"
            )

    @hookimpl
    def alter_model(self, model: nn.Module) -> None:
        """Patch the layers of this model; its weights and their names stay."""
        get_base_model = getattr(model, "get_base_model", None)  # of a model that PEFT wraps
        base: Any = get_base_model() if callable(get_base_model) else model
        patch = self._find_patch(base)
        config: dict[str, Any] = dict(self.args.liger_kernel_config or {})  # type: ignore[arg-type]
        _check_config(config, patch, base.config.model_type)
        try:
            patch(model=base, **config)
        except (AssertionError, TypeError, ValueError) as error:
            raise UsageError(
                f"`liger_kernel_config`: liger-kernel refuses {config!r} for {type(base).__name__}: {error}"
            ) from error

    def _find_patch(self, model: Any) -> Callable[..., None]:
        """liger-kernel's function for the model's type.

        Raises:
            UsageError: It has none.
        """
        model_type = getattr(getattr(model, "config", None), "model_type", None)
        if not isinstance(model_type, str):
            raise UsageError(
                f"`{self.option}`: Liger's kernels are for models of transformers, which say what they are "
                f"in `config.model_type`, and {type(model).__name__} does not. Leave it out."
            )
        from liger_kernel.transformers import monkey_patch

        patches: Mapping[str, Callable[..., None]] = monkey_patch.MODEL_TYPE_TO_APPLY_LIGER_FN
        if model_type not in patches:
            raise UsageError(
                f"`{self.option}`: the installed liger-kernel has no kernels for models of the type "
                f"{model_type!r}, only for: {', '.join(sorted(patches))}. Leave it out, or try a newer one: "
                "pip install --upgrade liger-kernel"
            )
        return patches[model_type]


def _check_config(config: Mapping[str, Any], patch: Callable[..., None], model_type: str) -> None:
    """Refuse kernels that liger-kernel's function for the type does not know."""
    known = [name for name in inspect.signature(patch).parameters if name != "model"]
    unknown = [name for name in config if name not in known]
    if unknown:
        raise UsageError(
            f"`liger_kernel_config`: {', '.join(map(repr, unknown))}: no kernel that models of the type "
            f"{model_type!r} can be given. Kernels: {', '.join(known)}."
        )


def _is_interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"
