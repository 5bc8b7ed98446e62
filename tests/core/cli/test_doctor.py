"""`drivetrain doctor`: every plugin is loaded, and whatever one does, the others are reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

Install = Callable[..., None]
Run = Callable[..., subprocess.CompletedProcess[str]]


def examine(run: Run, *args: str, status: int) -> dict[str, dict[str, Any]]:
    done = run("doctor", "--json", *args)
    assert (done.returncode, done.stderr) == (status, "")
    report = json.loads(done.stdout)
    assert report["num_broken"] == sum(p["state"] == "broken" for p in report["plugins"])
    return {plugin["name"]: plugin for plugin in report["plugins"]}


def test_a_healthy_installation_is_reported_line_by_line(install: Install, run: Run) -> None:
    install("drivetrain-lion", lion="Lion", tiger="Plain")
    done = run("doctor")
    head, body = done.stdout.split("\n\n", 1)
    assert head.splitlines()[0] == f"python {sys.version.split()[0]}"
    assert "drivetrain-lion 1.0" in head.splitlines()
    lines = body.splitlines()
    assert lines[0].split() == [
        "optimizer",
        "lion",
        "drivetrain-lion",
        "1.0",
        "ok",
        lines[0].split()[-2],
        "s",
    ]
    assert lines[1].startswith("optimizer  tiger  drivetrain-lion 1.0  ok")
    assert lines[2:] == ["", "2 names in 1 distribution: 2 ok."]
    assert (done.returncode, done.stderr) == (0, "")


def test_json_names_versions_and_every_plugin(install: Install, run: Run) -> None:
    install("drivetrain-lion", lion="Lion")
    report = json.loads(run("doctor", "--json").stdout)
    assert set(report) == {"versions", "plugins", "notes", "num_broken"}
    assert report["versions"]["drivetrain-lion"] == "1.0"
    (plugin,) = report["plugins"]
    assert plugin.pop("seconds") >= 0
    assert plugin == {
        "kind": "optimizer",
        "name": "lion",
        "distribution": "drivetrain-lion",
        "version": "1.0",
        "state": "ok",
        "detail": "",
        "num_names": 1,
    }


def test_an_empty_installation_says_what_to_type(run: Run) -> None:
    done = run("doctor")
    assert done.stdout.endswith("No plugins are installed. Type: pip install drivetrain-torch\n")
    assert done.returncode == 0


def test_a_broken_plugin_is_reported_and_the_others_are_loaded(install: Install, run: Run) -> None:
    install("bad", source="raise RuntimeError('no licence')", bad="Part")
    install("good", good="Lion")
    done = run("doctor")
    lines = done.stdout.splitlines()
    (line,) = (line for line in lines if line.startswith("optimizer  bad"))
    assert "broken" in line
    assert lines[lines.index(line) + 1].startswith(
        "    is broken: importing 'bad:Part' raised RuntimeError: no licence. Type: pip install"
    )
    assert lines[-1] == "2 names in 2 distributions: 1 broken, 1 ok."
    assert (done.returncode, done.stderr) == (1, "")


NO_BUILD = "from drivetrain.plugin import OptimizerPlugin\nclass Part(OptimizerPlugin): ..."
BAD_OPTIONS = """
from drivetrain.plugin import OptimizerPlugin
class Part(OptimizerPlugin):
    Options = int
    def build(self): ...
