"""What every part must pass, of whatever kind, and what the suites of the kinds are made with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from drivetrain.arguments import ArgumentsError, TrainingArguments
from drivetrain.callbacks import TrainerCallback
from drivetrain.cli import main as run_command
from drivetrain.cli.inspection import find_plugin_class, first_paragraph
from drivetrain.plugin import Plugin
from drivetrain.testing.imports import find_effects_of_import
from drivetrain.testing.machines import QUIET, find_machine
from drivetrain.testing.network import Network, make_network, make_samples
from drivetrain.testing.probe import Findings
from drivetrain.trainer import Trainer
from drivetrain_registry import Entry, Kind, UsageError, default_registry


def require(claim: object, message: str) -> None:
    """Fail the test with a message for the part's author, and nothing else."""
    __tracebackhide__ = True
    if not claim:
        pytest.fail(message, pytrace=False)


class PartSuite:
    """The base of the suites.

    Attributes:
        kind: The kind of part.
        name: The name that users type. The only one that has to be given.
        options: The part's options in all tests.
        arguments: Further training arguments in all tests.
        learning_rate: That of all trainings.
        accepted_options: Options that are to have an effect, each by itself.
        refused_options: Options that are to be refused when the arguments are made, each by itself.
        exempt: Names of tests that cannot hold for the part, each with the reason in a sentence. They
            are shown as skipped.
    """

    kind: ClassVar[Kind]
    name: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    arguments: ClassVar[Mapping[str, Any]] = {}
    learning_rate: ClassVar[float] = 1e-3
    accepted_options: ClassVar[Mapping[str, Any]] = {}
    refused_options: ClassVar[Mapping[str, Any]] = {}
    exempt: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for test, reason in cls.exempt.items():
            if not test.startswith("test_") or not hasattr(cls, test):
                tests = ", ".join(sorted(name for name in dir(cls) if name.startswith("test_")))
                raise TypeError(
                    f"`exempt` of {cls.__name__} names {test!r}, which is no test. Tests: {tests}."
                )
            if not isinstance(reason, str) or not reason:
                raise TypeError(
                    f"`exempt` of {cls.__name__} gives no reason for {test!r}: write a sentence."
                )
            setattr(cls, test, _make_skipped(getattr(cls, test), reason))

    # -- what a kind defines ----------------------------------------------------------------------

    def name_part(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that ask for the part with these options."""
        raise NotImplementedError

    def load_part(self, args: TrainingArguments) -> Plugin:
        """The part that arguments ask for."""
        raise NotImplementedError

    # -- tools --------------------------------------------------------------------------------------

    def make_args(self, folder: Path | str = "unused", **given: Any) -> TrainingArguments:
        """Arguments of a short, quiet run with the part.

        The test that asks for them is skipped where the part says that it cannot run on this machine.

        Args:
            folder: The output folder.
            given: Arguments; ``options`` are added to those of the suite.
        """
        self.skip_where_it_cannot_run()
        return self._make_args(folder, **given)

    def skip_where_it_cannot_run(self) -> None:
        """Skip the test, with the part's own words, on a machine on which the part says it cannot run."""
        refusal = find_machine(type(self)).refusal
        if refusal:
            pytest.skip(" ".join(refusal))

    def make_trainer(
        self,
        folder: Path,
        *,
        model: Network | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        **given: Any,
    ) -> Trainer:
        """A trainer of the kit's network on the kit's data; both are the same every time."""
        samples = make_samples()
        return Trainer(
            make_network() if model is None else model,
            self.make_args(folder, **given),
            train_dataset=samples,
            eval_dataset=samples[:16],
            callbacks=list(callbacks),
        )

    def find_problems(self, **given: Any) -> str:
        """What is said against arguments, besides that the part cannot run here; empty if nothing is."""
        try:
            self._make_args("unused", **given)
        except UsageError as error:
            said = error.problems if isinstance(error, ArgumentsError) else [str(error)]
            refusal = find_machine(type(self)).refusal
            return "\n".join(problem for problem in said if problem not in refusal)
        return ""

    def _make_args(self, folder: Path | str, **given: Any) -> TrainingArguments:
        options = {**self.options, **given.pop("options", {})}
        use_cpu = find_machine(type(self)).use_cpu
        return TrainingArguments(
            str(folder),
            **{
                **QUIET,
                "use_cpu": use_cpu,
                "learning_rate": self.learning_rate,
                **self.name_part(options),
                **self.arguments,
                **given,
            },
        )

    @property
    def plugin_class(self) -> type[Any]:
        """The class behind the name."""
        cls = find_plugin_class(self.kind, default_registry().load(self.kind, self.name).part)
        require(cls, f"{self.name!r} does not lead to a plugin of the kind {self.kind}.")
        assert cls is not None
        return cls

    @property
    def option_fields(self) -> dict[str, dataclasses.Field[Any]]:
        """The options that the part declares."""
        fields = dataclasses.fields(self.plugin_class.Options)
        return {field.name: field for field in fields if field.init}

    def _find_entry(self) -> Entry:
        """The installed entry of the name; the test is skipped if it is code and no name."""
        entry = default_registry().resolve(self.kind, self.name)
        if entry is not None:
            return entry
        if "." in self.name:
            pytest.skip(f"{self.name!r} is a dotted path, and no name of what is installed")
        pytest.fail(
            f"{self.name!r} is known to this process alone. Add it to the `pyproject.toml` of a "
            "distribution, "
            f'under [project.entry-points."{self.kind.group}"], and install that.',
            pytrace=False,
        )

    def _find_effects(self) -> Findings:
        return find_effects_of_import(self._find_entry().distribution)

    # -- tests ----------------------------------------------------------------------------------------

    def test_discovery(self) -> None:
        """The name is found among what is installed, and listing names imports neither plugin nor torch."""
        entry = self._find_entry()
        imported = self._find_effects().listing_imported
        require(
            not imported,
            f"`drivetrain plugins` imports {', '.join(imported)}. Names are read from metadata: look "
            f"for an import in a .pth file or in a parent package of {entry.module!r}.",
        )

    def test_import(self) -> None:
        """Importing the plugin does nothing but import: no output, no logging setup, no network."""
        entry = self._find_entry()
        effects = self._find_effects()
        error = effects.errors.get(f"{entry.kind}/{entry.name}")
        require(error is None, f"the plugin cannot be loaded: {error}")
        blamed = f"importing the plugins of {entry.distribution}"
        require(
            not effects.output,
            f"{blamed} writes to standard output or error. Leave it to logging, and silence a library's "
            f"noise where you import it. Written: {effects.output.strip()[:500]!r}.",
        )
        require(
            not effects.logging_changed,
            f"{blamed} sets up logging, which is the application's: {effects.logging_changed}. Look for "
            "logging.basicConfig(); if a library calls it, put the root logger back after you import "
            "it.",
        )
        require(
            not effects.contacted,
            f"{blamed} contacts the network: {', '.join(effects.contacted)}. Do that when the part is "
            "used.",
        )
        require(not effects.dtype, f"{blamed} changes torch's default dtype: {effects.dtype}.")
        require(
            not effects.other_plugins,
            f"{blamed} imports other plugins: {', '.join(effects.other_plugins)}. Users may not have "
            "them, and did not ask for them.",
        )

    def test_page(self, capsys: pytest.CaptureFixture[str]) -> None:
        """`drivetrain plugins show NAME` prints what the part is, which its docstring says."""
        summary = first_paragraph(self.plugin_class)
        require(
            summary, f"{self.plugin_class.__name__} has no docstring: its first paragraph is printed."
        )
        status = run_command(["plugins", "show", self.name, "--kind", self.kind.name])
        printed = capsys.readouterr()
        require(status == 0, f"`drivetrain plugins show {self.name}` fails: {printed.err}")
        require(
            " ".join(summary.split()) in " ".join(printed.out.split()),
            f"`drivetrain plugins show {self.name}` does not print the docstring. It prints: "
            f"{printed.out}",
        )

    def test_unknown_options(self) -> None:
        """An option that the part does not have is refused, with those that it has."""
        if self.name_part({"no_such_option": 1}) == self.name_part({}):
            pytest.skip(f"parts of the kind {self.kind} take no options")
        said = self.find_problems(options={"no_such_option": 1})
        missing = [name for name in ("no_such_option", *self.option_fields) if name not in said]
        require(
            not missing,
            f"the message about an unknown option lacks {', '.join(missing)}. Declare the options as a "
            f"dataclass `Options`, and let core read them. The message: {said!r}.",
        )

    def test_default_options(self) -> None:
        """Each option can be typed with its default value, as the part's page shows it."""
        for name, field in self.option_fields.items():
            if isinstance(field.default, (bool, int, float, str, tuple, type(None))):
                said = self.find_problems(options={name: field.default})
                is_accepted = name in self.options or not said
                require(is_accepted, f"the default {name}={field.default!r} is refused: {said}")

    def test_refused_options(self) -> None:
        """Each of `refused_options` is refused when the arguments are made, by its name."""
        for name, value in self.refused_options.items():
            said = self.find_problems(options={name: value})
            require(
                said,
                f"{name}={value!r} is accepted when the arguments are made. Raise a ValueError in "
                "`__post_init__` of the options, or yield a message from `problems`.",
            )
            require(
                name in said, f"the message about {name}={value!r} does not name the option: {said!r}."
            )


def _make_skipped(test: Callable[..., None], reason: str) -> Callable[[PartSuite], None]:
    @pytest.mark.skip(reason=reason)
    def skipped(self: PartSuite) -> None:
        """Skipped."""

    skipped.__name__, skipped.__doc__ = test.__name__, test.__doc__
    return skipped
