"""`docs/arguments.md` says what the code says."""

from __future__ import annotations

import dataclasses
import re
import runpy
from pathlib import Path

from drivetrain import Seq2SeqTrainingArguments
from drivetrain.arguments.spellings import OLD_SPELLINGS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_what_the_arguments_say_today() -> None:
    generator = runpy.run_path(str(DOCS / "generate_arguments.py"))
    page = (DOCS / "arguments.md").read_text(encoding="utf-8")
    assert page == generator["render"](), "Type: python docs/generate_arguments.py"


def test_every_argument_and_every_old_spelling_is_on_the_page_once() -> None:
    page = (DOCS / "arguments.md").read_text(encoding="utf-8")
    names = re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)
    fields = [field.name for field in dataclasses.fields(Seq2SeqTrainingArguments)]
    assert sorted(names) == sorted([*fields, *OLD_SPELLINGS])
