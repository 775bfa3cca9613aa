"""Images of labels: indices as they are, whatever colours a palette has."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from align3r.errors import InputError, TooLargeError
from align3r.io.label_png import read_labels

LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4) % 5


@pytest.mark.parametrize("bits", [4, 8])
def test_indices_come_back_whatever_their_colours(tmp_path: Path, bits: int) -> None:
    image = Image.fromarray(LABELS, "P")
    image.putpalette([200, 200, 200] * 5)
    image.save(tmp_path / "a.png", bits=bits)
    got = read_labels(tmp_path / "a.png")
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, LABELS)


def test_grey_levels_come_back(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), LABELS)


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [("a.png", "RGB", "its pixels are RGB"), ("a.jpg", "L", "no PNG"), ("a.png", "1", "are 1,")],
)
def test_other_images_are_refused(tmp_path: Path, name: str, mode: str, words: str) -> None:
    Image.fromarray(LABELS).convert(mode).save(tmp_path / name)
    with pytest.raises(InputError, match=words):
        read_labels(tmp_path / name)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(("side", "error"), [(60_000, TooLargeError), (9_000, InputError)])
def test_promises_are_not_believed(tmp_path: Path, side: int, error: type[InputError]) -> None:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + data)
    with pytest.raises(error, match=f"{side}x{side} pixels"):
        read_labels(tmp_path / "a.png")
