"""pluggy's manager of hooks, that looks at a class only once.

pluggy looks at every attribute of every object that is registered, through `inspect`: 0.4 ms for a part, and
a run registers half a dozen of them three times. What it buys is in `benchmarks/startup.py`.
"""

from __future__ import annotations

import inspect
from types import MemberDescriptorType
from typing import Any
from weakref import WeakKeyDictionary

import pluggy

from drivetrain import hookspecs

_PROJECT = "drivetrain"
_MARK = f"{_PROJECT}_impl"

_HOOK_LIKE = ("on_", "alter_", "write_", "read_")
"""What the names of hooks begin with: these are looked at each time, for a class may be given one later."""

_unmarked: WeakKeyDictionary[type, frozenset[str]] = WeakKeyDictionary()


class HookManager(pluggy.PluginManager):
    """Knows the hooks of `drivetrain.hookspecs`."""

    def __init__(self) -> None:
        super().__init__(_PROJECT)
        self.add_hookspecs(hookspecs)

    def clear(self) -> None:
        """Forget who was registered; the hooks stay, which take a millisecond to read."""
        for name, listener in self.list_name_plugin():
            self.unregister(listener)
            self._name2plugin.pop(name, None)  # which pluggy before 1.7 keeps if the listener is falsy

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """What a method is marked with; None for one that is no hook: pluggy need not look at it."""
        if name in _unmarked_names(type(plugin)) and name not in getattr(plugin, "__dict__", ()):
            return None
        return super().parse_hookimpl_opts(plugin, name)


def _unmarked_names(cls: type) -> frozenset[str]:
    """The attributes that instances have from their class and that are no hooks."""
    if cls not in _unmarked:
        found = ((name, inspect.getattr_static(cls, name, None)) for name in dir(cls))
        _unmarked[cls] = frozenset(
            name for name, value in found if not (name.startswith(_HOOK_LIKE) or _may_be_hook(value))
        )
    return _unmarked[cls]


def _may_be_hook(value: object) -> bool:
    """Whether something found in a class is marked, or is a slot, where an instance may have a function."""
    inner = getattr(value, "__func__", value)  # of a class method
    is_marked = hasattr(value, _MARK) or hasattr(inner, _MARK)
    return is_marked or isinstance(value, MemberDescriptorType)
