"""What is kept of single frames: found again, never mistaken for another's, made again if torn."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from align3r.errors import InputError
from align3r.train.frame_cache import FrameCache, weights_digest

Arrays = dict[str, np.ndarray]


@pytest.fixture
def image() -> np.ndarray:
    return np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


@pytest.fixture
def label() -> Arrays:
    depth = np.linspace(1, 9, 48, dtype=np.float16).reshape(6, 8)
    return {"depth": depth, "mask": depth > 2, "focal": np.array(7.5)}


def same(a: Arrays | None, b: Arrays) -> bool:
    return a is not None and a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def the_file(cache: FrameCache) -> Path:
    (path,) = cache.folder.rglob("*.npz")
    return path


def test_what_is_put_is_found(tmp_path: Path, image: np.ndarray, label: Arrays) -> None:
    cache = FrameCache(tmp_path, "moge")
    assert cache.get("a/0", image) is None
    assert not tmp_path.joinpath("moge").exists()
    cache.put("a/0", image, label)
    found = FrameCache(tmp_path, "moge").get("a/0", image)
    assert same(found, label)
    assert found is not None
    assert found["depth"].dtype == np.float16
    assert cache.has("a/0", image)


def test_another_frame_image_or_producer_finds_nothing(
    tmp_path: Path, image: np.ndarray, label: Arrays
) -> None:
    cache = FrameCache(tmp_path, "moge digest=1")
    cache.put("a/0", image, label)
    changed = image.copy()
    changed[3, 3, 1] += 1
    assert cache.get("a/1", image) is None
    assert cache.get("a/0", changed) is None
    assert cache.get("a/0", image.reshape(8, 6, 3)) is None
    assert FrameCache(tmp_path, "moge digest=2").get("a/0", image) is None


def test_a_view_of_an_image_is_that_image(tmp_path: Path, image: np.ndarray, label: Arrays) -> None:
    cache = FrameCache(tmp_path, "moge")
    cache.put("a", image[:, ::2], label)
    assert same(cache.get("a", image[:, ::2].copy()), label)


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_a_torn_file_gives_way_with_a_warning(
    keep: int, tmp_path: Path, image: np.ndarray, label: Arrays, caplog: pytest.LogCaptureFixture
) -> None:
    cache = FrameCache(tmp_path, "moge")
    cache.put("sa1b/7", image, label)
    path = the_file(cache)
    path.write_bytes(path.read_bytes()[:keep])
    assert not cache.has("sa1b/7", image)
    with caplog.at_level(logging.WARNING):
        assert cache.get("sa1b/7", image) is None
    assert "sa1b/7" in caplog.text and not path.exists()
    cache.put("sa1b/7", image, label)
    assert same(cache.get("sa1b/7", image), label)


def test_a_flipped_bit_is_noticed(tmp_path: Path, image: np.ndarray, label: Arrays) -> None:
    cache = FrameCache(tmp_path, "moge")
    cache.put("a", image, label)
    path = the_file(cache)
    raw = bytearray(path.read_bytes())
    raw[raw.index(label["depth"].tobytes()) + 5] ^= 1
    path.write_bytes(raw)
    assert cache.has("a", image)
    assert cache.get("a", image) is None
    # So that it is made again by whoever can.
    assert not cache.has("a", image) and not path.exists()


def test_a_failed_write_leaves_nothing(
    tmp_path: Path, image: np.ndarray, label: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    cache = FrameCache(tmp_path, "moge")
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match="no space left"):
        cache.put("a", image, label)
    assert not [path for path in cache.folder.rglob("*") if path.is_file()]


def test_only_numbers_are_kept(tmp_path: Path, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="numbers"):
        FrameCache(tmp_path, "x").put("a", image, {"a": np.array([object()])})
    assert not any(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder(
    tmp_path: Path, image: np.ndarray, label: Arrays
) -> None:
    place = tmp_path / "labels"
    place.write_text("a note")
    for folder in (place, place / "deeper"):
        with pytest.raises(InputError, match="labels is a file, not a folder") as refused:
            FrameCache(folder, "moge")
        assert "--prior.maps" in refused.value.hint
    place.unlink()
    cache = FrameCache(place, "moge")
    place.write_text("a note")
    assert cache.get("a", image) is None and not cache.has("a", image)
    with pytest.raises(InputError, match=r"labels/.* cannot be written"):
        cache.put("a", image, label)
    assert place.read_text() == "a note"


def test_many_write_the_same(tmp_path: Path, image: np.ndarray, label: Arrays) -> None:
    def write(_: int) -> bool:
        cache = FrameCache(tmp_path, "moge")
        cache.put("a", image, label)
        return same(cache.get("a", image), label)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write, range(64)))
    path = the_file(FrameCache(tmp_path, "moge"))
    assert not list(tmp_path.rglob("*.part"))
    assert path.is_file()


@pytest.mark.parametrize("producer", ["", "../../etc", "a b/c: d?*", "x" * 500])
def test_any_producer_has_a_folder_below(
    producer: str, tmp_path: Path, image: np.ndarray, label: Arrays
) -> None:
    cache = FrameCache(tmp_path / "in", producer)
    cache.put("../../name", image, label)
    assert cache.folder.parent == tmp_path / "in"
    assert the_file(cache).is_relative_to(cache.folder)


def test_weights_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    for name, numbers in (("a", b"123"), ("b", b"124")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(numbers)
    (tmp_path / "c.pth").write_bytes(b"123")
    (tmp_path / "d.pth").write_bytes(b"123")
    a, b, c, d = (weights_digest(tmp_path / name) for name in ("a", "b", "c.pth", "d.pth"))
    assert len({a, b, c}) == 3 and c == d
    (tmp_path / "b" / "model.safetensors").write_bytes(b"123")
    assert weights_digest(tmp_path / "b") == a
    with pytest.raises(InputError):
        weights_digest(tmp_path / "none.pth")
