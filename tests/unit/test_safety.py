"""What files from elsewhere may not do: take all memory, or never end."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from align3r.config import InputOptions
from align3r.errors import InputError, TooLargeError, UsageError
from align3r.io.arrays import read_npy, read_npz
from align3r.io.exr import read_channels, read_exr
from align3r.io.files import most_pixels, read_json
from align3r.io.images import read_rgb
from align3r.io.png import read_depth_png
from align3r.io.video import read_frames
from align3r.reconstruction import Reconstruction

MakeScene = Callable[..., Reconstruction]
SMALL = InputOptions(size=48)


def png(width: int, height: int, data: bytes) -> bytes:
    """A grey PNG of 8 bits, whatever its data are."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def npy(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def test_an_image_of_a_hundred_thousand_pixels_a_side_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    # Ten million zeros are ten kilobytes, and as much as a decoder needs to start.
    path.write_bytes(png(100_000, 100_000, bytes(10_000_000)))
    for read in (read_rgb, read_depth_png, lambda path: read_frames(path, SMALL)):
        with pytest.raises(TooLargeError, match=r"bomb\.png says that it is 100000x100000 pixels"):
            read(path)


def test_an_image_of_less_than_it_promises_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.write_bytes(png(11_000, 11_000, b""))
    with pytest.raises(InputError, match="bytes cannot hold 11000x11000 pixels"):
        read_rgb(path)
    whole = png(40, 30, bytes(41 * 30))
    place = whole.index(b"IDAT") - 4
    path.write_bytes(whole[:place] + struct.pack(">I", 2**31 + 5) + whole[place + 4 :])
    with pytest.raises(InputError, match="end is missing"):
        read_rgb(path)


def test_an_image_that_is_true_to_its_size_is_refused_by_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png(2000, 1500, bytes(2001 * 1500)))
    monkeypatch.setenv("ALIGN3R_MAX_MEGAPIXELS", "2.5")
    with pytest.raises(TooLargeError, match="2000x1500 pixels: more than 2 million") as caught:
        read_rgb(path)
    monkeypatch.setenv(*caught.value.hint.rpartition(" ")[2].split("="))
    assert read_rgb(path).shape == (1500, 2000, 3)


@pytest.mark.parametrize("value", ["much", "-1", "0", "nan", ""])
def test_a_limit_that_is_none_is_wrong_use(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGN3R_MAX_MEGAPIXELS", value)
    with pytest.raises(UsageError, match="ALIGN3R_MAX_MEGAPIXELS"):
        most_pixels()


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "tif", "webp", "ppm"])
def test_other_images_of_absurd_size(suffix: str, tmp_path: Path) -> None:
    import cv2

    path = tmp_path / f"a.{suffix}"
    # Lossy: a header of the other kind of WebP has its numbers in bits.
    lossy = [cv2.IMWRITE_WEBP_QUALITY, 80] if suffix == "webp" else []
    assert cv2.imwrite(str(path), np.zeros((40, 60, 3), np.uint8), lossy)
    data = path.read_bytes()
    side = 60_000 if suffix != "webp" else 16_000
    edits = {
        "jpg": (struct.pack(">HH", 40, 60), struct.pack(">HH", side, side)),
        "bmp": (struct.pack("<i", 60), struct.pack("<i", 2_000_000_000)),
        "tif": (struct.pack("<HHII", 256, 3, 1, 60), struct.pack("<HHII", 256, 4, 1, 2**31)),
        "webp": (struct.pack("<HH", 60, 40), struct.pack("<HH", side, side)),
        "ppm": (b"60 40", b"%d %d" % (side, side)),
    }
    if suffix == "webp":
        assert cv2.imwrite(
            str(path), np.zeros((40, 60, 3), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 80]
        )
        data = path.read_bytes()
    before, after = edits[suffix]
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, after))
    with pytest.raises(TooLargeError, match=f"{path.name} says that it is"):
        read_rgb(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_that_promises_a_hundred_gigabytes(tmp_path: Path, method: int) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("depth.npy", npy((100_000, 125_000), bytes(10_000_000)))
    with pytest.raises(TooLargeError, match="holds 100 GB"):
        read_npz(path)


def test_an_archive_that_has_less_than_it_promises(tmp_path: Path) -> None:
    path = tmp_path / "short.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("depth.npy", npy((1000, 1000), bytes(800)))
    with pytest.raises(ValueError, match="cut short"):
        read_npz(path)
    path = tmp_path / "short.npy"
    path.write_bytes(npy((10_000, 10_000)))
    with pytest.raises(ValueError, match="cut short"):
        read_npy(path)


def test_many_arrays_that_are_too_large_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "many.npz"
    np.savez_compressed(path, **{f"a{k}": np.zeros((100, 1000)) for k in range(10)})
    monkeypatch.setenv("ALIGN3R_MAX_ARRAY_GB", "0.005")
    with pytest.raises(TooLargeError, match=r"GB of numbers: more than 0.005 GB"):
        read_npz(path)


def test_an_exr_with_a_huge_window(tmp_path: Path) -> None:
    path = tmp_path / "bomb.exr"
    pixels = np.ones((36, 48), np.float32)
    OpenEXR.File({}, {"Z": pixels, "confidence": pixels}).write(str(path))
    name = b"dataWindow\0box2i\0"
    head, _, tail = path.read_bytes().partition(name)
    window = struct.pack("<4i", 0, 0, 99_999, 99_999)
    path.write_bytes(head + name + tail[:4] + window + tail[20:])
    for read in (read_channels, read_exr):
        with pytest.raises(TooLargeError, match="100000x100000"):
            read(path)


def test_an_exr_with_a_thousand_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.exr"
    pixels = np.zeros((100, 100), np.float32)
    OpenEXR.File({}, {f"c{k}": pixels for k in range(30)}).write(str(path))
    monkeypatch.setenv("ALIGN3R_MAX_ARRAY_GB", "0.001")
    with pytest.raises(TooLargeError, match=r"0\.0012 GB"):
        read_channels(path)


def test_a_video_with_more_frames_than_bytes(
    tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    clip = make_clip()
    data = clip.read_bytes()
    place = data.index(b"stsz") + 8
    clip.write_bytes(data[:place] + struct.pack(">II", 1, 100_000_000) + data[place + 8 :])
    with pytest.raises(InputError, match="announces 100000000 frames"):
        read_frames(clip, SMALL)


def test_a_video_of_larger_frames_than_the_limit(
    make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGN3R_MAX_MEGAPIXELS", "0.003")
    with pytest.raises(TooLargeError, match="64x48 pixels"):
        read_frames(make_clip(), SMALL)


def test_json_without_a_bottom(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(path)


# What never ends


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["pipe.mp4", "pipe.png", "pipe.txt"])
def test_pipes_are_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=r"pipe\."):
        read_frames(tmp_path / name, SMALL)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
@pytest.mark.parametrize("name", ["zero.png", "zero.npy", "zero.exr"])
def test_devices_are_not_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.symlink_to("/dev/zero")
    reader = {".png": read_rgb, ".npy": read_npy, ".exr": read_exr}[path.suffix]
    with pytest.raises(InputError, match="pipe or a device"):
        reader(path)
