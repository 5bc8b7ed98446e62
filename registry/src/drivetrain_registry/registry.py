"""Names to parts: resolve a name without importing anything, then load that one part."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from types import ModuleType

from drivetrain_registry.discovery import Entry, discover
from drivetrain_registry.errors import (
    AmbiguousNameError,
    NameTakenError,
    UnknownDistributionError,
    UnknownNameError,
)
from drivetrain_registry.families import NamedFamily, is_member, is_pattern
from drivetrain_registry.kinds import Kind, find_kind
from drivetrain_registry.loading import check_api_version, load_dotted_path, load_entry
from drivetrain_registry.messages import join
from drivetrain_registry.requirements import normalize


@dataclass(frozen=True)
class Resolved:
    """A part that a name led to.

    Attributes:
        name: The name that was asked for.
        part: The object behind it.
        entry: The installed entry it came from; None for a dotted path or a registered object. For a
            name of a family, what an entry of that name alone would be.
    """

    name: str
    part: object
    entry: Entry | None = None

    @property
    def title(self) -> str:
        """Name and origin, as messages give them: ``'lion' (drivetrain-lion 1.0)``."""
        return f"{self.name!r} ({self.entry.provider})" if self.entry else f"{self.name!r}"


class Registry:
    """All names that can be typed, and the way from each to its part.

    Args:
        entries: The installed names to know of. By default they are read from the metadata of what
            is installed, once, at the first question.

    Example:
        >>> registry = Registry()
        >>> registry.load("optimizer", "galore_adamw").part
        <class 'drivetrain_galore.optimizer.GaLoreAdamW'>
    """

    def __init__(self, entries: Iterable[Entry] | None = None) -> None:
        self._given = None if entries is None else tuple(entries)
        self._entries = self._given
        self._registered: dict[tuple[Kind, str], object] = {}
        self._loaded: dict[Entry, object] = {}

    # -- what there is ----------------------------------------------------------------------------

    def entries(self, kind: Kind | str | None = None) -> tuple[Entry, ...]:
        """Installed names, of one kind or of all. Imports nothing."""
        if self._entries is None:
            self._entries = discover()
        if kind is None:
            return self._entries
        kind = _as_kind(kind)
        return tuple(entry for entry in self._entries if entry.kind == kind)

    def names(self, kind: Kind | str) -> list[str]:
        """Every name of a kind, installed or registered, sorted. Those of families are not among them."""
        return [name for name in self._claims(_as_kind(kind)) if not is_pattern(name)]

    def families(self, kind: Kind | str) -> list[str]:
        """The patterns of a kind, installed or registered, sorted: ``["po_*"]``. See `Family`."""
        return [name for name in self._claims(_as_kind(kind)) if is_pattern(name)]

    def claims(self, kind: Kind | str, name: str) -> bool:
        """Whether a name of a kind leads somewhere, to a family perhaps, which may not have it."""
        known = self._claims(_as_kind(kind))
        return name in known or any(is_member(name, pattern) for pattern in known)

    def _claims(self, kind: Kind) -> list[str]:
        registered = {name for registered_kind, name in self._registered if registered_kind == kind}
        return sorted({entry.name for entry in self.entries(kind)} | registered)

    def refresh(self) -> None:
        """Forget what was read: look again at what is installed at the next question.

        Entries that were given stay, and so does what was registered.
        """
        self._entries = self._given
        self._loaded.clear()
        importlib.invalidate_caches()

    # -- adding in a script -----------------------------------------------------------------------

    def register(self, kind: Kind | str, name: str, part: object, *, replace: bool = False) -> None:
        """Make ``part`` available under ``name`` in this process.

        Args:
            kind: The kind of part.
            name: Letters, digits, ``_`` and ``-``; with a ``*`` behind them for a `Family`.
            part: What a plugin's entry point would lead to.
            replace: Take the name even if it leads somewhere already.

        Raises:
            NameTakenError: The name is installed or registered, and ``replace`` is not set.
            ValueError: The name has other characters: it could not be told from a dotted path or a
                qualified name.
        """
        kind = _as_kind(kind)
        if not isinstance(name, str) or not re.fullmatch(r"[\w-]+\*?", name):
            raise ValueError(f"`name`: {name!r} cannot be registered. Use letters, digits, '_', '-'.")
        if not replace and name in self._claims(kind):
            providers = [entry.provider for entry in self.entries(kind) if entry.name == name]
            raise NameTakenError(
                kind.option,
                name,
                f"is taken by {join(providers) or 'an earlier `register`'}. "
                "Choose another name, or pass `replace=True`.",
            )
        self._registered[kind, name] = part

    # -- from a name to its part ------------------------------------------------------------------

    def resolve(self, kind: Kind | str, name: str, *, option: str | None = None) -> Entry | None:
        """Find the installed entry behind a name without importing it.

        Args:
            kind: The kind of part.
            name: An installed name, a qualified one (``distribution:name``), a registered one, or a
                dotted path.
            option: The argument to name in errors; by default the kind's own.

        Returns:
            The entry, or None where the name is registered in this process or a dotted path. For a name
            with the beginning that a family claims it is what an entry of that name alone would be:
            whether the family has it is not known before it is loaded.

        Raises:
            UnknownNameError: Nothing provides the name.
            AmbiguousNameError: Several distributions do.
            UnknownDistributionError: A qualified name gives a distribution that does not.
        """
        kind = _as_kind(kind)
        entry = self._find_entry(kind, name, option or kind.option)
        return entry and _as_entry_of(name, entry)

    def _find_entry(self, kind: Kind, name: str, option: str) -> Entry | None:
        """As `resolve`, but for a name of a family the family's own entry."""
        if not isinstance(name, str):
            raise UnknownNameError(option, name, _texts().explain_no_text(self, kind, name))
        claim = self._find_claim(kind, name)
        if (kind, claim) in self._registered:
            return None
        if ":" in name:
            return self._resolve_qualified(kind, name, option)
        found = [entry for entry in self.entries(kind) if entry.name == claim]
        if len(found) == 1:
            return found[0]
        if found:
            raise AmbiguousNameError(option, name, _texts().explain_ambiguous(found, name))
        if "." in name:
            return None
        raise UnknownNameError(option, name, _texts().explain_unknown(self, kind, name))

    def load(
        self,
        kind: Kind | str,
        name: str,
        *,
        option: str | None = None,
        is_default: bool = False,
    ) -> Resolved:
        """Find a name and import the part behind it, and no other.

        Args:
            kind: The kind of part.
            name: As for `resolve`.
            option: The argument to name in errors; by default the kind's own.
            is_default: Nobody typed the name. Where several distributions claim it, the one that the
                catalogue has for it is taken: a stranger's plugin cannot break runs that do not name it.

        Raises:
            RegistryError: One subclass for each thing that can be wrong; besides those of
                `resolve`, `DottedPathError`, `BrokenPluginError`, `MissingLibraryError` and
                `IncompatiblePluginError`.
        """
        kind = _as_kind(kind)
        option = option or kind.option
        try:
            entry = self._find_entry(kind, name, option)
        except AmbiguousNameError:
            known = self._find_known(kind, name) if is_default else None
            if known is None:
                raise
            entry = known
        claim = entry.name if entry else self._find_claim(kind, name)
        if entry is not None:
            part = self._load_entry(entry, option, name)
        elif claim:
            part = self._registered[kind, claim]
        else:
            part = load_dotted_path(name, option)
        check_api_version(option, name, part, entry)
        if not is_pattern(claim):
            return Resolved(name, part, entry)
        return _load_member(NamedFamily.around(kind, claim, part, entry, option, name), option, name)

    def load_family(self, kind: Kind | str, pattern: str, *, option: str | None = None) -> NamedFamily:
        """Import the family behind a pattern.

        Args:
            kind: The kind of its parts.
            pattern: ``po_*``, or ``distribution:po_*``.
            option: The argument to name in errors; by default the kind's own.

        Raises:
            RegistryError: As for `load`.
        """
        kind = _as_kind(kind)
        option = option or kind.option
        entry = self._find_entry(kind, pattern, option)
        claim = entry.name if entry else self._find_claim(kind, pattern)
        if not claim:  # a dotted path, which `load` would follow
            raise UnknownNameError(option, pattern, _texts().explain_unknown(self, kind, pattern))
        part = self._load_entry(entry, option, pattern) if entry else self._registered[kind, claim]
        check_api_version(option, pattern, part, entry)
        return NamedFamily.around(kind, claim, part, entry, option, pattern)

    def _resolve_qualified(self, kind: Kind, qualified: str, option: str) -> Entry:
        distribution, _, name = qualified.partition(":")
        wanted = normalize(distribution)
        offered = {e.name: e for e in self.entries(kind) if normalize(e.distribution) == wanted}
        claim = _choose_claim(name, offered)
        if claim:
            return offered[claim]
        raise UnknownDistributionError(
            option, qualified, _texts().explain_wrong_distribution(self, kind, qualified)
        )

    def _find_claim(self, kind: Kind, name: str) -> str:
        """The name or pattern that a name is found under; empty if there is none."""
        return _choose_claim(name, self._claims(kind))

    def _find_known(self, kind: Kind, name: str) -> Entry | None:
        known = _texts().find_distribution(kind, name)
        return next((e for e in self.entries(kind) if e.qualified_name == f"{known}:{name}"), None)

    def _load_entry(self, entry: Entry, option: str, name: str) -> object:
        if entry not in self._loaded:
            self._loaded[entry] = load_entry(entry, option, name)
        return self._loaded[entry]


