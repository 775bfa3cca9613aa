"""scene.html: size, budget, playback; and the folder with everything in it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from align3r.config import OutputOptions
from align3r.errors import InputError, UsageError
from align3r.io.result import load
from align3r.reconstruction import Reconstruction
from align3r.view import html, packing
from align3r.view.folder import save
from align3r.view.html import thin_packed, write_html
from align3r.view.look import choose_look
from align3r.view.sampling import frame_cloud

MakeScene = Callable[..., Reconstruction]


def parts_of(path: Path) -> dict[str, bytes]:
    """All parts inside a page, decoded without the page's own program."""
    text = path.read_text(encoding="utf-8")
    found = re.findall(r'<script type="text/plain" id="part/0/([^"]+)"([^>]*)>([^<]*)<', text)
    raw = {key: (base64.b64decode(data), packed) for key, packed, data in found}
    return {key: zlib.decompress(data) if packed else data for key, (data, packed) in raw.items()}


@pytest.mark.parametrize("n", [1, 2, 5])
def test_any_number_of_frames_makes_a_page(make_scene: MakeScene, tmp_path: Path, n: int) -> None:
    write_html(make_scene(n), tmp_path / "scene.html")
    parts = parts_of(tmp_path / "scene.html")
    kinds = [f"{kind}/{i}" for i in range(n) for kind in ("moving", "image", "depth", "mask")]
    assert set(parts) == {"static/0", *kinds, *(["trails/0"] if n > 1 else [])}
    for i in range(n):
        image = cv2.imdecode(np.frombuffer(parts[f"image/{i}"], np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (32, 40, 3)


def test_points_come_back_from_the_page_where_they_are(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    scene = make_scene(3)
    write_html(scene, tmp_path / "scene.html")
    stored = np.frombuffer(parts_of(tmp_path / "scene.html")["moving/1"], packing.POINT)
    cloud = frame_cloud(scene, 1, stride=1)
    wanted = choose_look(scene).to_viewer(cloud.points[cloud.moving])
    found = packing.unpack_places(stored["place"])
    assert len(found) == len(wanted) > 5
    gaps = np.abs(found[:, None] - wanted[None]).max(axis=-1).min(axis=1)
    assert gaps.max() < 1e-3


def test_the_page_fits_the_size_it_is_given(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(30, size=(640, 480), working=(640, 480))
    scene.maps._depth[:] = np.linspace(1, 3, 640, dtype=np.float32)  # type: ignore[attr-defined]
    scene.maps._depth[:] += np.arange(30, dtype=np.float32)[:, None, None]  # type: ignore[attr-defined]
    for most in (600_000, 2_000_000, 15_000_000):
        write_html(scene, tmp_path / "scene.html", max_bytes=most)
        assert 0.3 * most < (tmp_path / "scene.html").stat().st_size <= most


def test_too_little_room_is_said(make_scene: MakeScene, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"0\.10 MB"):
        write_html(make_scene(1), tmp_path / "scene.html", max_bytes=100_000)
    assert not (tmp_path / "scene.html").exists()


def test_long_videos_show_every_nth_frame(make_scene: MakeScene, tmp_path: Path) -> None:
    write_html(make_scene(70), tmp_path / "scene.html", max_bytes=2_000_000)
    text = (tmp_path / "scene.html").read_text(encoding="utf-8")
    numbers = json.loads(re.findall(r'"numbers":(\[[^\]]*\])', text)[0])
    assert len(numbers) == 33 and numbers[0] == 0 and numbers[-1] == 138
    assert len(text) <= 2_000_000 and html.MOST_STEPS > 100


def test_the_same_result_gives_the_same_page(make_scene: MakeScene, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_html(make_scene(5), tmp_path / name / "scene.html")
    a, b = (tmp_path / name / "scene.html" for name in ("a", "b"))
    assert a.read_bytes() == b.read_bytes()


def test_thinned_points_are_larger() -> None:
    points = np.zeros(400, packing.POINT)
    points["spacing"] = 3
    kept = np.frombuffer(thin_packed(points.tobytes(), 100), packing.POINT)
    assert len(kept) == 100 and set(kept["spacing"]) == {6}
    assert thin_packed(points.tobytes(), 400) == points.tobytes()


def test_nothing_is_printed(
    make_scene: MakeScene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_html(make_scene(2), tmp_path / "scene.html")
    assert capsys.readouterr().out == ""


def test_the_viewer_does_not_depend_on_the_unit_of_the_scene(make_scene: MakeScene) -> None:
    metres, tiny = make_scene(4), make_scene(4)
    tiny.world_from_cam[:, :3, 3] *= 1e-4
    tiny.maps._depth[:] *= 1e-4  # type: ignore[attr-defined]
    one, other = choose_look(metres), choose_look(tiny)
    assert other.frustum == pytest.approx(one.frustum)
    assert other.depth == pytest.approx(one.depth)
    seen = [
        look.to_viewer(frame_cloud(scene, 2, stride=3).points)
        for look, scene in ((one, metres), (other, tiny))
    ]
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-4)


def test_the_folder_has_what_the_options_ask_for(make_scene: MakeScene, tmp_path: Path) -> None:
    extras = {"scene.html", "depth.mp4", "cameras.png"}
    full = save(make_scene(2), tmp_path / "full")
    assert extras <= {path.name for path in full.iterdir()}
    bare = save(make_scene(2), tmp_path / "bare", OutputOptions(html=False, pictures=False))
    assert not extras & {path.name for path in bare.iterdir()}
    assert len(load(full)) == 2


def test_a_failing_picture_leaves_no_folder(
    make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise InputError("no")

    monkeypatch.setattr("align3r.view.folder.write_camera_plot", fail)
    with pytest.raises(InputError):
        save(make_scene(2), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_looking_needs_no_torch() -> None:
    script = (
        "import sys, align3r.view.folder, align3r.view.server, align3r.view.comparison; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
