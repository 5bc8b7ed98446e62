"""Where a run is: in a notebook, in a terminal, or where nobody wants to see bars."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.callbacks.callback import TrainerCallback


def is_in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, whose frontend can show HTML.

    IPython in a terminal is none: its shell is of another class.
    """
    # A kernel has imported IPython before anything of ours.
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_shell() if get_shell is not None else None
    return any(cls.__name__ == "ZMQInteractiveShell" for cls in type(shell).__mro__)


def is_on_terminal() -> bool:
    """Whether standard error is a terminal, and no file or pipe that would be filled with bars."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def progress_callback_class(args: TrainingArguments) -> type[TrainerCallback]:
    """The callback that shows progress, by ``disable_tqdm`` and where the run is."""
    if args.disable_tqdm:
        from drivetrain.callbacks.printer import PrinterCallback

        return PrinterCallback
    if not is_in_notebook():
        from drivetrain.callbacks.progress import ProgressCallback

        return ProgressCallback
    from drivetrain.callbacks.notebook import NotebookProgressCallback

    return NotebookProgressCallback