"""
BAD = {
    "sys.exit": ("import sys; sys.exit(0)", "SystemExit: 0"),
    "os._exit": ("import os; os._exit(3)", "ended the process with status 3 while it was loaded."),
    "os._exit(0)": ("import os; os._exit(0)", "ended the process with status 0 while it was loaded."),
    "last words": (
        "import os, sys; print('panic: x', file=sys.stderr, flush=True); os._exit(3)",
        "Its last words: panic: x",
    ),
    "crash": (
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "with SIGSEGV while it was loaded",
    ),
    "hang": ("import time; time.sleep(600)", "was still loading after 3 seconds."),
    "no attribute": (
        "",
        "its entry point leads to 'bad:Part', and module 'bad' has no attribute 'Part'",
    ),
    "another interface": ("class Part: api_version = 2", "was written for version 2"),
    "another kind": (
        "def Part(): ...",
        "which is no optimizer: it takes a subclass of drivetrain.plugin",
    ),
    "no build": (NO_BUILD, "leads to Part, which does not define build."),
    "no dataclass": (BAD_OPTIONS, "when it was asked for its options: "),
    "input": ("input('password: ')", "EOFError"),
}


@pytest.mark.parametrize(("source", "says"), BAD.values(), ids=BAD.keys())
def test_whatever_a_plugin_does_is_told(install: Install, run: Run, source: str, says: str) -> None:
    install("bad", source=source, bad="Part")
    install("good", good="Lion")
    found = examine(run, "--timeout", "3", status=1)
    assert found["bad"]["state"] == "broken"
    assert says in found["bad"]["detail"]
    assert found["good"]["state"] == "ok"


def test_after_a_crash_the_rest_of_the_distribution_is_loaded(
    install: Install, run: Run, site: Path
) -> None:
    (site / "fatal.py").write_text("import os; os._exit(9)")
    install("acme", a_good="Lion", b_bad="fatal:One", c_bad="fatal:Two", d_good="Plain")
    found = examine(run, status=1)
    assert [found[name]["state"] for name in sorted(found)] == ["ok", "broken", "broken", "ok"]
    assert found["b_bad"]["detail"] == found["c_bad"]["detail"]


def test_a_hang_costs_its_time_limit_once_a_module(install: Install, run: Run) -> None:
    install("slow", source="import time; time.sleep(600)", a="One", b="Two", c="Three")
    started = time.monotonic()
    found = examine(run, "--timeout", "2", status=1)
    assert time.monotonic() - started < 20
    assert [found[name]["seconds"] for name in "abc"] == [2, 0, 0]


def test_what_a_plugin_prints_does_not_get_into_the_report(install: Install, run: Run) -> None:
    noisy = "import os; print('{}'); os.write(1, b'[1]\\n'); os.system('echo noise')\n"
    from_the_other = "class Part: ...\n"
    install("noisy", source=noisy + from_the_other, noisy="Part")
    assert "which is no optimizer" in examine(run, status=1)["noisy"]["detail"]


def test_threads_and_exit_handlers_of_a_plugin_do_not_hold_up_the_report(
    install: Install, run: Run, site: Path
) -> None:
    (site / "lingers.py").write_text(
        "import atexit, threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "atexit.register(time.sleep, 600)\n"
        "from acme import Lion\n"
    )
    install("acme", lion="lingers:Lion")
    started = time.monotonic()
    assert examine(run, status=0)["lion"]["state"] == "ok"
    assert time.monotonic() - started < 30


def test_a_library_that_is_missing_is_told_even_if_the_plugin_asks_for_it_later(
    install: Install, run: Run
) -> None:
    install("acme", requires=["lionlib>=2"], lion="Lion")
    expected = 'needs lionlib>=2, which is not installed. Type: pip install "lionlib>=2"'
    found = examine(run, status=0)["lion"]
    assert (found["state"], found["detail"]) == ("library missing", expected)


def test_a_library_that_is_missing_at_the_import_breaks_nothing_but_other_errors_do(
    install: Install, run: Run
) -> None:
    install("acme", source="import lionlib", requires=["lionlib>=2"], lion="Lion")
    install("other", source="raise RuntimeError('x')", requires=["lionlib>=2"], tiger="Tiger")
    found = examine(run, status=1)
    assert (found["lion"]["state"], found["tiger"]["state"]) == ("library missing", "broken")
    assert "is not installed. Type: pip install" in found["lion"]["detail"]


NEEDY = """
from drivetrain.plugin import OptimizerPlugin
class Part(OptimizerPlugin):
    needs_libraries = {"json": "pip install json", "rarelib.optim": "pip install rarelib"}
    def build(self): ...
