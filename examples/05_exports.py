"""Lesson 5: the result in other programs: a film in 3D, Blender, point clouds, trajectories.

align3r export out/exports_scene --to glb ply-frames blender tum colmap
"""

from pathlib import Path

import numpy as np
import trimesh

import align3r
from align3r.config import Options, OutputOptions

video = Path(__file__).with_name("clip.mp4")
# Only what exports need; the pictures and the page are those of lesson 1.
options = Options(output=OutputOptions(overwrite=True, html=False, pictures=False))
scene = align3r.reconstruct(video, out="out/exports_scene", options=options)

# Each is written whole or not at all, and `overwrite` lets a second call replace the files of the
# first. `align3r export --help` lists all formats; docs/exports.md says how to open them.
folder = Path("out/exports")
for to, name in {
    "glb": "scene.glb",  # drop it into a web page of three.js, into Blender, or a 3D viewer
    "ply-frames": "frames",  # a cloud a frame
    "blender": "blender",  # blender --python out/exports/blender/build_scene.py
    "tum": "trajectory.txt",  # evo and friends
    "colmap": "colmap",  # Gaussian splatting
}.items():
    path = scene.export(to, folder / name, max_points=50_000, overwrite=True)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    print(f"{to:11} {sum(file.stat().st_size for file in files) / 1e6:6.1f} MB  {path}")

# Every format has axes of its own. glTF is y-up, so a point of our world has y and z turned round;
# its cameras look along -z. Here the first camera of the film, which is our origin:
film = trimesh.load_scene(folder / "scene.glb")
points = np.asarray(film.geometry["static"].vertices) * [1, -1, -1]
print(f"{len(points)} static points in the film, their median depth from camera 0 is", end=" ")
print(f"{np.median(points[:, 2]):.2f}; in the depth map it is {np.nanmedian(scene.depth(0)):.2f}")

# Points of a frame, with confidence and what moves: the file that belongs to frame 7.
cloud = trimesh.load(folder / "frames" / "000007.ply")
moves = cloud.metadata["_ply_raw"]["vertex"]["data"]["moving"] > 0
print(f"frame 7 has {len(cloud.vertices)} points, {moves.sum()} of them move")
