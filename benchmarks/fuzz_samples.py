"""Whole files of every kind, small ones, for the fuzzer to break."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from align3r.config import Options
from align3r.io.exr import write_exr
from align3r.io.maps import ArrayMaps
from align3r.io.png import write_depth_png, write_mask_png
from align3r.reconstruction import Reconstruction
from align3r.types import Frames

REPOSITORY = Path(__file__).resolve().parents[1]
N, WIDTH, HEIGHT = 3, 48, 36
LENS = {"model": "PINHOLE", "width": WIDTH, "height": HEIGHT, "params": [50.0, 50.0, 24.0, 18.0]}
KEY = "key of the stage cache"


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
            "source": "sample.mp4",
            "source_path": "/nowhere/sample.mp4",
            "lenses": {"cameras": [LENS], "of_frame": [0] * N},
        },
    )


def _options_json() -> str:
    from align3r.io.jsonable import jsonable

    return json.dumps(jsonable(Options()), indent=1)


def write_videos(folder: Path) -> None:
    images = sample_frames().images
    for name, code in (("a.mp4", "mp4v"), ("b.mkv", "mp4v"), ("c.webm", "VP80"), ("d.avi", "MJPG")):
        writer = cv2.VideoWriter(
            str(folder / name), cv2.VideoWriter.fourcc(*code), 10.0, (WIDTH, HEIGHT)
        )
        for image in images:
            writer.write(image)
        writer.release()
    (folder / "e.mp4").write_bytes((REPOSITORY / "examples" / "clip.mp4").read_bytes())


def write_images(folder: Path) -> None:
    image = cv2.resize(sample_frames().images[0], (WIDTH, HEIGHT))
    for suffix in ("png", "jpg", "bmp", "tif", "webp", "ppm"):
        cv2.imwrite(str(folder / f"a.{suffix}"), image)
    cv2.imwrite(str(folder / "grey16.png"), image[..., 0].astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "alpha.png"), np.dstack([image, image[..., :1]]))
    cv2.imwrite(str(folder / "grey.pgm"), image[..., 0])


def write_list(folder: Path) -> None:
    lines = ["# timestamp path"]
    for i, image in enumerate(sample_frames().images):
        cv2.imwrite(str(folder / f"{i}.png"), image)
        lines.append(f"{i / 10:.3f} {i}.png")
    (folder / "rgb.txt").write_text("\n".join(lines) + "\n")


def write_poses(folder: Path) -> None:
    from align3r.io.tum import write_tum

    scene = sample_scene()
    write_tum(scene, folder / "poses.txt")
    np.savez(folder / "poses.npz", time=scene.times, world_from_cam=scene.world_from_cam)


def write_masks(folder: Path) -> None:
    for i in range(N):
        write_mask_png(sample_scene().moving(i), folder / f"{i}.png")


def write_priors(folder: Path) -> None:
    for i in range(N):
        depth = sample_scene().depth(i)
        for suffix in ("npy", "npz", "exr", "png"):
            (folder / suffix).mkdir(exist_ok=True)
        np.save(folder / "npy" / f"{i}.npy", depth)
        np.savez(folder / "npz" / f"{i}.npz", depth=depth, focallength_px=50.0)
        write_exr(depth, depth, folder / "exr" / f"{i}.exr")
        write_depth_png(depth, folder / "png" / f"{i}.png")


def write_config(folder: Path) -> None:
    (folder / "options.json").write_text(_options_json())


def write_result(folder: Path) -> None:
    from align3r.config import OutputOptions

    sample_scene().save(folder / "out", options=OutputOptions(html=False, pictures=False))


def write_cache(folder: Path) -> None:
    from align3r.io.cache import StageCache
    from align3r.io.storage import Storage
    from align3r.pairwise.predictor import empty_predictions
    from align3r.stage_cache import AlignCheckpoint, cached_mono, cached_predictions

    cache = StageCache(folder / "cache", KEY)
    cached_mono(cache, see)
    storage = Storage(cache.files, frozenset({"predictions"}))
    cached_predictions(cache, lambda journal: predict(empty_predictions(1, (8, 9), storage)))
    AlignCheckpoint(cache).save({"0/step": np.array(3), "0/value/x": np.zeros((2, 4))})


def see() -> Any:
    from align3r.types import MonoDepth

    depth = np.ones((N, 8, 9), np.float32)
    return MonoDepth(depth, np.dstack([depth] * 3).reshape(N, 8, 9, 3), np.ones(N), True, "x")


def predict(arrays: tuple[Any, Any]) -> Any:
    from align3r.types import PairPredictions

    for array in arrays:
        array[:] = 1
    return PairPredictions(np.array([[0, 1]]), *arrays, (4.0, 3.5), warnings=("a", "b"))


def write_weights(folder: Path) -> None:
    import torch
    from networks import config_of, constructor, public_state, tiny, write_folder, write_pth

    architecture = tiny(head="linear")
    state, config = public_state(architecture), config_of(architecture)
    write_folder(folder / "hub", state, config)
    write_pth(folder / "new.pth", state, constructor(config))
    write_pth(folder / "old.pth", state, constructor(config), new=False)
    torch.save({"a": torch.ones(3)}, folder / "vision.pt")


def write_adapters(folder: Path) -> None:
    import torch
    from adapters import make, released
    from safetensors.torch import load_file

    from align3r.models.lora import LoraSettings
    from align3r.train.lora import add_adapters, save_adapters

    network = make()
    add_adapters(network, LoraSettings(renorm="weight_row"))
    save_adapters(network, folder / "peft")
    state = load_file(folder / "peft" / "adapter_model.safetensors")
    torch.save(released(state), folder / "released.pth")


def write_truth(folder: Path) -> None:
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


def write_inputs(folder: Path) -> None:
    for write in (write_images, write_poses, write_config, write_result, write_videos):
        write(folder)
    (folder / "e.mp4").unlink()


COLMAP = {
    "cameras.txt": "1 PINHOLE 48 36 50 50 24 18\n",
    "images.txt": "".join(f"{i + 1} 1 0 0 0 0.{i} 0 0 1 {i}.png\n10 10 -1\n" for i in range(N)),
    "points3D.txt": "",
}


def write_colmap(folder: Path) -> None:
    import pycolmap

    for name in ("text", "binary"):
        (folder / name).mkdir()
    for name, text in COLMAP.items():
        (folder / "text" / name).write_text(text)
    pycolmap.logging.minloglevel = 4
    pycolmap.Reconstruction(str(folder / "text")).write_binary(str(folder / "binary"))


def write_calibrations(folder: Path) -> None:
    numbers = {"fl_x": 50.0, "fl_y": 50.0, "cx": 24.0, "cy": 18.0, "w": WIDTH, "h": HEIGHT}
    poses = [pose.tolist() for pose in sample_scene().world_from_cam]
    frames = [{"file_path": f"{i}.png", "transform_matrix": pose} for i, pose in enumerate(poses)]
    lens = {"width": WIDTH, "height": HEIGHT, "distortion_coefficients": [0.1, 0, 0, 0]}
    matrix = [[50.0, 0, 24], [0, 50.0, 18], [0, 0, 1]]
    files = {
        "transforms.json": {**numbers, "k1": 0.01, "frames": frames},
        "calibration.json": {**lens, "camera_matrix": matrix},
        "colmap.json": {"model": "PINHOLE", **lens, "params": [50, 50, 24, 18]},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))


def write_manifest(folder: Path) -> None:
    from align3r.batch.manifest import Entry, Manifest

    manifest = Manifest(folder)
    manifest.put({folder / "a.mp4": Entry("a", "key", "done", frames=3, seconds=1.5)})


def write_export(folder: Path) -> None:
    from align3r.io.exports import export

    export(sample_scene(), "colmap", folder / "colmap")


DATASETS = {
    "7scenes": "7scenes",
    "bonn": "bonn",
    "co3d": "co3d",
    "davis": "davis",
    "hypersim": "hypersim",
    "kitti": "kitti",
    "moge": "moge_eval",
    "pointodyssey": "pointodyssey",
    "re10k": "re10k",
    "sa1b": "sa1b",
    "scannet1500": "scannet1500",
    "sintel": "sintel",
    "spring": "spring",
    "tartanair": "tartanair",
    "tum": "tum",
    "vkitti2": "vkitti",
}
"""Row of the table -> folder of its sample in the true format."""


def write_datasets(folder: Path) -> None:
    every = REPOSITORY / "tests" / "golden" / "evaluation" / "datasets"
    for name, sample in DATASETS.items():
        shutil.copytree(every / sample, folder / name)
