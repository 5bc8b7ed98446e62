"""What `reporter_args` may hold, what CodeCarbon's own configuration says, and how both go together."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from drivetrain.plugin import find_missing_library

if TYPE_CHECKING:
    from drivetrain import TrainingArguments

_OF_PLACES = ("country_iso_code", "region", "cloud_provider", "cloud_region")
"""What only CodeCarbon's offline tracker takes; the other one asks the network."""


@dataclass(frozen=True)
class CodeCarbonOptions:
    """Options of the tracker; None: what CodeCarbon's configuration says, else its default."""

    offline: bool | None = field(
        default=None,
        metadata={"help": "Ask no service where this machine is. None: if a country is given."},
    )
    country_iso_code: str | None = field(
        default=None, metadata={"help": "Where this machine is, in three letters: 'FRA'."}
    )
    region: str | None = field(
        default=None, metadata={"help": "The state or province, in the USA and Canada."}
    )
    cloud_provider: str | None = field(
        default=None, metadata={"help": "Whose cloud this machine is in: 'gcp'."}
    )
    cloud_region: str | None = field(default=None, metadata={"help": "That cloud's name of the place."})
    tracking_mode: Literal["machine", "process"] | None = field(
        default=None, metadata={"help": "Measure the machine, or estimate the share of this process."}
    )
    measure_power_secs: float | None = field(
        default=None, metadata={"help": "Seconds between two measurements."}
    )
    pue: float | None = field(
        default=None, metadata={"help": "Power usage effectiveness of the data centre."}
    )
    output_file: str | None = field(default=None, metadata={"help": "The name of the file."})

    def __post_init__(self) -> None:
        if self.measure_power_secs is not None and self.measure_power_secs <= 0:
            raise ValueError(f"measure_power_secs={self.measure_power_secs} must be above 0.")
        if self.pue is not None and self.pue < 1:
            raise ValueError(
                f"pue={self.pue} must be at least 1: a data centre needs what its machines do."
            )


def read_configuration() -> dict[str, str]:
    """CodeCarbon's own settings: of its files in the home folder and in this one, and of the environment."""
    settings: dict[str, str] = {}
    for folder in (Path.home(), Path.cwd()):
        parser = configparser.ConfigParser()
        parser.read(folder / ".codecarbon.config")
        if parser.has_section("codecarbon"):
            settings.update(parser["codecarbon"])
    prefix = "codecarbon_"
    for name, value in os.environ.items():
        if name.lower().startswith(prefix):
            settings[name.lower().removeprefix(prefix)] = value
    return settings


def is_offline(options: CodeCarbonOptions, configuration: Mapping[str, str]) -> bool:
    """Whether CodeCarbon's offline tracker measures."""
    if options.offline is not None:
        return options.offline
    return bool(options.country_iso_code or configuration.get("country_iso_code"))


def tracker_arguments(args: TrainingArguments, options: CodeCarbonOptions) -> dict[str, Any]:
    """What the tracker is made with; it reads the rest of its configuration itself."""
    configuration = read_configuration()
    given = {
        item.name: getattr(options, item.name) for item in fields(options) if item.name != "offline"
    }
    arguments = {name: value for name, value in given.items() if value is not None}
    ours = {
        "output_dir": args.output_dir,
        "project_name": args.project,
        "on_csv_write": "update",
        "log_level": "warning",
    }
    for name, value in ours.items():
        if value is not None and name not in configuration:
            arguments[name] = value
    return arguments


def find_problems(options: CodeCarbonOptions, is_named: bool) -> Iterator[str]:
    """Say what stands against tracking with these options.

    Args:
        is_named: `report_to` names it, and not just ``"all"``.
    """
    if missing := list(find_missing_library("codecarbon", "codecarbon", "'codecarbon>=3.3'")):
        yield from missing
        return
    configuration = read_configuration()
    typed = [name for name in _OF_PLACES if getattr(options, name) is not None]
    country = options.country_iso_code or configuration.get("country_iso_code")
    if not is_offline(options, configuration):
        if typed:
            yield (
                f"`reporter_args`: {' and '.join(typed)} of 'codecarbon' has no effect on a tracker that "
                "asks a service where it is. Type country_iso_code='FRA', say, without offline=False."
            )
        elif not is_named and options.offline is None:
            yield (
                "`report_to`: 'codecarbon' would ask services in the network where this machine is. Type "
                "reporter_args={'codecarbon': {'country_iso_code': 'FRA'}}, say, or set "
                "CODECARBON_COUNTRY_ISO_CODE; or name it, report_to='codecarbon'."
            )
    elif not country and not (options.cloud_provider or configuration.get("cloud_provider")):
        yield (
            "`reporter_args`: offline=True of 'codecarbon' needs to know where this machine is. Type "
            "country_iso_code='FRA', say, or set CODECARBON_COUNTRY_ISO_CODE."
        )
    elif country and country not in _known_countries():
        yield (
            f"{_name_source(options)}={country!r} of 'codecarbon' is no country that it knows. "
            "Type the three letters of ISO 3166-1, such as 'FRA' or 'USA'."
        )


def _name_source(options: CodeCarbonOptions) -> str:
    """Where the country is from, as an error begins."""
    if options.country_iso_code:
        return "`reporter_args`: country_iso_code"
    variables = [name for name in os.environ if name.lower() == "codecarbon_country_iso_code"]
    return f"`report_to`: {variables[-1] if variables else '.codecarbon.config: country_iso_code'}"


def _known_countries() -> Mapping[str, Any]:
    known: Mapping[str, Any] = (
        import_module("codecarbon.input").DataSource().get_global_energy_mix_data()
    )
    return known
