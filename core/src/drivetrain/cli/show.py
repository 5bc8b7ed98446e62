"""`drivetrain plugins show NAME`: load one plugin and print what it says about itself."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from dataclasses import asdict, dataclass, field

from drivetrain.cli.families import print_families
from drivetrain.cli.inspection import (
    Option,
    base_of,
    examples_of,
    explain_wrong_kind,
    find_plugin_class,
    first_paragraph,
    read_option_fields,
)
from drivetrain.cli.states import explain_missing_libraries, find_missing_libraries
from drivetrain.cli.tables import format_table, terminal_width
from drivetrain.features import FEATURES
from drivetrain.parts import BASE_CLASSES
from drivetrain.plugin.part import Plugin
from drivetrain_registry import (
    KINDS,
    BrokenPluginError,
    IncompatiblePluginError,
    Kind,
    RegistryError,
    Resolved,
    WrongKindError,
    default_registry,
)
from drivetrain_registry.catalogue import CATALOGUE
from drivetrain_registry.explanations import find_distribution
from drivetrain_registry.families import is_pattern
from drivetrain_registry.kinds import (
    COMMAND,
    OPTIMIZER,
    PLUGIN,
    REPORTER,
    SCHEDULER,
    SEARCHER,
    find_kind,
)
from drivetrain_registry.messages import find_near, show_use

_OPTIONS_ARGUMENTS = {
    OPTIMIZER: "optim_args",
    SCHEDULER: "lr_scheduler_kwargs",
    REPORTER: "reporter_args",
    SEARCHER: "hyperparameter_search",
}
_BROKEN, _MISUSED = 1, 2


@dataclass(frozen=True)
class PluginPage:
    """What is printed of one plugin.

    Attributes:
        argument: The training argument that names it; empty for a command.
        options_argument: The one that holds its options; empty if there is none.
        example: A line to type.
        missing_libraries: Modules that it needs and that are not installed, with what to type.
    """

    kind: str
    name: str
    distribution: str
    version: str
    code: str
    summary: str
    argument: str
    options_argument: str
    options: list[Option]
    example: str
    cannot: dict[str, str] = field(default_factory=dict)
    unused_arguments: list[str] = field(default_factory=list)
    suits: list[str] = field(default_factory=list)
    state_bytes: float | None = None
    paper: str = ""
    missing_libraries: dict[str, str] = field(default_factory=dict)


def show_plugin(name: str, kind_name: str | None, *, as_json: bool) -> int:
    """Print the page of a name, one for each kind that has it; return the exit status.

    The page of a family (``po_*``) lists its names.
    """
    try:
        kinds = [find_kind(kind_name)] if kind_name else _find_kinds(name)
        if is_pattern(name):
            return print_families(kinds, name, as_json=as_json)
        pages = [_read_page(kind, name) for kind in kinds]
    except (BrokenPluginError, IncompatiblePluginError, WrongKindError) as error:
        print(error, file=sys.stderr)
        return _BROKEN
    except RegistryError as error:
        print(error, file=sys.stderr)
        return _MISUSED
    if as_json:
        print(json.dumps([asdict(page) for page in pages], indent=2))
    else:
        print("\n\n".join("\n".join(_describe(page)) for page in pages))
    return 0


def _find_kinds(name: str) -> list[Kind]:
    """The kinds in which a name leads somewhere; where there is none, one to say so for."""
    registry = default_registry()
    if ":" in name:
        kinds = [kind for kind in KINDS if registry.claims(kind, name.partition(":")[2])]
        matching = [kind for kind in kinds if _can_resolve(kind, name)]
        return matching or kinds[:1] or [OPTIMIZER]
    kinds = [kind for kind in KINDS if registry.claims(kind, name)]
    if not kinds and "." in name:
        return [_find_kind_of_code(name)]
    return kinds or [_guess_kind(name)]


def _can_resolve(kind: Kind, name: str) -> bool:
    try:
        default_registry().resolve(kind, name)
    except RegistryError:
        return False
    return True


def _guess_kind(name: str) -> Kind:
    """The kind that an unknown name was most likely meant for: its message has the near matches."""
    known = {kind: set(default_registry().names(kind)) for kind in KINDS}
    for kind, listed in CATALOGUE:
        known[kind].add(listed)
    in_catalogue = [kind for kind in KINDS if find_distribution(kind, name)]
    near = find_near(name, set().union(*known.values()))
    return in_catalogue[0] if in_catalogue else next(k for k in KINDS if not near or near[0] in known[k])


def _find_kind_of_code(path: str) -> Kind:
    """The first kind that the object at a dotted path can be a part of."""
    if os.getcwd() not in sys.path:  # a console script does not search where it is typed; scripts do
        sys.path.insert(0, os.getcwd())
    part = default_registry().load(PLUGIN, path, option="NAME").part
    for kind in (*BASE_CLASSES, COMMAND):
        if isinstance(part, type) and issubclass(part, base_of(kind) or Plugin):
            return kind
    return next((kind for kind in BASE_CLASSES if find_plugin_class(kind, part)), PLUGIN)


def _read_page(kind: Kind, name: str) -> PluginPage:
    resolved = default_registry().load(kind, name)
    cls = find_plugin_class(kind, resolved.part)
    if cls is None:
        raise WrongKindError(kind.option, name, explain_wrong_kind(kind, resolved.part))
    entry = resolved.entry
    options = _read_options(kind, resolved, cls)
    return PluginPage(
        kind=kind.name,
        name=entry.name if entry else name,
        distribution=entry.distribution if entry else "",
        version=entry.version if entry else "",
        code=entry.value if entry else name,
        summary=first_paragraph(cls),
        argument=_argument_of(kind, name),
        options_argument=_OPTIONS_ARGUMENTS.get(kind, ""),
        options=options,
        example=_make_example(kind, name, options),
        cannot={str(feature): reason for feature, reason in getattr(cls, "cannot", {}).items()},
        unused_arguments=list(getattr(cls, "unused_arguments", ())),
        suits=list(getattr(cls, "suits", ())),
        state_bytes=getattr(cls, "state_bytes", None),
        paper=getattr(cls, "paper", ""),
        missing_libraries=find_missing_libraries(cls),
    )


def _read_options(kind: Kind, resolved: Resolved, cls: type) -> list[Option]:
    try:
        return read_option_fields(cls)
    except (TypeError, NameError) as error:
        provider = resolved.entry.provider if resolved.entry else "code of yours"
        raise BrokenPluginError(
            kind.option,
            resolved.name,
            f"is provided by {provider}, and its `Options` cannot be read: {error}. Tell its authors.",
        ) from error


def _argument_of(kind: Kind, name: str) -> str:
    """The argument that asks for a part: that of its kind, but for plugins that have one of their own."""
    if kind == COMMAND:
        return ""
    own = (feature.argument for feature in FEATURES if kind == PLUGIN and feature.where == name)
    return next(own, kind.option)


def _make_example(kind: Kind, name: str, options: list[Option]) -> str:
    if kind == COMMAND:
        return f"{show_use(kind, name)} --help"
    if kind == SEARCHER:
        return f"trainer.hyperparameter_search(backend={json.dumps(name)})"
    if _argument_of(kind, name) != kind.option:
        return f'TrainingArguments("out", {_argument_of(kind, name)}=True)'
    value = json.dumps([name] if kind in (REPORTER, PLUGIN) else name)
    example = f"{kind.option}={value}"
    values = ", ".join(f"{key}={default}" for key, default in examples_of(options))
    if kind == REPORTER:
        by_name = ", ".join(f'"{key}": {default}' for key, default in examples_of(options))
        example += f", reporter_args={{{json.dumps(name)}: {{{by_name}}}}}" if by_name else ""
    elif values and kind in _OPTIONS_ARGUMENTS:
        example += f", {_OPTIONS_ARGUMENTS[kind]}={_quote(values)}"
    return f'TrainingArguments("out", {example})'


def _quote(text: str) -> str:
    return repr(text) if '"' in text else f'"{text}"'


def _describe(page: PluginPage) -> list[str]:
    width = terminal_width()
    origin = f"{page.distribution} {page.version}" if page.distribution else "code that is not packaged"
    options = f", options in `{page.options_argument}`" if page.options_argument else ""
    lines = [
        f"{page.kind} {page.name}",
        f"  from      {origin}",
        f"  code      {page.code}",
    ]
    if page.argument:
        lines.append(f"  argument  `{page.argument}`{options}")
    if page.summary:
        lines += ["", *textwrap.wrap(page.summary, (width or 100) - 2)]
    lines += _describe_nature(page)
    return [*lines, *_describe_options(page), *_describe_limits(page), "", f"Type: {page.example}"]


def _describe_nature(page: PluginPage) -> list[str]:
    """What it is good for, what it costs, where it is described."""
    facts = {"suits": ", ".join(page.suits), "state": "", "paper": page.paper}
    if page.state_bytes is not None:
        facts["state"] = (
            f"{page.state_bytes:.3g} bytes for each parameter of a 1024 x 1024 float32 matrix"
        )
    lines = [f"  {name:<8}  {fact}" for name, fact in facts.items() if fact]
    return ["", *lines] if lines else []


def _describe_options(page: PluginPage) -> list[str]:
    if page.kind == COMMAND.name:
        return []
    if not page.options:
        return ["", "It has no options."]
    rows = [
        (option.name, option.type, "required" if option.default is None else option.default)
        for option in page.options
    ]
    # Not cut to the terminal: the type may be a list of what can be typed.
    head, *lines = format_table(("OPTION", "TYPE", "DEFAULT"), rows)
    helps = [_wrap_help(option.help) for option in page.options]
    return ["", head, *(line for pair in zip(lines, helps, strict=True) for line in (pair[0], *pair[1]))]


def _wrap_help(text: str) -> list[str]:
    indent = " " * 4
    width = min(terminal_width() or 100, 100)
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)


def _describe_limits(page: PluginPage) -> list[str]:
    lines = []
    if page.cannot:
        lines += ["", "It cannot be combined with"]
        lines += [f"  {feature}: {reason}" for feature, reason in page.cannot.items()]
    if page.unused_arguments:
        lines += ["", f"It does not use: {', '.join(page.unused_arguments)}"]
    if page.missing_libraries:
        lines += ["", f"It {explain_missing_libraries(page.missing_libraries)}"]
    return lines
