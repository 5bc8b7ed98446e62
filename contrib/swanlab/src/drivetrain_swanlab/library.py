"""swanlab, without what it does to the process that it is in.

It takes over `sys.excepthook`, the handler of Ctrl+C and what is done at exit, writes to the terminal, draws
from Python's own random generator, and sets an environment variable. All of that is undone here.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from drivetrain.plugin import quietly

_DRAWS = ("swanlab.utils.experiment", "swanlab.sdk.internal.core_python.transport.worker.utils")
"""Modules that draw from `random`, which belongs to the training: names, colours, waiting times."""

_SETTINGS = "swanlab.sdk.internal.settings"
_CONSOLE = "swanlab.sdk.internal.pkg.console"
_FOLDER_VARIABLE = "SWANLAB_LOG_DIR"


@functools.cache
def load() -> Any:
    """The module swanlab."""
    with quietly():
        swanlab = import_module("swanlab")
    for name in _DRAWS:
        with contextlib.suppress(ImportError, AttributeError):
            module = import_module(name)
            assert module.random is random
            module.random = random.Random()  # type: ignore[attr-defined]
    with contextlib.suppress(ImportError, AttributeError):
        _let_a_project_have_a_name(import_module(_SETTINGS))
    return swanlab


def _let_a_project_have_a_name(settings: Any) -> None:
    """Keep ``SWANLAB_PROJECT`` from swanlab 0.10, which takes it for JSON and fails; it is read here."""

    source: Any = settings._QuoteAwareEnvSettingsSource

    class Environment(source):  # type: ignore[misc]
        env_vars: Any

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            unread = {"SWANLAB_PROJECT", "swanlab_project"}
            self.env_vars = {name: text for name, text in self.env_vars.items() if name not in unread}

    settings._QuoteAwareEnvSettingsSource = Environment


@contextlib.contextmanager
def unchanged_process() -> Iterator[None]:
    """Put back what swanlab takes over when a run begins, and gives back, to whoever had it, when it ends."""
    hook = sys.excepthook
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if is_main else None
    folder = os.environ.get(_FOLDER_VARIABLE)
    try:
        yield
    finally:
        sys.excepthook = hook
        if is_main and signal.getsignal(signal.SIGINT) != handler:
            signal.signal(signal.SIGINT, handler)
        if os.environ.get(_FOLDER_VARIABLE) != folder:
            _restore_folder(folder)


def _restore_folder(folder: str | None) -> None:
    if folder is None:
        os.environ.pop(_FOLDER_VARIABLE, None)
    else:
        os.environ[_FOLDER_VARIABLE] = folder


def forget_at_exit(run: Any) -> None:
    """Have a run not wait for a server when the process ends; it is closed before that."""
    finish = getattr(run, "_handle_atexit", None)
    if finish is not None:
        atexit.unregister(finish)


def set_quiet(is_quiet: bool) -> None:
    """Let swanlab write to the terminal, or not."""
    with contextlib.suppress(ImportError, AttributeError):
        import_module(_CONSOLE).c.quiet = is_quiet
