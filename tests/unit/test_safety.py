"""What files from elsewhere may not do: take the memory, never end, lead out, or be run."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import torch

from align3r import load
from align3r.cli.main import main
from align3r.config import InputOptions, Options, OutputOptions
from align3r.errors import Align3rError, InputError, TooLargeError, UsageError, WeightsError
from align3r.evaluate import comparing
from align3r.io.arrays import read_npy, read_npz
from align3r.io.cache import StageCache
from align3r.io.exr import read_channels, read_exr
from align3r.io.files import most_pixels, read_json
from align3r.io.images import read_rgb
from align3r.io.png import read_depth_png
from align3r.io.video import read_frames
from align3r.io.whole import whole_or_nothing
from align3r.models.checkpoint import read_checkpoint
from align3r.models.pretrained import load_pretrained
from align3r.pipeline import reconstruct
from align3r.reconstruction import Reconstruction
from align3r.shared_stages import SharedStages

MakeScene = Callable[..., Reconstruction]
SMALL = InputOptions(size=48)


def png(width: int, height: int, data: bytes) -> bytes:
    """A grey PNG of 8 bits, whatever its data are."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def npy(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


class Harmful:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


# Bombs


def test_an_image_of_a_hundred_thousand_pixels_a_side_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    # Ten million zeros are ten kilobytes, and as much as a decoder needs to start.
    path.write_bytes(png(100_000, 100_000, bytes(10_000_000)))
    for read in (read_rgb, read_depth_png, lambda path: read_frames(path, SMALL)):
        with pytest.raises(TooLargeError, match=r"bomb\.png says that it is 100000x100000 pixels"):
            read(path)


def test_an_image_of_less_than_it_promises_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.write_bytes(png(11_000, 11_000, b""))
    with pytest.raises(InputError, match="bytes cannot hold 11000x11000 pixels"):
        read_rgb(path)
    whole = png(40, 30, bytes(41 * 30))
    place = whole.index(b"IDAT") - 4
    path.write_bytes(whole[:place] + struct.pack(">I", 2**31 + 5) + whole[place + 4 :])
    with pytest.raises(InputError, match="end is missing"):
        read_rgb(path)


def test_an_image_that_is_true_to_its_size_is_refused_by_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png(2000, 1500, bytes(2001 * 1500)))
    monkeypatch.setenv("ALIGN3R_MAX_MEGAPIXELS", "2.5")
    with pytest.raises(TooLargeError, match="2000x1500 pixels: more than 2 million") as caught:
        read_rgb(path)
    monkeypatch.setenv(*caught.value.hint.rpartition(" ")[2].split("="))
    assert read_rgb(path).shape == (1500, 2000, 3)


