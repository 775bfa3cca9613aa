"""The rendered room in the layouts of sets of views, of pairs and of single images.

As in `rendered_sets`, files are packed here, by the descriptions of their formats.
"""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rendered_room import (
    MOMENTS,
    SIZE,
    Still,
    depth_through,
    film,
    in_row,
    levels,
    pose_at,
    still,
    write_lines,
    write_picture,
)


def write_scan(
    folder: Path, moments: Sequence[float], depth_k: np.ndarray, depth_size: tuple[int, int]
) -> None:
    """A scene of ScanNet: its depth camera has pixels and a lens of its own."""
    for i, moment in enumerate(moments):
        shot = still(moment)
        write_picture(folder / "color" / f"{i}.jpg", shot.image)
        depth = depth_through(moment, depth_k, depth_size)
        write_picture(folder / "depth" / f"{i}.png", levels(depth, 1000))
        write_lines(folder / "pose" / f"{i}.txt", [in_row(row) for row in shot.world_from_cam])
    for kind, camera in (("color", still(0.0).k), ("depth", depth_k)):
        whole = np.eye(4)
        whole[:3, :3] = camera
        path = folder / "intrinsic" / f"intrinsic_{kind}.txt"
        write_lines(path, [in_row(row) for row in whole])


def scannet1500(root: Path) -> None:
    """Pairs (a, b) of two scenes; intrinsics are those of the depth camera's 640x480 pixels."""
    size, k = (640, 480), film((640, 480)).k
    pairs, name, motion = [(0, 1), (1, 0)], [], []
    for number in (707, 708):
        moments = MOMENTS[::5] if number == 707 else MOMENTS[1::4]
        write_scan(root / "scannet_test_1500" / f"scene{number:04d}_00", moments, k, size)
        for a, b in pairs:
            b_from_a = np.linalg.inv(pose_at(moments[b])) @ pose_at(moments[a])
            name.append([number, 0, a, b])
            motion.append(b_from_a[:3].ravel())
    rows = {"name": np.array(name, np.uint16), "rel_pose": np.array(motion, np.float32)}
    np.savez(root / "test.npz", **rows)  # type: ignore[arg-type]
    np.savez(root / "intrinsics.npz", scene0707_00=k, scene0708_00=k)


def _pytorch3d(shot: Still) -> dict[str, Any]:
    """Row vectors, x to the left, y up; half the short side is the unit of the intrinsics."""
    flip, unit, (width, height) = np.array([-1.0, -1, 1]), min(SIZE) / 2, SIZE
    pose, k = shot.cam_from_world, shot.k
    return {
        "R": (flip[:, None] * pose[:3, :3]).T.tolist(),
        "T": (flip * pose[:3, 3]).tolist(),
        "focal_length": [k[0, 0] / unit, k[1, 1] / unit],
        "principal_point": [(width / 2 - k[0, 2]) / unit, (height / 2 - k[1, 2]) / unit],
    }


def co3d(root: Path) -> None:
    """The official annotations of six frames, and PoseDiffusion's of fifty others."""
    frames: list[dict[str, Any]] = []
    evaluated: list[dict[str, Any]] = []
    name = "apple/110_13051_23361"
    for i, moment in enumerate([*MOMENTS, *np.arange(0.25, 25, 0.5)]):
        shot, file = still(float(moment)), f"frame{i + 1:06d}"
        image = f"{name}/images/{file}.jpg"
        write_picture(root / image, shot.image)
        if i >= len(MOMENTS):
            evaluated.append({"filepath": image, **_pytorch3d(shot)})
            continue
        depth, mask = f"{name}/depths/{file}.jpg.geometric.png", f"{name}/depth_masks/{file}.png"
        write_picture(root / depth, (shot.depth / 2).astype(np.float16).view(np.uint16))
        write_picture(root / mask, np.full(SIZE[::-1], 255, np.uint8))
        frames.append(
            {
                "sequence_name": name.partition("/")[2],
                "frame_number": i,
                "frame_timestamp": i / 6,
                "image": {"path": image, "size": list(SIZE[::-1])},
                "depth": {"path": depth, "scale_adjustment": 2.0, "mask_path": mask},
                "viewpoint": {**_pytorch3d(shot), "intrinsics_format": "ndc_isotropic"},
            }
        )
    sequence = frames[0]["sequence_name"]
    scores = [{"sequence_name": sequence, "viewpoint_quality_score": 0.9}]
    for path, what in (
        ("apple/frame_annotations.jgz", frames),
        ("apple/sequence_annotations.jgz", scores),
        ("apple_test.jgz", {sequence: evaluated}),
    ):
        (root / path).write_bytes(gzip.compress(json.dumps(what).encode()))
    listed = [[sequence, row["frame_number"], row["image"]["path"]] for row in frames]
    lists = json.dumps({"train": [], "val": [], "test": listed})
    write_lines(root / "apple" / "set_lists" / "set_lists_fewview_dev.json", [lists])


def re10k(root: Path) -> None:
    """Ten frames, as many as are drawn."""
    name, (width, height) = "0000cc6d8b108390", SIZE
    lines = ["https://www.youtube.com/watch?v=RENDERED000"]
    for i in range(10):
        shot, stamp = still(2.5 * i), 52553000 + 208333 * i
        write_picture(root / "frames" / "test" / name / f"{stamp}.jpg", shot.image)
        k = shot.k / np.array([[width], [height], [1]])
        camera = [k[0, 0], k[1, 1], k[0, 2], k[1, 2], 0, 0]
        lines.append(f"{stamp} {in_row(camera)} {in_row(shot.cam_from_world[:3])}")
    write_lines(root / "test" / f"{name}.txt", lines)


def moge(root: Path) -> None:
    """One photograph; its camera looks at the middle of it."""
    size, near, far = (640, 480), 0.5, 40.0
    folder, k = root / "indoors" / "room", film((640, 480)).k
    depth = depth_through(10.0, k, size)
    image = cv2.resize(still(10.0).image, size, interpolation=cv2.INTER_CUBIC)
    write_picture(folder / "image.jpg", image)
    x = np.log(depth / near) / np.log(far / near)
    write_picture(folder / "depth.png", np.rint(1 + 65533 * x).astype(np.uint16))
    _say(folder / "depth.png", near=str(near), far=str(far))
    which = cv2.resize(still(10.0).which.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    write_picture(folder / "segmentation.png", which + 1)
    names = {f"thing_{number}": int(number) + 1 for number in np.unique(which)}
    _say(folder / "segmentation.png", labels=json.dumps(names))
    scaled = (k + np.outer([1, 1, 0], [0, 0, 0.5])) / np.array([[640], [480], [1]])
    write_lines(folder / "meta.json", [json.dumps({"intrinsics": scaled.tolist()})])
    write_lines(root / ".index.txt", ["indoors/room"])


def _say(path: Path, **texts: str) -> None:
    """Put texts into a PNG, behind its header."""
    data, end = path.read_bytes(), 8 + 25
    for keyword, text in texts.items():
        body = b"tEXt" + f"{keyword}\0{text}".encode("latin-1")
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        data = data[:end] + chunk + data[end:]
    path.write_bytes(data)
