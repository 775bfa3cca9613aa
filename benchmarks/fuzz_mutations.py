"""Broken files from whole ones: bytes, text, JSON, arrays and archives of arrays. Seeded."""

from __future__ import annotations

import io
import json
import pickle
import re
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Rng = np.random.Generator
Mutation = Callable[[bytes, Rng], bytes]

CANARY = "align3r-fuzz-canary"
"""File that appears in the working folder if anything in a mutated file is ever run."""

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 100_000, 2**31 - 1, 2**31, 2**32 - 1, 2**40)
_WORDS = (
    *("nan", "inf", "-inf", "1e400", "-1", "0", "9" * 400, "1e308", "-0.0", "0x10", "null", ""),
    *("../../../etc/passwd", "/dev/zero", "\x00", "\ufeff", "é" * 50, "A" * 5000, "[", '"', "{"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 1.5, -0.0, 1e308, "", "x", "A" * 3000),
    *([], {}, [[]], ["x"], [None, 1], {"x": None}, "../../x", "\x00", float("nan"), float("inf")),
)


class _Runs:
    """Its pickle makes the canary file when it is opened."""

    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return (_touch, (CANARY,))


def _touch(name: str) -> None:
    Path(name).write_text("this code came from a file")


def mutate(data: bytes, name: str, rng: Rng, *, others: list[bytes]) -> bytes:
    """A broken copy of a file.

    Args:
        data: Its content.
        name: Its name; mutations that know the format go by its suffix.
        rng: Where all chance comes from.
        others: Contents of other files, to splice with.
    """
    kinds = _BY_SUFFIX.get(Path(name).suffix.lower(), ())
    if kinds and rng.random() < 0.55:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile warns of names that are there twice
            return kinds[rng.integers(len(kinds))](data, rng)
    for _ in range(int(rng.choice((1, 1, 1, 2, 3)))):
        if rng.random() < 0.1:
            data = _splice(data, others[rng.integers(len(others))], rng)
        else:
            data = _ANY[rng.integers(len(_ANY))](data, rng)
    return data


def _place(data: bytes, rng: Rng) -> int:
    """A position; half of the time near the beginning, where the headers are."""
    size = max(len(data), 1)
    return int(rng.integers(min(size, 256) if rng.random() < 0.5 else size))