@pytest.mark.parametrize("value", ["much", "-1", "0", "nan", ""])
def test_a_limit_that_is_none_is_wrong_use(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGN3R_MAX_MEGAPIXELS", value)
    with pytest.raises(UsageError, match="ALIGN3R_MAX_MEGAPIXELS"):
        most_pixels()


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "tif", "webp", "ppm"])
def test_other_images_of_absurd_size(suffix: str, tmp_path: Path) -> None:
    import cv2

    path = tmp_path / f"a.{suffix}"
    # Lossy: a header of the other kind of WebP has its numbers in bits.
    lossy = [cv2.IMWRITE_WEBP_QUALITY, 80] if suffix == "webp" else []
    assert cv2.imwrite(str(path), np.zeros((40, 60, 3), np.uint8), lossy)
    data = path.read_bytes()
    side = 60_000 if suffix != "webp" else 16_000
    edits = {
        "jpg": (struct.pack(">HH", 40, 60), struct.pack(">HH", side, side)),
        "bmp": (struct.pack("<i", 60), struct.pack("<i", 2_000_000_000)),
        "tif": (struct.pack("<HHII", 256, 3, 1, 60), struct.pack("<HHII", 256, 4, 1, 2**31)),
        "webp": (struct.pack("<HH", 60, 40), struct.pack("<HH", side, side)),
        "ppm": (b"60 40", b"%d %d" % (side, side)),
    }
    if suffix == "webp":
        assert cv2.imwrite(
            str(path), np.zeros((40, 60, 3), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 80]
        )
        data = path.read_bytes()
    before, after = edits[suffix]
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, after))
    with pytest.raises(TooLargeError, match=f"{path.name} says that it is"):
        read_rgb(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_that_promises_a_hundred_gigabytes(tmp_path: Path, method: int) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("depth.npy", npy((100_000, 125_000), bytes(10_000_000)))
    with pytest.raises(TooLargeError, match="holds 100 GB"):
        read_npz(path)


def test_an_archive_that_has_less_than_it_promises(tmp_path: Path) -> None:
    path = tmp_path / "short.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("depth.npy", npy((1000, 1000), bytes(800)))
    with pytest.raises(ValueError, match="cut short"):
        read_npz(path)
    path = tmp_path / "short.npy"
    path.write_bytes(npy((10_000, 10_000)))
    with pytest.raises(ValueError, match="cut short"):
        read_npy(path)


def test_many_arrays_that_are_too_large_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "many.npz"
    np.savez_compressed(path, **{f"a{k}": np.zeros((100, 1000)) for k in range(10)})
    monkeypatch.setenv("ALIGN3R_MAX_ARRAY_GB", "0.005")
    with pytest.raises(TooLargeError, match=r"GB of numbers: more than 0.005 GB"):
        read_npz(path)


def test_an_exr_with_a_huge_window(tmp_path: Path) -> None:
    path = tmp_path / "bomb.exr"
    pixels = np.ones((36, 48), np.float32)
    OpenEXR.File({}, {"Z": pixels, "confidence": pixels}).write(str(path))
    name = b"dataWindow\0box2i\0"
    head, _, tail = path.read_bytes().partition(name)
    window = struct.pack("<4i", 0, 0, 99_999, 99_999)
    path.write_bytes(head + name + tail[:4] + window + tail[20:])
    for read in (read_channels, read_exr):
        with pytest.raises(TooLargeError, match="100000x100000"):
            read(path)


def test_an_exr_with_a_thousand_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.exr"
    pixels = np.zeros((100, 100), np.float32)
    OpenEXR.File({}, {f"c{k}": pixels for k in range(30)}).write(str(path))
    monkeypatch.setenv("ALIGN3R_MAX_ARRAY_GB", "0.001")
    with pytest.raises(TooLargeError, match=r"0\.0012 GB"):
        read_channels(path)


def test_a_video_with_more_frames_than_bytes(
    tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    clip = make_clip()
    data = clip.read_bytes()
    place = data.index(b"stsz") + 8
    clip.write_bytes(data[:place] + struct.pack(">II", 1, 100_000_000) + data[place + 8 :])
    with pytest.raises(InputError, match="announces 100000000 frames"):
        read_frames(clip, SMALL)


def test_a_video_of_larger_frames_than_the_limit(
    make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGN3R_MAX_MEGAPIXELS", "0.003")
    with pytest.raises(TooLargeError, match="64x48 pixels"):
        read_frames(make_clip(), SMALL)


def test_json_without_a_bottom(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(path)


# What never ends


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["pipe.mp4", "pipe.png", "pipe.txt"])
def test_pipes_are_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=r"pipe\."):
        read_frames(tmp_path / name, SMALL)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
@pytest.mark.parametrize("name", ["zero.png", "zero.npy", "zero.exr"])
def test_devices_are_not_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.symlink_to("/dev/zero")
    reader = {".png": read_rgb, ".npy": read_npy, ".exr": read_exr}[path.suffix]
    with pytest.raises(InputError, match="pipe or a device"):
        reader(path)


# What names other files


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


# What leads out of a folder


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
    assert "leads out of the result" in capsys.readouterr().err
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


# What would be run


def test_pickles_in_arrays_are_not_opened(tmp_path: Path, make_scene: MakeScene) -> None:
    harm = tmp_path / "harm"
    evil = np.array([Harmful(harm)], dtype=object)
    np.save(tmp_path / "a.npy", evil)
    np.savez(tmp_path / "a.npz", depth=evil)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Harmful(harm)))
    for name, read in (("a.npy", read_npy), ("b.npy", read_npy)):
        with pytest.raises(ValueError, match=r"numbers|magic"):
            read(tmp_path / name)
    assert read_npz(tmp_path / "a.npz") == {}
    with pytest.raises(ValueError, match="it holds object, not numbers"):
        read_npz(tmp_path / "a.npz", ["depth"])
    out = tmp_path / "out"
    make_scene(1).save(out, options=OutputOptions(html=False, pictures=False))
    np.savez(
        out / "cameras.npz", **{name: evil for name in ("world_from_cam", "K", "time", "frame")}
    )
    with pytest.raises(InputError, match="not numbers"):
        load(out)
    assert not harm.exists()


