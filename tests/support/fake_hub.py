"""A model hub on this machine: as much of the Hugging Face Hub as pushing and downloading need."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
import yaml

OWNER = "me"
TOKEN = "hf_secret"
LARGE = (".safetensors", ".pt", ".pth", ".bin")
"""What goes through the store of large files."""

Files = dict[str, bytes]


class Commit(NamedTuple):
    """A commit that was made: its message, and the files it put and deleted."""

    branch: str
    message: str
    put: list[str]
    deleted: list[str]


@dataclass
class Repo:
    """A repository: the files of each branch, and its commits in order."""

    visibility: str | None = None
    branches: dict[str, Files] = field(default_factory=lambda: {"main": {}})
    commits: list[Commit] = field(default_factory=list)

    def apply(self, branch: str, lines: list[dict[str, Any]], store: Files) -> Commit:
        message, put, deleted = "", {}, []
        for line in lines:
            key, value = line["key"], line["value"]
            if key == "header":
                message = value["summary"]
            elif key == "file":
                put[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                put[value["path"]] = store[value["oid"]]
            else:
                assert key == "deletedFile", key
                deleted.append(value["path"])
        files = {name: data for name, data in self.branches[branch].items() if name not in deleted}
        self.branches[branch] = {**files, **put}
        self.commits.append(Commit(branch, message, sorted(put), sorted(deleted)))
        return self.commits[-1]


class FakeHub:
    """The server, while it is entered as a context.

    Attributes:
        repos: Its repositories, by owner and name.
        tokens: The tokens that were sent to it.
        num_refused: How many commits from now on it refuses.
        gate: Commits wait until it is set; it is, unless a test clears it.
        commit_begun: Set when a commit arrives.
        on_commit: Called with each commit that was made, and with the files of its branch.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.tokens: set[str] = set()
        self.num_refused = 0
        self.gate = threading.Event()
        self.gate.set()
        self.commit_begun = threading.Event()
        self.on_commit: Callable[[Commit, Files], None] = lambda commit, files: None
        self.store: Files = {}
        hub = self

        class Bound(_Handler):
            hub: FakeHub

        Bound.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    def connect(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let huggingface_hub of this process talk to this hub."""
        from huggingface_hub import constants

        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", self.endpoint + template)
        monkeypatch.setattr(constants, "ENDPOINT", self.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)

    @property
    def environment(self) -> dict[str, str]:
        """What another process needs in its environment to do so."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
        }

    def files(self, repo: str, branch: str = "main") -> Files:
        return self.repos[repo].branches[branch]

    def messages(self, repo: str) -> list[str]:
        return [commit.message for commit in self.repos[repo].commits]


