"""The user's own depth maps: every format, how they match the frames, holes, and wrong inputs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest

from align3r.errors import InputError
from align3r.io.priors import Kind, PriorMap, PriorMaps, check_maps
from align3r.types import Frames

SOURCE = (128, 96)
Write = Callable[[Path, np.ndarray], None]


def frames_at(index: list[int]) -> Frames:
    images = np.zeros((len(index), 48, 64, 3), np.uint8)
    return Frames(images, np.array(index) / 30, np.array(index, np.int64), SOURCE, "clip.mp4")


def ramp(k: int = 0, *, shape: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Depth in whole millimetres, told apart by its last pixel: 1 + k."""
    return (1 + k + np.arange(np.prod(shape))[::-1].reshape(shape) / 1000).astype(np.float32)


def write_exr(path: Path, channels: dict[str, np.ndarray]) -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, channels).write(str(path))


def write_png(path: Path, depth: np.ndarray) -> None:
    levels = np.where(depth > 0, np.rint(depth * 1000), 0).astype(np.uint16)
    assert cv2.imwrite(str(path), levels)


FORMATS: dict[str, Write] = {
    "exr": lambda path, depth: write_exr(path, {"Z": depth, "A": np.ones_like(depth)}),
    "npz": lambda path, depth: np.savez(path, depth=depth, other=np.zeros((3, 4))),
    "npy": lambda path, depth: np.save(path, depth),
    "png": write_png,
}


def read(folder: Path, index: list[int], *, kind: Kind = "depth") -> list[PriorMap]:
    return list(PriorMaps(folder, frames_at(index), kind=kind))


def only(folder: Path, *, kind: Kind = "depth") -> np.ndarray:
    (answer,) = read(folder, [0], kind=kind)
    assert answer.values.dtype == np.float32
    return answer.values


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format(tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture) -> None:
    for k in range(3):
        FORMATS[suffix](tmp_path / f"{k:04d}.{suffix}", ramp(k))
    (tmp_path / "notes.txt").write_text("not a map")
    (tmp_path / ".hidden.npy").write_text("not a map")
    with caplog.at_level(logging.WARNING):
        maps = read(tmp_path, [0, 1, 2])
    for k, answer in enumerate(maps):
        np.testing.assert_allclose(answer.values, ramp(k), rtol=1e-6)
        assert answer.values.dtype == np.float32
        assert answer.focal is None
    assert not caplog.records


def test_what_a_folder_says_of_itself(tmp_path: Path) -> None:
    (tmp_path / "stereo").mkdir()
    np.save(tmp_path / "stereo" / "0.npy", ramp())
    maps = PriorMaps(str(tmp_path / "stereo"), frames_at([0]), kind="disparity")
    assert (maps.name, maps.kind, maps.is_metric) == ("stereo", "disparity", False)
    assert len(list(maps)) == len(list(maps)) == 1, "maps can be read again"


def test_numbers_match_the_frames_of_the_source(tmp_path: Path) -> None:
    for k in range(8):
        np.save(tmp_path / f"{k:05d}.npy", ramp(k))
    lasts = [round(float(answer.values[-1, -1])) - 1 for answer in read(tmp_path, [1, 4, 6])]
    assert lasts == [1, 4, 6]


def test_names_match_by_natural_order(tmp_path: Path) -> None:
    for k, name in enumerate(["f2", "f10", "f11"]):
        np.save(tmp_path / f"{name}.npy", ramp(k))
    lasts = [round(float(answer.values[-1, -1])) - 1 for answer in read(tmp_path, [5, 6, 7])]
    assert lasts == [0, 1, 2]


@pytest.mark.parametrize(
    ("channels", "taken"),
    [
        (["A", "Y", "Z", "depth"], "Z"),
        (["A", "R", "Y", "depth"], "Y"),
        (["A", "R", "depth"], "depth"),
        (["B", "G", "R"], "R"),
        (["distance"], "distance"),
    ],
)
def test_channels_of_exr(tmp_path: Path, channels: list[str], taken: str) -> None:
    write_exr(tmp_path / "0.exr", {name: ramp(k) for k, name in enumerate(channels)})
    np.testing.assert_array_equal(only(tmp_path), ramp(channels.index(taken)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint32])
