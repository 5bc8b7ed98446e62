"""Flyte's library asks for 120 others: its cases run in an environment with those that a local task meets."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from own_environment import own_environment, run_cases
from small import make_trainer

from drivetrain import UsageError

pytestmark = pytest.mark.slow

FLYTEKIT = (
    *("flytekit>=1.16", "flyteidl>=1.16", "protoc-gen-openapiv2", "mashumaro>=3.15", "msgpack>=1.0"),
    *(
        "marshmallow>=3.21,<4",
        "marshmallow-enum",
        "marshmallow-jsonschema>=0.12",
        "dataclasses-json>=0.5",
    ),
    *("typing-inspect", "docstring-parser>=0.9", "docker>=7", "keyring>=18", "python-json-logger>=2"),
    *("croniter>=0.3.20", "python-dateutil>=2.1,<3", "statsd>=3.0", "decorator", "jsonlines", "orjson"),
    *("more-itertools", "jaraco.classes", "jaraco.context", "jaraco.functools", "backports.tarfile"),
    *("botocore", "jmespath"),
    *(
        "aiohttp",
        "aiohappyeyeballs",
        "aiosignal",
        "attrs",
        "frozenlist",
        "multidict",
        "propcache",
        "yarl",
    ),
)


def test_all_cases_pass_beside_the_library() -> None:
    python = own_environment("flyte", *FLYTEKIT, with_dependencies=False)
    run_cases(python, Path(__file__).with_name("cases_reporter.py"))


@pytest.mark.skipif(
    find_spec("flytekit") is not None, reason="flytekit is installed in this environment"
)
def test_without_the_library_the_name_resolves_and_says_what_to_type() -> None:
    with pytest.raises(UsageError, match="Type: pip install flytekit"):
        make_trainer(report_to="flyte")
    shown = subprocess.run(
        [sys.executable, "-m", "drivetrain.cli", "plugins", "show", "flyte"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "drivetrain-flyte" in shown.stdout, shown.stderr
