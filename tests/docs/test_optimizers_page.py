"""`docs/optimizers.md` says what the plugins say, and its snippets run."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import get_args

import pytest

from drivetrain.plugin.optimizer import Feature, Purpose

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGE = DOCS / "optimizers.md"


@pytest.fixture(scope="module")
def generator() -> dict[str, object]:
    return runpy.run_path(str(DOCS / "generate_optimizers.py"))


@pytest.mark.slow
def test_the_page_is_what_the_plugins_say_today(generator: dict[str, object]) -> None:
    render = generator["render"]
    assert callable(render)
    assert PAGE.read_text(encoding="utf-8") == render(), "Type: python docs/generate_optimizers.py"


def test_there_is_a_question_for_every_purpose_and_a_word_for_every_feature(
    generator: dict[str, object],
) -> None:
    assert set(generator["QUESTIONS"]) == set(get_args(Purpose))  # type: ignore[call-overload]
    assert set(generator["FEATURES"]) == set(get_args(Feature))  # type: ignore[call-overload]


def test_every_name_that_a_distribution_of_ours_declares_is_on_the_page() -> None:
    described = set(re.findall(r"^#### (\S+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    declared = {
        name
        for folder in ("plugins", "contrib")
        for project in (REPOSITORY / folder).glob("*/pyproject.toml")
        if project.parent.name != "template"
        for name in names_declared_in(project.read_text(encoding="utf-8"))
    }
    assert len(declared) > 30
    assert declared <= described


def names_declared_in(project: str) -> list[str]:
    """The optimizers among its entry points, without families."""
    section = re.search(
        r'^\[project\.entry-points\."drivetrain\.optimizers"\]\n(.*?)(?=^\[|\Z)', project, re.M | re.S
    )
    return re.findall(r"^(\w+) = ", section[1], flags=re.MULTILINE) if section else []


def test_the_links_lead_somewhere() -> None:
    page = PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", page, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", page):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("https://arxiv.org/abs/"):
            assert (DOCS / target).exists(), target


@pytest.mark.slow
def test_the_snippets_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": "page"}
    snippets = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(snippets) == 5
    for snippet in snippets:
        exec(compile(snippet, "optimizers.md", "exec"), space)
