"""Images in: kinds of pixels, orientation, order, lists with times, and every way to fail."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from levels import level_images, level_numbers

from align3r.config import InputOptions
from align3r.errors import InputError, UsageError
from align3r.io.images import read_rgb
from align3r.io.video import read_frames

PLAIN = InputOptions()


def write(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


def write_levels(folder: Path, names: list[str]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    images = level_images(len(names))
    return [write(folder / name, image) for name, image in zip(names, images, strict=True)]


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    names = [f"Frame_{i}.png" for i in range(12)]
    write_levels(tmp_path / "shots", names)
    (tmp_path / "shots" / "notes.txt").write_text("not an image")
    (tmp_path / "shots" / ".hidden.png").write_text("not an image")
    frames = read_frames(tmp_path / "shots", PLAIN)
    assert level_numbers(frames.images) == list(range(12))
    np.testing.assert_allclose(frames.times, np.arange(12) / 30)
    assert frames.source == "shots"
    assert read_frames(tmp_path / "shots", InputOptions(fps=5)).times[-1] == pytest.approx(11 / 5)


def test_picking_from_a_folder(tmp_path: Path) -> None:
    write_levels(tmp_path / "shots", [f"{i}.png" for i in range(12)])
    options = InputOptions(fps=10, start=0.2, stop=1.1, stride=2, max_frames=3)
    assert read_frames(tmp_path / "shots", options).index.tolist() == [2, 6, 10]
    with pytest.raises(UsageError, match="no frame of shots"):
        read_frames(tmp_path / "shots", InputOptions(start=3))


def test_pattern_and_list(tmp_path: Path) -> None:
    paths = write_levels(tmp_path / "a", [f"{i}.png" for i in range(11)])
    frames = read_frames(str(tmp_path / "*" / "*.png"), PLAIN)
    assert level_numbers(frames.images) == list(range(11))
    frames = read_frames([paths[3], str(paths[1])], PLAIN)
    assert level_numbers(frames.images) == [3, 1]
    assert level_numbers(read_frames(paths[5], PLAIN).images) == [5]
    odd_name = write(tmp_path / "shot[1].png", level_images(1)[0])
    assert len(read_frames(odd_name, PLAIN)) == 1


def test_list_file_with_and_without_times(tmp_path: Path) -> None:
    write_levels(tmp_path / "rgb", [f"{i}.png" for i in range(4)])
    plain = tmp_path / "list.txt"
    plain.write_text("# a list\nrgb/2.png\n\nrgb/0.png\n")
    assert level_numbers(read_frames(plain, PLAIN).images) == [2, 0]
    tum = tmp_path / "rgb.txt"
    times = [1311868164.363181, 1311868164.4, 1311868165.0, 1311868166.5]
    lines = [f"{time:.6f} rgb/{i}.png" for i, time in enumerate(times)]
    tum.write_text("# timestamp filename\n" + "\n".join(lines))
    np.testing.assert_allclose(read_frames(tum, PLAIN).times, times, rtol=0, atol=1e-6)
    assert read_frames(tum, InputOptions(start=0.5)).index.tolist() == [2, 3]
    assert read_frames(tum, InputOptions(fps=2)).index.tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("# nothing\n", "names no image"),
        ("rgb/9.png\n", "no such file"),
        ("1.0 rgb/0.png\nrgb/1.png\n", "1 of 2 lines"),
        ("2.0 rgb/0.png\n1.0 rgb/1.png\n", "do not increase"),
    ],
)
def test_bad_list_files(tmp_path: Path, text: str, words: str) -> None:
    write_levels(tmp_path / "rgb", ["0.png", "1.png"])
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_frames(tmp_path / "list.txt", PLAIN)
    assert caught.value.exit_code == 3


def test_a_binary_file_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x80\x81" * 20)
    with pytest.raises(InputError, match="not a text file"):
        read_frames(tmp_path / "list.txt", PLAIN)


def test_depth_of_pixels_and_channels(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    expected = np.repeat(ramp[..., None], 3, axis=2)
    colour = np.dstack([ramp, ramp[:, ::-1], ramp])  # blue, green, red on disk
    images = {
        "grey.png": ramp,
        "grey16.png": ramp.astype(np.uint16) * 257,
        "colour16.tiff": np.repeat(ramp[..., None], 3, axis=2).astype(np.uint16) * 257,
        "alpha.png": np.dstack([ramp, ramp, ramp, np.full_like(ramp, 40)]),
        "grey.webp": expected,
    }
    for name, image in images.items():
        rgb = read_rgb(write(tmp_path / name, image))
        assert (rgb.shape, rgb.dtype) == ((48, 64, 3), np.uint8), name
        assert np.abs(rgb.astype(int) - expected).max() <= (6 if "webp" in name else 1), name
    np.testing.assert_array_equal(read_rgb(write(tmp_path / "c.png", colour)), colour[..., ::-1])


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Put an EXIF block with nothing but an orientation behind the start of the image."""
    ifd = struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + ifd
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_obeyed(tmp_path: Path, orientation: int, turns: int) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = 230
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    path = tmp_path / "turned.jpg"
    path.write_bytes(with_orientation(jpeg, orientation))
    frames = read_frames([path, path], PLAIN)
    expected = np.rot90(image, turns)
    assert frames.source_size == expected.shape[1::-1]
    assert np.abs(frames.images[1].astype(int) - expected).mean() < 3


