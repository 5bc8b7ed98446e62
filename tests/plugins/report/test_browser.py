"""The page in a real browser, without a network."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import browser
import pytest
from browser import Browser

Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        browser.EXECUTABLE is None, reason="there is no Chromium. Type: apt-get install chromium"
    ),
]

LOSS = "document.querySelector('.plot[data-figure=\"0\"]')"
NAMES = f"{LOSS}.data.map((trace) => trace.name)"


@pytest.fixture(scope="module")
def page(command: Command, runs: Path, odd_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    names = ("good", "failed", "resumed")
    done = command("report", *(runs / name for name in names), odd_run, "--output", file)
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture(scope="module")
def shown(page: Path) -> Iterator[Browser]:
    with Browser() as opened:
        opened.open(page)
        yield opened


def test_every_chart_is_drawn_and_nothing_is_loaded_or_complained_of(shown: Browser, page: Path) -> None:
    count = shown.ask("document.querySelectorAll('.plot').length")
    assert count > 8
    assert shown.ask("document.querySelectorAll('.plot .main-svg .scatterlayer').length") == count
    assert shown.ask(f"{LOSS}.querySelectorAll('.scatterlayer .trace').length") == 7
    assert [request for request in shown.requests if not request.startswith("data:")] == [page.as_uri()]
    assert shown.complaints == []


def test_it_can_be_seen(shown: Browser) -> None:
    from PIL import Image

    with Image.open(io.BytesIO(shown.take_picture())) as image:
        colors = {color for _, color in image.convert("RGB").getcolors(1 << 24) or ()}
    assert image.size == (1400, 1000)
    assert {(0x1F, 0x6F, 0xB4), (0xD9, 0x54, 0x1E), (0x2A, 0x9D, 0x5C)} <= colors


def test_texts_of_runs_are_texts(shown: Browser) -> None:
    assert shown.ask("document.title").startswith("<script>document.title")
    assert shown.ask("document.querySelectorAll('script').length") == 3
    assert "bad data <script>" in shown.ask("document.body.innerText")


def test_a_value_that_is_not_finite_is_a_gap_and_counted(shown: Browser) -> None:
    gaps = shown.ask(
        f"{LOSS}.data.find((trace) => trace.name.startsWith('odd')).y.map((y) => y === null)"
    )
    assert gaps.count(True) == 3
    text = shown.ask(f"{LOSS}.parentElement.innerText")
    assert "3 values are not finite, and a gap: steps 5, 6 and 50" in text


def test_pictures_are_in_the_page(shown: Browser) -> None:
    assert shown.ask("[...document.images].map((image) => image.naturalWidth)") == [6]


def test_the_button_of_a_run_hides_it_in_every_chart(shown: Browser) -> None:
    names = shown.ask(NAMES)
    shown.ask("document.querySelectorAll('.run')[1].click()")
    shown.wait_for(f"{LOSS}.data.length === 5")
    assert shown.ask(NAMES) == [name for name in names if not name.startswith("failed")]
    shown.ask("document.querySelectorAll('.run')[1].click()")
    shown.wait_for(f"{LOSS}.data.length === 7")


def test_curves_can_be_drawn_over_time_and_epochs(shown: Browser) -> None:
    shown.ask("document.querySelector('[data-axis=time]').click()")
    shown.wait_for(f"{LOSS}.layout.xaxis.title.text === 'time (s)'")
    times = shown.ask(f"{LOSS}.data[0].x")
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] < 120
    shown.ask("document.querySelector('[data-axis=epoch]').click()")
    shown.wait_for(f"{LOSS}.layout.xaxis.title.text === 'epoch'")
    assert shown.ask(f"{LOSS}.data[0].x[0]") == pytest.approx(0.1)
    shown.ask("document.querySelector('[data-axis=step]').click()")
    shown.wait_for(f"{LOSS}.layout.xaxis.title.text === 'step'")


def test_smoothing_is_a_moving_average_over_the_pale_curve(shown: Browser) -> None:
    move = (
        "const s = document.getElementById('smoothing'); s.value = {}; "
        "s.dispatchEvent(new Event('input'));"
    )
    odd = f"{LOSS}.data.filter((trace) => trace.name.startsWith('odd'))"
    shown.ask(f"(() => {{ {move.format(0.5)} }})()")
    shown.wait_for(f"{odd}.length === 2")
    raw, smooth = shown.ask(f"{odd}.map((trace) => trace.y)")
    assert raw[:2] == [1, 0.5]
    assert smooth[:2] == [1, pytest.approx((0.5 * 1 + 0.5) / 1.5)]
    assert [y is None for y in smooth] == [y is None for y in raw]
    shown.ask(f"(() => {{ {move.format(0)} }})()")
    shown.wait_for(f"{odd}.length === 1")