_default = Registry()


def default_registry() -> Registry:
    """The registry of this process: what is installed, and what `register` added."""
    return _default


def register(kind: str, name: str, part: object, *, replace: bool = False) -> None:
    """Make ``part`` available under ``name`` in this process, as a plugin would. See `Registry.register`."""
    _default.register(kind, name, part, replace=replace)


def _texts() -> ModuleType:
    """The texts of errors: a name that leads somewhere does without them."""
    from drivetrain_registry import explanations

    return explanations


def _as_kind(kind: Kind | str) -> Kind:
    return find_kind(kind) if isinstance(kind, str) else kind


def _choose_claim(name: str, known: Collection[str]) -> str:
    """The name itself if it is known, or the longest pattern that it belongs to; empty if there is none."""
    if name in known:
        return name
    return max((pattern for pattern in known if is_member(name, pattern)), key=len, default="")


def _load_member(family: NamedFamily, option: str, name: str) -> Resolved:
    if is_pattern(name):
        raise family.refuse_pattern(option, name)
    part = family.find(option, name)
    entry = family.entry and _as_entry_of(name, family.entry)
    check_api_version(option, name, part, entry)
    return Resolved(name, part, entry)


def _as_entry_of(name: str, entry: Entry) -> Entry:
    """The entry, or of a family's what an entry of one of its names alone would be."""
    return replace(entry, name=name.rpartition(":")[2]) if is_pattern(entry.name) else entry
