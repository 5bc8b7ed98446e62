"""What a run logged, as a page of HTML."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from drivetrain.plugin import Image

_STYLE = "border-collapse: collapse; font-variant-numeric: tabular-nums"


class History:
    """Collects what is logged; see `to_html`."""

    def __init__(self, name: str, config: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        self.outcome = "running"
        self._name = name
        self._config = config
        self._facts = facts
        self._rows: list[dict[str, float | int | str]] = []
        self._columns: dict[str, None] = {"step": None}
        self._images: list[tuple[str, int, str, bytes]] = []

    def add(self, values: Mapping[str, float | int | str], step: int) -> None:
        """Add a row."""
        row = {"step": step, **values}
        self._columns.update(dict.fromkeys(row))
        self._rows.append(row)

    def add_image(self, name: str, step: int, image: Image) -> None:
        """Add a picture."""
        self._images.append((name, step, image.caption, image.to_png()))

    def forget_later_steps(self, last_step: int) -> None:
        """Take out what was logged after a step, which a run that resumes there logs again."""
        self.outcome = "running"
        self._rows = [row for row in self._rows if int(row["step"]) <= last_step]
        self._images = [image for image in self._images if image[1] <= last_step]

    def to_html(self) -> str:
        """A table with a row for each log, then pictures, then the arguments."""
        facts = "".join(f"<li>{escape(str(k))}: {escape(str(v))}</li>" for k, v in self._facts.items())
        config = escape(json.dumps(dict(self._config), indent=2, default=str))
        return "\n".join(
            [
                f"<h3>{escape(self._name)}: {escape(self.outcome)}</h3>",
                f"<ul>{facts}</ul>",
                f'<table border="1" cellpadding="4" style="{_STYLE}">',
                _to_line("th", list(self._columns)),
                *(
                    _to_line("td", [row.get(column, "") for column in list(self._columns)])
                    for row in list(self._rows)
                ),
                "</table>",
                *(_to_figure(*image) for image in list(self._images)),
                f"<details><summary>Arguments</summary><pre>{config}</pre></details>",
            ]
        )


def _to_line(tag: str, cells: Iterable[Any]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"


def _to_figure(name: str, step: int, caption: str, png: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    label = escape(f"{name}, step {step}: {caption}" if caption else f"{name}, step {step}")
    return f'<figure><img src="{source}" alt="{label}"><figcaption>{label}</figcaption></figure>'
