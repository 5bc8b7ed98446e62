"""What the README says is so: its code runs, its commands work, its links lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()


APART = {
    "liger-kernel": "liger_kernel",
    **{name: name for name in ("dagshub", "dvclive", "flytekit", "trackio")},
}
"""Libraries, with their modules, whose plugins the tests install without them; Makefile says why."""


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def lines_of(code: str) -> int:
    return sum(bool(line.strip()) for line in code.splitlines())


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_training_script_trains(tmp_path: Path) -> None:
    training, _ = blocks("python")
    assert lines_of(training) <= 12
    printed = run(training, tmp_path)
    loss = float(re.findall(r"'eval_loss': ([\d.]+)", printed)[-1])
    assert loss < 0.3
    assert list((tmp_path / "runs" / "first").glob("**/events.out.tfevents.*"))
    assert (tmp_path / "runs" / "first" / "checkpoint-339" / "manifest.json").is_file()


@pytest.mark.slow
def test_the_plugin_can_be_registered_and_trains(tmp_path: Path) -> None:
    training, plugin = blocks("python")
    own_part = plugin[: plugin.index("class SignSGD")]
    assert lines_of(own_part) <= 15
    script = (
        f'{plugin}\nimport drivetrain\ndrivetrain.register("optimizer", "sign", Sign)\n'
        + training.replace('optim="muon"', 'optim="sign", optim_args="momentum=0.95"').replace(
            "learning_rate=1e-2", "learning_rate=1e-3"
        )
    )
    assert "optim_args" in script
    assert float(re.findall(r"'eval_loss': ([\d.]+)", run(script, tmp_path))[-1]) < 0.4


def test_the_line_names_the_plugin_as_the_file_does() -> None:
    (toml,) = blocks("toml")
    assert re.search(r'^sign = "drivetrain_sign\.optimizer:Sign"$', toml, flags=re.MULTILINE)


@pytest.mark.slow
def test_the_commands_work() -> None:
    (commands,) = blocks("sh")
    executable = shutil.which("drivetrain", path=str(Path(sys.executable).parent))
    assert executable is not None
    for line in commands.splitlines():
        words = line.split("#")[0].split()
        assert words[0] == "drivetrain"
        done = subprocess.run([executable, *words[1:]], capture_output=True, text=True, check=False)
        if words[1:] == ["doctor"]:
            apart = {library for library, module in APART.items() if find_spec(module) is None}
            missing = set(
                re.findall(r'needs ([\w-]+)[^ ]*, which is not .* Type: pip install "', done.stdout)
            )
            assert (missing, done.returncode) == (apart, 0), done.stdout + done.stderr
            assert " broken" not in done.stdout
        else:
            assert done.returncode == 0, done.stdout + done.stderr


def test_the_errors_are_what_is_raised() -> None:
    from drivetrain import TrainingArguments

    (shown,) = blocks("text")
    wrong = [
        {"optim": "adamw_troch"},
        {"optim": "galore_adamw", "optim_args": "rnk=8", "optim_target_modules": "all-linear"},
    ]
    for line, arguments in zip(shown.splitlines(), wrong, strict=True):
        with pytest.raises(ValueError, match="`optim") as caught:
            TrainingArguments("out", use_cpu=True, report_to="none", **arguments)  # type: ignore[arg-type]
        assert str(caught.value).startswith(line.removesuffix(" ..."))


def test_the_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (REPOSITORY / target).exists(), target


def test_every_distribution_is_in_the_map() -> None:
    for project in [*REPOSITORY.glob("*/pyproject.toml"), *REPOSITORY.glob("plugins/*/pyproject.toml")]:
        folder = project.parent.relative_to(REPOSITORY).as_posix()
        assert f"]({folder})" in README, folder


def test_make_has_the_targets() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"^    make (\S+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}( [\w-]+)*:", makefile, flags=re.MULTILINE), target


@pytest.mark.slow
def test_the_snippet_in_the_readme_of_core_trains_and_stops_early(tmp_path: Path) -> None:
    text = (REPOSITORY / "core" / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    step = int(re.findall(r"global_step=(\d+)", run(code, tmp_path))[-1])
    assert 5 <= step < 500
