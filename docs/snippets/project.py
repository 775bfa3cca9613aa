"""A pixel to a point of the world, and back."""

import numpy as np

import align3r

scene = align3r.load("out")
i, u, v = 5, 200, 150

# Pixel and depth to a point of the world.
ray = np.linalg.inv(scene.intrinsics[i]) @ [u, v, 1.0]
in_camera = scene.depth(i)[v, u] * ray
in_world = scene.world_from_cam[i] @ [*in_camera, 1.0]

# And back to the pixel, through the inverse pose.
cam_from_world = np.linalg.inv(scene.world_from_cam[i])
x, y, z = scene.intrinsics[i] @ (cam_from_world @ in_world)[:3]
assert np.allclose([x / z, y / z, z], [u, v, scene.depth(i)[v, u]])