def test_mixed_sizes_name_the_file_and_both_sizes(tmp_path: Path) -> None:
    write_levels(tmp_path / "shots", ["0.png", "1.png"])
    write(tmp_path / "shots" / "2.png", np.zeros((50, 64, 3), np.uint8))
    with pytest.raises(InputError, match=r"2\.png is 64x50 .*0\.png is 64x48") as caught:
        read_frames(tmp_path / "shots", PLAIN)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kind", ["cut", "garbage", "empty"])
def test_a_broken_image_is_named(tmp_path: Path, suffix: str, kind: str) -> None:
    write_levels(tmp_path / "shots", [f"{i}{suffix}" for i in range(3)])
    rng = np.random.default_rng(0)
    broken = write(tmp_path / "shots" / f"1{suffix}", rng.integers(0, 255, (48, 64, 3), np.uint8))
    data = broken.read_bytes()
    contents = {"cut": data[: len(data) // 2], "garbage": b"no image" * 9, "empty": b""}
    broken.write_bytes(contents[kind])
    with pytest.raises(InputError, match=rf"1\{suffix}") as caught:
        read_frames(tmp_path / "shots", PLAIN)
    assert caught.value.exit_code == 3
    assert caught.value.hint


def test_a_cut_jpeg_with_a_thumbnail_is_noticed(tmp_path: Path) -> None:
    thumbnail = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", noise)[1].tobytes()
    block = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = jpeg[:2] + block + jpeg[2:]
    path = tmp_path / "shot.jpg"
    path.write_bytes(whole)
    assert read_rgb(path).shape == (48, 64, 3)
    path.write_bytes(whole[:-200])
    with pytest.raises(InputError, match="cut short"):
        read_rgb(path)


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="it is empty"):
        read_frames(tmp_path / "empty", PLAIN)
    (tmp_path / "empty" / "notes.md").write_text("text")
    with pytest.raises(InputError, match="none of its 1 entries is an image"):
        read_frames(tmp_path / "empty", PLAIN)
    with pytest.raises(InputError, match="matches 0 files"):
        read_frames(str(tmp_path / "*.png"), PLAIN)
    with pytest.raises(InputError, match="list of inputs is empty"):
        read_frames([], PLAIN)
    with pytest.raises(InputError, match="no such file or folder"):
        read_frames(tmp_path / "nowhere", PLAIN)


def test_real_tum_list(data_root: Path) -> None:
    frames = read_frames(data_root / "rgbd_static_a" / "rgb.txt", InputOptions(size=160))
    assert len(frames) == 48
    assert frames.size == (160, 120)
    assert frames.source_size == (640, 480)
