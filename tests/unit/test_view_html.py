"""scene.html: size, budget, playback; and the folder with everything in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from align3r.config import OutputOptions
from align3r.errors import InputError, UsageError
from align3r.io.result import load
from align3r.reconstruction import Reconstruction
from align3r.view import html
from align3r.view.folder import save
from align3r.view.html import plan, write_html
from align3r.view.sampling import frame_cloud
from align3r.view.viser_scene import choose_look, quat_wxyz, start_server

MakeScene = Callable[..., Reconstruction]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_any_number_of_frames_makes_a_page(make_scene: MakeScene, tmp_path: Path, n: int) -> None:
    write_html(make_scene(n), tmp_path / "scene.html")
    page = (tmp_path / "scene.html").read_text(encoding="utf-8")
    assert "__VISER_EMBED_DATA__" in page


def test_the_page_fits_the_size_it_is_given(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(6, size=(640, 480), working=(640, 480))
    scene.maps._depth[:] = np.linspace(1, 3, 640, dtype=np.float32)  # type: ignore[attr-defined]
    scene.maps._depth[:] += np.arange(6, dtype=np.float32)[:, None, None]  # type: ignore[attr-defined]
    write_html(scene, tmp_path / "large.html")
    write_html(scene, tmp_path / "small.html", max_bytes=2_000_000)
    large, small = ((tmp_path / f"{k}.html").stat().st_size for k in ("large", "small"))
    assert small <= 2_000_000 < large <= 15_000_000


def test_too_little_room_for_the_viewer_is_said(make_scene: MakeScene, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"0\.5 MB"):
        write_html(make_scene(1), tmp_path / "scene.html", max_bytes=500_000)
    assert not (tmp_path / "scene.html").exists()


def test_long_videos_show_every_nth_frame(make_scene: MakeScene) -> None:
    steps = plan(make_scene(1000), max_bytes=15_000_000).steps
    assert len(steps) == html.MOST_STEPS
    assert steps[0] == 0 and steps[-1] == 999


def test_playback_lasts_as_long_as_the_video() -> None:
    class Recorder:
        slept: list[float] = []  # noqa: RUF012

        def insert_sleep(self, seconds: float) -> None:
            self.slept.append(seconds)

    class Node:
        visible = False

    nodes, recorder = [Node() for _ in range(3)], Recorder()
    html._record_playback(recorder, [[node] for node in nodes], np.array([0.0, 0.5, 2.0]))
    assert recorder.slept == [0.5, 1.5, 1.0]
    assert [node.visible for node in nodes] == [False, False, True]


def test_nothing_is_printed(
    make_scene: MakeScene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_html(make_scene(2), tmp_path / "scene.html")
    assert capsys.readouterr().out == ""


def test_a_host_that_is_not_ours_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"203\.0\.113\.7"):
        start_server("203.0.113.7", 0)


def test_quaternions_have_w_first() -> None:
    quarter_turn_about_z = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(quat_wxyz(quarter_turn_about_z), [half, 0, 0, half], atol=1e-12)


def test_the_viewer_does_not_depend_on_the_unit_of_the_scene(make_scene: MakeScene) -> None:
    metres, tiny = make_scene(4), make_scene(4)
    tiny.world_from_cam[:, :3, 3] *= 1e-4
    tiny.maps._depth[:] *= 1e-4  # type: ignore[attr-defined]
    one, other = (choose_look(scene, max_points=1000) for scene in (metres, tiny))
    assert other.frustum == pytest.approx(one.frustum)
    assert other.point == pytest.approx(one.point)
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
