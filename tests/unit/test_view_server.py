"""What the viewer's server answers, to whom, and what it does not."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align3r.errors import InputError
from align3r.io.result import load, save_result
from align3r.reconstruction import Reconstruction
from align3r.view.packing import POINT
from align3r.view.server import Viewer, serve

MakeScene = Callable[..., Reconstruction]


@pytest.fixture
def viewer(make_scene: MakeScene) -> Iterator[Viewer]:
    running = serve(make_scene(4), port=0, block=False)
    yield running
    running.close()


def ask(
    viewer: Viewer, path: str, *, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def manifest(viewer: Viewer) -> dict[str, Any]:
    text = ask(viewer, "/")[2].decode()
    found = re.search(r'<script id="manifest" type="application/json">(.*?)</script>', text, re.S)
    assert found
    value: dict[str, Any] = json.loads(found[1])
    return value


def test_the_page_and_all_of_its_parts_are_answered(viewer: Viewer) -> None:
    (about,) = manifest(viewer)["results"]
    assert about["times"] == [0, 0.1, 0.2, 0.3] and about["numbers"] == [0, 2, 4, 6]
    assert set(about["counts"]) == {
        "static", "trails", "moving", "image", "depth", "mask", "frame",
    }  # fmt: skip
    for kind, count in about["counts"].items():
        for i in range(count):
            status, headers, data = ask(viewer, f"/part/0/{kind}/{i}")
            assert status == 200 and len(data) == int(headers["Content-Length"])


def test_static_points_come_in_any_order_and_once(viewer: Viewer) -> None:
    blocks = manifest(viewer)["results"][0]["counts"]["static"]
    last = ask(viewer, f"/part/0/static/{blocks - 1}")[2]
    every = [ask(viewer, f"/part/0/static/{i}")[2] for i in range(blocks)]
    assert every[-1] == last
    assert len(np.frombuffer(b"".join(every), POINT)) > 50


@pytest.mark.parametrize(
    "path",
    [
        "/part/1/moving/0",
        "/part/0/moving/4",
        "/part/0/moving/-1",
        "/part/0/nothing/0",
        "/part/0/moving/0/",
        "/part/0/moving/0?x",
        "/part/0/moving/٣",
        "/../../etc/passwd",
        "/part/0/image/..%2f..%2fscene.json",
        "//etc/passwd",
        "/scene.json",
        "/favicon.ico",
    ],
)
def test_nothing_else_has_an_address(viewer: Viewer, path: str) -> None:
    with socket.create_connection(("127.0.0.1", viewer.port), timeout=20) as line:
        line.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: line.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 404 "), answer[:60]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_there_is_nothing_but_reading(viewer: Viewer, method: str) -> None:
    assert ask(viewer, "/", method=method)[0] == 501


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "127.0.0.1:1:2"])
def test_pages_of_others_cannot_read_by_a_name_that_points_here(viewer: Viewer, host: str) -> None:
    status, _, data = ask(viewer, "/part/0/moving/0", Host=host)
    assert status == 403 and len(data) < 100


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "LOCALHOST", "[::1]:99"])
def test_this_machine_has_several_names(viewer: Viewer, host: str) -> None:
    assert ask(viewer, "/", Host=host)[0] == 200


def test_answers_forbid_what_the_page_does_not_need(viewer: Viewer) -> None:
    _, headers, _ = ask(viewer, "/")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers
    assert "Python" not in headers["Server"]


def test_a_damaged_frame_is_said_and_the_others_are_shown(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    save_result(make_scene(5), tmp_path / "out", max_points=100, min_confidence=1.5)
    running = serve(load(tmp_path / "out"), port=0, block=False)
    try:
        (tmp_path / "out" / "depth" / "000003.exr").write_bytes(b"no picture")
        status, _, data = ask(running, "/part/0/moving/3")
        assert status == 500 and b"000003.exr" in data
        assert ask(running, "/part/0/moving/2")[0] == 200
    finally:
        running.close()


def test_static_points_after_a_damaged_frame_still_come(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    save_result(make_scene(9), tmp_path / "out", max_points=100, min_confidence=1.5)
    running = serve(load(tmp_path / "out"), port=0, block=False)
    try:
        (tmp_path / "out" / "depth" / "000008.exr").write_bytes(b"no picture")
        blocks = manifest(running)["results"][0]["counts"]["static"]
        answers = [ask(running, f"/part/0/static/{i}") for i in range(blocks)]
        assert [status for status, _, _ in answers].count(500) == 1
        assert sum(len(data) for status, _, data in answers if status == 200) > 1000
    finally:
        running.close()


def test_two_results_share_one_frame(make_scene: MakeScene) -> None:
    running = serve(make_scene(4), make_scene(4, seed=1), names=("a", "b"), port=0, block=False)
    try:
        one, two = manifest(running)["results"]
        assert (one["name"], two["name"]) == ("a", "b")
        np.testing.assert_allclose(one["path"], two["path"], atol=1e-4)
        assert two["note"].startswith("4 common frames; cameras 0.00%")
        assert ask(running, "/part/1/moving/3")[0] == 200
    finally:
        running.close()


def test_a_name_cannot_leave_its_place_in_the_page(make_scene: MakeScene) -> None:
    name = "</script><script>alert(1)</script>$SCRIPT"
    running = serve(make_scene(1), names=(name, ""), port=0, block=False)
    try:
        assert manifest(running)["results"][0]["name"] == name
        page = ask(running, "/")[2].decode()
        assert "<script>alert(1)" not in page and page.count("<script") == 2
    finally:
        running.close()


def test_a_taken_port_gives_the_next_one(make_scene: MakeScene) -> None:
    one = serve(make_scene(1), port=0, block=False)
    two = serve(make_scene(1), port=one.port, block=False)
    try:
        assert one.url != two.url
    finally:
        one.close()
        two.close()


def test_only_this_machine_is_listened_to(viewer: Viewer) -> None:
    assert viewer.url == f"http://127.0.0.1:{viewer.port}"
    assert viewer._server.server_address[0] == "127.0.0.1"


def test_all_addresses_when_asked_for(make_scene: MakeScene) -> None:
    running = serve(make_scene(1), host="0.0.0.0", port=0, block=False)
    try:
        assert running.url.startswith("http://127.0.0.1:")
        assert ask(running, "/", Host="my-machine.local")[0] == 200
    finally:
        running.close()


def test_a_host_that_is_not_ours_is_an_input_error(make_scene: MakeScene) -> None:
    with pytest.raises(InputError, match=r"cannot listen on 203\.0\.113\.7"):
        serve(make_scene(1), host="203.0.113.7", port=0, block=False)
    with pytest.raises(InputError, match=r"cannot listen on no\.such\.host\.invalid"):
        serve(make_scene(1), host="no.such.host.invalid", port=0, block=False)


def test_waiting_ends_when_the_viewer_is_closed(make_scene: MakeScene) -> None:
    running = serve(make_scene(1), port=0, block=False)
    waiting = threading.Thread(target=running.wait)
    waiting.start()
    running.close()
    waiting.join(timeout=10)
    assert not waiting.is_alive()
    with pytest.raises(OSError):
        ask(running, "/")
