"""The rerun recording, read by rerun: what is in it, when, where, and in which axes."""

from __future__ import annotations

import dataclasses
import errno
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from small_world import small_world, with_maps

from align3r.errors import MissingExtraError
from align3r.export_options import ExportOptions
from align3r.io.clouds import static_cloud
from align3r.io.rerun import write_rerun
from align3r.reconstruction import Reconstruction

pytest.importorskip("rerun", reason="needs rerun-sdk, the extra [rerun]")
chunk = pytest.importorskip("rerun.chunk", reason="needs a rerun-sdk that reads recordings")

IMAGE = "/world/camera/image"


class Recording:
    """All rows of a recording: per entity, component and moment."""

    def __init__(self, path: Path) -> None:
        reader = chunk.RrdReader(path)
        (self.about,) = reader.recordings()
        self.blueprints = reader.blueprints()
        self.rows: dict[str, list[dict[str, Any]]] = {}
        for part in reader.stream():
            rows = part.to_record_batch().to_pylist()
            self.rows.setdefault(part.entity_path, []).extend(rows)

    def over_time(self, entity: str, component: str) -> list[Any]:
        """The component of an entity at frame 0, 1, 2 ..."""
        found = {
            row["frame"]: row[component]
            for row in self.rows[entity]
            if row.get("frame") is not None and row.get(component) is not None
        }
        return [found[i] for i in range(len(found))]

    def static(self, entity: str, component: str) -> Any:
        (found,) = (
            row[component]
            for row in self.rows[entity]
            if row.get("frame") is None and row.get(component) is not None
        )
        return found

    def times(self, entity: str) -> dict[int, tuple[float, int]]:
        return {
            row["frame"]: (row["time"].value / 1e9, row["source_frame"])
            for row in self.rows[entity]
            if row.get("frame") is not None
        }

    def pose(self, i: int) -> np.ndarray:
        """(4, 4) parent from child, as rerun defines it: columns first."""
        pose = np.eye(4)
        (nine,) = self.over_time("/world/camera", "Transform3D:mat3x3")[i]
        (pose[:3, 3],) = self.over_time("/world/camera", "Transform3D:translation")[i]
        pose[:3, :3] = np.reshape(nine, (3, 3)).T
        return pose

    def pinhole(self, i: int) -> tuple[np.ndarray, tuple[float, float]]:
        (nine,) = self.over_time(IMAGE, "Pinhole:image_from_camera")[i]
        ((width, height),) = self.over_time(IMAGE, "Pinhole:resolution")[i]
        return np.reshape(nine, (3, 3)).T, (width, height)

    def picture(self, i: int, name: str, archetype: str) -> np.ndarray:
        (buffer,) = self.over_time(f"{IMAGE}/{name}", f"{archetype}:buffer")[i]
        (about,) = self.over_time(f"{IMAGE}/{name}", f"{archetype}:format")[i]
        dtype = {6: np.uint8, 33: np.float16, 34: np.float32}[about["channel_datatype"]]
        flat = np.frombuffer(bytes(buffer), dtype)
        return flat.reshape(about["height"], about["width"])


@pytest.fixture
def scene() -> Reconstruction:
    return small_world(4, still_frame=2)


@pytest.fixture
def recording(scene: Reconstruction, tmp_path: Path) -> Recording:
    write_rerun(scene, tmp_path / "scene.rrd", ExportOptions(max_points=3000))
    return Recording(tmp_path / "scene.rrd")


def test_entities_and_a_layout(recording: Recording) -> None:
    assert {name for name in recording.rows if not name.startswith("/__")} == {
        "/world",
        "/world/static",
        "/world/moving",
        "/world/path",
        "/world/camera",
        IMAGE,
        f"{IMAGE}/rgb",
        f"{IMAGE}/depth",
        f"{IMAGE}/moving",
    }
    assert recording.about.application_id == "align3r"
    assert len(recording.blueprints) == 1
    # 3 = right, 2 = down, 5 = forward
    assert recording.static("/world", "ViewCoordinates:xyz") == [[3, 2, 5]]


def test_time_lines_are_those_of_the_video(scene: Reconstruction, recording: Recording) -> None:
    expected = {
        i: (pytest.approx(scene.times[i], abs=1e-8), int(scene.frame_index[i])) for i in range(4)
    }
    for entity in ("/world/camera", IMAGE, f"{IMAGE}/depth", f"{IMAGE}/rgb", "/world/moving"):
        assert recording.times(entity) == expected, entity


def test_cameras_and_depth_are_the_scene(scene: Reconstruction, recording: Recording) -> None:
    """Every pixel of the depth image, lifted by what rerun holds, is that point of the scene."""
    for i in range(4):
        depth = recording.picture(i, "depth", "DepthImage").astype(np.float64)
        k, (width, height) = recording.pinhole(i)
        assert depth.shape == (height, width) == scene.size[::-1]
        v, u = np.nonzero(depth)
        # Their pixels reach from 0 to the width: centres are at a half.
        rays = np.stack([u + 0.5, v + 0.5, np.ones(len(u))]).T @ np.linalg.inv(k).T
        pose = recording.pose(i)
        world = (rays * depth[v, u][:, None]) @ pose[:3, :3].T + pose[:3, 3]
        expected, _ = scene.points(min_confidence=0, frames=[i])
        assert len(world) == len(expected), "0 is what is unknown, and nothing else"
        np.testing.assert_allclose(world, expected, atol=4e-3)  # depth is in half precision
        np.testing.assert_allclose(pose, scene.world_from_cam[i], atol=1e-6)


