"""The controls of the live viewer do what they say, without a browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from align3r.reconstruction import Reconstruction
from align3r.view.server import Viewer, serve


@pytest.fixture
def viewer(make_scene: Callable[..., Reconstruction]) -> Iterator[Viewer]:
    running = serve(make_scene(4), port=0, block=False)
    running.panel.play.value = False
    yield running
    running.close()


def soon(holds: Callable[[], bool]) -> bool:
    """Whether something becomes true: callbacks run in another thread."""
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def test_the_confidence_slider_thins_the_static_points(viewer: Viewer) -> None:
    before = len(viewer._nodes.static.points)
    viewer.panel.confidence.value = 6.0
    assert soon(lambda: 0 < len(viewer._nodes.static.points) < before)


def test_static_points_of_one_frame_follow_the_timeline(viewer: Viewer) -> None:
    viewer.panel.only_frame.value = True
    assert soon(lambda: _is_of_frame(viewer, viewer.panel.frame.value))
    viewer.panel.frame.value = 3
    assert soon(lambda: _is_of_frame(viewer, 3))


def _is_of_frame(viewer: Viewer, i: int) -> bool:
    cloud = viewer._frame(i)
    keep = ~cloud.moving & (cloud.confidence >= viewer.panel.confidence.value)
    shown, wanted = viewer._nodes.static.points, viewer.look.to_viewer(cloud.pick(keep).points)
    return shown.shape == wanted.shape and bool((shown == wanted).all())


def test_the_camera_follows_the_timeline(viewer: Viewer) -> None:
    viewer.panel.frame.value = 2
    position = viewer.look.to_viewer(viewer.scene.world_from_cam[2, :3, 3])
    assert soon(lambda: bool(abs(viewer._nodes.camera.position - position).max() < 1e-6))


def test_switches_hide_and_show(viewer: Viewer) -> None:
    nodes, panel = viewer._nodes, viewer.panel
    for handle, node in (
        (panel.static, lambda: nodes.static),
        (panel.moving, lambda: nodes.moving),
        (panel.cameras, lambda: nodes.others[0]),
    ):
        handle.value = False
        assert soon(lambda node=node: not node().visible)
        handle.value = True
        assert soon(lambda node=node: node().visible)


def test_hidden_points_stay_hidden_when_the_frame_changes(viewer: Viewer) -> None:
    viewer.panel.moving.value = False
    first = viewer._nodes.moving
    viewer.panel.frame.value = (viewer.panel.frame.value + 1) % 4
    assert soon(lambda: viewer._nodes.moving is not first)
    assert not viewer._nodes.moving.visible


def test_point_size_changes_all_points(viewer: Viewer) -> None:
    viewer.panel.point_size.value = 2.0
    wanted = pytest.approx(2.0 * viewer.look.point)
    assert soon(lambda: viewer._nodes.static.point_size == wanted)
    assert soon(lambda: viewer._nodes.moving.point_size == wanted)


def test_one_frame_can_be_looked_at(make_scene: Callable[..., Reconstruction]) -> None:
    running = serve(make_scene(1), port=0, block=False)
    try:
        assert running.panel.play.disabled
    finally:
        running.close()


def test_a_taken_port_gives_the_next_one(make_scene: Callable[..., Reconstruction]) -> None:
    one = serve(make_scene(1), port=0, block=False)
    two = serve(make_scene(1), port=one.server.get_port(), block=False)
    try:
        assert one.url != two.url
    finally:
        one.close()
        two.close()
