"""`HfArgumentParser`: dataclasses made from a command line, a dict or a file."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from drivetrain.arguments.parser.files import PathLike, read_json, read_toml, read_words, read_yaml
from drivetrain.arguments.parser.flags import add_flags, add_old_spelling, flags_of
from drivetrain_registry import UsageError
from drivetrain_registry.messages import find_near, join

logger = logging.getLogger(__name__)


class HfArgumentParser(argparse.ArgumentParser):
    """A command line whose flags are the fields of dataclasses.

    More arguments can be added with `add_argument`; they come back in a namespace. A dataclass with an
    attribute ``_argument_group_name`` has a group of its own in ``--help``. One with a class attribute
    ``old_spellings``, a mapping of names to type hints, is also made with those keywords, where given.

    Args:
        dataclass_types: One dataclass or several.
        kwargs: What `argparse.ArgumentParser` takes. By default ``--help`` shows defaults, and
            flags cannot be abbreviated.

    Raises:
        UsageError: Two of the dataclasses have a field of the same name; a field without a default has
            a type that no command line can express; or a type hint cannot be resolved.

    Example:
        >>> parser = HfArgumentParser((ModelArguments, TrainingArguments))
        >>> model_args, training_args = parser.parse_args_into_dataclasses()
    """

    def __init__(
        self, dataclass_types: type[Any] | Iterable[type[Any]] | None = None, **kwargs: Any
    ) -> None:
        kwargs.setdefault("formatter_class", argparse.ArgumentDefaultsHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(**kwargs)
        single = isinstance(dataclass_types, type)
        self.dataclass_types: list[type[Any]] = (
            [dataclass_types] if single else list(dataclass_types or [])  # type: ignore[list-item, arg-type]
        )
        _check_types(self.dataclass_types)
        self._field_defaults: dict[str, Any] = {}
        self._spellings: set[str] = set()  # old spellings that are flags
        for cls in self.dataclass_types:
            self._add_fields(cls)

    def _add_fields(self, cls: type[Any]) -> None:
        title = getattr(cls, "_argument_group_name", None)
        group = self if title is None else self.add_argument_group(title)
        hints = _hints_of(cls)
        for field in _fields_of(cls):
            add_flags(group, field, hints[field.name])
            if not _is_required(field):
                self._field_defaults[field.name] = self.get_default(field.name)

    # -- from a command line ----------------------------------------------------------------------

    def parse_args_into_dataclasses(
        self,
        args: Sequence[str] | None = None,
        return_remaining_strings: bool = False,
        look_for_args_file: bool = True,
        args_filename: PathLike | None = None,
        args_file_flag: str | None = None,
    ) -> tuple[Any, ...]:
        """Make the dataclasses from a command line; what is wrong with it is printed, with exit status 2.

        Of a flag that is given twice the last one counts, and flags of files come first.

        Args:
            args: The words of the command line. By default: those that the script was started with.
            return_remaining_strings: Return the words that belong to no flag, rather than refuse them.
            look_for_args_file: Read flags from the file next to the script that is named like it and
                ends in ``.args``, if there is one.
            args_filename: The file to read them from instead.
            args_file_flag: A flag, such as ``"--args_file"``, that names such files on the command line.

        Returns:
            An instance of each dataclass, in their order; a namespace of the arguments that were added
            besides, if there are any; and the list of remaining words, if it was asked for.
        """
        words = list(sys.argv[1:] if args is None else args)
        files = list(_find_files(look_for_args_file, args_filename))
        if args_file_flag is not None:
            named, words = self._take_files(words, args_file_flag)
            files.extend(named)
        from_files = [word for file in files for word in read_words(file)]
        namespace, remaining = self.parse_known_args([*from_files, *words])
        if remaining and not return_remaining_strings:
            self._refuse(self._explain_remaining(remaining))
        outputs = self._make_from(namespace)
        return (*outputs, remaining) if return_remaining_strings else outputs

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As in argparse. Old spellings are flags, too, unless something else has their name by now."""
        taken = {*self._option_string_actions, *(action.dest for action in self._actions)}
        for name, hint in self._old_spellings():
            if not taken.intersection([*flags_of(name), name]):
                add_old_spelling(self, name, hint)
                self._spellings.add(name)
        return super().parse_known_args(args, namespace)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """As in argparse: the values of all flags, and no dataclass."""
        namespace, remaining = self.parse_known_args(args, namespace)
        if remaining:
            self._refuse(self._explain_remaining(remaining))
        return namespace

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and leave with status 2. The usage is not shown: it fills a screen."""
        self.exit(2, f"{self.prog}: error: {message}\n`{self.prog} --help` shows every argument.\n")

    def _refuse(self, message: str) -> NoReturn:
        if self.exit_on_error:
            self.error(message)
        raise UsageError(message)

    def _take_files(self, words: list[str], flag: str) -> tuple[list[Path], list[str]]:
        finder = argparse.ArgumentParser(prog=self.prog, add_help=False, allow_abbrev=False)
        finder.add_argument(flag, dest="files", action="append", default=[], type=Path)
        found, words = finder.parse_known_args(words)
        for file in found.files:
            if not file.is_file():
                name = os.fspath(file)
                self._refuse(f"argument {flag}: {name!r} is no file. Name a file that holds flags.")
        return found.files, words

    def _make_from(self, namespace: argparse.Namespace) -> tuple[Any, ...]:
        values = vars(namespace)
        known = self._field_names() | self._spellings
        given = {name: values.pop(name) for name in list(values) if name in known}
        for name, default in self._field_defaults.items():
            if name in given and _is_same(given[name], default):
                del given[
                    name
                ]  # the dataclass knows it, and makes what a factory makes for itself alone
        try:
            instances = self._make(given)
        except UsageError as error:
            if not self.exit_on_error:
                raise
            self.error(str(error))
        return (*instances, namespace) if values else instances

    def _explain_remaining(self, remaining: Sequence[str]) -> str:
        shown = [action for action in self._actions if action.help != argparse.SUPPRESS]
        spelt = [flag for action in shown for flag in reversed(action.option_strings)]
        flags = {flag.replace("-", "_"): flag for flag in spelt}.values()  # one spelling of each
        misspelt = [word.partition("=")[0] for word in remaining if word.startswith("-")]
        return f"unrecognized arguments: {' '.join(remaining)}.{_suggest(misspelt, flags)}"

    # -- from a dict or a file --------------------------------------------------------------------

    def parse_dict(self, args: Mapping[str, Any], allow_extra_keys: bool = False) -> tuple[Any, ...]:
        """Make the dataclasses from a dict of their fields.

        Args:
            args: Values by name. They are taken as they are.
            allow_extra_keys: Pass over keys that no dataclass knows, rather than refuse them.

        Raises:
            UsageError: There are keys that no dataclass knows, or a field without a default is missing.
        """
        known = {name for cls in self.dataclass_types for name in self._names_for(cls)}
        unknown = [key for key in args if key not in known]
        if unknown and not allow_extra_keys:
            owners = join((cls.__name__ for cls in self.dataclass_types), "or")
            raise UsageError(
                f"{join(map(repr, unknown))}: no field of {owners}.{_suggest(unknown, known)} "
                "With allow_extra_keys=True such keys are passed over."
            )
        return self._make({key: value for key, value in args.items() if key in known})

    def parse_json_file(self, json_file: PathLike, allow_extra_keys: bool = False) -> tuple[Any, ...]:
        """As `parse_dict`, from the object in a JSON file."""
        return self.parse_dict(read_json(json_file), allow_extra_keys)

    def parse_yaml_file(self, yaml_file: PathLike, allow_extra_keys: bool = False) -> tuple[Any, ...]:
        """As `parse_dict`, from the mapping in a YAML file. Needs the package pyyaml."""
        return self.parse_dict(read_yaml(yaml_file), allow_extra_keys)

    def parse_toml_file(self, toml_file: PathLike, allow_extra_keys: bool = False) -> tuple[Any, ...]:
        """As `parse_dict`, from a TOML file. Needs the package tomli before Python 3.11."""
        return self.parse_dict(read_toml(toml_file), allow_extra_keys)

    # -- both -------------------------------------------------------------------------------------

    def _make(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        missing = [
            f"`{field.name}` of {cls.__name__}"
            for cls in self.dataclass_types
            for field in _fields_of(cls)
            if _is_required(field) and field.name not in given
        ]
        if missing:
            raise UsageError(f"{join(missing)} must be given: there is no default.")
        return tuple(
            cls(**{name: given[name] for name in given if name in self._names_for(cls)})
            for cls in self.dataclass_types
        )

    def _names_for(self, cls: type[Any]) -> set[str]:
        """What a dataclass is made with: its fields, and old spellings that are no other one's field."""
        own = {field.name for field in _fields_of(cls)}
        return own | (set(_old_spellings_of(cls)) - self._field_names())

    def _field_names(self) -> set[str]:
        return {field.name for cls in self.dataclass_types for field in _fields_of(cls)}

    def _old_spellings(self) -> Iterator[tuple[str, Any]]:
        for cls in self.dataclass_types:
            yield from _old_spellings_of(cls).items()


