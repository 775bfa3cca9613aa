"""Every export of a result: seconds, size, and what an independent reader finds in it.

    python benchmarks/exports.py OUT [--source examples/clip.mp4]

The table in docs/benchmarks.md is what this prints.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

import align3r
from align3r.io.exports import EXPORTS
from align3r.reconstruction import Reconstruction

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

Reader = Callable[[Path, Reconstruction], str]


def colmap(path: Path, _: Reconstruction) -> str:
    import pycolmap
    from colmap_misses import reprojection_misses

    model = pycolmap.Reconstruction(path / "sparse" / "0")
    off, lengths = reprojection_misses(model, least=2)
    errors = np.linalg.norm(off, axis=1)
    return (
        f"pycolmap {pycolmap.__version__}: {model.num_reg_images()} images, {len(lengths)} tracks "
        f"of {np.mean(lengths):.1f} images, reprojection error median {np.median(errors):.2f} px, "
        f"95 % {np.percentile(errors, 95):.2f} px; "
        f"{model.num_points3D() - len(lengths)} more points"
    )


def nerfstudio(path: Path, _: Reconstruction) -> str:
    meta = json.loads((path / "transforms.json").read_text())
    frames = sorted(meta["frames"], key=lambda frame: str(frame["file_path"]))
    off = []
    for a, b in pairwise(frames):
        depth = _thousandths(path / a["depth_file_path"])
        ahead = _thousandths(path / b["depth_file_path"])
        known = depth > 0
        if "mask_path" in a:
            known &= cv2.imread(str(path / a["mask_path"]), cv2.IMREAD_UNCHANGED) > 0
        v, u = np.nonzero(known)
        # A ray of the loader: (x + 0.5 - cx) / fx to the right, y up, and it looks along -z.
        x = (u + 0.5 - meta["cx"]) / meta["fl_x"]
        y = -(v + 0.5 - meta["cy"]) / meta["fl_y"]
        in_a = np.stack([x, y, -np.ones(len(u)), 1 / depth[v, u]]) * depth[v, u]
        in_b = np.linalg.inv(b["transform_matrix"]) @ np.array(a["transform_matrix"]) @ in_a
        column = np.floor(meta["fl_x"] * in_b[0] / -in_b[2] + meta["cx"]).astype(int)
        row = np.floor(-meta["fl_y"] * in_b[1] / -in_b[2] + meta["cy"]).astype(int)
        there = (column >= 0) & (row >= 0) & (column < meta["w"]) & (row < meta["h"])
        off.append(np.abs(ahead[row[there], column[there]] / -in_b[2, there] - 1))
    return (
        f"a loader of its conventions: depth projected into the next frame is off by "
        f"{100 * np.median(np.concatenate(off)):.2f} % (median)"
    )


def _thousandths(path: Path) -> np.ndarray:
    values = np.load(path) if path.suffix == ".npy" else cv2.imread(str(path), cv2.IMREAD_ANYDEPTH)
    return np.asarray(values, np.float64) / 1000


def vipe(path: Path, scene: Reconstruction) -> str:
    import OpenEXR

    (pose,) = (path / "pose").glob("*.npz")
    poses = np.load(pose)["data"]
    with zipfile.ZipFile(path / "depth" / f"{pose.stem}.zip") as archive:
        names = archive.namelist()
        archive.extract(names[-1], path)
    depth = OpenEXR.File(str(path / names[-1]), separate_channels=True).channels()["Z"].pixels
    known = np.isfinite(depth)
    off = np.abs(depth[known] / scene.depth(len(names) - 1)[known] - 1).max()
    video = cv2.VideoCapture(str(path / "rgb" / f"{pose.stem}.mp4"))
    frames = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    return (
        f"numpy, zipfile, OpenEXR and OpenCV: {len(poses)} poses, {len(names)} depths "
        f"(half: within {100 * off:.2f} %), {frames} frames of video"
    )


def megasam(path: Path, scene: Reconstruction) -> str:
    with np.load(path) as arrays:
        depths, images = arrays["depths"], arrays["images"]
        return (
            f"numpy: {images.shape[0]} images of {images.shape[2]}x{images.shape[1]}, "
            f"{np.isfinite(depths).mean():.0%} of the depth known, one camera"
        )


def depth_png(path: Path, scene: Reconstruction) -> str:
    levels = cv2.imread(str(path / "000000.png"), cv2.IMREAD_UNCHANGED)
    off = np.nanmax(np.abs(np.where(levels == 0, np.nan, levels / 1000) - scene.depth(0)))
    return f"OpenCV: {levels.dtype}, largest difference {off:.4f} units"


def tum(path: Path, scene: Reconstruction) -> str:
    from evo.tools import file_interface

    read = file_interface.read_tum_trajectory_file(str(path))
    off = np.abs(np.array(read.poses_se3) - scene.world_from_cam).max()
    return f"evo: {read.num_poses} poses, largest difference {off:.0e}"


def mesh(path: Path, _: Reconstruction) -> str:
    import trimesh

    scene = trimesh.load_scene(path)
    clouds = [g for g in scene.geometry.values() if isinstance(g, trimesh.PointCloud)]
    return (
        f"trimesh {trimesh.__version__}: {len(scene.geometry)} geometries, "
        f"{sum(len(cloud.vertices) for cloud in clouds)} points"
    )


def clouds(path: Path, scene: Reconstruction) -> str:
    import trimesh

    off = []
    for i, file in enumerate(sorted(path.glob("*.ply"))):
        points = np.asarray(trimesh.load(file).vertices)
        seen = np.linalg.inv(scene.world_from_cam[i])[:3] @ np.c_[points, np.ones(len(points))].T
        u, v, z = scene.intrinsics[i] @ seen
        columns, rows = np.rint(u / z).astype(int), np.rint(v / z).astype(int)
        off.append(np.abs(z / scene.depth(i)[rows, columns] - 1).max())
    return (
        f"trimesh {trimesh.__version__}: {len(off)} clouds; projected into its own camera every "
        f"point has the depth of its pixel within {max(off):.0e}"
    )


def rerun(path: Path, scene: Reconstruction) -> str:
    import rerun
    from rerun.chunk import RrdReader

    entities: dict[str, int] = {}
    off = 0.0
    for chunk in RrdReader(path).stream():
        entities[chunk.entity_path] = entities.get(chunk.entity_path, 0) + chunk.num_rows
        if chunk.entity_path == "/world/camera":
            for row in chunk.to_record_batch().to_pylist():
                pose = scene.world_from_cam[row["frame"]]
                (nine,) = row["Transform3D:mat3x3"]  # columns first
                off = max(off, np.abs(np.reshape(nine, (3, 3)).T - pose[:3, :3]).max())
                (place,) = row["Transform3D:translation"]
                off = max(off, np.abs(place - pose[:3, 3]).max())
    return (
        f"rerun {rerun.__version__}: {len([e for e in entities if not e.startswith('/__')])} "
        f"entities, {entities['/world/camera']} poses, largest difference {off:.0e}"
    )


READERS: dict[str, Reader] = {
    "colmap": colmap,
    "nerfstudio": nerfstudio,
    "vipe": vipe,
    "megasam": megasam,
    "depth-png": depth_png,
    "tum": tum,
    "ply": mesh,
    "ply-frames": clouds,
    "glb": mesh,
    "rerun": rerun,
}


def size_mb(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("--source", help="where the source of the result is")
    parser.add_argument("--to", nargs="*", default=list(EXPORTS))
    args = parser.parse_args()
    scene = align3r.load(args.result)
    print("| `--to` | seconds | MB | read by, and found |\n|---|---:|---:|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for to in args.to:
            path = Path(scratch) / EXPORTS[to].name
            started = time.perf_counter()
            scene.export(to, path, source=args.source)
            seconds = time.perf_counter() - started
            size = size_mb(path)
            found = READERS[to](path, scene) if to in READERS else ""
            print(f"| {to} | {seconds:.1f} | {size:.1f} | {found} |", flush=True)


if __name__ == "__main__":
    main()
