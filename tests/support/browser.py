"""Chromium without a window, a network or a library: told what to do through its debugging pipe."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

EXECUTABLE = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

_LAUNCH = "import os, sys; os.dup2({0}, 3); os.dup2({1}, 4); os.execvp(sys.argv[1], sys.argv[1:])"
_FLAGS = (
    *(
        "--headless=new",
        "--remote-debugging-pipe",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
    ),
    *("--no-first-run", "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"),
)
_LIMIT = 60.0


class Browser:
    """One page of Chromium.

    Attributes:
        requests: The addresses that the page asked for.
        complaints: What it said in its console, errors of scripts among it.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def __enter__(self) -> Browser:
        assert EXECUTABLE is not None
        self._profile = tempfile.mkdtemp()
        its_input, self._input = os.pipe()
        self._output, its_output = os.pipe()
        for number in (its_input, its_output):
            os.set_inheritable(number, True)
        launcher = _LAUNCH.format(*self._above_four(its_input, its_output))
        command = [EXECUTABLE, *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", launcher, *command],
            pass_fds=self._passed,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for number in {its_input, its_output, *self._passed}:
            os.close(number)
        self._number, self._rest, self._session = 0, b"", None
        self._attach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._input)
        os.close(self._output)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, file: Path, width: int = 1400, height: int = 1000) -> None:
        """Show a page, and wait until its charts are drawn."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.tell("Emulation.setDeviceMetricsOverride", **size)
        self.tell("Page.navigate", url=file.resolve().as_uri())
        self.wait_for("document.readyState === 'complete' && document.body.dataset.drawn !== undefined")

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.tell(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true."""
        limit = time.monotonic() + _LIMIT
        while not self.ask(expression):
            assert time.monotonic() < limit, f"not true in {_LIMIT} s: {expression}; {self.complaints}"
            time.sleep(0.05)

    def take_picture(self) -> bytes:
        """What is seen, as a PNG file."""
        return base64.b64decode(self.tell("Page.captureScreenshot", format="png")["data"])

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the debugging protocol and return the answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._input, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result

    def _above_four(self, *numbers: int) -> tuple[int, ...]:
        """The same files under numbers that are not in the way of those the browser wants."""
        self._passed = tuple(fcntl.fcntl(number, fcntl.F_DUPFD, 10) for number in numbers)
        return self._passed

    def _attach(self) -> None:
        targets = self.tell("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self.tell("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.tell(f"{domain}.enable")

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._output], [], [], _LIMIT)
            assert ready, f"Chromium said nothing for {_LIMIT} seconds"
            data = os.read(self._output, 1 << 20)
            assert data, "Chromium ended"
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event: str | None, details: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(details["exceptionDetails"]))
        elif event == "Log.entryAdded":
            self.complaints.append(details["entry"]["text"])