def test_a_cache_with_pickles_is_computed_again(tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    cache = StageCache(tmp_path / "cache", "key")
    cache.put("stage", {"a": np.ones(1)}, {})
    np.savez(tmp_path / "cache" / "stage.npz", **{"array.a": np.array([Harmful(harm)], object)})
    assert cache.get("stage") is None
    assert not harm.exists()


@pytest.mark.parametrize("new", [True, False])
def test_weights_do_not_run(tmp_path: Path, new: bool) -> None:
    harm, path = tmp_path / "harm", tmp_path / "evil.pth"
    torch.save({"model": {"a": Harmful(harm)}}, path, _use_new_zipfile_serialization=new)
    with pytest.raises(WeightsError, match="when it is opened"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(Harmful(harm)))
    with pytest.raises(WeightsError, match=r"evil\.pth"):
        read_checkpoint(path)
    assert not harm.exists()


def test_weights_that_grow_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(10_000)}, path)
    again = tmp_path / "b.pth"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(WeightsError, match="damaged"):
        read_checkpoint(again)
    torch.save({"a": torch.zeros(4).expand(10_000_000, 4)}, path)
    with pytest.raises(WeightsError, match=r"a tensor of 4e\+07 numbers in 16 bytes"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "wish",
    [
        {"auto_map": {"AutoModel": "code.Evil"}},
        {"attn_implementation": "someone/kernels"},
        {"backbone_config": {"_attn_implementation_internal": "someone/kernels@main:evil"}},
        {"quantization_config": {"quant_method": "other"}},
        {"backbone": "someone/weights", "use_pretrained_backbone": True},
    ],
)
def test_a_network_that_asks_for_code_or_files_of_others(
    wish: dict[str, object], tmp_path: Path
) -> None:
    config = {"model_type": "depth_anything", **wish}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="asks for") as caught:
        load_pretrained(
            tmp_path,
            "DepthAnythingForDepthEstimation",
            device=torch.device("cpu"),
            dtype=torch.float32,
        )
    assert "nothing else is fetched or run" in caught.value.hint


# Nothing is left behind


@pytest.mark.parametrize("content", [b"", b"no video", b"\x00\x00\x00\x18ftypmp42" + bytes(500)])
def test_an_input_that_is_broken_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(content)
    with pytest.raises(Align3rError):
        reconstruct(video, out=tmp_path / "results" / "out", options=Options())
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_scene_json_of_nonsense(make_scene: MakeScene, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_scene(2).save(out, options=OutputOptions(html=False, pictures=False))
    whole = json.loads((out / "scene.json").read_text())
    for key, value in {
        "n_frames": True,
        "size": [100_000, 100_000],
        "scale": ["relative"],
        "version": "A" * 100_000,
    }.items():
        (out / "scene.json").write_text(json.dumps({**whole, key: value}))
        with pytest.raises(InputError) as caught:
            load(out)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["scene.json", "cameras.npz", "depth/000001.exr"])
def test_a_finished_run_of_a_comparison_that_is_damaged_is_made_again(
    name: str,
    tmp_path: Path,
    make_clip: Callable[..., Path],
    make_scene: MakeScene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, clip = tmp_path / "work" / "depth", make_clip()
    options = Options(model="geometric", output=OutputOptions(html=False, pictures=False))
    made = []

    def quick(source: Path, *, out: Path, options: Options, **_: object) -> None:
        made.append(make_scene(2).save(out, options=options.output))

    monkeypatch.setattr(comparing.pipeline, "reconstruct", quick)
    shared = SharedStages(tmp_path / "shared")

    def run() -> Reconstruction:
        return comparing._reconstruct_once(
            clip, options, folder, shared=shared, report=lambda stage, done, total: None
        )

    run()
    run()
    assert len(made) == 1
    (folder / name).unlink()
    assert len(run()) == 2
    assert len(made) == 2
    (folder.parent / "depth.key").write_bytes(b"\xff\xfe")
    run()
    assert len(made) == 3
