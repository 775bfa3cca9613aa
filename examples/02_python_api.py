"""Lesson 2: the same from Python: cameras, depth, what moves, and points in space."""

from pathlib import Path

import numpy as np

import align3r
from align3r.config import Options, OutputOptions

video = Path(__file__).with_name("clip.mp4")
options = Options(output=OutputOptions(overwrite=True))
scene = align3r.reconstruct(video, out="out/python_api", options=options)

# One of everything for every frame: N frames in, N cameras out.
print(f"{len(scene)} frames of {scene.size[0]}x{scene.size[1]}, lengths are {scene.scale}")

# world_from_cam takes a point from the camera to the world; camera 0 is the identity.
positions = scene.world_from_cam[:, :3, 3]
print("camera of the last frame is at", positions[-1].round(3))
print("focal length in pixels:", scene.intrinsics[0, 0, 0].round(1))

# Maps have the size of the source frames. Depth is along the viewing direction (z), not a ray.
depth, moving = scene.depth(10), scene.moving(10)
print(
    f"frame 10 at {scene.times[10]:.2f} s: depth {np.nanmin(depth):.2f} to {np.nanmax(depth):.2f}"
)
print(f"{100 * moving.mean():.1f} % of its pixels move")

# Points of the static room, without what moves and without what is uncertain.
points, colours = scene.points(min_confidence=1.5, moving=False, stride=4)
print(f"{len(points)} points, their mean colour is {colours.mean(0).round()}")

# A saved result is read back without any of the machinery that made it.
again = align3r.load("out/python_api")
assert np.array_equal(again.world_from_cam, scene.world_from_cam)
