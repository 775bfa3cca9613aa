"""Every writer, read back by somebody else's reader where there is one."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from evo.core import trajectory
from evo.tools import file_interface
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from align3r.errors import InputError, UsageError
from align3r.io.exr import read_exr, write_exr
from align3r.io.glb import write_glb
from align3r.io.ply import static_points, write_ply, write_points_ply
from align3r.io.png import (
    read_depth_png,
    read_mask_png,
    write_depth_png,
    write_jpg,
    write_mask_png,
)
from align3r.io.tum import write_tum
from align3r.reconstruction import Reconstruction

MakeScene = Callable[..., Reconstruction]


def test_tum_is_what_evo_reads(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(5)
    write_tum(scene, tmp_path / "cameras.txt")
    read = file_interface.read_tum_trajectory_file(str(tmp_path / "cameras.txt"))
    assert isinstance(read, trajectory.PoseTrajectory3D)
    np.testing.assert_allclose(read.timestamps, scene.times, atol=1e-9)
    np.testing.assert_allclose(np.array(read.poses_se3), scene.world_from_cam, atol=5e-9)


def test_tum_is_one_line_a_frame_and_w_is_last(make_scene: MakeScene, tmp_path: Path) -> None:
    write_tum(make_scene(3), tmp_path / "cameras.txt")
    lines = (tmp_path / "cameras.txt").read_text().split("\n")
    assert len(lines) == 4
    assert lines[3] == ""
    assert lines[0].split()[0] == "0.500000000"
    np.testing.assert_allclose([float(x) for x in lines[0].split()[1:]], [0] * 6 + [1])


@given(
    points=arrays.arrays(np.float32, (7, 3), elements=st.floats(-1e6, 1e6, width=32)),
    colours=arrays.arrays(np.uint8, (7, 3)),
)
def test_ply_is_what_trimesh_reads(
    tmp_path_factory: pytest.TempPathFactory, points: np.ndarray, colours: np.ndarray
) -> None:
    path = tmp_path_factory.mktemp("ply") / "points.ply"
    write_points_ply(points, colours, path)
    read = trimesh.load(path)
    np.testing.assert_array_equal(read.vertices.astype(np.float32), points)
    np.testing.assert_array_equal(read.colors[:, :3], colours)


def test_ply_header_tells_the_axes(tmp_path: Path) -> None:
    path = tmp_path / "points.ply"
    write_points_ply(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), path)
    header = path.read_bytes().decode("ascii")
    assert header.startswith("ply\nformat binary_little_endian 1.0\ncomment ")
    assert "OpenCV axes, x right, y down, z forward" in header
    assert "element vertex 0\n" in header


def test_scene_ply_is_static_confident_thinned_and_repeatable(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    scene = make_scene(3)
    every, _ = scene.points(min_confidence=4, moving=False)
    rows = {point.tobytes() for point in every}
    for name in ("a.ply", "b.ply"):
        write_ply(scene, tmp_path / name, max_points=500, min_confidence=4, seed=7)
    points = trimesh.load(tmp_path / "a.ply").vertices.astype(np.float32)
    assert len(points) == 500
    assert {point.tobytes() for point in points} <= rows
    assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.ply").read_bytes()
    write_ply(scene, tmp_path / "all.ply", min_confidence=4)
    assert len(trimesh.load(tmp_path / "all.ply").vertices) == len(every)


def test_glb_is_y_up_with_points_and_frusta(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(3)
    write_glb(scene, tmp_path / "scene.glb", max_points=1000)
    read = trimesh.load_scene(tmp_path / "scene.glb")
    assert sorted(read.geometry) == ["camera_0", "camera_1", "camera_2", "points"]
    points, colours = static_points(
        scene, max_points=1000, min_confidence=1.5, rng=np.random.default_rng(0)
    )
    np.testing.assert_allclose(
        read.geometry["points"].vertices, points * [1, -1, -1], rtol=1e-6, atol=1e-6
    )
    np.testing.assert_array_equal(read.geometry["points"].colors[:, :3], colours)


def test_glb_frusta_stand_at_the_cameras_and_look_forward(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    scene = make_scene(3)
    write_glb(scene, tmp_path / "scene.glb", max_points=1000)
    read = trimesh.load_scene(tmp_path / "scene.glb")
    for i in range(3):
        vertices = np.unique(read.geometry[f"camera_{i}"].vertices.round(6), axis=0)
        world = vertices * [1, -1, -1]
        cam_from_world = np.linalg.inv(scene.world_from_cam[i])
        in_cam = world @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        in_cam = in_cam[np.argsort(in_cam[:, 2])]
        assert len(in_cam) == 5
        np.testing.assert_allclose(in_cam[0], 0, atol=1e-5)
        corners = in_cam[1:] @ scene.intrinsics[i].T
        corners = corners[:, :2] / corners[:, 2:]
        expected = {(-0.5, -0.5), (79.5, -0.5), (79.5, 59.5), (-0.5, 59.5)}
        assert {tuple(np.round(corner, 1)) for corner in corners} == expected


def test_glb_without_points(make_scene: MakeScene, tmp_path: Path) -> None:
    write_glb(make_scene(1), tmp_path / "scene.glb", min_confidence=1e9)
    assert list(trimesh.load_scene(tmp_path / "scene.glb").geometry) == ["camera_0"]


@given(
    depth=arrays.arrays(np.float32, (5, 7), elements=st.floats(width=32)),
    confidence=arrays.arrays(np.float16, (5, 7), elements=st.floats(1, 60000, width=16)),
)
def test_exr_keeps_every_bit(
    tmp_path_factory: pytest.TempPathFactory, depth: np.ndarray, confidence: np.ndarray
) -> None:
    path = tmp_path_factory.mktemp("exr") / "000000.exr"
    write_exr(depth, confidence.astype(np.float32), path)
    read_depth, read_confidence = read_exr(path)
    np.testing.assert_array_equal(read_depth, depth)
    np.testing.assert_array_equal(read_confidence, confidence)
    assert read_depth.dtype == read_confidence.dtype == np.float32


def test_exr_channels_and_compression(tmp_path: Path) -> None:
    import OpenEXR

    write_exr(np.ones((4, 6), np.float32), np.full((4, 6), 1e9, np.float32), tmp_path / "a.exr")
    file = OpenEXR.File(str(tmp_path / "a.exr"), separate_channels=True)
    assert file.channels()["Z"].pixels.dtype == np.float32
    assert file.channels()["confidence"].pixels.dtype == np.float16
    assert file.channels()["confidence"].pixels.max() == 65504, "clipped, not infinite"
    assert file.header()["compression"] == OpenEXR.ZIP_COMPRESSION


def test_damaged_exr(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    noise = np.random.default_rng(0).uniform(size=(40, 60)).astype(np.float32)
    write_exr(noise, noise, path)
    data = path.read_bytes()
    for broken in (data[: len(data) // 2], data[:20], b"", b"no exr at all"):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="damaged"):
            read_exr(path)
    with pytest.raises(InputError, match="missing"):
        read_exr(tmp_path / "b.exr")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_recognisable() -> None:
    pixels = np.random.default_rng(0).uniform(size=(300, 400)).astype(np.float32)
    for write in (
        lambda path: write_exr(pixels, pixels, path),
        lambda path: write_mask_png(pixels > 0, path),
        lambda path: write_points_ply(pixels[:, :3], pixels[:, :3].astype(np.uint8), path),
    ):
        with pytest.raises(OSError) as caught:
            write(Path("/dev/full"))
        assert caught.value.errno == errno.ENOSPC


def test_exr_asks_for_room_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError) as caught:
        write_exr(np.ones((4, 6), np.float32), np.ones((4, 6), np.float32), tmp_path / "a.exr")
    assert caught.value.errno == errno.ENOSPC
    assert not (tmp_path / "a.exr").exists()


@given(arrays.arrays(np.float32, (6, 5), elements=st.floats(0.0078125, 65.5, width=32)))
def test_depth_png_is_exact_to_half_a_step(
    tmp_path_factory: pytest.TempPathFactory, depth: np.ndarray
) -> None:
    path = tmp_path_factory.mktemp("png") / "depth.png"
    depth[0, 0] = np.nan
    write_depth_png(depth, path)
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert raw.dtype == np.uint16
    assert raw[0, 0] == 0
    read = read_depth_png(path)
    assert np.isnan(read[0, 0])
    known = ~np.isnan(depth)
    assert np.abs(read[known] - depth[known]).max() <= 0.00051


def test_depth_png_clips_and_scales(tmp_path: Path) -> None:
    depth = np.array([[0.0, 1e-9, 2.0, 1e9, np.inf, np.nan]], np.float32)
    write_depth_png(depth, tmp_path / "d.png", per_unit=5000)
    raw = cv2.imread(str(tmp_path / "d.png"), cv2.IMREAD_UNCHANGED)
    assert raw.tolist() == [[1, 1, 10000, 65535, 65535, 0]]
    assert read_depth_png(tmp_path / "d.png", per_unit=5000)[0, 2] == 2
    with pytest.raises(UsageError):
        write_depth_png(depth, tmp_path / "d.png", per_unit=0)


def test_mask_png(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).uniform(size=(9, 7)) < 0.5
    write_mask_png(mask, tmp_path / "m.png")
    raw = cv2.imread(str(tmp_path / "m.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(raw, mask * 255)
    np.testing.assert_array_equal(read_mask_png(tmp_path / "m.png"), mask)
    with pytest.raises(InputError, match="16-bit"):
        read_depth_png(tmp_path / "m.png")
    (tmp_path / "m.png").write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        read_mask_png(tmp_path / "m.png")


def test_jpg_keeps_red_red(tmp_path: Path) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 250
    write_jpg(image, tmp_path / "i.jpg")
    blue, green, red = cv2.imread(str(tmp_path / "i.jpg"))[8, 8]
    assert (red > 230, green < 20, blue < 20) == (True, True, True)
