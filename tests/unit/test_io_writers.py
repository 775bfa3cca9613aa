"""Every writer, read back by somebody else's reader where there is one."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from evo.core import trajectory
from evo.tools import file_interface
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from align3r.errors import InputError, UsageError
from align3r.io.exr import read_channels, read_exr, write_exr
from align3r.io.ply import write_points_ply
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


def test_an_exr_of_another_kind_is_not_called_damaged_only(tmp_path: Path) -> None:
    import OpenEXR

    flat, path = np.ones((4, 5), np.float32), tmp_path / "a.exr"
    deep = np.empty((4, 5), object)
    for k in range(deep.size):
        deep.flat[k] = np.array([1, 2], np.float32)
    kind = OpenEXR.scanlineimage
    parts = [OpenEXR.Part({"type": kind}, {"Z": flat}, name) for name in ("left", "right")]
    files = {
        r"it has 2 parts \(left, right\), and files of one part": OpenEXR.File(parts),
        "its pixels are deep": OpenEXR.File(
            {"type": OpenEXR.deepscanline, "compression": OpenEXR.ZIPS_COMPRESSION}, {"Z": deep}
        ),
    }
    for told, file in files.items():
        file.write(str(path))
        with pytest.raises(ValueError, match=told):
            read_channels(path)
        with pytest.raises(InputError, match=told):
            read_exr(path)
    OpenEXR.File({"type": kind}, dict.fromkeys("BGR", flat)).write(str(path))
    with pytest.raises(InputError, match="its channels are B, G, R, not Z and confidence"):
        read_exr(path)


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
    with pytest.raises(InputError, match=r"m\.png is empty"):
        read_mask_png(tmp_path / "m.png")


def test_jpg_keeps_red_red(tmp_path: Path) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 250
    write_jpg(image, tmp_path / "i.jpg")
    blue, green, red = cv2.imread(str(tmp_path / "i.jpg"))[8, 8]
    assert (red > 230, green < 20, blue < 20) == (True, True, True)