def test_numbers_of_exr(tmp_path: Path, dtype: type) -> None:
    values = np.rint(ramp() * 8).astype(dtype)
    write_exr(tmp_path / "0.exr", {"Z": values})
    np.testing.assert_array_equal(only(tmp_path), values)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32, np.uint8])
def test_numbers_of_npy(tmp_path: Path, dtype: type) -> None:
    values = (1 + ramp() % 50).astype(dtype)
    np.save(tmp_path / "0.npy", values)
    np.testing.assert_array_equal(only(tmp_path), values.astype(np.float32))


def test_focal_lengths_of_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "0.npz", depth=ramp(), focallength_px=np.float32(150))
    np.savez(tmp_path / "1.npz", anything=ramp(1), focallength_px=np.array([151.5]))
    np.savez(tmp_path / "2.npz", anything=ramp(2), more=np.zeros((2, 2, 2)))
    maps = read(tmp_path, [0, 1, 2])
    assert [answer.focal for answer in maps] == [150, 151.5, None]
    np.testing.assert_array_equal(maps[1].values, ramp(1))


def test_any_resolution_of_the_right_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", ramp(shape=(240, 321)))
    assert only(tmp_path).shape == (240, 321)
    np.save(tmp_path / "0.npy", ramp(shape=(96, 96)))
    with pytest.raises(InputError, match=r"depth map .*0\.npy is 96x96 pixels.* 128x96"):
        only(tmp_path)


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e10])
def test_holes_take_the_nearest_known_value(
    tmp_path: Path, hole: float, caplog: pytest.LogCaptureFixture
) -> None:
    depth = np.full((96, 128), 2, np.float32)
    depth[:, 64:] = 5
    holed = depth.copy()
    holed[10:20, 5:30] = hole  # among the 2s
    holed[40:50, 90:100] = hole  # among the 5s
    np.save(tmp_path / "0.npy", holed)
    np.save(tmp_path / "1.npy", depth)
    with caplog.at_level(logging.WARNING):
        maps = read(tmp_path, [0, 1])
    np.testing.assert_array_equal(maps[0].values, depth)
    assert [record.message for record in caplog.records] == [
        "350 pixels in 1 of 2 depth maps are unknown; the nearest known value stands in"
    ]


def test_the_nearest_known_value_against_the_obvious_way(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    depth = rng.uniform(1, 9, (24, 32)).astype(np.float32)
    known = rng.uniform(size=depth.shape) < 0.1
    np.save(tmp_path / "0.npy", np.where(known, depth, np.nan))
    filled = only(tmp_path)
    places = np.argwhere(known)
    for place in np.ndindex(depth.shape):
        distance = np.linalg.norm(places - place, axis=1)
        # The distance transform is right to a few percent.
        near = places[distance <= 1.1 * distance.min()]
        assert filled[place] in depth[tuple(near.T)]


def test_zero_disparity_is_far_away_but_zero_in_a_png_unknown(tmp_path: Path) -> None:
    disparity = np.full((96, 128), 4, np.float32)
    disparity[:30] = 0
    np.save(tmp_path / "0.npy", disparity)
    np.testing.assert_array_equal(only(tmp_path, kind="disparity"), disparity)
    (tmp_path / "0.npy").unlink()
    write_png(tmp_path / "0.png", disparity)
    assert (only(tmp_path, kind="disparity") == 4).all()


def test_counts_that_do_not_match(tmp_path: Path) -> None:
    for k in range(2):
        np.save(tmp_path / f"{k}.npy", ramp())
    with pytest.raises(InputError, match="holds 2 depth maps for 3 frames") as caught:
        PriorMaps(tmp_path, frames_at([0, 1, 2]), kind="depth")
    assert caught.value.exit_code == 3
    assert "frame numbers" in caught.value.hint


def test_folders_without_maps(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read(tmp_path / "nowhere", [0])
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"none of the 1 entries .* is a depth map"):
        read(tmp_path, [0])
    with pytest.raises(InputError, match="no folder of maps"):
        read(tmp_path / "file", [0])
    np.save(tmp_path / "0.npy", ramp())
    write_png(tmp_path / "0.png", ramp())
    with pytest.raises(InputError, match=r"several formats: \.npy, \.png"):
        read(tmp_path, [0])


def save_one(path: Path, array: np.ndarray) -> None:
    FORMATS[path.suffix[1:]](path, array)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("0.npy", np.ones((96, 128, 3)), "96x128x3 float64"),
        ("0.npz", np.ones((1, 96, 128)), "1x96x128 float64"),
        ("0.npy", np.array(3.0), "a single float64"),
        ("0.npy", np.ones((0, 128)), "0x128"),
        ("0.npy", np.full((96, 128), "far"), "it holds <U3, not numbers"),
        ("0.npy", np.ones((96, 128), complex), "complex"),
        ("0.npy", np.full((96, 128), None, object), "cannot be read: it holds object, not numbers"),
        ("0.npy", np.full((96, 128), np.nan), "knows nothing: none of its 12288 pixels"),
        ("0.exr", np.zeros((96, 128), np.float32), "knows nothing"),
        ("0.png", np.zeros((96, 128), np.float32), "knows nothing"),
    ],
)
def test_files_that_are_no_map(tmp_path: Path, name: str, array: np.ndarray, message: str) -> None:
    save_one(tmp_path / name, array)
    with pytest.raises(InputError, match=message) as caught:
        only(tmp_path)
    assert name in str(caught.value)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5])
