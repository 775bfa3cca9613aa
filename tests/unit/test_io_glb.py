"""The GLB file: cameras, colours and the film in it, read by the specification and by trimesh."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh
from gltf_reader import Glb
from small_world import project, small_world, with_maps

from align3r.errors import UsageError
from align3r.export_options import ExportOptions
from align3r.io import gltf
from align3r.io.clouds import static_cloud
from align3r.io.glb import write_glb
from align3r.reconstruction import Reconstruction

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


@pytest.fixture
def scene() -> Reconstruction:
    return small_world(5, still_frame=3)


@pytest.fixture
def glb(scene: Reconstruction, tmp_path: Path) -> Glb:
    write_glb(scene, tmp_path / "scene.glb", ExportOptions(max_points=4000))
    return Glb(tmp_path / "scene.glb")


def shown(glb: Glb, t: float | None) -> list[str]:
    """Nodes of moving points that are on; each is on in full or off."""
    names = [name for name in glb.number if name.startswith("moving_")]
    scales = {name: np.linalg.norm(glb.world(name, t)[:3, :3], axis=0) for name in names}
    assert all(np.ptp(scale) == 0 and scale[0] in (0, 1) for scale in scales.values())
    return [name for name, scale in scales.items() if scale[0] == 1]


def test_static_points_are_the_cloud_in_y_up_axes(scene: Reconstruction, glb: Glb) -> None:
    cloud = static_cloud(scene, max_points=4000, min_confidence=1.5)
    np.testing.assert_allclose(glb.points("static"), cloud.points * [1, -1, -1], atol=1e-6)
    np.testing.assert_allclose(glb.srgb("static"), cloud.colours, atol=0.06)
    assert glb.mode("static") == 0


def test_at_every_moment_exactly_the_points_of_that_frame_are_on(
    scene: Reconstruction, glb: Glb
) -> None:
    begin = scene.times - scene.times[0]
    end = np.append(begin[1:], glb.duration)
    for i in range(5):
        expected = [] if i == 3 else [f"moving_{i:06d}"]
        for t in (begin[i] + 1e-5, (begin[i] + end[i]) / 2, end[i] - 1e-5):
            assert shown(glb, t) == expected, (i, t)
    assert shown(glb, None) == ["moving_000000"], "at rest: the first frame"
    assert shown(glb, glb.duration) == ["moving_000004"], "where a player stops: the last one"
    assert glb.duration == pytest.approx(begin[-1] + np.median(np.diff(begin)), abs=1e-6)


def test_moving_points_are_their_pixels_in_the_camera_of_that_moment(
    scene: Reconstruction, glb: Glb
) -> None:
    for i in (0, 1, 2, 4):
        t = scene.times[i] - scene.times[0] + 1e-6
        cv_from_world = FLIP @ np.linalg.inv(glb.world("camera", t))
        at = glb.points(f"moving_{i:06d}", t) @ cv_from_world[:3, :3].T + cv_from_world[:3, 3]
        k = scene.intrinsics[i]
        pixels = at @ k.T
        columns, rows = np.rint(pixels[:, :2] / pixels[:, 2:]).astype(int).T
        assert np.array_equal(np.unique(rows * 1000 + columns), np.sort(rows * 1000 + columns))
        mask = np.zeros(scene.size[::-1], bool)
        mask[rows, columns] = True
        np.testing.assert_array_equal(mask, scene.moving(i) & np.isfinite(scene.depth(i)))
        np.testing.assert_allclose(at[:, 2], scene.depth(i)[rows, columns], rtol=1e-4)
        np.testing.assert_allclose(
            glb.srgb(f"moving_{i:06d}"), scene.image(i)[rows, columns], atol=0.06
        )


def test_cameras_stand_still_and_the_moving_one_visits_them(
    scene: Reconstruction, glb: Glb
) -> None:
    for i in range(5):
        expected = FLIP @ scene.world_from_cam[i] @ FLIP
        np.testing.assert_allclose(glb.world(f"camera_{i:06d}"), expected, atol=1e-9)
        t = float(np.float32(scene.times[i] - scene.times[0]))
        np.testing.assert_allclose(glb.world("camera", t), expected, atol=1e-6)
    np.testing.assert_allclose(
        glb.world("camera", glb.duration), glb.world("camera_000004"), atol=1e-6
    )


def test_field_of_view_of_the_cameras(scene: Reconstruction, glb: Glb) -> None:
    """A point at the border of the picture is at the border of the glTF camera's."""
    numbers = {glb.nodes[glb.number[f"camera_{i:06d}"]]["camera"] for i in range(5)}
    assert numbers == {0}, "equal cameras are told once"
    lens = glb.json["cameras"][0]["perspective"]
    width, height = scene.size
    k = scene.intrinsics[0]
    # By the glTF specification: the top is at tan(yfov / 2), the side at aspect times that.
    top = np.tan(lens["yfov"] / 2)
    assert top == pytest.approx(height / 2 / k[1, 1])
    assert top * lens["aspectRatio"] == pytest.approx(width / 2 / k[0, 0])
    assert 0 < lens["znear"] < 0.1


