"""The readers of MoGe's samples and of SA-1B on their samples."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_set_samples import (
    SAMPLES,
    check_depth,
    copied,
    expected,
)

from align3r.datasets import moge_samples, sa1b
from align3r.errors import InputError


def test_moge_sample_is_that_of_the_upstream_reader() -> None:
    root, want = SAMPLES / "moge_eval", expected("moge_eval")
    assert moge_samples.names(root) == ["scene_a"]
    got = moge_samples.read(root, "scene_a")
    assert got.size == (64, 48) and got.image.dtype == np.uint8
    check_depth(got.depth, want)
    assert np.isnan(got.depth).sum() == want["n_nan"]
    assert np.isposinf(got.depth).sum() == want["n_inf"]
    # Divided by the size of the image, whose corner is (0, 0).
    k = [[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]]
    np.testing.assert_allclose(got.intrinsics, k)
    assert got.labels == want["labels"] and got.segmentation is not None
    assert set(np.unique(got.segmentation)) <= {0, *want["labels"].values()}
    ball = got.depth[got.segmentation == want["labels"]["ball_a"]]
    ball = ball[np.isfinite(ball)]
    assert len(ball) > 20 and np.ptp(ball) < 1.5


def test_moge_segments_and_labels_may_be_absent(tmp_path: Path) -> None:
    root = copied("moge_eval", tmp_path)
    path = root / "scene_a/segmentation.png"
    numbers = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(path), numbers.astype(np.uint16) + 300)  # and without its text
    got = moge_samples.read(root, "scene_a")
    assert got.labels == {} and got.segmentation is not None and got.segmentation.min() == 300
    path.unlink()
    assert moge_samples.read(root, "scene_a").segmentation is None


def with_text(path: Path, near: str, far: str, unit: str | None = None) -> None:
    """Replace the texts of a PNG; by Pillow, which is not what reads them."""
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("near", near)
    info.add_itxt("far", far, zip=True)
    if unit is not None:
        info.add_text("unit", unit, zip=True)
    with Image.open(path) as image:
        image.load()
    image.save(path, pnginfo=info)


def test_moge_depth_has_a_unit_and_texts_may_be_packed(tmp_path: Path) -> None:
    root = copied("moge_eval", tmp_path)
    before = moge_samples.read(root, "scene_a").depth
    want = expected("moge_eval")
    with_text(root / "scene_a/depth.png", str(want["near"]), str(want["far"]), "0.5")
    np.testing.assert_allclose(moge_samples.read(root, "scene_a").depth, before / 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("near", "far"), [("0", "1"), ("2", "1"), ("nan", "1"), ("1", "inf"), ("x", "1"), ("-1", "1")]
)
def test_moge_refuses_depth_without_sense(tmp_path: Path, near: str, far: str) -> None:
    root = copied("moge_eval", tmp_path)
    with_text(root / "scene_a/depth.png", near, far)
    with pytest.raises(InputError, match=r"depth\.png cannot be read"):
        moge_samples.read(root, "scene_a")


def test_moge_depth_does_not_take_its_range_from_a_damaged_text(tmp_path: Path) -> None:
    root = copied("moge_eval", tmp_path)
    path = root / "scene_a/depth.png"
    path.write_bytes(path.read_bytes().replace(b"far\x00102", b"far\x00902"))
    with pytest.raises(InputError, match="a text of it is damaged"):
        moge_samples.read(root, "scene_a")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("scene_b", "1 of the 2 samples"),
        ("../elsewhere", "outside"),
        ("/tmp", "outside"),
        ("x" * 5000, "cannot be read"),
    ],
)
def test_moge_index_names_what_is_there(tmp_path: Path, line: str, words: str) -> None:
    root = copied("moge_eval", tmp_path)
    (root / ".index.txt").write_text(f"scene_a/\n\n{line.replace('/tmp', '//tmp')}\n")
    with pytest.raises(InputError, match=words if line != "/tmp" else "missing"):
        moge_samples.names(root)


def test_moge_images_and_depth_are_of_one_size(tmp_path: Path) -> None:
    root = copied("moge_eval", tmp_path)
    cv2.imwrite(str(root / "scene_a/image.jpg"), np.zeros((24, 32, 3), np.uint8))
    with pytest.raises(InputError, match="64x48 pixels, the images are 32x24"):
        moge_samples.read(root, "scene_a")


def shard(path: Path, *members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            info.type, info.linkname = kind, "sa_1.jpg"
            archive.addfile(info, io.BytesIO(data))


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """The sample as a shard, with what real shards have besides."""
    one, two = ((SAMPLES / "sa1b" / row["path"]).read_bytes() for row in expected("sa1b")["images"])
    shard(
        tmp_path / "sa_000000.tar",
        ("./sa_223750.jpg", two),
        ("./sa_223750.json", b"{}"),
        ("./sa_1.jpg", one),
        ("./notes.jpg", b"no image"),
    )
    return tmp_path


def test_sa1b_streams_a_folder_in_order_of_the_numbers() -> None:
    want = expected("sa1b")["images"]
    assert sa1b.names(SAMPLES / "sa1b") == ["sa_000000"]
    got = list(sa1b.read(SAMPLES / "sa1b", "sa_000000"))
    assert [(name, image.shape[1::-1]) for name, image in got] == [
        (Path(row["path"]).stem, tuple(row["size_wh"])) for row in want
    ]


def test_sa1b_streams_a_tar_in_its_own_order(packed: Path) -> None:
    assert sa1b.names(packed) == ["sa_000000"]
    got = dict(sa1b.read(packed, "sa_000000"))
    assert list(got) == ["sa_223750", "sa_1"]
    for name, image in sa1b.read(SAMPLES / "sa1b", "sa_000000"):
        np.testing.assert_array_equal(got[name], image)


def test_sa1b_reads_the_folder_where_there_are_both(packed: Path) -> None:
    (packed / "sa_000000").mkdir()
    assert len(list(sa1b.read(packed, "sa_000000"))) == 2  # nothing was unpacked yet
    shutil.copy(SAMPLES / "sa1b/sa_000000/sa_1.jpg", packed / "sa_000000")
    assert [name for name, _ in sa1b.read(packed, "sa_000000")] == ["sa_1"]


def test_sa1b_says_that_a_folder_is_empty(tmp_path: Path) -> None:
    (tmp_path / "sa_000007").mkdir()
    assert sa1b.names(tmp_path) == ["sa_000007"]
    with pytest.raises(InputError, match="sa_000007 holds no sa_<id>"):
        sa1b.read(tmp_path, "sa_000007")


def test_sa1b_does_not_read_ahead(packed: Path) -> None:
    data = bytearray((packed / "sa_000000.tar").read_bytes())
    at = data.rindex(b"\xff\xd8\xff")
    data[at : at + 3] = b"xxx"
    (packed / "sa_000000.tar").write_bytes(data)
    images = sa1b.read(packed, "sa_000000")
    assert next(images)[0] == "sa_223750"
    with pytest.raises(InputError, match=r"sa_1\.jpg in .* is not an image"):
        next(images)


@pytest.mark.parametrize("name", ["../sa_2.jpg", "/sa_2.jpg", "a/../../sa_2.jpg", "..\\sa_2.jpg"])
def test_sa1b_refuses_names_that_lead_out(tmp_path: Path, name: str) -> None:
    shard(tmp_path / "sa_000001.tar", (name, b""))
    with pytest.raises(InputError, match="outside of its folder"):
        list(sa1b.read(tmp_path, "sa_000001"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_sa1b_refuses_links_and_devices(tmp_path: Path, kind: bytes) -> None:
    shard(tmp_path / "sa_000001.tar", ("sa_2.jpg", b""), kind=kind)
    with pytest.raises(InputError, match="no plain file"):
        list(sa1b.read(tmp_path, "sa_000001"))


def test_sa1b_notices_that_a_tar_is_cut_short_or_damaged_anywhere(packed: Path) -> None:
    path = packed / "sa_000000.tar"
    data = path.read_bytes()
    end = data.index(bytes(1024), data.index(b"no image"))
    for size in range(0, end, 700):
        path.write_bytes(data[:size])
        with pytest.raises(InputError):
            list(sa1b.read(packed, "sa_000000"))
    header = data.index(b"./sa_1.jpg")
    path.write_bytes(data[: header + 100] + b"zzz" + data[header + 103 :])
    with pytest.raises(InputError, match="no whole tar archive"):
        list(sa1b.read(packed, "sa_000000"))
