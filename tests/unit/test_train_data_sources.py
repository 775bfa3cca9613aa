"""What can be drawn from data sets in their true formats, and in which order."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections import Counter
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from data_set_samples import SAMPLES, copied

from align3r.datasets.table import dataset
from align3r.errors import InputError, UsageError
from align3r.train.data.footage import Footage
from align3r.train.data.rules import RULES
from align3r.train.data.shards import open_shard
from align3r.train.data.shares import Share, parse_held_out, parse_share, parse_strides
from align3r.train.data.sources import Source
from align3r.train.data.values import SourceView

VIDEOS: dict[str, tuple[str, dict[str, Any]]] = {
    "tartanair": ("tartanair", {}),
    "hypersim": ("hypersim", {}),
    "pointodyssey": ("pointodyssey", {}),
    "spring": ("spring", {}),
    "sceneflow": ("sceneflow", {"intrinsics": (70.0, 70.0, 31.5, 23.5)}),
    "vkitti2": ("vkitti", {}),
    "co3d": ("co3d", {"set_list": None, "quality": None}),
    "sintel": ("sintel", {}),
    "tum": ("tum", {}),
    "bonn": ("bonn", {}),
    "7scenes": ("7scenes", {}),
    "kitti": ("kitti", {}),
    "davis": ("davis", {}),
    "re10k": ("re10k", {}),
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def jpeg(value: int, size: tuple[int, int] = (40, 30)) -> bytes:
    image = np.full((size[1], size[0], 3), value, np.uint8)
    return bytes(cv2.imencode(".jpg", image)[1].tobytes())


def shard_archive(path: Path, count: int = 5, extra: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    with tarfile.open(path, "w") as archive:
        for i in range(count):
            for name, data in ((f"sa_{i}.jpg", jpeg(40 * i)), (f"sa_{i}.json", b"{}")):
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return path


class Numbered(Source):
    """A source whose frames are their numbers, of sequences of given lengths."""

    def __init__(self, lengths: list[int], **settings: Any) -> None:
        super().__init__(Share("tartanair", SAMPLES / "tartanair", 1), **settings)
        self.names = [f"s{i}" for i in range(len(lengths))]
        self.lengths = lengths

    def footage(self, name: str) -> Any:
        from align3r.train.data.footage import Footage

        def view(i: int) -> SourceView:
            return SourceView(f"{name}/{i}", np.zeros((2, 2, 3), np.uint8), None, None, None)

        return Footage(self.lengths[self.names.index(name)], view)

    def frames(self, visit: int, length: int, seed: int = 0) -> tuple[str, list[int]]:
        views = self.draw(visit, length, rng(seed))
        return views[0].name.partition("/")[0], [int(v.name.partition("/")[2]) for v in views]


# What options say.


def test_shares_are_read_as_written() -> None:
    assert parse_share("20000@sa1b=/data/sa1b") == Share("sa1b", Path("/data/sa1b"), 20000)
    assert parse_share("5@co3d=d/a=b@c:apple/*,!apple/1*") == Share(
        "co3d", Path("d/a=b@c"), 5, ("apple/*", "!apple/1*")
    )
    assert parse_share("5@sa1b=C:/data") == Share("sa1b", Path("C:/data"), 5)
    assert parse_share("5@sa1b=C:\\data:sa_1*").patterns == ("sa_1*",)
    assert parse_held_out("hypersim=~/h").root == Path("~/h").expanduser()
    assert parse_held_out("hypersim=h").samples is None
    assert parse_strides(["co3d=1-9", "spring=2-2"]) == {"co3d": (1, 9), "spring": (2, 2)}


@pytest.mark.parametrize(
    "text",
    [
        *("", "sa1b=/data", "0@sa1b=/d", "-1@sa1b=/d", "x@sa1b=/d", "1e3@sa1b=/d", "٣@sa1b=/d"),
        *("5@sa1b", "5@=/d", "5@sa1b=", "5@no=/d", "9" * 13 + "@sa1b=/d"),
    ],
)
def test_shares_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_share(text)


@pytest.mark.parametrize("text", ["co3d", "co3d=3", "co3d=0-3", "co3d=4-3", "no=1-2", "co3d=1-2-3"])
def test_strides_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_strides([text])


def test_patterns_choose_and_leave_out() -> None:
    names = ["a/1", "a/2", "b/1"]
    assert Share("sa1b", Path(), 1).chosen(names) == names
    assert Share("sa1b", Path(), 1).chosen(names, ("b/*",)) == ["b/1"]
    assert Share("sa1b", Path(), 1, ("a/*", "!*/2")).chosen(names) == ["a/1"]
    assert Share("sa1b", Path(), 1, ("!a/*",)).chosen(names) == ["b/1"]
    with pytest.raises(UsageError, match="c/\\*"):
        Share("sa1b", Path(), 1, ("c/*",)).chosen(names)


def test_every_rule_is_about_a_data_set() -> None:
    for name, row in RULES.items():
        assert dataset(name).kind == "video"
        assert 1 <= row.strides[0] <= row.strides[1]


# What is read.


@pytest.mark.parametrize("name", VIDEOS)
def test_videos_are_drawn_as_their_readers_read_them(name: str) -> None:
    pytest.importorskip("h5py")
    folder, settings = VIDEOS[name]
    source = Source(Share(name, SAMPLES / folder, 10), settings=settings)
    assert not source.is_single
    sequence = source.dataset.read(source.share.root, source.names[0])
    length = min(2, len(sequence))
    (first, *others) = source.draw(0, length, rng())
    assert [view.name for view in (first, *others)] != [first.name] * length or length == 1
    for visit in range(3):
        for view in source.draw(visit, length, rng(visit)):
            dataset_name, _, rest = view.name.partition("/")
            sequence_name, _, frame = rest.rpartition("/")
            of = source.dataset.read(source.share.root, sequence_name)
            i = of.frames.index(frame)
            assert dataset_name == name
            np.testing.assert_array_equal(view.image, of.image(i))
            if of.truth.depth is None:
                assert view.depth is None
            else:
                assert view.depth is not None and view.depth.dtype == np.float32
                known = np.isfinite(view.depth)
                assert view.depth.shape == view.image.shape[:2] and not np.isinf(view.depth).any()
                np.testing.assert_array_equal(view.depth[known], of.truth.depth(i)[known])
                if source.farthest is not None:
                    assert (view.depth[known] <= source.farthest).all()
            pose = of.truth.world_from_cam[i]
            if view.world_from_cam is None:
                assert not np.isfinite(pose).all()
            else:
                np.testing.assert_array_equal(view.world_from_cam, pose)


def test_single_images_with_and_without_depth() -> None:
    source = Source(Share("moge", SAMPLES / "moge_eval", 3))
    (view,) = source.draw(7, 5, rng())
    assert source.is_single and view.depth is not None and view.intrinsics is not None
    assert np.isinf(source.dataset.read_sample(source.share.root, source.names[0]).depth).any()
    assert not np.isinf(view.depth).any() and view.world_from_cam is None
    photos = Source(Share("sa1b", SAMPLES / "sa1b", 3))
    (photo,) = photos.draw(0, 2, rng())
    assert photo.depth is None and photo.name.startswith("sa1b/sa_000000/sa_")


def test_pairs_are_not_trained_on() -> None:
    with pytest.raises(UsageError, match="evaluate"):
        Source(Share("scannet1500", SAMPLES / "scannet1500", 3))


def test_a_source_of_renders_has_them_before_the_training(tmp_path: Path) -> None:
    settings = {"size": (32, 18), "frames": 3}
    share = Share("rendered", tmp_path, 4, ("bare_room/1", "bare_room/2"))
    source = Source(share, settings=settings)
    assert len(list(tmp_path.glob("bare_room-*-32x18-3"))) == 2
    names = {view.name for visit in range(4) for view in source.draw(visit, 3, rng(visit))}
    assert len(names) == 6
    assert {name.rpartition("/")[0] for name in names} == {
        f"rendered/bare_room/{i}" for i in (1, 2)
    }
    again = pickle.loads(pickle.dumps(source))
    assert [v.name for v in again.draw(3, 2, rng(5))] == [v.name for v in source.draw(3, 2, rng(5))]
    held_out = parse_held_out(f"rendered={tmp_path}")
    assert all(
        "/" not in name for name in held_out.chosen(["a", "a/1"], RULES["rendered"].held_out)
    )


def test_what_is_held_out_is_spread_evenly() -> None:
    source = Numbered([10, 4])
    names = [view.name for view in source.evenly(4)]
    assert names == ["s0/2", "s0/7", "s1/1", "s1/3"]
    assert [view.name for view in source.evenly(1)] == ["s1/0"]


# In which order.


def test_each_sequence_has_its_turn_and_each_frame_too() -> None:
    source = Numbered([6, 4, 5])
    drawn = [source.frames(visit, 1) for visit in range(3 * 20)]
    for turn in range(20):
        assert {name for name, _ in drawn[3 * turn : 3 * turn + 3]} == {"s0", "s1", "s2"}
    for name, length in (("s0", 6), ("s1", 4), ("s2", 5)):
        frames = [at[0] for other, at in drawn if other == name]
        for again in range(20 // length):
            assert sorted(frames[again * length : (again + 1) * length]) == list(range(length))
    assert len({tuple(name for name, _ in drawn[3 * t : 3 * t + 3]) for t in range(20)}) > 3


def test_views_are_at_one_stride_within_its_bounds() -> None:
    source = Numbered([100], strides=(2, 7))
    drawn = [source.frames(visit, 4, seed=visit)[1] for visit in range(400)]
    strides = [np.unique(np.diff(frames)) for frames in drawn]
    assert all(len(stride) == 1 for stride in strides)
    counts = Counter(abs(int(stride[0])) for stride in strides)
    assert set(counts) == set(range(2, 8))
    assert min(counts.values()) > 0.6 * max(counts.values())  # all alike
    assert 0.4 < np.mean([stride[0] > 0 for stride in strides]) < 0.6
    wanted = [source.frames(visit, 1)[1][0] for visit in range(100)]
    assert np.mean([w in frames for w, frames in zip(wanted, drawn, strict=False)]) > 0.7


def test_strides_give_way_to_short_sequences() -> None:
    source = Numbered([8, 3], strides=(5, 60))
    for visit in range(20):
        name, frames = source.frames(visit, 4, seed=visit)
        assert name == "s0" and np.abs(np.diff(frames)).tolist() == [2, 2, 2]
        assert min(frames) >= 0 and max(frames) < 8
    source.check_length(8)
    for look in (lambda: source.draw(0, 9, rng()), lambda: source.check_length(9)):
        with pytest.raises(UsageError, match="9 frames"):
            look()


# Shards.


def test_any_image_of_an_archive_is_read_alone(tmp_path: Path) -> None:
    shard_archive(tmp_path / "sa_000007.tar")
    shard = open_shard(tmp_path, "sa_000007")
    streamed = list(dataset("sa1b").stream(tmp_path, "sa_000007"))
    assert shard.length == len(streamed) == 5
    for i in (3, 0, 4, 4, 1):
        name, image = shard.read(i)
        assert name == streamed[i][0]
        np.testing.assert_array_equal(image, streamed[i][1])


def test_long_names_of_an_archive_are_followed(tmp_path: Path) -> None:
    data = jpeg(90)
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(tmp_path / "sa_1.tar", "w", format=kind) as archive:
            for i in range(2):
                info = tarfile.TarInfo(f"{'f' * 120}/sa_{i}.jpg")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        shard = open_shard(tmp_path, "sa_1")
        assert [shard.read(i)[0] for i in (1, 0)] == ["sa_1", "sa_0"]


def test_the_folder_of_a_shard_comes_before_its_archive(tmp_path: Path) -> None:
    root = copied("sa1b", tmp_path)
    (root / "sa_000000.tar").write_bytes(b"no archive")
    shard = open_shard(root, "sa_000000")
    streamed = list(dataset("sa1b").stream(root, "sa_000000"))
    assert [shard.read(i)[0] for i in range(shard.length)] == [name for name, _ in streamed]


def link() -> tarfile.TarInfo:
    info = tarfile.TarInfo("sa_9.jpg")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


@pytest.mark.parametrize("damage", ["link", "cut", "empty", "none", "text", "header"])
def test_damaged_archives_are_refused_in_words(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "sa_1.tar"
    shard_archive(path, count=0 if damage == "none" else 3, extra=(link(),) * (damage == "link"))
    data = path.read_bytes()
    if damage in ("cut", "empty", "text"):
        path.write_bytes({"cut": data[:1500], "empty": b"", "text": b"words " * 400}[damage])
    if damage == "header":
        at = data.index(b"./sa_1.jpg")
        path.write_bytes(data[:at] + b"\xff" * 100 + data[at + 100 :])
    with pytest.raises(InputError):
        open_shard(tmp_path, "sa_1")


def test_an_archive_that_changes_is_noticed(tmp_path: Path) -> None:
    path = shard_archive(tmp_path / "sa_1.tar")
    shard = open_shard(tmp_path, "sa_1")
    whole = path.read_bytes()
    for data in (whole[:700], bytes(len(whole)), whole.replace(b"\xff\xd8", b"\x00\x00"), b""):
        path.write_bytes(data)
        with pytest.raises(InputError):
            shard.read(4)
    path.unlink()
    with pytest.raises(InputError):
        shard.read(4)
    with pytest.raises(InputError):
        open_shard(tmp_path, "sa_1")


def test_whether_anything_is_known_of_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"size": (48, 32), "frames": 3}
    source = Source(Share("rendered", tmp_path, 1, ("bare_room/1",)), settings=settings)
    whole = source.footage("bare_room/1")
    assert source.has(attrgetter("has_depth"))

    def without(depth: Any) -> Footage:
        return Footage(whole.length, lambda i: replace(whole.view(i), depth=depth))

    def damaged(_i: int) -> SourceView:
        raise InputError("cut short")

    for depth in (None, np.full((32, 48), np.nan, np.float32)):
        monkeypatch.setattr(source, "footage", lambda _name, depth=depth: without(depth))
        assert not source.has(attrgetter("has_depth"))
    # What cannot be read is for others to say.
    monkeypatch.setattr(source, "footage", lambda _name: Footage(3, damaged))
    assert source.has(attrgetter("has_depth"))
