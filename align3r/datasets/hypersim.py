"""Hypersim: rendered rooms, whose images are linear and whose depth is the distance to the camera.

Roberts et al., ICCV 2021.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from align3r.datasets.files import check_sequence, files, folders, numbers, reading, rigid
from align3r.datasets.hypersim_tables import Camera, read_camera, read_scale
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.errors import InputError
from align3r.io.hdf5 import read_hdf5

CAMERAS = "metadata_camera_parameters.csv"

_CV_FROM_GL = np.diag([1.0, -1.0, -1.0])
_BRIGHTNESS = np.array([0.3, 0.59, 0.11], np.float32)
_QUANTILE, _BECOMES, _GAMMA = 90, 0.8, 2.2
_DARK = 1e-4
_BRIGHTEST = np.finfo(np.float16).max


def names(root: Path) -> list[str]:
    """Camera paths that are there, as `ai_001_001/cam_00`."""
    found = folders(root, "ai_*/images/scene_cam_*_final_hdf5")
    parts = [at.replace("images/scene_", "").removesuffix("_final_hdf5") for at in found]
    return sorted(parts)


def read(root: Path, name: str) -> Sequence:
    """The frames of a camera path that were rendered.

    Images are tone-mapped as the data set's authors do. Depth is unknown where the distance is
    nan. The paths have no times: frames are a second apart.

    Args:
        root: With `metadata_camera_parameters.csv` and the scenes, in each `_detail/` and
            `images/`.
        name: One of `names`.

    Raises:
        InputError: Files are missing or cannot be read.
        MissingExtraError: h5py is not installed.
    """
    check_sequence(name, names(root), root)
    scene, camera_name = name.split("/")
    images = f"{scene}/images/scene_{camera_name}"
    colours = f"{images}_final_hdf5/frame.*.color.hdf5"
    rendered = numbers(root, colours)
    poses = _read_poses(root / scene / "_detail", camera_name)
    frames = [frame for frame in rendered if int(frame) in poses]
    if not frames:
        raise InputError(
            f"{name} has {len(rendered)} images {colours} and {len(poses)} poses, and no image "
            "with a pose",
            hint="unpack the images of this scene again",
        )
    colour, distance, entity = (
        files(root, pattern, frames)
        for pattern in (
            colours,
            f"{images}_geometry_hdf5/frame.*.depth_meters.hdf5",
            f"{images}_geometry_hdf5/frame.*.render_entity_id.hdf5",
        )
    )
    camera = read_camera(root / CAMERAS, scene)
    world_from_cam = np.stack([poses[int(frame)] for frame in frames])
    world_from_cam[:, :3, :3] @= camera.turned_from_cam.T
    return Sequence(
        dataset="hypersim",
        name=name,
        frames=tuple(frames),
        images=(),
        read=lambda i: _read_image(colour[i], entity[i], camera.size),
        remarks=_remarks(frames, rendered, poses),
        truth=Truth(
            world_from_cam=world_from_cam,
            intrinsics=np.tile(camera.intrinsics, (len(frames), 1, 1)),
            times=np.array(frames, np.float64),
            size=camera.size,
            depth=lambda i: _read_depth(distance[i], camera),
        ),
    )


def _remarks(
    frames: list[str], rendered: list[str], poses: dict[int, np.ndarray]
) -> tuple[str, ...]:
    lost, never = len(rendered) - len(frames), len(poses) - len(frames)
    said = (
        (lost, f"{lost} images without a pose are left out"),
        (never, f"{never} poses have no image"),
    )
    return tuple(text for count, text in said if count)


def _read_poses(detail: Path, camera: str) -> dict[int, np.ndarray]:
    """(4, 4) world_from_cam in metres by the number of the frame."""
    folder = detail / camera
    index, positions, turns = (
        read_hdf5(folder / f"camera_keyframe_{what}.hdf5", "dataset", shape=shape)
        for what, shape in (
            ("frame_indices", (None,)),
            ("positions", (None, 3)),
            ("orientations", (None, 3, 3)),
        )
    )
    if not len(index) == len(positions) == len(turns):
        raise InputError(
            f"{folder} has {len(index)} frames, {len(positions)} positions and {len(turns)} "
            "orientations",
            hint="unpack _detail of this scene again",
        )
    scale = read_scale(detail / "metadata_scene.csv")
    with np.errstate(over="ignore", invalid="ignore"):
        poses = np.concatenate([turns @ _CV_FROM_GL, scale * positions[..., None]], axis=-1)
    poses = rigid(poses, folder / "camera_keyframe_orientations.hdf5")
    with reading(folder / "camera_keyframe_frame_indices.hdf5"):
        return {int(i): pose for i, pose in zip(index, poses, strict=True)}


def _read_depth(path: Path, camera: Camera) -> np.ndarray:
    """Distances along the rays, as depth."""
    width, height = camera.size
    distance = read_hdf5(path, "dataset", shape=(height, width)).astype(np.float32)
    v, u = np.mgrid[0:height, 0:width]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(camera.intrinsics).T
    with np.errstate(invalid="ignore", over="ignore"):
        depth = (distance / np.linalg.norm(rays, axis=-1)).astype(np.float32)
        return np.where(depth > 0, depth, np.float32(np.nan))


def _read_image(path: Path, entity: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 of a linear image and the numbers of what is seen, -1 = nothing rendered."""
    width, height = size
    linear = read_hdf5(path, "dataset", shape=(height, width, 3)).astype(np.float32)
    rendered = read_hdf5(entity, "dataset", shape=(height, width)) != -1
    return _tone_mapped(np.nan_to_num(np.clip(linear, 0, _BRIGHTEST)), rendered)


def _tone_mapped(linear: np.ndarray, rendered: np.ndarray) -> np.ndarray:
    """Exposed so that bright pixels of what was rendered become 0.8 after gamma; black if dark."""
    if rendered.any():
        bright = float(np.percentile((linear @ _BRIGHTNESS)[rendered], _QUANTILE))
        exposure = _BECOMES**_GAMMA / bright if bright > _DARK else 0.0
    else:
        exposure = 1.0
    levels = np.clip(exposure * linear.astype(np.float64), 0, 1) ** (1 / _GAMMA)
    image: np.ndarray = np.rint(255 * levels).astype(np.uint8)
    return image
