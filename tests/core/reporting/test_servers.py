"""The server that misbehaves, which the tests of reporters lean on."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import pytest
from servers import MisbehavingServer, Request


def post(url: str, value: Any = None, timeout: float = 20) -> Any:
    request = urllib.request.Request(url, json.dumps(value).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.loads(answer.read())


def assert_refuses(url: str) -> None:
    with pytest.raises(urllib.error.URLError) as caught:
        post(url)
    assert isinstance(caught.value.reason, ConnectionRefusedError)


def test_refuse_holds_a_port_that_nobody_listens_on() -> None:
    with MisbehavingServer("refuse") as url:
        assert_refuses(url)
        with MisbehavingServer("refuse") as other:
            assert other != url


def test_hang_reads_and_never_answers_until_it_is_left() -> None:
    before = set(threading.enumerate())
    server = MisbehavingServer("hang")
    with server as url:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                post(f"{url}/log", [1, 2], timeout=0.1)
    assert [(r.method, r.path, r.json()) for r in server.requests] == [("POST", "/log", [1, 2])] * 2
    assert set(threading.enumerate()) == before


def test_500_is_answered_to_everything_on_a_connection_that_stays() -> None:
    server = MisbehavingServer("500")
    with server as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        statuses = []
        for method in ("GET", "PUT", "HEAD", "DELETE"):
            connection.request(method, f"/{method}", body=iter([b"in ", b"pieces"]), encode_chunked=True)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()
    assert statuses == [500] * 4
    assert server.paths == ["/GET", "/PUT", "/HEAD", "/DELETE"]
    assert server.num_answered == 0


def test_dies_answers_a_few_then_nobody_and_can_be_brought_back() -> None:
    server = MisbehavingServer("dies", after=2, answer=lambda request: {"path": request.path})
    with server as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        for path in ("/1", "/2"):
            connection.request("GET", path)
            assert json.loads(connection.getresponse().read()) == {"path": path}
        connection.request("GET", "/3")
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            connection.getresponse()
        assert_refuses(url)
        server.recover()
        assert post(f"{url}/4") == {"path": "/4"}
        connection.close()
    assert server.paths == ["/1", "/2", "/3", "/4"]
    assert server.num_answered == 3


def test_what_refuses_or_hangs_can_recover() -> None:
    for mode in ("refuse", "hang"):
        server = MisbehavingServer(mode)  # type: ignore[arg-type]
        with server as url:
            server.recover()
            assert post(url) == {}


def test_slow_answers_late_in_many_threads_at_once() -> None:
    server = MisbehavingServer("slow", delay=0.2, answer=b"[7]")
    with server as url:
        answers: list[Any] = []
        threads = [threading.Thread(target=lambda: answers.append(post(url))) for _ in range(10)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - started >= 0.2
    assert answers == [[7]] * 10


def test_another_process_can_ask_it() -> None:
    with MisbehavingServer("slow", answer={"from": "here"}) as url:
        asking = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
        done = subprocess.run([sys.executable, "-c", asking, url], capture_output=True, text=True)
    assert json.loads(done.stdout) == {"from": "here"}


def test_a_request_knows_its_headers() -> None:
    server = MisbehavingServer("slow")
    with server as url:
        urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": "me"})).close()
    (request,) = server.requests
    assert isinstance(request, Request)
    assert request.headers["Authorization"] == "me"
