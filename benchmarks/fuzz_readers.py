"""Every reader of align3r, whole files for it to start from, and how it is called."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from align3r.config import CameraOptions, InputOptions, Options
from align3r.io.exr import write_exr
from align3r.io.maps import ArrayMaps
from align3r.io.png import write_depth_png, write_mask_png
from align3r.reconstruction import Reconstruction
from align3r.types import Frames

REPOSITORY = Path(__file__).resolve().parents[1]
N, WIDTH, HEIGHT = 3, 48, 36
KEY = "key of the stage cache"


@dataclass(frozen=True)
class Reader:
    """One way into align3r."""

    name: str
    write: Callable[[Path], None]
    """Fills a folder with whole files, whatever of them will be broken."""
    read: Callable[[Path, str], None]
    """Reads the folder, given the name of the file in it that was broken."""
    only: str = "*"
    """Pattern of the files that are broken."""
    repairs: bool = False
    """Whether reading may remove or replace files: a cache that is damaged is made anew."""


def sample_frames() -> Frames:
    """Three small frames."""
    images = np.random.default_rng(0).integers(0, 255, (N, HEIGHT, WIDTH, 3), np.uint8)
    return Frames(images, np.arange(N) / 10, np.arange(N), (WIDTH, HEIGHT), "sample")


def sample_scene() -> Reconstruction:
    """A small reconstruction."""
    rng = np.random.default_rng(1)
    shape = (N, HEIGHT, WIDTH)
    maps = ArrayMaps(
        depth=rng.uniform(1, 4, shape).astype(np.float32),
        confidence=rng.uniform(1, 9, shape).astype(np.float32),
        moving=rng.uniform(size=shape) < 0.2,
        images=sample_frames().images,
        source_size=(WIDTH, HEIGHT),
    )
    poses = np.repeat(np.eye(4)[None], N, axis=0)
    poses[:, 0, 3] = np.arange(N) / 10
    k = np.array([[50.0, 0, (WIDTH - 1) / 2], [0, 50.0, (HEIGHT - 1) / 2], [0, 0, 1]])
    return Reconstruction(
        world_from_cam=poses,
        intrinsics=np.repeat(k[None], N, axis=0),
        times=np.arange(N) / 10,
        frame_index=np.arange(N),
        size=(WIDTH, HEIGHT),
        maps=maps,
        info={
            "options": json.loads(_options_json()),
            "losses": {"total": 0.5},
            "warnings": ["no parallax"],
            "timings": [{"stage": "read", "seconds": 0.5, "peak_mb": 100}],
        },
    )


def _options_json() -> str:
    from align3r.io.jsonable import jsonable

    return json.dumps(jsonable(Options()), indent=1)


# Videos and images


def _write_videos(folder: Path) -> None:
    images = sample_frames().images
    for name, code in (("a.mp4", "mp4v"), ("b.mkv", "mp4v"), ("c.webm", "VP80"), ("d.avi", "MJPG")):
        writer = cv2.VideoWriter(
            str(folder / name), cv2.VideoWriter.fourcc(*code), 10.0, (WIDTH, HEIGHT)
        )
        for image in images:
            writer.write(image)
        writer.release()
    (folder / "e.mp4").write_bytes((REPOSITORY / "examples" / "clip.mp4").read_bytes())


def _read_source(folder: Path, name: str) -> None:
    from align3r.io.video import read_frames, source_images

    frames = read_frames(folder / name, InputOptions(size=48, max_frames=4))
    for _ in source_images(folder / name, frames.index):
        pass


def _write_images(folder: Path) -> None:
    image = cv2.resize(sample_frames().images[0], (WIDTH, HEIGHT))
    for suffix in ("png", "jpg", "bmp", "tif", "webp", "ppm"):
        cv2.imwrite(str(folder / f"a.{suffix}"), image)
    cv2.imwrite(str(folder / "grey16.png"), image[..., 0].astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "alpha.png"), np.dstack([image, image[..., :1]]))
    cv2.imwrite(str(folder / "grey.pgm"), image[..., 0])


def _write_list(folder: Path) -> None:
    lines = ["# timestamp path"]
    for i, image in enumerate(sample_frames().images):
        cv2.imwrite(str(folder / f"{i}.png"), image)
        lines.append(f"{i / 10:.3f} {i}.png")
    (folder / "rgb.txt").write_text("\n".join(lines) + "\n")


# What the user knows


def _write_poses(folder: Path) -> None:
    from align3r.io.tum import write_tum

    scene = sample_scene()
    write_tum(scene, folder / "poses.txt")
    np.savez(folder / "poses.npz", time=scene.times, world_from_cam=scene.world_from_cam)


def _read_poses(folder: Path, name: str) -> None:
    from align3r.io.cameras import read_known_cameras

    read_known_cameras(CameraOptions(poses=str(folder / name)), sample_frames())


def _write_masks(folder: Path) -> None:
    for i in range(N):
        write_mask_png(sample_scene().moving(i), folder / f"{i}.png")


def _read_masks(folder: Path, name: str) -> None:
    from align3r.io.masks import read_masks

    read_masks(folder, sample_frames())


def _write_priors(folder: Path) -> None:
    for i in range(N):
        depth = sample_scene().depth(i)
        for suffix in ("npy", "npz", "exr", "png"):
            (folder / suffix).mkdir(exist_ok=True)
        np.save(folder / "npy" / f"{i}.npy", depth)
        np.savez(folder / "npz" / f"{i}.npz", depth=depth, focallength_px=50.0)
        write_exr(depth, depth, folder / "exr" / f"{i}.exr")
        write_depth_png(depth, folder / "png" / f"{i}.png")


def _read_priors(folder: Path, name: str) -> None:
    from align3r.io.priors import PriorMaps

    for _ in PriorMaps((folder / name).parent, sample_frames(), kind="depth"):
        pass


def _write_config(folder: Path) -> None:
    (folder / "options.json").write_text(_options_json())


def _read_config(folder: Path, name: str) -> None:
    from align3r.cli.options_io import read_options

    read_options(folder / name)


# Results and caches


def _write_result(folder: Path) -> None:
    from align3r.config import OutputOptions

    sample_scene().save(folder / "out", options=OutputOptions(html=False, pictures=False))


def _read_result(folder: Path, name: str) -> None:
    from align3r import load
    from align3r.io.glb import write_glb
    from align3r.io.ply import write_ply
    from align3r.io.tum import write_tum
    from align3r.view.sampling import frame_cloud

    scene = load(folder / "out")
    scene.points(moving=False)
    for i in range(len(scene)):
        frame_cloud(scene, i, stride=1)
    for i, write in enumerate((write_tum, write_ply, write_glb)):
        path = folder.parent / f"written{i}.glb"
        try:
            write(scene, path)
        finally:
            path.unlink(missing_ok=True)


def _write_cache(folder: Path) -> None:
    from align3r.io.cache import StageCache
    from align3r.pairwise.predictor import empty_predictions
    from align3r.io.storage import Storage
    from align3r.stage_cache import AlignCheckpoint, cached_mono, cached_predictions

    cache = StageCache(folder / "cache", KEY)
    cached_mono(cache, _see)
    storage = Storage(cache.files, frozenset({"predictions"}))
    cached_predictions(cache, lambda journal: _predict(empty_predictions(1, (8, 9), storage)))
    AlignCheckpoint(cache).save({"0/step": np.array(3), "0/value/x": np.zeros((2, 4))})


def _see() -> Any:
    from align3r.types import MonoDepth

    depth = np.ones((N, 8, 9), np.float32)
    return MonoDepth(depth, np.dstack([depth] * 3).reshape(N, 8, 9, 3), np.ones(N), True, "x")


def _predict(arrays: tuple[Any, Any]) -> Any:
    from align3r.types import PairPredictions

    for array in arrays:
        array[:] = 1
    return PairPredictions(np.array([[0, 1]]), *arrays, (4.0, 3.5), warnings=("a", "b"))


def _read_cache(folder: Path, name: str) -> None:
    from align3r.io.cache import StageCache
    from align3r.optim.journal import Journal
    from align3r.pairwise.predictor import empty_predictions
    from align3r.stage_cache import AlignCheckpoint, cached_mono, cached_predictions

    cache = StageCache(folder / "cache", KEY)
    mono = cached_mono(cache, _see)
    pairs = cached_predictions(cache, lambda journal: _predict(empty_predictions(1, (8, 9), None)))
    assert mono.depth.dtype == np.float32 and pairs.points.shape == (1, 2, 8, 9, 3)
    Journal(1, 5, None, AlignCheckpoint(cache)).resume(0, {"x": (2, 4)})
    cache.files.release()


# Weights


def _write_weights(folder: Path) -> None:
    import torch
    from networks import config_of, constructor, public_state, tiny, write_folder, write_pth

    architecture = tiny(head="linear")
    state, config = public_state(architecture), config_of(architecture)
    write_folder(folder / "hub", state, config)
    write_pth(folder / "new.pth", state, constructor(config))
    write_pth(folder / "old.pth", state, constructor(config), new=False)
    torch.save({"a": torch.ones(3)}, folder / "vision.pt")


def _read_weights(folder: Path, name: str) -> None:
    from align3r.flow.hub_file import read_weights
    from align3r.models.loading import load_pair_network

    if name == "vision.pt":
        read_weights(folder / name)
    else:
        load_pair_network(folder / "hub" if name.startswith("hub") else folder / name)


# Truth to compare with


def _write_truth(folder: Path) -> None:
    scene = sample_scene()
    sequence = folder / "sequence"
    (sequence / "dynamic_mask").mkdir(parents=True)
    lists: dict[str, list[str]] = {"rgb": [], "depth": [], "groundtruth": []}
    for i in range(N):
        lists["rgb"].append(f"{i / 10} rgb{i}.png")
        lists["depth"].append(f"{i / 10} depth{i}.png")
        lists["groundtruth"].append(f"{i / 10} {i / 10} 0 0 0 0 0 1")
        write_depth_png(scene.depth(i), sequence / f"depth{i}.png")
        write_mask_png(scene.moving(i), sequence / "dynamic_mask" / f"rgb{i}.png")
    for name, lines in lists.items():
        (sequence / f"{name}.txt").write_text("\n".join(lines) + "\n")
    numbers = {"fx": 50, "fy": 50, "cx": 24, "cy": 18, "width": WIDTH, "height": HEIGHT}
    (sequence / "camera.json").write_text(json.dumps({**numbers, "depth_factor": 1000}))
    np.savez_compressed(
        folder / "truth.npz",
        size=np.array([WIDTH, HEIGHT]),
        world_from_cam=scene.world_from_cam,
        K=scene.intrinsics,
        time=scene.times,
        depth=np.stack([scene.depth(i) for i in range(N)]).astype(np.float16),
        depth_stride=np.array(1),
        moving=np.packbits(np.stack([scene.moving(i) for i in range(N)])),
    )


def _read_truth(folder: Path, name: str) -> None:
    from align3r.evaluate.sequences import read_truth

    truth = read_truth(folder / name if name.endswith(".npz") else folder / "sequence")
    for i in range(len(truth)):
        truth.depth(i)
        if truth.moving is not None:
            truth.moving(i)


# What a person types


def _write_inputs(folder: Path) -> None:
    for write in (_write_images, _write_poses, _write_config, _write_result, _write_videos):
        write(folder)
    (folder / "e.mp4").unlink()


def _command(folder: Path, name: str) -> None:
    """The whole command: an exit code that is no accident, words, no traceback, no output."""
    from align3r.cli.main import main

    path, out = str(folder / name), folder.parent / "command-out"
    video = str(folder / "a.mp4") if not name.startswith("a.mp4") else str(folder / "d.avi")
    if name.startswith("out/"):
        words = ["export", str(folder / "out"), "--to", "tum", "ply", "glb", "-o", str(out)]
    elif name.startswith("poses"):
        words = ["reconstruct", video, "--poses", path, "--dry-run", "-o", str(out)]
    elif name.startswith("options"):
        words = ["reconstruct", video, "--config", path, "--dry-run", "-o", str(out)]
    else:
        words = ["reconstruct", path, "--dry-run", "--input.size", "64", "-o", str(out)]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    left = sorted(path.name for path in folder.parent.glob("*command-out*"))
    for path_left in folder.parent.glob("command-out/*"):
        path_left.unlink()
    with contextlib.suppress(OSError):
        out.rmdir()
    if code not in (0, 2, 3, 4, 5, 6) or "Traceback" in said.getvalue():
        raise AssertionError(f"exit code {code}: {said.getvalue()[-300:]}")
    if code:
        if not said.getvalue().startswith("error: "):
            raise AssertionError(f"exit code {code} without a word: {said.getvalue()[-300:]}")
        if left:
            raise AssertionError(f"exit code {code} and left behind {left}")
        raise CommandRefused(code)


class CommandRefused(Exception):
    """A command ended with an exit code that says why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


