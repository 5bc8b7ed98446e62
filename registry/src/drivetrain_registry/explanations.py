"""Why a name leads nowhere, and what to type instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from drivetrain_registry.catalogue import CATALOGUE, WITHOUT_A_PLUGIN
from drivetrain_registry.discovery import Entry
from drivetrain_registry.families import is_member
from drivetrain_registry.kinds import COMMAND, KINDS, Kind
from drivetrain_registry.messages import find_near, join, show_use, with_article
from drivetrain_registry.requirements import normalize

if TYPE_CHECKING:
    from drivetrain_registry.registry import Registry


def find_distribution(kind: Kind, name: str) -> str:
    """The distribution in the catalogue that has a name or a family of such names; empty if none has."""
    families = (listed for k, listed in CATALOGUE if k == kind and is_member(name, listed))
    claim = name if (kind, name) in CATALOGUE else next(families, "")
    return CATALOGUE.get((kind, claim), "")


def explain_unknown(registry: Registry, kind: Kind, name: str) -> str:
    """For a name that nothing provides: how to install it, or what it may have been meant for."""
    names = [*registry.names(kind), *registry.families(kind)]
    installed = f"Installed: {join(names) or 'none'}."
    distribution = find_distribution(kind, name)
    if distribution:
        return f"is not installed. {installed} {distribution} has it. Type: pip install {distribution}"
    awaited = WITHOUT_A_PLUGIN.get((kind, name))
    if awaited:
        return (
            f"is not installed: for this published name (done with {awaited}) drivetrain has no plugin yet. "
            f"{installed} A plugin of anyone's that registers it will do."
        )
    hints = [*_point_to_near(kind, name, names), *_point_to_other_kinds(registry, kind, name)]
    own = (
        f"Code of your own is named by its dotted path, or by `drivetrain.register({kind.name!r}, ...)`."
    )
    return " ".join(["is not installed.", *hints, installed, own])


def explain_no_text(registry: Registry, kind: Kind, name: object) -> str:
    """For a name that is None or a class: the names there are."""
    return (
        f"is a {type(name).__name__}, and {with_article(kind)} is named by a text. "
        f"Installed: {join([*registry.names(kind), *registry.families(kind)]) or 'none'}."
    )


def explain_ambiguous(entries: list[Entry], name: str) -> str:
    """For a name that several distributions provide: the qualified names."""
    qualified = (repr(f"{e.distribution}:{name}") for e in entries)
    return (
        f"is provided by {len(entries)} distributions: {join(e.provider for e in entries)}. "
        f"Say which: type {join(qualified, 'or')}, "
        f"or uninstall {'one' if len(entries) == 2 else 'all but one'} of them."
    )


def explain_wrong_distribution(registry: Registry, kind: Kind, qualified: str) -> str:
    """For a qualified name whose distribution does not provide it, or is not there."""
    distribution, _, name = qualified.partition(":")
    if not distribution or not name:
        return "is no qualified name. Write distribution:name, such as 'drivetrain-torch:sgd'."
    wanted = normalize(distribution)
    of_distribution = [e for e in registry.entries() if normalize(e.distribution) == wanted]
    providers = [e for e in registry.entries(kind) if e.name == name or is_member(name, e.name)]
    if of_distribution:
        offered = [e.name for e in of_distribution if e.kind == kind]
        what = (
            f"names {of_distribution[0].provider}, which provides no {kind} {name!r}. "
            f"Its {kind}s: {join(offered) or 'none'}."
        )
    else:
        what = f"names the distribution {distribution!r}, which provides no installed plugin."
    return f"{what}{_point_elsewhere(kind, qualified, providers, is_installed=bool(of_distribution))}"


def _point_elsewhere(kind: Kind, qualified: str, providers: list[Entry], is_installed: bool) -> str:
    distribution, _, name = qualified.partition(":")
    known = find_distribution(kind, name)
    if providers:
        return f" Type {join((repr(f'{e.distribution}:{name}') for e in providers), 'or')}."
    if known and not is_installed:
        return f" {known} has {name!r}. Type: pip install {known}"
    if is_installed:
        return ""
    if "." in distribution:  # what an entry point looks like: package.module:Class
        return f" If it is a module of yours, type {distribution + '.' + name!r}."
    return f" If that is its name, type: pip install {distribution}"


def _point_to_near(kind: Kind, name: str, names: list[str]) -> Iterator[str]:
    known = {n: distribution for (k, n), distribution in CATALOGUE.items() if k == kind}
    near = find_near(name, {*names, *known})
    if near:
        shown = (repr(n) if n in names else f"{n!r} (pip install {known[n]})" for n in near)
        yield f"Did you mean {join(shown, 'or')}?"


def _point_to_other_kinds(registry: Registry, kind: Kind, name: str) -> Iterator[str]:
    for other in KINDS:
        if other != kind and name in registry.names(other):
            use = show_use(other, name) if other == COMMAND else f"`{other.option}`={name!r}"
            yield f"It is the name of {with_article(other)}: {use}."
