"""A model hub on this machine, as far as huggingface_hub asks it: it can refuse, stall and die."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """Repositories by name, each with its files; and how the hub behaves."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    commit: str = COMMIT
    card_licence: str | None = "cc-by-nc-sa-4.0"
    refusal: tuple[int, str] | None = None
    """Status and error code of every answer."""
    dies_at: int | None = None
    """Bytes of a large file after which the connection is gone."""
    alters: bool = False
    """Whether something on the way changes the content."""
    stall: Literal["", "answers", "files"] = ""
    """What never comes: any answer, or the second half of large files."""
    url: str = ""
    requests: list[str] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)

    def api(self, repo: str) -> dict[str, object]:
        """What the hub says about a repository."""
        files = self.repositories[repo].items()
        return {
            "id": repo,
            "sha": self.commit,
            "cardData": {"license": self.card_licence} if self.card_licence else {},
            "siblings": [{"rfilename": name, "size": len(data)} for name, data in files],
        }


def is_large(name: str) -> bool:
    """Large files are kept under their SHA-256, others under git's SHA-1."""
    return name.endswith(".safetensors")


def etag(name: str, data: bytes) -> str:
    """Name of a file's content on the hub, and in the cache."""
    if is_large(name):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers /api/models/OWNER/NAME/revision/REV and /OWNER/NAME/resolve/REV/FILE."""

    hub: FakeHub

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, with_body: bool) -> None:
        hub = self.hub
        path = unquote(urlsplit(self.path).path)
        hub.requests.append(f"{self.command} {path}")
        api = path.startswith("/api/models/")
        parts = path.removeprefix("/api/models").strip("/").split("/")
        repo, revision, name = "/".join(parts[:2]), "".join(parts[3:4]), "/".join(parts[4:])
        if len(parts) < 4:  # the client asks for news about itself too
            return self._head(404)
        if hub.refusal:
            return self._head(hub.refusal[0], **{"X-Error-Code": hub.refusal[1]})
        if repo not in hub.repositories:
            return self._head(404, **{"X-Error-Code": "RepoNotFound"})
        if revision not in ("main", hub.commit):
            return self._head(404, **{"X-Error-Code": "RevisionNotFound"})
        if api:
            if hub.stall == "answers":
                hub.closing.wait(60)
            return self._send(json.dumps(hub.api(repo)).encode(), {}, with_body=True)
        data = hub.repositories[repo].get(name)
        if data is None:
            return self._head(404, **{"X-Error-Code": "EntryNotFound"})
        tag = etag(name, data)
        headers = {"X-Repo-Commit": hub.commit, "ETag": f'"{tag}"'}
        if is_large(name):
            headers |= {"X-Linked-ETag": f'"{tag}"', "X-Linked-Size": str(len(data))}
            if hub.alters:
                data = data[:-1] + bytes([data[-1] ^ 1])
        self._send(data, headers, with_body=with_body, large=is_large(name))

    def _head(self, status: int, length: int = 0, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(
        self, data: bytes, headers: dict[str, str], *, with_body: bool, large: bool = False
    ) -> None:
        self._head(200, len(data), **headers)
        if not with_body:
            return
        if large and self.hub.dies_at is not None:
            self.wfile.write(data[: self.hub.dies_at])
            self.close_connection = True
            return
        if large and self.hub.stall == "files":
            self.wfile.write(data[: len(data) // 2])
            self.hub.stalled.set()
            self.hub.closing.wait(60)
            return
        self.wfile.write(data)


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    """Run the hub on a free port of this machine."""
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.closing.set()
            server.shutdown()
            thread.join()
