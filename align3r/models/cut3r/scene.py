"""What CUT3R says of a view, in our conventions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from align3r.geometry.rigid import compose, inverse_rigid, rotation_from_quat_xyzw
from align3r.geometry.robust import weiszfeld_focal
from align3r.models.cut3r.values import Cut3rOutput


@dataclass(frozen=True)
class SceneView:
    """A view of B scenes; lengths are metric as far as the network knows."""

    world_from_cam: Tensor
    """(B, 4, 4)."""
    k: Tensor
    """(B, 3, 3) intrinsics in pixels; the principal point is the pixel (W // 2, H // 2)."""
    depth: Tensor
    """(B, H, W) z-depth."""
    points: Tensor
    """(B, H, W, 3) in the world."""
    confidence: Tensor
    """(B, H, W) of the points, at least 1."""


def see_view(
    output: Cut3rOutput,
    world_from_first: Tensor | None = None,
    *,
    points_from: Literal["own", "head"] = "own",
) -> SceneView:
    """Camera, depth and points of a view.

    Args:
        output: Of one step.
        world_from_first: (B, 4, 4) pose of what the network takes for the first view's camera. It
            says of the first view that it is only about there: with `anchored` of that view's
            output, that view's camera becomes the identity.
        points_from: `own`: the points of the view's own camera, carried along with the camera,
            which agree with the depth; `head`: the network's own answer in the first camera.

    Raises:
        ValueError: The network was not asked for that answer.
    """
    world_from_cam = camera_pose(output.camera)
    if world_from_first is None:
        world_from_first = torch.eye(4).to(world_from_cam).expand_as(world_from_cam)
    world_from_cam = world_from_first @ world_from_cam
    depth = output.own_points[..., 2]
    k = _intrinsics(output.own_points)
    if points_from == "head":
        if output.points is None or output.confidence is None:
            raise ValueError("these are of a step without points in the first camera")
        points = _moved(world_from_first, output.points)
        return SceneView(world_from_cam, k, depth, points, output.confidence)
    points = _moved(world_from_cam, output.own_points)
    return SceneView(world_from_cam, k, depth, points, output.own_confidence)


def anchored(first: Cut3rOutput) -> Tensor:
    """(B, 4, 4) `world_from_first` that makes the camera of this view the identity."""
    return inverse_rigid(camera_pose(first.camera))


def camera_pose(encoding: Tensor) -> Tensor:
    """(..., 4, 4) pose of (..., 7) encodings: translation, quaternion w x y z of any length."""
    quat_xyzw = encoding[..., 3:].roll(-1, -1)
    return compose(rotation_from_quat_xyzw(quat_xyzw), encoding[..., :3])


def _intrinsics(own_points: Tensor) -> Tensor:
    """(B, 3, 3) intrinsics with which (B, H, W, 3) points project onto their pixels."""
    _, height, width, _ = own_points.shape
    centre_x, centre_y = width // 2, height // 2
    v, u = torch.meshgrid(
        torch.arange(height, device=own_points.device) - centre_y,
        torch.arange(width, device=own_points.device) - centre_x,
        indexing="ij",
    )
    focal = weiszfeld_focal(own_points.flatten(1, 2), torch.stack([u, v], -1).flatten(0, 1))
    k = own_points.new_zeros(len(own_points), 3, 3)
    k[:, 0, 0] = k[:, 1, 1] = focal
    k[:, 0, 2], k[:, 1, 2], k[:, 2, 2] = centre_x, centre_y, 1
    return k


def _moved(b_from_a: Tensor, points_a: Tensor) -> Tensor:
    """(B, H, W, 3) points through (B, 4, 4) rigid motions."""
    rotation, translation = b_from_a[:, None, :3, :3], b_from_a[:, None, None, :3, 3]
    return points_a @ rotation.mT + translation