def test_frusta_are_the_image_borders(scene: Reconstruction, glb: Glb) -> None:
    assert glb.mode("frusta") == 1
    lines = (glb.points("frusta") * [1, -1, -1]).reshape(5, -1, 3)
    for i in range(5):
        u, v, z = project(scene, i, lines[i])
        corners = {
            (round(float(a), 1), round(float(b), 1))
            for a, b, depth in zip(u, v, z, strict=True)
            if depth > 1e-4
        }
        assert corners == {(-0.5, -0.5), (95.5, -0.5), (95.5, 71.5), (-0.5, 71.5)}
        assert (np.abs(z) < 1e-5).sum() == 4, "four lines begin at the centre"
    red, blue = glb.srgb("frusta").reshape(5, -1, 3)[[0, 4], 0]
    assert red[0] > 250 > 5 > red[2] and blue[2] > 250 > 5 > blue[0]


def test_trimesh_opens_it(scene: Reconstruction, tmp_path: Path) -> None:
    write_glb(scene, tmp_path / "scene.glb", ExportOptions(max_points=4000))
    read = trimesh.load_scene(tmp_path / "scene.glb")
    assert {"static", "frusta", "camera"} <= set(read.geometry)
    assert {name for name in read.geometry if name.startswith("moving")} == {
        f"moving_{i:06d}" for i in (0, 1, 2, 4)
    }
    cloud = static_cloud(scene, max_points=4000, min_confidence=1.5)
    np.testing.assert_allclose(
        read.geometry["static"].vertices, cloud.points * [1, -1, -1], atol=1e-6
    )
    matrix, _ = read.graph["camera_000002"]
    np.testing.assert_allclose(matrix, FLIP @ scene.world_from_cam[2] @ FLIP, atol=1e-6)


def test_moving_points_are_bounded_over_the_video(tmp_path: Path) -> None:
    scene = small_world(6)
    write_glb(scene, tmp_path / "scene.glb", ExportOptions(max_points=120))
    glb = Glb(tmp_path / "scene.glb")
    counts = [len(glb.points(f"moving_{i:06d}")) for i in range(6)]
    assert 5 <= min(counts) <= max(counts) <= 20
    assert len(glb.points("static")) <= 120


def test_a_camera_that_zooms_has_a_lens_a_frame(tmp_path: Path) -> None:
    scene = small_world(3)
    zoomed = scene.intrinsics * np.array([1, 1.1, 1.2])[:, None, None]
    zoomed[:, 2, 2] = 1
    write_glb(
        dataclasses.replace(scene, intrinsics=zoomed), tmp_path / "scene.glb", ExportOptions()
    )
    glb = Glb(tmp_path / "scene.glb")
    for i in range(3):
        camera = glb.nodes[glb.number[f"camera_{i:06d}"]]["camera"]
        top = np.tan(glb.json["cameras"][camera]["perspective"]["yfov"] / 2)
        assert top == pytest.approx(scene.size[1] / 2 / zoomed[i, 1, 1])


def test_a_path_that_turns_round_has_no_sign_jumps(tmp_path: Path) -> None:
    scene = small_world(12, moving=False)
    turned = scene.world_from_cam.copy()
    for i in range(12):
        a = np.pi * i / 6
        turned[i, :3, :3] = [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]
    write_glb(
        dataclasses.replace(scene, world_from_cam=turned), tmp_path / "scene.glb", ExportOptions()
    )
    glb = Glb(tmp_path / "scene.glb")
    _, quaternions, _ = glb.samplers[glb.number["camera"], "rotation"]
    assert (np.sum(quaternions[1:] * quaternions[:-1], axis=1) > 0.9).all()


def test_frames_of_equal_times_take_turns_all_the_same(tmp_path: Path) -> None:
    scene = small_world(5, still_frame=3)
    times = scene.times.copy()
    times[2] = times[1]
    write_glb(
        dataclasses.replace(scene, times=times),
        tmp_path / "scene.glb",
        ExportOptions(max_points=4000),
    )
    glb = Glb(tmp_path / "scene.glb")
    begin = float(times[1] - times[0])
    assert shown(glb, begin + 0.0005) == ["moving_000001"]
    assert shown(glb, begin + 0.0015) == ["moving_000002"]


def test_one_frame_has_no_animation(tmp_path: Path) -> None:
    write_glb(small_world(1), tmp_path / "scene.glb", ExportOptions())
    glb = Glb(tmp_path / "scene.glb")
    assert "animations" not in glb.json
    assert shown(glb, None) == ["moving_000000"]


def test_without_a_point_there_are_still_cameras(tmp_path: Path) -> None:
    scene = small_world(2)
    unknown = np.full((2, *scene.size[::-1]), np.nan, np.float32)
    write_glb(with_maps(scene, depth=unknown), tmp_path / "scene.glb", ExportOptions())
    glb = Glb(tmp_path / "scene.glb")
    assert set(glb.number) == {"cameras", "camera_000000", "camera_000001", "frusta", "camera"}


def test_a_file_that_is_too_large_for_the_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gltf, "MAX_BYTES", 10_000)
    with pytest.raises(UsageError, match="a GLB file ends at"):
        write_glb(small_world(2), tmp_path / "scene.glb", ExportOptions())
    assert list(tmp_path.iterdir()) == []


def test_the_same_scene_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.glb", "b.glb"):
        write_glb(small_world(3), tmp_path / name, ExportOptions())
        time.sleep(0.01)
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()
