"""One rendered room, with its exact truth, in the layouts and formats of the data sets.

The files are packed here, by the descriptions of their formats: nothing of align3r's own readers
and writers has a part in it. What a protocol measures differs from image to image; images that it
only skips or counts may be copies.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from rendered_room import (
    MOMENTS,
    SIZE,
    file_at,
    flow_to,
    in_row,
    levels,
    pose_at,
    still,
    write_lines,
    write_picture,
)
from rendered_views import co3d, moge, re10k, scannet1500, write_scan
from scipy.spatial.transform import Rotation

BONN_AXES = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
BONN_CAMERA = np.array(
    [
        [1.0157, 0.1828, -0.2389, 0.0113],
        [0.0009, -0.8431, -0.6413, -0.0098],
        [-0.3009, 0.6147, -0.8085, 0.0111],
        [0, 0, 0, 1],
    ]
)


def sintel(root: Path) -> None:
    tag, (w, h) = struct.pack("<f", 202021.25), SIZE
    header, training = tag + struct.pack("<ii", w, h), root / "training"
    for i, moment in enumerate(MOMENTS):
        shot, name = still(moment), f"alley_2/frame_{i + 1:04d}"
        for rendering in ("clean", "final"):
            write_picture(training / rendering / f"{name}.png", shot.image)
        depth = shot.depth.astype("<f4").tobytes()
        file_at(training / "depth" / f"{name}.dpt").write_bytes(header + depth)
        cam = shot.k.astype("<f8").tobytes() + shot.cam_from_world[:3].astype("<f8").tobytes()
        file_at(training / "camdata_left" / f"{name}.cam").write_bytes(tag + cam)
        if i + 1 < len(MOMENTS):
            flow = flow_to(moment, MOMENTS[i + 1]).astype("<f4").tobytes()
            file_at(training / "flow" / f"{name}.flo").write_bytes(header + flow)


def pointodyssey(root: Path) -> None:
    at, stills = root / "val" / "ani", [still(moment) for moment in MOMENTS]
    poses, n = np.stack([shot.cam_from_world for shot in stills]), len(stills)
    poses[:, :3, 3] *= 4  # steps of 1.5 cm are coarse in a small room
    for i, shot in enumerate(stills):
        write_picture(at / "rgbs" / f"rgb_{i:05d}.jpg", shot.image)
        write_picture(at / "depths" / f"depth_{i:05d}.png", levels(4 * shot.depth, 65.535))
        write_picture(at / "masks" / f"mask_{i:05d}.png", shot.which.astype(np.uint8))
    arrays = {
        "trajs_2d": np.zeros((n, 1, 2), np.float32),
        "trajs_3d": np.zeros((n, 1, 3), np.float32),
        "valids": np.zeros((n, 1), bool),
        "visibs": np.zeros((n, 1), bool),
        "intrinsics": np.stack([shot.k for shot in stills]).astype(np.float32),
        "extrinsics": poses.astype(np.float32),
    }
    np.savez(at / "anno.npz", **arrays)  # type: ignore[arg-type]
    np.savez(at / "info.npz", **{name: np.array(a.shape) for name, a in arrays.items()})  # type: ignore[arg-type]


def sceneflow(root: Path) -> None:
    """Left images alone, at the published size: each pixel ten times as large as rendered."""
    leaf, lines = "TEST/A/0000", []
    for i, moment in enumerate(MOMENTS):
        shot, name = still(moment, (96, 54), 1050 / 960), f"{leaf}/left/{i + 6:04d}"
        large = cv2.resize(shot.image, (960, 540), interpolation=cv2.INTER_CUBIC)
        write_picture(root / "frames_finalpass" / f"{name}.png", large)
        disparity = np.kron(1050 / shot.depth, np.ones((10, 10)))[::-1].astype("<f4")
        path = file_at(root / "disparity" / f"{name}.pfm")
        path.write_bytes(b"Pf\n960 540\n-1.0\n" + disparity.tobytes())
        left = pose_at(moment) @ np.diag([1.0, -1, -1, 1])
        right = left.copy()
        right[:3, 3] += left[:3, 0]
        lines += [f"Frame {i + 6}", f"L {in_row(left)}", f"R {in_row(right)}", ""]
    write_lines(root / "camera_data" / leaf / "camera_data.txt", lines)


def _recorded(
    folder: Path,
    moments: Sequence[float],
    path: Callable[[float], float],
    *,
    first: float,
    pose_of: Callable[[np.ndarray], np.ndarray] = lambda pose: pose,
) -> None:
    """TUM's layout at 30 images and 90 poses a second; image 7 has no depth.

    Args:
        folder: Of the recording.
        moments: When each image is taken; the same moment twice is a copy.
        path: Number of an image, or between two -> moment, for the poses.
        first: Time of the first image, seconds.
        pose_of: What is written of a pose of the camera.
    """
    comment = ["# images", "# file: 'rendered.bag'", "# timestamp filename"]
    lists: dict[str, list[str]] = {"rgb": [*comment], "depth": [*comment]}
    for i, moment in enumerate(moments):
        shot, stamp = still(moment), first + i / 30
        for kind, late, picture in (
            ("rgb", 0.0, shot.image),
            ("depth", 0.003, levels(shot.depth, 5000)),
        ):
            if kind == "rgb" or i != 7:
                name = f"{kind}/{stamp + late:.5f}.png"
                write_picture(folder / name, picture)
                lists[kind].append(f"{stamp + late:.5f} {name}")
    for kind, lines in lists.items():
        write_lines(folder / f"{kind}.txt", lines)
    rows = ["# ground truth trajectory", "# timestamp tx ty tz qx qy qz qw"]
    for row in range(3 * len(moments) - 2):
        pose = pose_of(pose_at(path(row / 3)))
        quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat()
        rows.append(f"{first + row / 90:.5f} {in_row(pose[:3, 3])} {in_row(quaternion)}")
    write_lines(folder / "groundtruth.txt", rows)


def _late(i: float) -> float:
    """Slowly to image 30, which protocols skip, then four frames of the film an image."""
    return i / 6 if i < 30 else 5 + 4 * (i - 30)


_LATE = [0.0] * 30 + [_late(i) for i in range(30, 36)]
_EVERY_THIRD = [MOMENTS[i // 3] for i in range(18)]
"""Copies between the images that protocols take."""


def tum(root: Path) -> None:
    """One recording for protocols that start at image 30, one for those that take every third."""
    start = root / "rgbd_dataset_freiburg3_"
    _recorded(Path(f"{start}walking_xyz"), _LATE, _late, first=1341846313.5)
    path = lambda i: 5 * i / 3  # noqa: E731
    _recorded(Path(f"{start}sitting_xyz"), _EVERY_THIRD, path, first=1341845688.5)


def bonn(root: Path) -> None:
    u, _, vt = np.linalg.svd(BONN_CAMERA[:3, :3])
    camera = BONN_CAMERA.copy()
    camera[:3, :3] = u @ vt
    back = np.linalg.inv(BONN_AXES @ camera)

    def markers(pose: np.ndarray) -> np.ndarray:
        return np.asarray(BONN_AXES @ pose @ back)

    folder = root / "rgbd_bonn_balloon2"
    _recorded(folder, _LATE, _late, first=1548339819.5, pose_of=markers)


def rgbd(root: Path) -> None:
    folder, moments = root / "room", MOMENTS
    path = lambda i: 5 * i  # noqa: E731
    _recorded(folder, moments, path, first=0.0)
    for line in (folder / "rgb.txt").read_text().splitlines()[3:]:
        i = round(30 * float(line.split()[0]))
        mask = 255 * still(moments[i]).moving.astype(np.uint8)
        write_picture(folder / "dynamic_mask" / Path(line.split()[1]).name, mask)
    k, (width, height) = still(0.0).k, SIZE
    camera = {"fx": k[0, 0], "fy": k[1, 1], "cx": k[0, 2] + 0.5, "cy": k[1, 2] + 0.5}
    camera |= {"depth_factor": 5000, "width": width, "height": height}
    write_lines(folder / "camera.json", [json.dumps(camera)])


def kitti(root: Path) -> None:
    """Depth on a grid, not everywhere; none of the first and the last five images."""
    drive = "2011_09_26_drive_0002_sync"
    raw, hit = root / "2011_09_26", np.zeros(SIZE[::-1], bool)
    hit[::2, ::3] = True
    for i in range(len(MOMENTS) + 10):
        moment = MOMENTS[min(max(i - 5, 0), len(MOMENTS) - 1)]
        write_picture(raw / drive / "image_02" / "data" / f"{i:010d}.png", still(moment).image)
        if 5 <= i < 5 + len(MOMENTS):
            at = root / "val" / drive / "proj_depth" / "groundtruth" / "image_02"
            sparse = np.where(hit, still(moment).depth, 0)
            write_picture(at / f"{i:010d}.png", levels(sparse, 256))
    projection = np.hstack([still(0.0).k, np.zeros((3, 1))])
    write_lines(raw / "calib_cam_to_cam.txt", [f"P_rect_02: {in_row(projection)}"])


def scannet(root: Path) -> None:
    k = np.array([[57.0, 0, 31.5], [0, 57.2, 23.5], [0, 0, 1]])
    write_scan(root / "scans_test" / "scene0707_00", _EVERY_THIRD, k, (64, 48))


WRITERS: dict[str, Callable[[Path], None]] = {
    "sintel": sintel,
    "pointodyssey": pointodyssey,
    "sceneflow": sceneflow,
    "tum": tum,
    "bonn": bonn,
    "rgbd": rgbd,
    "kitti": kitti,
    "scannet": scannet,
    "scannet1500": scannet1500,
    "co3d": co3d,
    "co3d-evaluation": co3d,
    "re10k": re10k,
    "moge": moge,
    "rendered": lambda root: root.mkdir(),
}
"""By the row of `datasets.table` that reads it; the last renders its sequences itself."""
