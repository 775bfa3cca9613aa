"""What a PNG says in words: its text chunks (PNG, third edition, 11.3.3)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from align3r.io.files import read_bytes

_START = b"\x89PNG\r\n\x1a\n"
_MOST = 1_000_000
"""Bytes of a text once it is unpacked."""


def read_png_text(path: Path) -> dict[str, str]:
    """The texts of a PNG by their keywords; of two with one keyword the later.

    Raises:
        InputError: The file cannot be read.
        ValueError: It is no PNG, or damaged.
    """
    data = read_bytes(path)
    if not data.startswith(_START):
        raise ValueError("it is no PNG")
    texts: dict[str, str] = {}
    position, kind = len(_START), b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise ValueError("its end is missing")
        length, kind = struct.unpack_from(">I4s", data, position)
        body = data[position + 8 : position + 8 + length]
        position += 12 + length
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            if zlib.crc32(kind + body) != int.from_bytes(data[position - 4 : position], "big"):
                raise ValueError("a text of it is damaged")
            keyword, _, rest = body.partition(b"\0")
            texts[keyword.decode("latin-1")] = _text(kind, rest)
    return texts


def _text(kind: bytes, rest: bytes) -> str:
    if kind == b"tEXt":
        return rest.decode("latin-1")
    if kind == b"zTXt":
        return _unpack(rest[1:]).decode("latin-1")
    # Flag and method of compression, then a language and a translated keyword.
    packed = rest[:1] == b"\1"
    text = rest[2:].split(b"\0", 2)[-1]
    return (_unpack(text) if packed else text).decode("utf-8")


def _unpack(data: bytes) -> bytes:
    try:
        stream = zlib.decompressobj()
        text = stream.decompress(data, _MOST)
    except zlib.error as error:
        raise ValueError(f"a text of it is damaged: {error}") from error
    if not stream.eof:
        raise ValueError(f"a text of it is cut short, or longer than {_MOST} bytes")
    return text
