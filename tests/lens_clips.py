"""The rendered example as other cameras would have filmed it, with its exact truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pycolmap

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CLIP = EXAMPLES / "clip.mp4"
TRUTH = dict(np.load(EXAMPLES / "clip_truth.npz"))
SIZE = (int(TRUTH["size"][0]), int(TRUTH["size"][1]))

FOCAL, BENT = 420.0, (-0.30, 0.10, 0.0015, -0.001)
"""A lens that bends by some 12 pixels in the corners, in OpenCV's order and convention."""


def clip_frames() -> list[np.ndarray]:
    """(H, W, 3) BGR."""
    capture, frames = cv2.VideoCapture(str(CLIP)), []
    while True:
        there, image = capture.read()
        if not there:
            return frames
        frames.append(image)


def lens_camera() -> pycolmap.Camera:
    w, h = SIZE
    return pycolmap.Camera(
        model="OPENCV", width=w, height=h, params=[FOCAL, FOCAL, w / 2, h / 2, *BENT]
    )


def distorted(frames: list[np.ndarray]) -> list[np.ndarray]:
    """What the camera with the lens would have seen of the same scene from the same places."""
    w, h = SIZE
    rows, columns = np.mgrid[0:h, 0:w]
    pixels = np.stack([columns.ravel(), rows.ravel()], 1) + 0.5
    rays = np.asarray(lens_camera().cam_from_img(pixels))
    k = TRUTH["K"][0]
    u = (rays[:, 0] * k[0, 0] + k[0, 2]).reshape(h, w).astype(np.float32)
    v = (rays[:, 1] * k[1, 1] + k[1, 2]).reshape(h, w).astype(np.float32)
    assert u.min() > -0.5 and v.min() > -0.5 and u.max() < w - 0.5 and v.max() < h - 0.5
    return [cv2.remap(image, u, v, cv2.INTER_CUBIC) for image in frames]


def write_clip(frames: list[np.ndarray], path: Path, *, fps: float = 12.0) -> str:
    """Without loss, so that only the lens makes a difference."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), fps, SIZE)
    assert writer.isOpened()
    for image in frames:
        writer.write(image)
    writer.release()
    return str(path)


def true_depth(frame: int, k: np.ndarray) -> np.ndarray:
    """(H, W) z-depth that a pinhole `k` at the place of the camera sees; nan outside its view."""
    w, h = SIZE
    step, true_k = int(TRUTH["depth_stride"]), TRUTH["K"][0]
    rows, columns = np.mgrid[0:h, 0:w]
    u = ((columns - k[0, 2]) / k[0, 0] * true_k[0, 0] + true_k[0, 2]) / step
    v = ((rows - k[1, 2]) / k[1, 1] * true_k[1, 1] + true_k[1, 2]) / step
    depth = TRUTH["depth"][frame].astype(np.float32)
    where = (u.astype(np.float32), v.astype(np.float32))
    return cv2.remap(depth, *where, cv2.INTER_NEAREST, borderValue=np.nan)


def write_colmap(
    folder: Path,
    names: list[str],
    camera: pycolmap.Camera,
    *,
    poses: np.ndarray,
    text: bool = False,
) -> Path:
    """A COLMAP model of these images, as COLMAP itself would write it; no points."""
    model = pycolmap.Reconstruction()
    camera.camera_id = 1
    model.add_camera_with_trivial_rig(camera)
    for number, (name, pose) in enumerate(zip(names, poses, strict=True), start=1):
        cam_from_world = pycolmap.Rigid3d(np.linalg.inv(pose)[:3])
        image = pycolmap.Image(image_id=number, name=name, camera_id=1)
        model.add_image_with_trivial_frame(image, cam_from_world)
    folder.mkdir(parents=True, exist_ok=True)
    if text:
        model.write_text(str(folder))
    else:
        model.write_binary(str(folder))
    return folder


def relative_miss(poses: np.ndarray, frames: np.ndarray) -> float:
    """RMS error of the positions of later cameras seen from earlier ones, after one scale, m."""

    def seen(of: np.ndarray) -> np.ndarray:
        ends = [(i, j) for j in range(len(of)) for i in range(j)]
        return np.array([(np.linalg.inv(of[i]) @ of[j])[:3, 3] for i, j in ends])

    have, want = seen(poses), seen(TRUTH["world_from_cam"][frames])
    have = have * (have * want).sum() / (have * have).sum()
    return float(np.sqrt(np.square(have - want).sum(1).mean()))