def _find_files(look_for_args_file: bool, args_filename: PathLike | None) -> Iterator[Path]:
    if args_filename is not None:
        file = Path(args_filename)
        if not file.is_file():
            logger.warning("`args_filename`: %r is no file; no flags are read from it.", os.fspath(file))
    elif look_for_args_file and sys.argv and Path(sys.argv[0]).name:
        file = Path(sys.argv[0]).with_suffix(".args")
    else:
        return
    if file.is_file():
        yield file


def _check_types(types: Sequence[Any]) -> None:
    owners: dict[str, type[Any]] = {}
    for cls in types:
        if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
            raise UsageError(
                f"`dataclass_types`: {cls!r} is no dataclass. Put @dataclass before its class."
            )
        for name in (field.name for field in _fields_of(cls)):
            if name in owners:
                both = f"{owners[name].__name__} and {cls.__name__}"
                raise UsageError(
                    f"`dataclass_types`: {both} have a field `{name}` each, and --{name} can be one of "
                    "them only. Rename one."
                )
            owners[name] = cls


def _fields_of(cls: type[Any]) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(cls) if field.init]


def _hints_of(cls: type[Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except (NameError, AttributeError, TypeError) as error:
        raise UsageError(
            f"`dataclass_types`: a type hint of {cls.__name__} cannot be resolved: {error}. Declare the "
            "class, and what its hints name, at the top of a module, or leave out quotes around hints "
            "and `from __future__ import annotations`."
        ) from None


def _old_spellings_of(cls: type[Any]) -> Mapping[str, Any]:
    return getattr(cls, "old_spellings", {})


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _is_same(value: Any, default: Any) -> bool:
    """Whether a value is the default; argparse makes another object of a text."""
    return value is default or (type(value) is type(default) is str and value == default)


def _suggest(words: Iterable[str], known: Iterable[str]) -> str:
    """For each word, the question whether something known was meant, if anything is near."""
    known = list(known)
    questions = []
    for word in words:
        near = sorted(name for name in known if name.startswith(word)) or find_near(word, known)
        questions.append(f" Did you mean {join(near[:3], 'or')}?" if near else "")
    return "".join(questions)
