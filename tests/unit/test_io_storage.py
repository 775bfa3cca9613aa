"""Arrays in files: the same as in memory, found again by the next process, space taken at once."""

from __future__ import annotations

import errno
import gc
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from align3r.errors import InputError
from align3r.io.cache import StageCache
from align3r.io.storage import (
    MappedFiles,
    Storage,
    free_disk_bytes,
    released_now_and_then,
    scratch_files,
    scratch_place,
    taken_bytes,
)


def test_items_are_where_they_are_to_be(tmp_path: Path) -> None:
    storage = Storage(MappedFiles(tmp_path / "files"), frozenset({"flows"}))
    in_memory = storage.empty("predictions.points", (3, 2), np.float16)
    assert not isinstance(in_memory, np.memmap) and not (tmp_path / "files").exists()
    mapped = storage.empty("flows.forward", (3, 2), np.float16)
    mapped[:] = 1.5
    assert mapped.dtype == np.float16
    del mapped
    gc.collect()
    np.testing.assert_array_equal(np.load(tmp_path / "files" / "flows.forward.npy"), 1.5)
    assert Storage().empty("flows.forward", (2,), bool).shape == (2,)


def test_what_another_process_left_is_there_again_if_it_is_of_that_kind(tmp_path: Path) -> None:
    MappedFiles(tmp_path).empty("a", (4, 3), np.float32)[:] = 7
    files = MappedFiles(tmp_path)
    again = files.empty("a", (4, 3), np.float32)
    assert (again == 7).all() and files.is_left_behind(again)
    for shape, dtype in (((4, 2), np.float32), ((4, 3), np.int32)):
        other = MappedFiles(tmp_path)
        array = other.empty("a", shape, dtype)
        assert array.shape == shape and array.dtype == dtype and not other.is_left_behind(array)
    os.truncate(tmp_path / "a.npy", 130)
    files = MappedFiles(tmp_path)
    assert not files.is_left_behind(files.empty("a", (4, 3), np.int32))


def test_a_name_that_is_taken_gets_another_file(tmp_path: Path) -> None:
    files = MappedFiles(tmp_path)
    first, second, third = (files.empty("solution.depth", (2,), np.float32) for _ in range(3))
    first[:], second[:], third[:] = 1, 2, 3
    assert (first == 1).all() and (second == 2).all() and (third == 3).all()
    assert files.file_of(first) == "solution.depth.npy"
    assert files.file_of(second) == "solution.depth-2.npy"
    assert files.file_of(first[1:]) is None and files.file_of(np.zeros(2)) is None


def test_the_space_is_taken_at_once(tmp_path: Path) -> None:
    array = MappedFiles(tmp_path).empty("a", (1 << 20,), np.uint8)
    about = (tmp_path / "a.npy").stat()
    assert about.st_size > array.nbytes
    assert about.st_blocks * 512 >= array.nbytes


def test_a_full_disk_is_said_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match="no space left"):
        MappedFiles(tmp_path).empty("a", (8,), np.uint8)
    assert list(tmp_path.iterdir()) == []

    def cannot(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    assert MappedFiles(tmp_path).empty("a", (8,), np.uint8).shape == (8,)


def test_scratch_files_go_with_the_block_and_arrays_stay_readable() -> None:
    with scratch_files() as files:
        array = files.empty("a", (5,), np.float64)
        array[:] = 4
        folder = Path(str(array.filename)).parent  # type: ignore[attr-defined]
        assert folder.is_dir()
    assert not folder.exists()
    assert (array == 4).all()


def test_large_temporary_files_are_where_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert scratch_place() == tmp_path
    with scratch_files() as files:
        files.empty("a", (5,), np.float64)
        assert len(list(tmp_path.glob("align3r-*/a.npy"))) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_mapped_arrays_take_no_memory_once_they_are_released(tmp_path: Path) -> None:
    def mapped_mb() -> float:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        kinds = ("RssFile", "RssShmem")  # the second where temporary files are in memory
        return sum(float(line.split()[1]) for line in lines if line.startswith(kinds)) / 1024

    files = MappedFiles(tmp_path)
    array = files.empty("a", (64, 1 << 20), np.uint8)
    before = mapped_mb()
    array[:] = np.arange(64, dtype=np.uint8)[:, None]
    assert mapped_mb() - before > 50
    files.release()
    assert mapped_mb() - before < 10
    assert (array == np.arange(64)[:, None]).all(), "nothing is lost"
    assert mapped_mb() - before > 50
    with released_now_and_then(files):
        end = time.monotonic() + 30
        while mapped_mb() - before > 10 and time.monotonic() < end:
            time.sleep(0.05)
    assert mapped_mb() - before < 10
    MappedFiles(tmp_path).release()
    left = MappedFiles(tmp_path)
    assert (left.empty("a", (64, 1 << 20), np.uint8)[63] == 63).all()
    left.release()


def test_a_stage_refers_to_mapped_arrays_and_maps_them_again(tmp_path: Path) -> None:
    cache = StageCache(tmp_path / "c", "key")
    points = cache.files.empty("predictions.points", (64, 1024), np.float32)
    points[:] = np.arange(64)[:, None]
    cache.put("pairs", {"points": points, "edges": np.arange(3)}, {"n": 1})
    assert (tmp_path / "c" / "pairs.npz").stat().st_size < points.nbytes / 10, "not written twice"
    kept = StageCache(tmp_path / "c", "key").get("pairs")
    assert kept is not None
    arrays, meta = kept
    assert meta == {"n": 1} and sorted(arrays) == ["edges", "points"]
    assert isinstance(arrays["points"], np.memmap) and not isinstance(arrays["edges"], np.memmap)
    np.testing.assert_array_equal(arrays["points"][:, 0], np.arange(64))


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_stage_whose_mapped_array_is_damaged_is_none(tmp_path: Path, damage: str) -> None:
    cache = StageCache(tmp_path / "c", "key")
    cache.put("pairs", {"a": cache.files.empty("predictions.a", (4096,), np.float32)}, {})
    path = tmp_path / "c" / "predictions.a.npy"
    os.truncate(path, 5000) if damage == "cut" else path.unlink()
    assert StageCache(tmp_path / "c", "key").get("pairs") is None
    assert not (tmp_path / "c" / "pairs.npz").exists()


def test_arrays_that_nobody_will_look_for_are_removed(tmp_path: Path) -> None:
    cache = StageCache(tmp_path / "c", "key")
    cache.files.empty("predictions.a", (8,), np.float32)
    cache.remove_files()
    assert not (tmp_path / "c").exists()
    cache.put("mono", {"a": np.ones(3)}, {})
    cache.files.empty("predictions.a", (8,), np.float32)
    cache.remove_files()
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["key.txt", "mono.npz"]


def test_free_space_and_what_will_be_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    free = free_disk_bytes(folder)
    assert free > 0 and taken_bytes(folder) == 0
    MappedFiles(folder).empty("a", (50_000_000,), np.uint8)
    assert taken_bytes(folder) >= 50_000_000
    assert abs(free_disk_bytes(folder) + taken_bytes(folder) - free) < 40_000_000
