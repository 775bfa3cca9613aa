"""PLY files, read by trimesh and by a reader of a dozen lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from small_world import project, small_world

from align3r.io.ply import write_ply, write_ply_frames, write_points_ply

TYPES = {"float": "<f4", "uchar": "u1"}


def read_ply(path: Path) -> np.ndarray:
    """Vertices of a binary PLY with one element, as the format's own text describes it."""
    header, _, body = path.read_bytes().partition(b"end_header\n")
    lines = [line.split() for line in header.decode("ascii").splitlines()]
    assert lines[:2] == [["ply"], ["format", "binary_little_endian", "1.0"]]
    layout = [(words[2], TYPES[words[1]]) for words in lines if words[0] == "property"]
    (count,) = (int(words[2]) for words in lines if words[0] == "element")
    vertices = np.frombuffer(body, np.dtype(layout))
    assert len(vertices) == count
    return vertices


def xyz(vertices: np.ndarray) -> np.ndarray:
    return np.stack([vertices[axis] for axis in "xyz"], axis=1)


@given(
    points=arrays.arrays(np.float32, (7, 3), elements=st.floats(-1e6, 1e6, width=32)),
    colours=arrays.arrays(np.uint8, (7, 3)),
)
def test_points_are_what_trimesh_reads(
    tmp_path_factory: pytest.TempPathFactory, points: np.ndarray, colours: np.ndarray
) -> None:
    path = tmp_path_factory.mktemp("ply") / "points.ply"
    write_points_ply(points, colours, path)
    read = trimesh.load(path)
    np.testing.assert_array_equal(read.vertices.astype(np.float32), points)
    np.testing.assert_array_equal(read.colors[:, :3], colours)


def test_the_header_tells_the_axes(tmp_path: Path) -> None:
    path = tmp_path / "points.ply"
    write_points_ply(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), path)
    header = path.read_bytes().decode("ascii")
    assert header.startswith("ply\nformat binary_little_endian 1.0\ncomment ")
    assert "OpenCV axes, x right, y down, z forward" in header
    assert "element vertex 0\n" in header


def test_the_scene_is_static_confident_thinned_and_repeatable(tmp_path: Path) -> None:
    scene = small_world(4)
    for name in ("a.ply", "b.ply"):
        write_ply(scene, tmp_path / name, max_points=500, min_confidence=4)
    points = np.asarray(trimesh.load(tmp_path / "a.ply").vertices)
    assert 250 < len(points) <= 500
    np.testing.assert_allclose(points[:, 2], 4, atol=1e-4, err_msg="all on the wall")
    assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.ply").read_bytes()


def test_a_file_a_frame_is_what_that_camera_sees(tmp_path: Path) -> None:
    scene = small_world(4)
    write_ply_frames(scene, tmp_path, min_confidence=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"00000{i}.ply" for i in range(4)]
    for i in range(4):
        vertices = read_ply(tmp_path / f"{i:06d}.ply")
        assert vertices.dtype.names == (
            "x",
            "y",
            "z",
            "red",
            "green",
            "blue",
            "confidence",
            "moving",
        )
        u, v, z = project(scene, i, xyz(vertices))
        columns, rows = np.rint(u).astype(int), np.rint(v).astype(int)
        # Back in its own camera, a point is its own pixel with its own depth, mask and colour.
        np.testing.assert_allclose(u, columns, atol=2e-3)
        np.testing.assert_allclose(v, rows, atol=2e-3)
        np.testing.assert_allclose(z, scene.depth(i)[rows, columns], rtol=1e-5)
        np.testing.assert_array_equal(vertices["moving"], scene.moving(i)[rows, columns])
        np.testing.assert_array_equal(vertices["confidence"], scene.confidence(i)[rows, columns])
        rgb = np.stack([vertices[name] for name in ("red", "green", "blue")], axis=1)
        np.testing.assert_array_equal(rgb, scene.image(i)[rows, columns])
        known = np.isfinite(scene.depth(i))
        wanted = known & (scene.moving(i) | (scene.confidence(i) >= 2))
        assert len(vertices) == wanted.sum(), "all of them, once"
        assert len(np.unique(rows * 1000 + columns)) == len(vertices)
        read = trimesh.load(tmp_path / f"{i:06d}.ply")
        np.testing.assert_array_equal(np.asarray(read.vertices, np.float32), xyz(vertices))


@pytest.mark.parametrize("max_points", [1, 60, 500])
def test_frames_are_thinned_to_their_number(tmp_path: Path, max_points: int) -> None:
    write_ply_frames(small_world(3), tmp_path, max_points=max_points)
    for path in sorted(tmp_path.iterdir()):
        vertices = read_ply(path)
        assert 0.4 * max_points <= len(vertices) <= max_points
        assert vertices["moving"].any(), "what moves comes first"


@pytest.mark.parametrize("write", [write_ply, write_ply_frames])
def test_files_without_a_static_point_are_warned_of_once(
    write: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path if write is write_ply_frames else tmp_path / "points.ply"
    write(small_world(2), path, min_confidence=99)
    (record,) = caplog.records
    assert "lower min-confidence" in record.getMessage()
    write(small_world(2), path, min_confidence=1)
    assert len(caplog.records) == 1
