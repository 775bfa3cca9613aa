"""Reading names no other files, and writing leads nowhere else."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from align3r import load
from align3r.cli.main import main
from align3r.config import InputOptions, OutputOptions
from align3r.errors import InputError, UsageError
from align3r.io.arrays import read_npz
from align3r.io.cache import StageCache
from align3r.io.video import read_frames
from align3r.io.whole import whole_or_nothing
from align3r.reconstruction import Reconstruction

MakeScene = Callable[..., Reconstruction]
SMALL = InputOptions(size=48)


def npy(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile secret.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    ],
)
def test_playlists_are_no_videos(
    text: str, make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = make_clip("secret.mp4")
    for name in ("list.mp4", "list.m3u8"):
        path = secret.with_name(name)
        path.write_text(text)
        with pytest.raises(InputError, match="text that names other files"):
            read_frames(path, SMALL)
    # The second lock, for what the first does not know.
    monkeypatch.setattr("align3r.io.containers._PLAYLISTS", (b"none of them",))
    with pytest.raises(InputError, match="not a video that can be decoded"):
        read_frames(secret.with_name("list.mp4"), SMALL)
    assert "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ


def test_what_the_user_told_ffmpeg_stays(
    make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "threads;1")
    assert len(read_frames(make_clip(), SMALL)) == 10
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "threads;1"


@pytest.mark.parametrize(
    "name",
    ["scene.json", "cameras.npz", "depth", "depth/000001.exr", "images/000000.jpg", "moving"],
)
def test_links_that_lead_out_of_a_result_are_refused(
    name: str, make_scene: MakeScene, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    make_scene(2).save(out, options=OutputOptions(html=False, pictures=False))
    (out / name).rename(tmp_path / "elsewhere")
    (out / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{name} is a link that leads out"):
        load(out)


def test_links_inside_of_a_result_and_to_it_are_fine(make_scene: MakeScene, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_scene(2).save(out, options=OutputOptions(html=False, pictures=False))
    (out / "depth" / "000001.exr").unlink()
    (out / "depth" / "000001.exr").symlink_to("000000.exr")
    (tmp_path / "link").symlink_to(out)
    scene = load(tmp_path / "link")
    np.testing.assert_array_equal(scene.depth(0), scene.depth(1))


def test_members_of_an_archive_go_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.npz"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../depth.npy", npy((2,), bytes(16)))
    assert list(read_npz(path)) == ["../../depth"]
    assert not list(tmp_path.glob("*.npy"))


@pytest.mark.parametrize("name", [".out.part", ".out.old"])
def test_a_result_is_never_written_through_a_link(
    name: str, make_scene: MakeScene, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    (tmp_path / "results").mkdir()
    out = tmp_path / "results" / "out"
    scene = make_scene(1)
    scene.save(out, options=OutputOptions(html=False, pictures=False))
    out.with_name(name).symlink_to(precious)
    scene.save(out, options=OutputOptions(html=False, pictures=False, overwrite=True))
    assert [path.name for path in precious.iterdir()] == ["file"]
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["out"]


def test_an_export_does_not_follow_links_out_of_a_result(
    make_scene: MakeScene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, precious = tmp_path / "out", tmp_path / "precious"
    make_scene(2).save(out, options=OutputOptions(html=False, pictures=False))
    precious.mkdir()
    (precious / "points.ply").write_text("mine")
    (out / "export").symlink_to(precious)
    assert main(["export", str(out), "--to", "ply"]) == 3
    assert "leads out of " in capsys.readouterr().err
    (out / "export").unlink()
    (out / "export").mkdir()
    for name in ("points.ply", ".part.points.ply", ".points.ply.lock"):
        (out / "export" / name).symlink_to(precious / name)
    assert main(["export", str(out), "--to", "ply"]) == 0
    assert [path.name for path in (out / "export").iterdir()] == ["points.ply"]
    assert not (out / "export" / "points.ply").is_symlink()
    assert [path.name for path in precious.iterdir()] == ["points.ply"]
    assert (precious / "points.ply").read_text() == "mine"


def test_an_output_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "precious")
    for overwrite in (False, True):
        block = whole_or_nothing(tmp_path / "out", overwrite=overwrite)
        with pytest.raises(UsageError, match="not a folder"), block:
            raise AssertionError("never reached")


def test_a_cache_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "key.txt").write_text("key")
    (tmp_path / "cache").symlink_to(precious)
    cache = StageCache(tmp_path / "cache", "key")
    cache.put("stage", {"a": np.ones(3)}, {})
    assert [path.name for path in precious.iterdir()] == ["key.txt"]
    kept = cache.get("stage")
    assert kept is not None
    np.testing.assert_array_equal(kept[0]["a"], 1)


@pytest.mark.parametrize("name", ["stage.part", "key.part", "stage.npz"])
def test_links_in_a_cache_are_replaced(tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / name).symlink_to(precious)
    StageCache(tmp_path / "cache", "key").put("stage", {"a": np.ones(3)}, {})
    assert precious.read_text() == "mine"
    assert StageCache(tmp_path / "cache", "key").get("stage") is not None


def test_mapped_arrays_of_a_cache_are_its_own_files(tmp_path: Path) -> None:
    precious = tmp_path / "precious.npy"
    np.save(precious, np.zeros(3))
    cache = StageCache(tmp_path / "cache", "key")
    array = cache.files.empty("a", (3,), np.float64)
    array[:] = 7
    cache.put("stage", {"a": array}, {})
    (tmp_path / "cache" / "a.npy").unlink()
    (tmp_path / "cache" / "a.npy").symlink_to(precious)
    assert StageCache(tmp_path / "cache", "key").get("stage") is None
    for name in ("../precious.npy", str(precious), "a.npy"):
        with pytest.raises(ValueError, match=r"no file"):
            cache.files.open(name)
    new = StageCache(tmp_path / "cache", "key").files.empty("a", (3,), np.float64)
    new[:] = 7
    np.testing.assert_array_equal(np.load(precious), 0)
