"""What it says without a workspace, and all else in a process that sees a stand-in for one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.plugins.azure_ml.stand_in import install_stand_in
from tests.support.own_environment import run_cases

from drivetrain import TrainingArguments
from drivetrain.arguments import ArgumentsError

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[3] / "contrib" / "azure-ml" / "README.md"


def problems() -> str:
    with pytest.raises(ArgumentsError) as caught:
        TrainingArguments("out", report_to="azure_ml", use_cpu=True)
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("uri", "said"),
    [("", "MLFLOW_TRACKING_URI is not set"), ("http://host", "MLFLOW_TRACKING_URI is 'http://host'")],
)
def test_without_the_address_of_a_workspace_it_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, uri: str, said: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert f"{said}. Type: export MLFLOW_TRACKING_URI=$(az ml workspace show" in problems()


def test_without_the_package_that_sends_there_it_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "azureml://workspace")
    assert problems().endswith("needs its library. Type: pip install azureml-mlflow")


def test_all_cases_pass_beside_a_stand_in_for_a_workspace(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    run_cases(
        Path(sys.executable),
        Path(__file__).with_name("cases_reporter.py"),
        env={
            "PYTHONPATH": str(install_stand_in(tmp_path / "packages")),
            "MLFLOW_TRACKING_URI": f"azureml://{workspace}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
    )


def test_the_snippet_of_the_readme_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (code,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    exec(compile(code, str(README), "exec"), {})
    assert "needs the address of a workspace" in capsys.readouterr().out
