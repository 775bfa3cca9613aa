"""How large an image says that it is, before any of it is decoded."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_MOST_SCANS = 100
"""Of a JPEG; ten are usual. Each of them makes a decoder go over the whole image."""

_MOST_DEFLATED = 1032
"""How many times smaller its compression can make a PNG; no file of less bytes is whole."""
_PNG_CHANNELS = {2: 3, 4: 2, 6: 4}


def declared_size(data: bytes) -> tuple[int, int]:
    """(width, height) in the header of a PNG, JPEG, BMP, TIFF, WebP, PPM or PGM image.

    Raises:
        ValueError: It is none of them, or its header is damaged.
    """
    for start, read in _FORMATS.items():
        if data.startswith(start):
            try:
                return read(data)
            except (struct.error, IndexError, OverflowError) as error:
                raise ValueError("its header is cut short") from error
    raise ValueError("it is none of png, jpg, bmp, tif, webp, ppm and pgm")


def check_content(data: bytes) -> None:
    """Refuse a PNG or a JPEG that keeps a decoder busy with what it does not have.

    Raises:
        ValueError: It has less than its header or one of its chunks promises, or too many scans.
    """
    if data.startswith(_PNG):
        try:
            _check_png(data)
        except struct.error as error:
            raise ValueError("its end is missing") from error
    elif data.startswith(_JPEG) and data.count(b"\xff\xda") > _MOST_SCANS:
        raise ValueError(f"a JPEG of more than {_MOST_SCANS} scans")


def _check_png(data: bytes) -> None:
    width, height, bits, colours = struct.unpack_from(">IIBB", data, 16)
    raw = height * (1 + (width * bits * _PNG_CHANNELS.get(colours, 1) + 7) // 8)
    if raw > _MOST_DEFLATED * len(data):
        raise ValueError(f"{len(data)} bytes cannot hold {width}x{height} pixels")
    position, kind = len(_PNG), b""
    while kind != b"IEND":
        # OpenCV takes memory for as much as a chunk says that it holds.
        length, kind = struct.unpack_from(">I4s", data, position)
        position += 12 + length
    if position > len(data):
        raise ValueError("a chunk is cut short")


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg(data: bytes) -> tuple[int, int]:
    position = 2
    while True:
        while data[position] != 0xFF:  # what decoders skip, too
            position += 1
        while data[position] == 0xFF:
            position += 1
        marker = data[position]
        position += 1
        if marker == 0 or marker == 1 or 0xD0 <= marker <= 0xD8:
            continue
        # Start of frame, of any kind; C4, C8 and CC are something else.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, position + 3)
            return width, height
        if marker in (0xD9, 0xDA):
            raise ValueError("a JPEG without a frame")
        position += max(struct.unpack_from(">H", data, position)[0], 2)


def _bmp(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)  # a negative height is a bitmap from top to bottom


def _tiff(data: bytes) -> tuple[int, int]:
    order = "<" if data.startswith(b"II") else ">"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    offset = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    count = struct.unpack_from(order + ("Q" if big else "H"), data, offset)[0]
    entry, first, value = (20, 8, 12) if big else (12, 2, 8)
    found: dict[int, int] = {}
    for k in range(min(count, 1000)):
        start = offset + first + k * entry
        tag, kind = struct.unpack_from(f"{order}HH", data, start)
        if tag in (256, 257):
            letter = {3: "H", 4: "I", 16: "Q"}.get(kind, "I")
            found[tag] = struct.unpack_from(order + letter, data, start + value)[0]
    if len(found) < 2:
        raise ValueError("a TIFF without a size")
    return found[256], found[257]


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if data[8:12] != b"WEBP" or kind not in (b"VP8 ", b"VP8L", b"VP8X"):
        raise ValueError("a RIFF file that is no WebP image")
    if kind == b"VP8X":
        low = struct.unpack_from("<HBHB", data, 24)
        return 1 + low[0] + (low[1] << 16), 1 + low[2] + (low[3] << 16)
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _pnm(data: bytes) -> tuple[int, int]:
    words = re.sub(rb"#[^\n]*", b" ", data[2:4000]).split(maxsplit=2)
    if len(words) < 2 or not all(word.isdigit() for word in words[:2]):
        raise ValueError("a PPM or PGM without a size")
    if max(len(word) for word in words[:2]) > 18:
        raise ValueError("a PPM or PGM of absurd size")
    return int(words[0]), int(words[1])


_FORMATS: dict[bytes, Callable[[bytes], tuple[int, int]]] = {
    _PNG: _png,
    _JPEG: _jpeg,
    b"BM": _bmp,
    b"II*\x00": _tiff,
    b"MM\x00*": _tiff,
    b"II+\x00": _tiff,
    b"MM\x00+": _tiff,
    b"RIFF": _webp,
    **{b"P%d" % kind: _pnm for kind in range(1, 7)},
}