class Answer(Exception):
    """What a request is answered with."""

    def __init__(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, headers or {}


_ROUTES = [
    ("POST", r"/api/repos/create", "create"),
    ("POST", r"/api/validate-yaml", "validate"),
    ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/branch/(?P<branch>[^/]+)", "make_branch"),
    ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/preupload/(?P<branch>[^/]+)", "preupload"),
    ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/commit/(?P<branch>[^/]+)", "commit"),
    ("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "lfs"),
    ("PUT", r"/store/(?P<oid>\w+)", "keep"),
    ("POST", r"/verify", "verify"),
    ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<branch>[^/]+)(/(?P<folder>.+))?", "tree"),
    ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<branch>[^/]+))?", "info"),
    ("(GET|HEAD)", r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<branch>[^/]+)/(?P<name>.+)", "resolve"),
]


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    do_HEAD = do_POST = do_PUT = do_GET

    def _handle(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token:
            self.hub.tokens.add(token)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self._find_route(body)
        except Answer as answer:
            self._send(answer)

    def _find_route(self, body: bytes) -> None:
        path = urlsplit(self.path).path
        for method, pattern, name in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and re.fullmatch(method, self.command):
                parts = {key: unquote(value) for key, value in found.groupdict().items() if value}
                getattr(self, f"_{name}")(body, **parts)
        raise Answer(404, {"error": "no such page"})

    def _send(self, answer: Answer) -> None:
        data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(data)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _repo(self, name: str) -> Repo:
        if name not in self.hub.repos:
            raise Answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        return self.hub.repos[name]

    def _branch(self, repo: str, branch: str) -> Files:
        branches = self._repo(repo).branches
        branch = "main" if branch == _sha(branches["main"]) else branch
        if branch not in branches:
            raise Answer(404, {"error": "no such revision"}, {"X-Error-Code": "RevisionNotFound"})
        return branches[branch]

    # -- repositories -----------------------------------------------------------------------------

    def _create(self, body: bytes) -> None:
        if self.headers.get("Authorization") is None:
            raise Answer(401, {"error": "Invalid username or password."})
        asked = json.loads(body)
        repo = f"{asked.get('organization') or OWNER}/{asked['name']}"
        if repo.partition("/")[0] == "others":
            raise Answer(403, {"error": "You don't have the rights to create a model under 'others'"})
        is_new = repo not in self.hub.repos
        private = {True: "private", False: "public", None: None}[asked.get("private")]
        if is_new:
            self.hub.repos[repo] = Repo(asked.get("visibility") or private)
        raise Answer(200 if is_new else 409, {"url": f"{self.hub.endpoint}/{repo}", "name": repo})

    def _make_branch(self, body: bytes, repo: str, branch: str) -> None:
        branches = self._repo(repo).branches
        if branch in branches:
            raise Answer(409, {"error": "Reference already exists"})
        branches[branch] = dict(branches["main"])
        raise Answer(201, {})

    def _info(self, body: bytes, repo: str, branch: str = "main") -> None:
        files = self._branch(repo, branch)
        card = files.get("README.md", b"").decode().split("---\n")
        raise Answer(
            200,
            {
                "id": repo,
                "sha": _sha(files),
                "siblings": [{"rfilename": name} for name in files],
                "cardData": yaml.safe_load(card[1]) if len(card) > 2 else None,
                "private": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
            },
        )

    def _tree(self, body: bytes, repo: str, branch: str, folder: str = "") -> None:
        files = self._branch(repo, branch)
        found = {
            name: data for name, data in files.items() if not folder or name.startswith(f"{folder}/")
        }
        if folder and not found:
            raise Answer(404, {"error": "no such folder"}, {"X-Error-Code": "EntryNotFound"})
        raise Answer(
            200,
            [
                {"type": "file", "path": name, "size": len(data), "oid": _blob_id(data)}
                for name, data in found.items()
            ],
        )

    def _resolve(self, body: bytes, repo: str, branch: str, name: str) -> None:
        files = self._branch(repo, branch)
        if name not in files:
            raise Answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        tags = {"ETag": f'"{hashlib.sha256(files[name]).hexdigest()}"', "X-Repo-Commit": _sha(files)}
        raise Answer(200, files[name], tags)

    # -- commits ----------------------------------------------------------------------------------

    def _validate(self, body: bytes) -> None:
        yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
        raise Answer(200, {"errors": [], "warnings": []})

    def _preupload(self, body: bytes, repo: str, branch: str) -> None:
        files = self._branch(repo, branch)
        answers = []
        for asked in json.loads(body)["files"]:
            is_large, data = asked["path"].endswith(LARGE), files.get(asked["path"])
            oid = (
                None
                if data is None
                else hashlib.sha256(data).hexdigest()
                if is_large
                else _blob_id(data)
            )
            mode = "lfs" if is_large else "regular"
            answers.append(
                {"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}
            )
        raise Answer(200, {"files": answers})

    def _lfs(self, body: bytes, repo: str) -> None:
        objects = []
        for asked in json.loads(body)["objects"]:
            actions = {
                "upload": {"href": f"{self.hub.endpoint}/store/{asked['oid']}"},
                "verify": {"href": f"{self.hub.endpoint}/verify"},
            }
            known = asked["oid"] in self.hub.store
            objects.append({**asked, **({} if known else {"actions": actions})})
        raise Answer(200, {"transfer": "basic", "objects": objects})

    def _keep(self, body: bytes, oid: str) -> None:
        self.hub.store[oid] = body
        raise Answer(200, {})

    def _verify(self, body: bytes) -> None:
        raise Answer(200, {})

    def _commit(self, body: bytes, repo: str, branch: str) -> None:
        self._branch(repo, branch)
        self.hub.commit_begun.set()
        self.hub.gate.wait(60)
        if self.hub.num_refused > 0:
            self.hub.num_refused -= 1
            raise Answer(403, {"error": "storage quota exceeded"})
        lines = [json.loads(line) for line in body.decode().splitlines()]
        commit = self.hub.repos[repo].apply(branch, lines, self.hub.store)
        self.hub.on_commit(commit, self.hub.repos[repo].branches[branch])
        sha = _sha(self.hub.repos[repo].branches[branch])
        url = f"{self.hub.endpoint}/{repo}/commit/{sha}"
        raise Answer(200, {"success": True, "commitOid": sha, "commitUrl": url})


def _sha(files: Files) -> str:
    """An identifier of what a branch holds, in the form of a commit's."""
    digest = hashlib.sha1(usedforsecurity=False)
    for name, data in sorted(files.items()):
        digest.update(f"{name}:{hashlib.sha256(data).hexdigest()}".encode())
    return digest.hexdigest()


def _blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