def test_files_that_are_cut_short(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"0.{suffix}"
    noise = np.random.default_rng(0).uniform(1, 60, (96, 128)).astype(np.float32)
    FORMATS[suffix](path, noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(InputError, match=rf"0\.{suffix}") as caught:
        only(tmp_path)
    assert "2-D array" in caught.value.hint


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_of_another_format(tmp_path: Path, suffix: str) -> None:
    for other, write in FORMATS.items():
        if other != suffix:
            write(tmp_path / f"0.{other}", ramp())
            (tmp_path / f"0.{other}").rename(tmp_path / f"0.{suffix}")
            with pytest.raises(InputError, match=rf"0\.{suffix}"):
                only(tmp_path)


def test_arrays_and_channels_that_could_be_anything(tmp_path: Path) -> None:
    np.savez(tmp_path / "0.npz", near=ramp(), far=ramp())
    with pytest.raises(InputError, match="no array is called depth, 2 have two axes"):
        only(tmp_path)
    (tmp_path / "0.npz").unlink()
    write_exr(tmp_path / "0.exr", {"first": ramp(), "second": ramp()})
    with pytest.raises(InputError, match="its channels are first, second"):
        only(tmp_path)
    (tmp_path / "0.exr").unlink()
    assert cv2.imwrite(str(tmp_path / "0.png"), np.ones((96, 128), np.uint8))
    with pytest.raises(InputError, match="not a 16-bit depth image"):
        only(tmp_path)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.ones((96, 128), np.uint8), "1 channel of 8 bits"),
        (np.ones((96, 128, 3), np.uint8), "3 channels of 8 bits"),
        (np.ones((96, 128, 3), np.uint16), "3 channels of 16 bits"),
    ],
)
def test_a_picture_or_a_mask_is_no_depth_map(tmp_path: Path, image: np.ndarray, told: str) -> None:
    assert cv2.imwrite(str(tmp_path / "0.png"), image)
    with pytest.raises(InputError, match=f"not a 16-bit depth image: it has {told}") as caught:
        check_maps(tmp_path)
    assert "grey png of 16 bits" in caught.value.hint


@pytest.mark.parametrize("focal", [0.0, -20.0, np.nan, np.inf])
def test_focal_lengths_that_are_none(tmp_path: Path, focal: float) -> None:
    np.savez(tmp_path / "0.npz", depth=ramp(), focallength_px=focal)
    with pytest.raises(InputError, match=r"focallength_px of .*0\.npz is"):
        only(tmp_path)
