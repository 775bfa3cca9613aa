"""HDF5 files: whole ones come back as they are, others are refused before they do harm."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from align3r.errors import InputError, MissingExtraError, TooLargeError
from align3r.io.hdf5 import read_hdf5

IMAGE = np.arange(6 * 8, dtype=np.float32).reshape(6, 8)


def written(path: Path, data: Any = IMAGE, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=data, **options)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (3, 4)},
        {"chunks": (3, 4), "compression": "gzip"},
        {"chunks": (4, 5), "compression": "gzip", "shuffle": True, "fletcher32": True},
    ],
    ids=lambda options: "+".join(options) or "plain",
)
@pytest.mark.parametrize("kind", ["f2", "<f4", ">f4", "f8", "u1", ">i2", "i8"])
def test_arrays_come_back(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    got = read_hdf5(written(tmp_path / "a", IMAGE.astype(kind), **options), "a", shape=(6, None))
    np.testing.assert_array_equal(got, IMAGE)
    assert got.dtype == np.dtype(kind).newbyteorder("=")


@pytest.mark.parametrize(
    ("data", "shape", "words"),
    [
        (IMAGE, (8, 6), r"its shape is \(6, 8\), not 8x6"),
        (IMAGE, (None, None, 3), "not anyxanyx3"),
        (3.0, (None,), r"its shape is \(\)"),
        (h5py.Empty("f4"), (None,), "not numbers"),
        (np.array([b"ab", b"cd"]), (2,), "not numbers"),
        (np.zeros(2, np.complex64), (2,), "not numbers"),
        (np.zeros(2, np.dtype([("x", "f4"), ("y", "f4")])), (2,), "not numbers"),
        (["text", "more"], (2,), "not numbers"),
    ],
    ids=["turned", "flat", "scalar", "empty", "bytes", "complex", "records", "texts"],
)
def test_other_arrays_are_refused(
    tmp_path: Path, data: Any, shape: tuple[int | None, ...], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read_hdf5(written(tmp_path / "a", data), "a", shape=shape)


def test_an_array_that_is_not_there_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5")
    with h5py.File(path, "a") as file:
        file.create_group("group")
    with pytest.raises(InputError, match=r"x\.h5 .*'disparity'.*it has a, group"):
        read_hdf5(path, "disparity", shape=(None,))
    with pytest.raises(InputError, match="it is a group"):
        read_hdf5(path, "group", shape=(None,))
    with pytest.raises(InputError, match="no such file"):
        read_hdf5(tmp_path / "none", "a", shape=(None,))
    with pytest.raises(InputError, match="is a folder"):
        read_hdf5(tmp_path, "a", shape=(None,))


@pytest.mark.parametrize("how", ["external link", "soft link", "external data", "virtual"])
def test_no_other_file_is_opened(tmp_path: Path, how: str) -> None:
    secret, path = written(tmp_path / "secret"), tmp_path / "path"
    (tmp_path / "raw").write_bytes(IMAGE.tobytes())
    with h5py.File(path, "w") as file:
        if how == "external link":
            file["a"] = h5py.ExternalLink(str(secret), "/a")
        elif how == "soft link":
            file["b"] = h5py.ExternalLink(str(secret), "/a")
            file["a"] = h5py.SoftLink("/b")
        elif how == "external data":
            where = [(str(tmp_path / "raw"), 0, IMAGE.nbytes)]
            file.create_dataset("a", IMAGE.shape, "f4", external=where)
        else:
            layout = h5py.VirtualLayout(IMAGE.shape, "f4")
            layout[:] = h5py.VirtualSource(str(secret), "a", shape=IMAGE.shape)
            file.create_virtual_dataset("a", layout)
    with pytest.raises(InputError, match=r"somewhere else|in another file"):
        read_hdf5(path, "a", shape=(6, 8))


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 64)}, {"compression": "gzip"}])
def test_promises_are_compared_with_what_is_there(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "bomb"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (1 << 14, 1 << 13), "f4", **options)
    with pytest.raises(InputError, match=r"bytes cannot hold an array of 536870912"):
        read_hdf5(path, "a", shape=(None, None))
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (1 << 18, 1 << 18), "f4", chunks=(1, 64))
    with pytest.raises(TooLargeError, match="275 GB"):
        read_hdf5(path, "a", shape=(None, None))


def test_a_map_in_a_million_pieces_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a", np.zeros((5000, 2), np.float32), chunks=(1, 2))
    with pytest.raises(InputError, match="5000 chunks are more than 4096"):
        read_hdf5(path, "a", shape=(5000, 2))


def test_a_chunk_may_not_unpack_into_more_than_it_says(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    with h5py.File(path, "w") as file:
        array = file.create_dataset("a", (8, 8), "f4", chunks=(8, 8), compression="gzip")
        array.id.write_direct_chunk((0, 0), zlib.compress(bytes(100_000_000), 9))
    with pytest.raises(InputError, match=r"a chunk of 256 bytes takes \d+"):
        read_hdf5(path, "a", shape=(8, 8))


@pytest.mark.parametrize(
    "options",
    [{"compression": "lzf"}, {"scaleoffset": 3, "chunks": (3, 4)}],
    ids=lambda options: str(next(iter(options))),
)
def test_other_filters_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="it is packed by filters"):
        read_hdf5(written(tmp_path / "a", **options), "a", shape=(6, 8))


def test_deflate_in_deflate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice"
    with h5py.File(path, "w") as file:
        how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_chunk((6, 8))
        how.set_deflate(9)
        how.set_deflate(9)
        space = h5py.h5s.create_simple(IMAGE.shape)
        array = h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F32LE, space, how)
        array.write(h5py.h5s.ALL, h5py.h5s.ALL, IMAGE)
    with pytest.raises(InputError, match=r"filters \[1, 1\]"):
        read_hdf5(path, "a", shape=(6, 8))


@pytest.mark.parametrize("options", [{}, {"chunks": (3, 4), "compression": "gzip"}])
def test_damage_is_said_in_words(tmp_path: Path, options: dict[str, Any]) -> None:
    path = written(tmp_path / "a", **options)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="no HDF5 file with an array 'a'"):
            read_hdf5(path, "a", shape=(6, 8))
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 3):
            data[at] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            assert read_hdf5(path, "a", shape=(6, 8)).shape == (6, 8)
        except InputError as error:
            assert error.hint and "\n" not in str(error)


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match="h5py") as caught:
        read_hdf5(path, "a", shape=(6, 8))
    assert "align3r[datasets]" in caught.value.hint