READERS = {
    reader.name: reader
    for reader in (
        Reader("video", _write_videos, _read_source),
        Reader("images", _write_images, _read_source),
        Reader("list of images", _write_list, _read_source, only="rgb.txt"),
        Reader("poses: TUM, npz", _write_poses, _read_poses),
        Reader("masks: PNG", _write_masks, _read_masks),
        Reader("depth maps: npy, npz", _write_priors, _read_priors, only="np?/*"),
        Reader("depth maps: EXR", _write_priors, _read_priors, only="exr/*"),
        Reader("depth maps: PNG", _write_priors, _read_priors, only="png/*"),
        Reader("options: JSON", _write_config, _read_config),
        Reader("result: scene.json", _write_result, _read_result, only="out/scene.json"),
        Reader("result: cameras.npz", _write_result, _read_result, only="out/cameras.npz"),
        Reader("result: EXR, PNG, JPEG", _write_result, _read_result, only="out/*/*"),
        Reader("stage cache", _write_cache, _read_cache, repairs=True),
        Reader("weights", _write_weights, _read_weights),
        Reader("truth: npz, TUM folder", _write_truth, _read_truth),
        Reader("whole command", _write_inputs, _command),
    )
}


def files_of(reader: Reader, folder: Path) -> Iterator[str]:
    """Names of the files that are broken, in a fixed order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).match(reader.only):
            yield path.relative_to(folder).as_posix()
