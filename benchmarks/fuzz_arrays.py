"""Broken arrays, archives of arrays and weights from whole ones."""

from __future__ import annotations

import io
import pickle
import re
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_bytes import NUMBERS, Rng, flip, json_value

CANARY = "align3r-fuzz-canary"
"""File that appears in the working folder if anything in a mutated file is ever run."""


class _Runs:
    """Its pickle makes the canary file when it is opened."""

    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return (_touch, (CANARY,))


def _touch(name: str) -> None:
    Path(name).write_text("this code came from a file")


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


def npy_array(data: bytes, rng: Rng) -> bytes:
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


def npz_array(data: bytes, rng: Rng) -> bytes:
    """One array of the archive is another."""
    members = _members(data)
    name = str(rng.choice(list(members)))
    members[name] = _npy_other(np.load(io.BytesIO(members[name])), rng)
    return _zip(list(members.items()), zipfile.ZIP_DEFLATED if rng.random() < 0.3 else 0)


def npz_members(data: bytes, rng: Rng) -> bytes:
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
        lambda: broken_directory(_zip([*rest, (name, content)]), rng),
    )
    return choices[rng.integers(len(choices))]()


def _bomb() -> bytes:
    """30 MB of zeros under a header that promises 80 GB."""
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000), }"
    return _claim(header, bytes(30_000_000))


def broken_directory(data: bytes, rng: Rng) -> bytes:
    """A number of a zip's central directory that is not true: flags, method, sizes, offset."""
    starts = [found.start() for found in re.finditer(b"PK\x01\x02", data)]
    if not starts:
        return flip(data, rng)
    start = starts[rng.integers(len(starts))] + int(rng.choice((6, 8, 10, 16, 20, 24, 28, 42)))
    value = NUMBERS[rng.integers(len(NUMBERS))] % (1 << 32)
    return data[:start] + struct.pack("<I", value) + data[start + 4 :]


def safetensors(data: bytes, rng: Rng) -> bytes:
    """A header that is not true, of the right length."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json_value(data[8 : 8 + size], rng)
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def torch_objects(data: bytes, rng: Rng) -> bytes:
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


def zip_again(data: bytes, rng: Rng) -> bytes:
    """The same archive, compressed; or with a member that grows when it is unpacked."""
    try:
        members: list[tuple[str | zipfile.ZipInfo, bytes]] = list(_members(data).items())
    except zipfile.BadZipFile:
        return flip(data, rng)
    k = int(rng.integers(len(members)))
    if rng.random() < 0.5:
        members[k] = (members[k][0], bytes(30_000_000))
    return _zip(members, zipfile.ZIP_DEFLATED)