def _flip(data: bytes, rng: Rng) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 12))):
        if out:
            out[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(out)


def _integer(data: bytes, rng: Rng) -> bytes:
    """A length, a size or an offset that is not true."""
    value, order = _NUMBERS[rng.integers(len(_NUMBERS))], "<>"[rng.integers(2)]
    letter = "BHIQ"[rng.integers(4)]
    packed = struct.pack(order + letter, value % (1 << (8 * struct.calcsize(letter))))
    start = _place(data, rng)
    return data[:start] + packed + data[start + len(packed) :]


def _fill(data: bytes, rng: Rng) -> bytes:
    start, length = _place(data, rng), int(rng.integers(1, 200))
    byte = bytes([(0, 255, 0x80, 0x7F)[rng.integers(4)]])
    return data[:start] + byte * min(length, len(data) - start) + data[start + length :]


def _truncate(data: bytes, rng: Rng) -> bytes:
    return data[: _place(data, rng)]


def _drop(data: bytes, rng: Rng) -> bytes:
    start = _place(data, rng)
    return data[:start] + data[start + int(rng.integers(1, 100)) :]


def _repeat(data: bytes, rng: Rng) -> bytes:
    start, length = _place(data, rng), int(rng.integers(1, 500))
    return data[: start + length] * int(rng.integers(1, 3)) + data[start:]


def _insert(data: bytes, rng: Rng) -> bytes:
    start = _place(data, rng)
    return data[:start] + rng.bytes(int(rng.integers(1, 100))) + data[start:]


def _splice(data: bytes, other: bytes, rng: Rng) -> bytes:
    return data[: _place(data, rng)] + other[_place(other, rng) :]


_ANY: tuple[Mutation, ...] = (_flip, _flip, _integer, _integer, _fill, _truncate, _drop, _repeat)
_ANY += (_insert,)


def _text_word(data: bytes, rng: Rng) -> bytes:
    """Replace a word or a number by another."""
    text = data.decode("utf-8", "replace")
    found = list(re.finditer(r"[^\s,\"\[\]{}:]+", text)) or list(re.finditer("", text))
    start, end = found[rng.integers(len(found))].span()
    return (text[:start] + _WORDS[rng.integers(len(_WORDS))] + text[end:]).encode("utf-8")


def _text_lines(data: bytes, rng: Rng) -> bytes:
    lines = data.split(b"\n")
    k = int(rng.integers(len(lines)))
    action = rng.integers(4)
    if action == 0:
        del lines[k]
    elif action == 1:
        lines.insert(k, lines[int(rng.integers(len(lines)))])
    elif action == 2:
        lines[k] = b" ".join(lines[k].split()[: int(rng.integers(9))])
    else:
        lines = lines[:k] * int(rng.integers(2, 60))
    return b"\n".join(lines)


def _json_value(data: bytes, rng: Rng) -> bytes:
    """Replace, rename or remove something in the tree, anywhere."""
    tree = {"tree": json.loads(data)}
    places: list[tuple[Any, Any]] = []

    def visit(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                visit(node[key])

    visit(tree)
    for _ in range(int(rng.integers(1, 4))):
        # Half of the time near the root, where what matters is.
        few = places[:40] if rng.random() < 0.5 else places
        node, key = few[rng.integers(len(few))]
        if isinstance(node, dict) and node is not tree and rng.random() < 0.2:
            node.pop(key, None)
        else:
            node[key] = _VALUES[rng.integers(len(_VALUES))]
    return json.dumps(tree.get("tree")).encode()


def _json_deep(data: bytes, rng: Rng) -> bytes:
    depth = int(rng.choice((50, 5000, 200_000)))
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    if rng.random() < 0.5:
        deep = b"[" * depth + b"]" * depth
    return deep if rng.random() < 0.5 else re.sub(rb":\s*\S+?,", b": " + deep + b",", data, count=1)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


def _claim(header: str, payload: bytes = b"") -> bytes:
    """An npy file with any header."""
    text = header.encode("latin1")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + payload


def _npy_other(array: np.ndarray, rng: Rng) -> bytes:
    """An array of another dtype, shape, order or content; or a header that is not true."""
    shape = "(100000, 1000000)" if rng.random() < 0.5 else str(array.shape)
    descr = rng.choice(("<f8", "|O", ">f4", "<U5", "<M8[s]", "|V3", "<c16", "|b1", "??", "<f2"))
    if array.dtype.hasobject:
        return _claim(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}")
    makers: tuple[Callable[[], bytes], ...] = (
        lambda: _npy(np.array([_Runs()], dtype=object)),
        lambda: _npy(np.array({"a": _Runs()}, dtype=object)),
        lambda: _npy(array.astype(array.dtype.newbyteorder(">"))),
        lambda: _npy(np.asfortranarray(array)),
        lambda: _npy(array.reshape(-1)),
        lambda: _npy(array[..., None, None]),
        lambda: _npy(np.atleast_1d(array)[:0]),
        lambda: _npy(np.array(0.0)),
        lambda: _npy(np.array("text")),
        lambda: _npy(array.astype(str)),
        lambda: _npy(array.astype(np.complex128)),
        lambda: _npy(array.astype(np.uint8)),
        lambda: _npy(array.astype(np.float16)),
        lambda: _npy(np.zeros(array.shape, "<M8[s]")),
        lambda: _npy(np.zeros(array.shape, [("a", "f4"), ("b", "i8")])),
        lambda: _npy(np.full(array.shape, np.nan)),
        lambda: _npy(np.full(array.shape, rng.choice((np.inf, -1, 0, 1e308, -1e-320)))),
        lambda: _npy(np.resize(array, tuple(rng.integers(0, 9, array.ndim)))),
        lambda: _claim(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"),
        lambda: _claim("{'descr': '<f4', 'fortran_order': False, 'shape': (-5, 4), }", b"x" * 80),
        lambda: _claim("{'descr': '<f4', 'fortran_order': False, 'shape': (2**9,), }"),
        lambda: _claim("(" * 9000),
        lambda: _claim("{'descr': __import__('os'), 'fortran_order': False, 'shape': (1,), }"),
        lambda: pickle.dumps(_Runs()),
        lambda: b"",
    )
    return makers[rng.integers(len(makers))]()


def _npy_array(data: bytes, rng: Rng) -> bytes:
    return _npy_other(np.load(io.BytesIO(data)), rng)


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(members: list[tuple[str | zipfile.ZipInfo, bytes]], method: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def _npz_array(data: bytes, rng: Rng) -> bytes:
    """One array of the archive is another."""
    members = _members(data)
    name = str(rng.choice(list(members)))
    members[name] = _npy_other(np.load(io.BytesIO(members[name])), rng)
    return _zip(list(members.items()), zipfile.ZIP_DEFLATED if rng.random() < 0.3 else 0)


def _npz_members(data: bytes, rng: Rng) -> bytes:
    """Members missing, doubled, renamed, of other kinds, encrypted, huge, or links."""
    members = _members(data)
    names = list(members)
    name = str(rng.choice(names))
    content = members.pop(name)
    rest: list[tuple[str | zipfile.ZipInfo, bytes]] = list(members.items())
    link = zipfile.ZipInfo(name)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    choices: tuple[Callable[[], bytes], ...] = (
        lambda: _zip(rest),
        lambda: _zip([*rest, (name, content), (name, content)]),
        lambda: _zip([*rest, ("../../" + name, content)]),
        lambda: _zip([*rest, ("/tmp/" + name, content)]),
        lambda: _zip([*rest, (link, b"/etc/passwd")]),
        lambda: _zip([*rest, (name, b"no array")]),
        lambda: _zip([*rest, (name, content), ("evil.npy", pickle.dumps(_Runs()))]),
        lambda: _zip([*rest, (name, content)], zipfile.ZIP_LZMA),
        lambda: _zip([*rest, (name, content)], zipfile.ZIP_BZIP2),
        lambda: _zip([*rest, (name, _bomb())], zipfile.ZIP_DEFLATED),
        lambda: _directory(_zip([*rest, (name, content)]), rng),
    )
    return choices[rng.integers(len(choices))]()


def _bomb() -> bytes:
    """30 MB of zeros under a header that promises 80 GB."""
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000), }"
    return _claim(header, bytes(30_000_000))


def _directory(data: bytes, rng: Rng) -> bytes:
    """A number of a zip's central directory that is not true: flags, method, sizes, offset."""
    starts = [found.start() for found in re.finditer(b"PK\x01\x02", data)]
    if not starts:
        return _flip(data, rng)
    start = starts[rng.integers(len(starts))] + int(rng.choice((6, 8, 10, 16, 20, 24, 28, 42)))
    value = _NUMBERS[rng.integers(len(_NUMBERS))] % (1 << 32)
    return data[:start] + struct.pack("<I", value) + data[start + 4 :]


def _safetensors(data: bytes, rng: Rng) -> bytes:
    """A header that is not true, of the right length."""
    size = struct.unpack("<Q", data[:8])[0]
    header = _json_value(data[8 : 8 + size], rng)
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def _torch(data: bytes, rng: Rng) -> bytes:
    """Something else that torch.save writes: objects, or tensors that are none in memory."""
    import torch

    one = torch.ones(4)
    choices: tuple[Callable[[], Any], ...] = (
        lambda: _Runs(),
        lambda: {"model": {"x": _Runs()}},
        lambda: {"model": {"x": one}, "args": _Runs()},
        lambda: {"model": {"x": one.expand(100_000, 1_000_000, 4)}},
        lambda: {"x": torch.eye(3).to_sparse()},
        lambda: {"x": torch.ones(3, device="meta")},
        lambda: {"x": torch.quantize_per_tensor(one, 0.1, 0, torch.qint8)},
        lambda: {"x": one.to(torch.complex64)},
        lambda: {"x": one > 0, "y": "text"},
        lambda: {1: one},
        lambda: [one] * 3,
        lambda: {},
        lambda: {"model": {}, "args": {"model": "Net(" * 3000}},
        lambda: torch.nn.Linear(2, 2),
    )
    file = io.BytesIO()
    torch.save(choices[rng.integers(len(choices))](), file)
    if rng.random() < 0.2:
        return pickle.dumps({"x": _Runs()})
    return file.getvalue()


def _zip_again(data: bytes, rng: Rng) -> bytes:
    """The same archive, compressed; or with a member that grows when it is unpacked."""
    try:
        members: list[tuple[str | zipfile.ZipInfo, bytes]] = list(_members(data).items())
    except zipfile.BadZipFile:
        return _flip(data, rng)
    k = int(rng.integers(len(members)))
    if rng.random() < 0.5:
        members[k] = (members[k][0], bytes(30_000_000))
    return _zip(members, zipfile.ZIP_DEFLATED)


_TEXT: tuple[Mutation, ...] = (_text_word, _text_word, _text_lines)
_BY_SUFFIX: dict[str, tuple[Mutation, ...]] = {
    ".txt": _TEXT,
    ".json": (*_TEXT, _json_value, _json_value, _json_value, _json_value, _json_deep),
    ".npy": (_npy_array,),
    ".safetensors": (_safetensors,),
    ".pth": (_torch, _zip_again, _directory),
    ".pt": (_torch, _zip_again, _directory),
    ".npz": (_npz_array, _npz_array, _npz_members, _directory),
}
