"""Cameras as nine numbers, the way the network says them.

Translation, quaternion x y z w, vertical and horizontal angle of view in radians. The pose is
camera from world. The principal point is the middle (W / 2, H / 2) of the image; as the network's
pixels are whole numbers, that is half a pixel to the lower right of the middle in our convention,
where the centre of the top left pixel is (0, 0). Depth and cameras fit each other only so.
"""

from __future__ import annotations

import roma
import torch
from torch import Tensor

from align3r.geometry.rigid import compose, rotation_from_quat_xyzw


def encode_cameras(cam_from_world: Tensor, k: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., 9) encodings of cameras.

    Args:
        cam_from_world: (..., 4, 4) or (..., 3, 4) rigid transforms.
        k: (..., 3, 3) intrinsics, pixels; the principal point is not looked at.
        size: (height, width) of the image.
    """
    quat_xyzw = roma.rotmat_to_unitquat(cam_from_world[..., :3, :3])
    quat_xyzw = torch.where(quat_xyzw[..., 3:] < 0, -quat_xyzw, quat_xyzw)
    height, width = size
    angles = [
        2 * torch.atan(side / (2 * k[..., axis, axis])) for side, axis in ((height, 1), (width, 0))
    ]
    return torch.cat([cam_from_world[..., :3, 3], quat_xyzw, torch.stack(angles, -1)], -1)


def decode_cameras(encoding: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Cameras of (..., 9) encodings, with quaternions of any length.

    An angle of view of 0, which an untrained network may say, is an infinite focal length.

    Args:
        encoding: (..., 9).
        size: (height, width) of the image.

    Returns:
        cam_from_world (..., 4, 4), and k (..., 3, 3) in pixels.
    """
    cam_from_world = compose(rotation_from_quat_xyzw(encoding[..., 3:7]), encoding[..., :3])
    height, width = size
    k = encoding.new_zeros(*encoding.shape[:-1], 3, 3)
    k[..., 0, 0] = width / 2 / torch.tan(encoding[..., 8] / 2)
    k[..., 1, 1] = height / 2 / torch.tan(encoding[..., 7] / 2)
    k[..., 0, 2], k[..., 1, 2], k[..., 2, 2] = width / 2, height / 2, 1
    return cam_from_world, k
