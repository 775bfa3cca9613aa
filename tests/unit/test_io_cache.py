"""The stage cache: what is kept comes back the same, or not at all."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from align3r.config import AlignOptions, CameraOptions, Options, OutputOptions
from align3r.errors import InputError
from align3r.io.cache import StageCache, cache_folder, fingerprint

PLAIN = Options()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@given(
    points=arrays.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.bool_, np.uint8]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    meta=st.dictionaries(
        st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.floats(0, 9))
    ),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, points: np.ndarray, meta: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    StageCache(folder, "key").put("pairs", {"points": points, "file": points}, meta)
    kept = StageCache(folder, "key").get("pairs")
    assert kept is not None
    assert kept[1] == meta
    assert sorted(kept[0]) == ["file", "points"]
    np.testing.assert_array_equal(kept[0]["points"], points)
    assert kept[0]["points"].dtype == points.dtype


def test_nothing_is_written_before_the_first_stage(tmp_path: Path) -> None:
    cache = StageCache(tmp_path / ".out.cache", "key")
    assert cache.get("motion") is None
    assert names_in(tmp_path) == []
    assert cache_folder(tmp_path / "out") == tmp_path / ".out.cache"


def test_another_key_empties_it(tmp_path: Path) -> None:
    StageCache(tmp_path / "c", "one").put("flow", {"a": np.ones(3)}, {})
    assert StageCache(tmp_path / "c", "one").get("flow") is not None
    assert StageCache(tmp_path / "c", "two").get("flow") is None
    assert StageCache(tmp_path / "c", "one").get("flow") is None


def test_clear_removes_everything(tmp_path: Path) -> None:
    cache = StageCache(tmp_path / "c", "key")
    cache.put("flow", {"a": np.ones(3)}, {})
    cache.clear()
    assert cache.get("flow") is None
    assert names_in(tmp_path) == []
    cache.put("flow", {"a": np.ones(3)}, {})
    assert cache.get("flow") is not None


@pytest.mark.parametrize("kind", ["cut", "empty", "garbage", "flipped", "no meta", "objects"])
def test_a_damaged_entry_is_none_and_removed(tmp_path: Path, kind: str) -> None:
    cache = StageCache(tmp_path / "c", "key")
    cache.put("flow", {"a": np.arange(1000.0)}, {"n": 1})
    path = tmp_path / "c" / "flow.npz"
    data = bytearray(path.read_bytes())
    if kind == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "flipped":
        data[2000] ^= 255
        path.write_bytes(data)
    elif kind == "no meta":
        np.savez(path, **{"array.a": np.ones(3)})
    elif kind == "objects":
        about = np.frombuffer(b"{}", np.uint8)
        np.savez(path, meta=about, **{"array.a": np.array([{}])})
    else:
        path.write_bytes(b"" if kind == "empty" else b"no archive" * 20)
    assert cache.get("flow") is None
    assert not path.exists()


def test_a_failed_put_leaves_the_entry_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = StageCache(tmp_path / "c", "key")
    cache.put("flow", {"a": np.ones(3)}, {"n": 1})

    def full(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match="no space left"):
        cache.put("flow", {"a": np.zeros(3)}, {"n": 2})
    monkeypatch.undo()
    kept = cache.get("flow")
    assert kept is not None
    assert kept[1] == {"n": 1}
    assert names_in(tmp_path / "c") == ["flow.npz", "key.txt"]


def test_a_full_disk_at_the_first_stage_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match="no space left"):
        StageCache(tmp_path / "c", "key").put("flow", {"a": np.zeros(3)}, {})
    assert names_in(tmp_path) == []


def test_stages_are_listed_and_removed_by_name(tmp_path: Path) -> None:
    cache = StageCache(tmp_path / "c", "key")
    assert cache.kept("pairs.") == []
    for stage in ("pairs.0001", "pairs", "pairs.0000"):
        cache.put(stage, {"a": np.ones(1)}, {})
    assert cache.kept("pairs.") == ["pairs.0000", "pairs.0001"]
    cache.remove("pairs.0000")
    cache.remove("pairs.0000")
    assert cache.kept("pairs.") == ["pairs.0001"]
    assert cache.get("pairs") is not None


def test_a_kill_while_the_key_is_written_costs_no_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    StageCache(tmp_path / "c", "key").put("flow", {"a": np.ones(3)}, {})

    def killed(path: Path, text: str, **_: Any) -> None:
        path.write_bytes(b"")
        raise RuntimeError

    monkeypatch.setattr(Path, "write_text", killed)
    cache = StageCache(tmp_path / "c", "key")
    cache.put("pairs", {"a": np.ones(3)}, {})
    cache.files.empty("predictions.a", (8,), np.float32)
    with pytest.raises(RuntimeError):
        StageCache(tmp_path / "new", "key").put("flow", {"a": np.ones(3)}, {})
    monkeypatch.undo()
    assert StageCache(tmp_path / "c", "key").kept("") == ["flow", "pairs"]
    assert names_in(tmp_path) == ["c"]


def test_only_plain_arrays_can_be_kept(tmp_path: Path) -> None:
    cache = StageCache(tmp_path / "c", "key")
    with pytest.raises(ValueError, match="arrays of numbers"):
        cache.put("flow", {"a": np.array([{}])}, {})


def test_fingerprint_tells_inputs_and_options_apart(make_clip: Callable[..., Path]) -> None:
    clip, other = make_clip("a.mp4"), make_clip("b.mp4")
    seen = {
        fingerprint(clip, PLAIN),
        fingerprint(other, PLAIN),
        fingerprint(clip, Options(seed=1)),
        fingerprint(clip, Options(align=AlignOptions(geometry="scale"))),
    }
    assert len(seen) == 4
    assert fingerprint(str(clip), PLAIN) in seen
    assert fingerprint(clip, Options(output=OutputOptions(overwrite=True))) in seen
    data = bytearray(clip.read_bytes())
    about = clip.stat()
    data[-1] ^= 1
    clip.write_bytes(data)
    os.utime(clip, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert fingerprint(clip, PLAIN) not in seen, "same size and time, other content"


def test_fingerprint_covers_every_image_the_poses_and_the_masks(tmp_path: Path) -> None:
    for folder in ("shots", "masks"):
        (tmp_path / folder).mkdir()
        for i in range(3):
            cv2.imwrite(str(tmp_path / folder / f"{i}.png"), np.zeros((48, 64), np.uint8))
    (tmp_path / "poses.txt").write_text("0 0 0 0 0 0 0 1\n")
    camera = CameraOptions(poses=str(tmp_path / "poses.txt"), masks=str(tmp_path / "masks"))
    options = dataclasses.replace(PLAIN, camera=camera)
    seen = {fingerprint(tmp_path / "shots", options)}
    assert fingerprint(tmp_path / "shots", options) in seen
    for name in ("shots/1.png", "masks/2.png"):
        cv2.imwrite(str(tmp_path / name), np.full((48, 64), 9, np.uint8))
        seen.add(fingerprint(tmp_path / "shots", options))
    (tmp_path / "poses.txt").write_text("0 1 0 0 0 0 0 1\n")
    seen.add(fingerprint(tmp_path / "shots", options))
    assert len(seen) == 4


def test_fingerprint_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        fingerprint(tmp_path / "nowhere.mp4", PLAIN)
    (tmp_path / "a.bin").write_bytes(b"x" * 10)
    options = Options(camera=CameraOptions(poses=str(tmp_path / "gone.txt")))
    with pytest.raises(InputError, match="no such file"):
        fingerprint(tmp_path / "a.bin", options)