"""


def test_a_library_that_only_the_plugin_says_it_needs_is_told_and_breaks_nothing(
    install: Install, run: Run
) -> None:
    install("acme", source=NEEDY, lion="Part")
    found = examine(run, status=0)["lion"]
    expected = "needs rarelib.optim, which is not installed. Type: pip install rarelib"
    assert (found["state"], found["detail"]) == ("library missing", expected)
    lines = run("doctor").stdout.splitlines()
    assert lines[-1] == "1 name in 1 distribution: 1 library missing."
    assert lines[-3] == f"    {expected}"


def test_needed_libraries_that_are_no_dict_are_the_authors_mistake(install: Install, run: Run) -> None:
    source = "from drivetrain.plugin import Plugin\nclass Part(Plugin): needs_libraries = 'json'"
    install("acme", source=source, lion="Part")
    assert "`needs_libraries` of Part is no dict" in examine(run, status=1)["lion"]["detail"]


def test_a_conflict_is_told_and_breaks_nothing(install: Install, run: Run) -> None:
    install("one", lion="Lion")
    install("two", "2.0", lion="Lion")
    done = run("doctor")
    assert "    two 2.0 claims the same name. Type optim='one:lion' for this one." in done.stdout
    assert done.stdout.endswith("2 names in 2 distributions: 2 conflict.\n")
    assert done.returncode == 0


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "inf", "nan"])
def test_a_time_limit_is_a_number_above_zero(run: Run, seconds: str) -> None:
    done = run("doctor", f"--timeout={seconds}")
    assert done.returncode == 2
    assert f"{seconds!r} is no number of seconds above 0. Type --timeout 60" in done.stderr


def test_the_current_folder_cannot_get_in_the_way(
    install: Install, environment: dict[str, str], own_folder: Path
) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("Python 3.10 cannot leave out the current folder for -m")
    install("acme", lion="Lion")
    for name in ("json", "dataclasses", "acme"):
        (own_folder / f"{name}.py").write_text("raise RuntimeError('wrong file')")
    code = "import sys; from drivetrain.cli import main; sys.exit(main(['doctor']))"
    command = [sys.executable, "-S", "-P", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ctrl_c_is_quiet_and_leaves_no_process(
    install: Install, environment: dict[str, str], tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    source = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    install("slow", source=source, slow="Part")
    command = [sys.executable, "-S", "-m", "drivetrain.cli", "doctor"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: pid_file.exists() and bool(pid_file.read_text()))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def wait_until(claim: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.05)


OPTIONAL = {"adamw_torch_xla": "torch_xla", "adamw_torch_npu_fused": "torch_npu"}
"""Names of those below that work with a library for hardware that few have."""


ALONE = """
import sys
from importlib import metadata

find, seen = metadata.distributions, ("drivetrain-torch", "drivetrain-tensorboard")
metadata.distributions = lambda: [
    found for found in find() if found.name in seen or not found.name.startswith("drivetrain-")
]
from drivetrain.cli import main
sys.exit(main(["doctor", "--json"]))
"""
"""Of ours these two alone: that the others are healthy, too, is seen where the README's commands run."""


@pytest.mark.slow
def test_the_plugins_of_this_repository_are_healthy() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    report = json.loads(done.stdout)
    both = ("drivetrain-torch", "drivetrain-tensorboard")
    ours = [plugin for plugin in report["plugins"] if plugin["distribution"] in both]
    assert {plugin["distribution"] for plugin in ours} == set(both)
    for plugin in ours:
        library = OPTIONAL.get(plugin["name"])
        is_missing = library is not None and find_spec(library) is None
        assert plugin["state"] == ("library missing" if is_missing else "ok"), plugin
        assert bool(plugin["detail"]) == is_missing, plugin
    assert report["versions"]["torch"] != "not installed"
