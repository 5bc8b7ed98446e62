"""The library clearml, without all that it does to a process besides."""

from __future__ import annotations

import argparse
import atexit
import builtins
import importlib
import logging
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from drivetrain.plugin import Forwarding, quietly

logger = logging.getLogger(__name__)

_PATCHED_AT_IMPORT = ("parse_args", "parse_known_args", "add_subparsers")
_WAITING_AT_EXIT = ("clearml.utilities.process.exit_hooks", "clearml.backend_interface.metrics.reporter")
_VARIABLES = (
    "CLEARML_PROC_MASTER_ID",
    "TRAINS_PROC_MASTER_ID",
    "CLEARML_OFFLINE_MODE",
    "TRAINS_OFFLINE_MODE",
    "CLEARML_CACHE_DIR",
)


def load_clearml() -> Any:
    """Import clearml, which prints nothing then, and leaves `argparse` as it is."""
    if "clearml" not in sys.modules:
        methods = {name: getattr(argparse.ArgumentParser, name) for name in _PATCHED_AT_IMPORT}
        try:
            with quietly():
                import clearml
                from clearml.config import config

                config.get("development", None)  # reads the files of settings, which warns of the reader
        finally:
            for name, method in methods.items():
                setattr(argparse.ArgumentParser, name, method)
        _speak_through_logging()
        atexit.register(_forget_handlers)
    import clearml

    frameworks: Any = importlib.import_module("clearml.binding.frameworks")
    frameworks.randint = random.Random().randint  # the training draws from Python's own meanwhile
    return clearml


@contextmanager
def process_kept() -> Iterator[None]:
    """Undo what the library does to the process when a task begins or ends: it is the training's.

    It hooks into uncaught exceptions, `sys.exit`, imports, new processes and the environment. Signal handlers
    it can only replace in the main thread, where it is not called.
    """
    hook, leave, run, imports = sys.excepthook, sys.exit, BaseProcess.run, builtins.__import__
    variables = {name: os.environ.get(name) for name in _VARIABLES}
    try:
        yield
    finally:
        sys.excepthook = hook
        sys.exit = leave
        builtins.__import__ = imports
        BaseProcess.run = run  # type: ignore[method-assign]
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def settings_of_task(stops_process: bool) -> Iterator[None]:
    """How a task is made: no seed of its own, no forked process to report, nothing that ends this process.

    The library seeds Python, NumPy and torch; forks the process, with all that is in it, to report from
    there; kills it, with its children, when the task is aborted in the web interface; and has it wait at
    its end, for ever, for a server that is gone. `ClearML.close` ends a task; there is no second try.
    """
    tasks: Any = importlib.import_module("clearml").Task
    signals: Any = importlib.import_module("clearml.backend_interface.task.development.stop_signal")
    seed, stops = tasks._random_seed, signals.TaskStopSignal.enabled
    tasks.set_random_seed(None)
    tasks._report_subprocess_enabled = False
    signals.TaskStopSignal.enabled = stops_process
    modules: list[Any] = [importlib.import_module(name) for name in _WAITING_AT_EXIT]
    for module in modules:
        module.atexit = _NoExit
    try:
        yield
    finally:
        for module in modules:
            module.atexit = atexit
        tasks.set_random_seed(seed)
        signals.TaskStopSignal.enabled = stops


def make_cache_absolute() -> None:
    """For the task that begins; under a relative folder, a session's files miss its archive."""
    config: Any = importlib.import_module("clearml.config")
    os.environ["CLEARML_CACHE_DIR"] = str(Path(config.get_cache_dir()).absolute())


def detach_from_forks() -> None:
    """Keep a task out of the processes that are started, as those that load data are."""
    environment: Any = importlib.import_module("clearml.binding.environ_bind")
    environment.PatchOsFork.patch_fork(None)


def _forget_handlers() -> None:
    """Before `logging` ends: it would wait until the last line is sent, maybe for ever."""
    handlers: Any = vars(logging)["_handlerList"]
    for reference in list(handlers):
        if type(reference()).__module__.startswith("clearml."):
            handlers.remove(reference)


class _NoExit:
    """Stands for the module `atexit`."""

    @staticmethod
    def register(function: object, *_: object, **__: object) -> object:
        return function

    @staticmethod
    def unregister(function: object) -> None:
        pass


def _speak_through_logging() -> None:
    """Warnings and errors of the library go where drivetrain's go; what it prints besides is left out."""
    from clearml import logger as console
    from clearml import task as tasks
    from clearml.debugging.log import LoggerRoot

    for module in (console, tasks):
        module.print = _print_nothing
    theirs = LoggerRoot.get_base_logger()
    for handler in list(theirs.handlers):
        theirs.removeHandler(handler)
    theirs.addHandler(Forwarding(logger, "ClearML"))
    theirs.propagate = False


def _print_nothing(*_: object, **__: object) -> None:
    pass
