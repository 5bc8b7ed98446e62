"""A server on this machine that does not do what its clients hope for."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, NamedTuple

Mode = Literal["refuse", "hang", "500", "dies", "slow"]


class Request(NamedTuple):
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Its body, if that is JSON."""
        return json.loads(self.body)


class MisbehavingServer:
    """A server over HTTP that misbehaves in one way, while it is entered as a context.

    Entering it gives its address, ``http://127.0.0.1:PORT``, which other processes may use too::

        server = MisbehavingServer("dies", after=2)
        with server as url:
            ...
        assert [request.path for request in server.requests] == ["/a", "/b", "/c"]

    Args:
        mode: ``refuse``: nobody listens on the port, which is held all the same. ``hang``: a request is read,
            and never answered. ``500``: each is answered so. ``dies``: answers ``after`` requests, and
            closes at the next, without an answer, its connections and its port. ``slow``: answers, after
            ``delay`` seconds.
        after: How many requests are answered before it dies.
        delay: The seconds before an answer, in each mode.
        answer: What is answered with the status 200: a value that is sent as JSON, bytes, or what gives
            either for a request.

    Attributes:
        requests: What was sent to it, in order, answered or not.
        num_answered: How many were answered with the status 200.
    """

    def __init__(
        self,
        mode: Mode,
        *,
        after: int = 3,
        delay: float = 0.0,
        answer: Any | Callable[[Request], Any] = None,
    ) -> None:
        self.mode = mode
        self.after = after
        self.delay = delay
        self.answer = {} if answer is None else answer
        self.requests: list[Request] = []
        self.num_answered = 0
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._server: _Server | None = None

    def __enter__(self) -> str:
        self._keeper = _bind(0)  # holds the port while nobody listens on it
        if self.mode != "refuse":
            self._listen()
        return self.url

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._stop_listening()
        if self._server is not None:
            self._server.wait()
        self._keeper.close()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._keeper.getsockname()[1]}"

    @property
    def paths(self) -> list[str]:
        """Where the requests went to, in order."""
        return [request.path for request in self.requests]

    def recover(self) -> None:
        """Behave from now on, at the same address; what hangs is answered too."""
        was_hanging, self.mode = self.mode == "hang", "slow"
        if was_hanging:
            self._is_over.set()
            self._is_over = threading.Event()
        if self._server is None or not self._server.is_listening:
            self._listen()

    def _listen(self) -> None:
        self._server = _Server(self, _bind(self._keeper.getsockname()[1]))

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()

    def _reply(self, request: Request) -> tuple[int, bytes] | None:
        """The status and the body of an answer, or None for silence."""
        with self._lock:
            self.requests.append(request)
            dies = self.mode == "dies" and self.num_answered >= self.after
            self.num_answered += self.mode == "slow" or (self.mode == "dies" and not dies)
        if dies:
            self._stop_listening()
            return None
        is_over = self._is_over
        is_over.wait(None if self.mode == "hang" else self.delay)
        if is_over is self._is_over and is_over.is_set():
            return None
        if self.mode == "500":
            return 500, b'{"error": "Internal Server Error"}'
        answer = self.answer(request) if callable(self.answer) else self.answer
        return 200, answer if isinstance(answer, bytes) else json.dumps(answer).encode()


class _Server(ThreadingHTTPServer):
    """Listens on a socket, in threads that end when it is closed."""

    daemon_threads = False  # `server_close` waits for them
    request_queue_size = 64

    def __init__(self, owner: MisbehavingServer, bound: socket.socket) -> None:
        super().__init__(bound.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.owner, self.is_listening = bound, owner, True
        self._connections: set[socket.socket] = set()
        self._closing = threading.Lock()
        self.server_activate()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of ours."""

    def close(self) -> None:
        """Stop listening, and cut every connection; may be called while a request is handled."""
        with self._closing:
            if self.is_listening:
                self.is_listening = False
                self.shutdown()
                self.socket.close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_RDWR)

    def wait(self) -> None:
        """Wait until its threads are gone."""
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"  # connections stay open
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        request = Request(self.command, self.path, dict(self.headers.items()), self._read_body())
        answer = self.server.owner._reply(request)
        if answer is None:
            self.close_connection = True
            return
        status, body = answer
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(chunks)


def _bind(port: int) -> socket.socket:
    """A socket on the port, or on any; several may be bound to one as long as none of them listens."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made
