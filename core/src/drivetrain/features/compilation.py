"""`torch_compile`: the model is compiled with torch.compile."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from drivetrain.hookspecs import hookimpl
from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

_WITHOUT_MODES = ("eager", "aot_eager", "cudagraphs")
_KNOWN_BACKENDS = ("inductor", *_WITHOUT_MODES)
_KNOWN_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
"""In every version of torch; any other has torch's compiler imported, which takes a second or more."""


class Compilation(Plugin):
    """Compiles the model's forward, in place, when it is first called in training or evaluation.

    The model stays the object that it was, with the same names of parameters, and stays compiled.
    Checkpoints and pickles of it are those of the model as it was written.
    """

    def problems(self) -> Iterator[str]:
        """Refuse a backend or a mode that there is not, and a compiler that lacks something."""
        backend, mode = self.args.torch_compile_backend, self.args.torch_compile_mode
        if backend not in _KNOWN_BACKENDS and backend not in _all_backends():
            yield (
                f"`torch_compile_backend`: {backend!r} is no backend of torch.compile. "
                f"Allowed: {', '.join(map(repr, _all_backends()))}."
            )
        if mode is not None:
            yield from _check_mode(str(backend), mode)
        if backend == "inductor":
            yield from _check_inductor(self.args.device)
        if self.args.gradient_checkpointing and str(backend).startswith("eager"):
            yield (
                f"`torch_compile_backend`: {backend!r} draws other random numbers when activations are "
                "computed again for `gradient_checkpointing`=True: gradients are wrong with dropout. "
                "Type torch_compile_backend='aot_eager'."
            )
        if self.args.jit_mode_eval:
            yield "`torch_compile`: True contradicts `jit_mode_eval`=True. Set one of them."

    @hookimpl
    def alter_model(self, trainer: Trainer, model: nn.Module) -> None:
        """Have the model compiled when it is first called."""
        mode = self.args.torch_compile_mode
        options = {} if mode is None else {"mode": mode}
        if (
            model._compiled_call_impl is not None
        ):  # what was compiled for an earlier trainer knows no new hooks
            torch.compiler.reset()
        nn.Module.compile(model, backend=self.args.torch_compile_backend, **options)


def _check_mode(backend: str, mode: str) -> Iterator[str]:
    if backend == "inductor" and mode not in _KNOWN_MODES and mode not in _all_modes():
        yield (
            f"`torch_compile_mode`: {mode!r} is no mode of torch.compile. "
            f"Allowed: {', '.join(map(repr, _all_modes()))}."
        )
    if backend in _WITHOUT_MODES and mode != "default":
        yield (
            f"`torch_compile_mode`: {mode!r} is a mode of the backend 'inductor', and "
            f"`torch_compile_backend` is {backend!r}. Leave out one of them."
        )


def _all_backends() -> list[str]:
    return list(torch.compiler.list_backends(exclude_tags=()))


def _all_modes() -> list[str]:
    inductor = importlib.import_module("torch._inductor")
    return list(inductor.list_mode_options())


def _check_inductor(device: torch.device) -> Iterator[str]:
    """Say what inductor lacks: on a CPU it writes C++, on a GPU Triton."""
    instead = "or type torch_compile_backend='aot_eager', which compiles without."
    if device.type == "cpu":
        compiler = os.environ.get("CXX") or _default_compiler()
        if shutil.which(compiler) is None:
            yield (
                f"`torch_compile_backend`: 'inductor' needs a C++ compiler, and {compiler!r} is not found. "
                f"Install one (g++, clang++), name it in the environment variable CXX, {instead}"
            )
    elif device.type in ("cuda", "xpu") and importlib.util.find_spec("triton") is None:
        yield (
            "`torch_compile_backend`: 'inductor' needs Triton, which is not installed. "
            f"Type: pip install triton, {instead}"
        )


def _default_compiler() -> str:
    return {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
