"""The live viewer: the same page as scene.html, with all frames, made as they are asked for."""

from __future__ import annotations

import errno
import os
import re
import socket
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from align3r.errors import Align3rError, InputError
from align3r.reconstruction import Reconstruction
from align3r.view.look import Look, choose_look
from align3r.view.page_text import SECURITY, page
from align3r.view.parts import Detail, Parts, growing_groups
from align3r.view.register import register

PORTS_TRIED = 100
"""Ports after the one asked for that are tried when it is taken."""
LOOK_FRAMES = 3
"""Frames that are read before the page is sent: each costs time that somebody waits."""
KINDS = {"image": "image/jpeg", "depth": "image/jpeg", "mask": "image/png"}
TAKEN = (errno.EADDRINUSE, errno.EACCES)
HEADERS = {
    "Content-Security-Policy": SECURITY,
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def serve(
    scene: Reconstruction,
    other: Reconstruction | None = None,
    *,
    names: tuple[str, str] = ("first", "second"),
    host: str = "127.0.0.1",
    port: int = 8080,
    block: bool = True,
) -> Viewer:
    """Show a reconstruction in the browser, or two of one video side by side.

    The server listens on this machine alone unless another host is given. If the port is
    taken, the next free one is used: `viewer.url` tells. Maps are read when they are looked at.

    Args:
        scene: The reconstruction.
        other: A second one, which is laid onto the first by its cameras.
        names: What the two are called on the page.
        host: Address to listen on.
        port: First port to try; 0 takes any free one.
        block: Stay until interrupted; otherwise return at once and leave the server running.

    Returns:
        The running viewer.

    Raises:
        InputError: The host cannot be listened on, a map cannot be read, or the two results have
            no moment in common.
    """
    viewer = Viewer(make_parts(scene, other, names=names), host=host, port=port)
    if block:
        viewer.wait()
    return viewer


def make_parts(
    scene: Reconstruction, other: Reconstruction | None, *, names: tuple[str, str]
) -> list[Parts]:
    """The results as the page asks for them, the second in the frame of the first.

    Raises:
        InputError: A map cannot be read, or the two results have no moment in common.
    """
    look = choose_look(scene, frames=LOOK_FRAMES)
    parts = [_parts(scene, name=names[0], look=look)]
    if other is not None:
        onto = register(scene, other)
        note = (
            f"{onto.frames} common frames; cameras {onto.residual / _reach(scene):.2%} of the path "
            f"apart, scale {onto.scale:.4g}"
        )
        parts.append(_parts(other, name=names[1], look=look.under(onto), note=note))
    return parts


def _parts(scene: Reconstruction, *, name: str, look: Look, note: str = "") -> Parts:
    steps, groups = np.arange(len(scene)), growing_groups(len(scene))
    return Parts(scene, look, name=name, steps=steps, groups=groups, detail=Detail(), note=note)


def _reach(scene: Reconstruction) -> float:
    centres = scene.world_from_cam[:, :3, 3]
    return max(float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum()), 1e-12)


class Viewer:
    """A running viewer."""

    def __init__(self, results: Sequence[Parts], *, host: str, port: int) -> None:
        """Listen, and answer from a thread of its own.

        Raises:
            InputError: The host cannot be listened on.
        """
        self._stopped = threading.Event()
        self._server = _listen(host, port)
        self._server.results = list(results)
        self._server.page = page(results).encode()
        self.host, self.port = host, int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    @property
    def url(self) -> str:
        """Address to open in the browser on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"http://{host}:{self.port}"

    def wait(self) -> None:
        """Stay until `close` is called or the program is interrupted."""
        try:
            while not self._stopped.wait(0.5):
                pass
        finally:
            self.close()

    def close(self) -> None:
        """Stop the server."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Elsewhere it would let two servers have one port.
    allow_reuse_address = os.name == "posix"
    results: list[Parts]
    page: bytes
    local: bool
    """Whether only this machine can reach it."""


class _SixServer(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    """Answers for the page and its parts; there is no other address, and no file is served."""

    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 60

    def do_GET(self) -> None:
        """Send the page or a part."""
        if self.server.local and not _names_this_machine(self.headers.get("Host", "")):
            # A name of someone else's that points here would let their pages read the answers.
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"this viewer is for this machine alone")
        elif self.path == "/":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        else:
            self._send(*self._part(self.path))

    def _part(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        found = re.fullmatch(r"/part/(\d{1,2})/([a-z]{1,10})/(\d{1,9})", path, re.ASCII)
        try:
            if found is None:
                raise KeyError(path)
            number, kind, i = int(found[1]), found[2], int(found[3])
            if number >= len(self.server.results):
                raise KeyError(path)
            data = self.server.results[number].part(kind, i)
        except KeyError:
            return HTTPStatus.NOT_FOUND, "text/plain", b"there is no such part"
        except Align3rError as error:
            return (
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "text/plain; charset=utf-8",
                str(error).encode(),
            )
        return HTTPStatus.OK, KINDS.get(kind, "application/octet-stream"), data

    def _send(self, status: HTTPStatus, kind: str, data: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **HEADERS}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the page shows what goes wrong."""

    def version_string(self) -> str:
        """Name no versions to strangers."""
        return "align3r"

    def handle(self) -> None:
        """Answer until the visitor leaves, which may be in the middle of an answer."""
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            self.close_connection = True


def _names_this_machine(host: str) -> bool:
    name = re.sub(r":\d+$", "", host.strip().lower())
    return re.fullmatch(r"localhost|127(\.\d{1,3}){3}|\[::1\]", name) is not None


def _listen(host: str, port: int) -> _Server:
    kind = _SixServer if ":" in host else _Server
    ports = [port] if port == 0 else [*range(port, min(port + PORTS_TRIED, 65536)), 0]
    for candidate in ports:
        try:
            server = kind((host.strip("[]"), candidate), _Handler)
        except OSError as error:
            if error.errno in TAKEN and candidate != 0:
                continue
            raise InputError(
                f"cannot listen on {host}: {error.strerror or error}", hint="use --host 127.0.0.1"
            ) from error
        address = str(server.server_address[0])
        server.local = address.startswith("127.") or address == "::1"
        return server
    raise AssertionError("port 0 is the last and is never taken")
