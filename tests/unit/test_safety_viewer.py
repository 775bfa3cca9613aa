"""The viewer is for this machine alone, and text of a result is never taken for a program."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from align3r import load
from align3r.config import OutputOptions
from align3r.reconstruction import Reconstruction
from align3r.view.server import serve

MakeScene = Callable[..., Reconstruction]
EVIL = "</script><script>alert(1)</script>&\"'\u2028"


def answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="others have one local address alone")
def test_it_listens_on_this_machine_unless_told_otherwise(make_scene: MakeScene) -> None:
    # Linux answers for all of 127.*, so this is an address of this machine, but another one.
    for host, elsewhere in (("127.0.0.1", False), ("0.0.0.0", True)):
        viewer = serve(make_scene(2), host=host, port=0, block=False)
        try:
            assert answers("127.0.0.1", viewer.port)
            assert answers("127.0.0.2", viewer.port) is elsewhere
        finally:
            viewer.close()
    default = serve(make_scene(2), port=0, block=False)
    try:
        assert default.url.startswith("http://127.0.0.1:")
        assert not answers("127.0.0.2", default.port)
    finally:
        default.close()


def test_text_of_a_result_ends_no_element_of_the_page(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    make_scene(2).save(out, options=OutputOptions(html=False, pictures=False))
    about = json.loads((out / "scene.json").read_text())
    about |= {"warnings": [EVIL], "source": EVIL, EVIL: EVIL, "losses": {EVIL: 1}}
    (out / "scene.json").write_text(json.dumps(about))
    scene = load(out)
    scene.save(tmp_path / "again", options=OutputOptions(pictures=False))
    page = (tmp_path / "again" / "scene.html").read_text()
    assert "<script>alert(1)" not in page
    viewer = serve(scene, make_scene(2), names=(EVIL, EVIL), port=0, block=False)
    try:
        with socket.create_connection(("127.0.0.1", viewer.port)) as line:
            line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            page = b"".join(iter(lambda: line.recv(65536), b"")).decode()
        assert "200 OK" in page and "<script>alert(1)" not in page
    finally:
        viewer.close()
