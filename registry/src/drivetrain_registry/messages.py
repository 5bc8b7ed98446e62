"""The sentences of errors that several modules share."""

from __future__ import annotations

from collections.abc import Iterable

from drivetrain_registry.kinds import COMMAND, Kind


def join(words: Iterable[str], conjunction: str = "and") -> str:
    """``a, b and c``."""
    words = list(words)
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {conjunction} {words[-1]}"


def with_article(kind: Kind) -> str:
    """``an optimizer``, ``a reporter``."""
    return f"{'an' if kind.name[0] in 'aeiou' else 'a'} {kind}"


def show_use(kind: Kind, name: str) -> str:
    """How a name of a kind is typed: ``optim='sgd'``, ``drivetrain report``."""
    return f"{kind.option} {name}" if kind == COMMAND else f"{kind.option}={name!r}"


def find_near(word: str, known: Iterable[str]) -> list[str]:
    """Up to three of ``known`` that ``word`` may have been meant for; case and ``-`` do not count."""
    import difflib  # only errors need it, and it costs a listing a millisecond

    by_plain = {_plain(name): name for name in sorted(known)}
    if _plain(word) in by_plain:
        return [by_plain[_plain(word)]]
    return [by_plain[near] for near in difflib.get_close_matches(_plain(word), list(by_plain), n=3)]


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")
