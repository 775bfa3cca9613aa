"""Lesson 4: what you know of the cameras: a COLMAP model as a start, and in its unit.

align3r reconstruct video.mp4 -o out/known --colmap colmap_folder
"""

from pathlib import Path

import numpy as np
import pycolmap

import align3r
from align3r.config import CameraOptions, Options, OutputOptions

here = Path(__file__).parent
truth = np.load(here / "clip_truth.npz")

# A COLMAP model of every third frame, as COLMAP would have written it, with errors of 2 cm and 0.3
# degrees. Yours comes from COLMAP; its images are called after the frames that they are.
folder = Path("out/known_model")
folder.mkdir(parents=True, exist_ok=True)
model = pycolmap.Reconstruction()
width, height = (int(side) for side in truth["size"])
k = truth["K"][0]
# COLMAP's centre of the top-left pixel is (0.5, 0.5), ours is (0, 0).
params = [k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5]
model.add_camera_with_trivial_rig(
    pycolmap.Camera(camera_id=1, model="PINHOLE", width=width, height=height, params=params)
)
random = np.random.default_rng(0)
for frame in range(0, len(truth["time"]), 3):
    pose = np.array(truth["world_from_cam"][frame])
    turn = pycolmap.Rotation3d(np.radians(0.3) * random.standard_normal(3))
    pose[:3, :3] = pose[:3, :3] @ turn.matrix()
    pose[:3, 3] += 0.02 * random.standard_normal(3)
    image = pycolmap.Image(image_id=frame + 1, name=f"frame_{frame:04d}.png", camera_id=1)
    model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(np.linalg.inv(pose)[:3]))
model.write_binary(str(folder))

# Its intrinsics are kept; its poses pull, because they are rough; frames without one are free.
camera = CameraOptions(colmap=str(folder), pose_sigma=(0.3, 0.02))
scene = align3r.reconstruct(
    here / "clip.mp4",
    out="out/known",
    options=Options(camera=camera, output=OutputOptions(overwrite=True, html=False)),
)

poses = scene.info["residuals"]["poses"]
print(f"{poses['given']} of {len(scene)} frames had a pose; lengths are {scene.scale}")
print("the result is {degrees} degrees and {position} from them (median)".format(**poses["median"]))

true_places = truth["world_from_cam"][scene.frame_index, :3, 3]
miss = np.linalg.norm(scene.world_from_cam[:, :3, 3] - true_places, axis=1)
print(f"and {100 * np.median(miss):.1f} cm from the truth, where the poses given were 3 cm off")