def test_points_are_apart_and_do_not_stay(scene: Reconstruction, recording: Recording) -> None:
    cloud = static_cloud(scene, max_points=3000, min_confidence=1.5)
    np.testing.assert_array_equal(
        np.float32(recording.static("/world/static", "Points3D:positions")), cloud.points
    )
    colours = np.array(recording.static("/world/static", "Points3D:colors"), np.uint32)
    np.testing.assert_array_equal(colours >> 24, cloud.colours[:, 0])
    np.testing.assert_array_equal(colours >> 8 & 255, cloud.colours[:, 2])
    for i, positions in enumerate(recording.over_time("/world/moving", "Points3D:positions")):
        expected, _ = scene.points(min_confidence=0, moving=True, frames=[i])
        assert (len(expected) == 0) == (i == 2), "an empty row takes the old points away"
        np.testing.assert_allclose(np.reshape(positions, (-1, 3)), expected, atol=1e-5)


def test_images_and_masks(scene: Reconstruction, recording: Recording) -> None:
    for i in range(4):
        (blob,) = recording.over_time(f"{IMAGE}/rgb", "EncodedImage:blob")[i]
        image = cv2.imdecode(np.frombuffer(bytes(blob), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(image.astype(int) - scene.image(i)).mean() < 8
        mask = recording.picture(i, "moving", "SegmentationImage")
        np.testing.assert_array_equal(mask, scene.moving(i))


def test_the_path_is_that_of_the_cameras(scene: Reconstruction, recording: Recording) -> None:
    strips = np.array(recording.static("/world/path", "LineStrips3D:strips"))
    centres = scene.world_from_cam[:, :3, 3]
    np.testing.assert_allclose(strips[:, 0], centres[:-1], atol=1e-6)
    np.testing.assert_allclose(strips[:, 1], centres[1:], atol=1e-6)


def test_images_smaller_than_the_source_have_their_own_pinhole(tmp_path: Path) -> None:
    scene = small_world(1)
    half = with_maps(
        scene,
        depth=scene.depth(0)[None, ::2, ::2],
        confidence=scene.confidence(0)[None, ::2, ::2],
        moving=scene.moving(0)[None, ::2, ::2],
        images=scene.image(0)[None, ::2, ::2],
    )
    write_rerun(half, tmp_path / "scene.rrd", ExportOptions())
    recording = Recording(tmp_path / "scene.rrd")
    k, size = recording.pinhole(0)
    assert size == (48, 36)
    # The corner of the picture is the corner of the picture.
    corner = np.linalg.inv(k) @ [0, 0, 1]
    np.testing.assert_allclose(corner, np.linalg.inv(scene.intrinsics[0]) @ [-0.5, -0.5, 1])
    assert recording.picture(0, "depth", "DepthImage").shape == (36, 48)


@pytest.mark.parametrize(
    ("factor", "dtype"), [(1, np.float16), (1e5, np.float32), (1e-4, np.float32)]
)
def test_precision_follows_the_unit_of_length(
    tmp_path: Path, factor: float, dtype: type[np.floating[Any]]
) -> None:
    scene = small_world(1)
    depth = np.float32(factor) * scene.depth(0)[None]
    write_rerun(with_maps(scene, depth=depth), tmp_path / "scene.rrd", ExportOptions())
    read = Recording(tmp_path / "scene.rrd").picture(0, "depth", "DepthImage")
    assert read.dtype == dtype
    known = np.isfinite(depth[0])
    np.testing.assert_allclose(read[known], depth[0][known], rtol=1e-3)
    assert (read[~known] == 0).all()


def test_nothing_known(tmp_path: Path) -> None:
    scene = small_world(2)
    unknown = np.full((2, *scene.size[::-1]), np.nan, np.float32)
    write_rerun(with_maps(scene, depth=unknown), tmp_path / "scene.rrd", ExportOptions())
    recording = Recording(tmp_path / "scene.rrd")
    assert recording.static("/world/static", "Points3D:positions") == []
    assert not recording.picture(0, "depth", "DepthImage").any()


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError) as caught:
        write_rerun(small_world(2), tmp_path / "scene.rrd", ExportOptions())
    assert caught.value.errno == errno.ENOSPC


def test_without_rerun_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(MissingExtraError, match="not installed") as caught:
        write_rerun(small_world(1), tmp_path / "scene.rrd", ExportOptions())
    assert "align3r[rerun]" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_two_recordings_in_one_process_do_not_mix(tmp_path: Path) -> None:
    first, second = small_world(2), small_world(3)
    write_rerun(first, tmp_path / "a.rrd", ExportOptions())
    write_rerun(
        dataclasses.replace(second, times=second.times + 100), tmp_path / "b.rrd", ExportOptions()
    )
    assert len(Recording(tmp_path / "a.rrd").times("/world/camera")) == 2
    times = Recording(tmp_path / "b.rrd").times("/world/camera")
    assert len(times) == 3 and times[0][0] > 100
