"""The frame in which a reconstruction is drawn, the sizes in it, and the first view."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from align3r.reconstruction import Reconstruction
from align3r.view.register import Similarity
from align3r.view.sampling import typical_depth


@dataclass(frozen=True)
class Look:
    """From world coordinates to those of the page: viewer = scale * rotation @ (world - centre).

    The unit of the page is about the typical depth: clipping planes and the packing of points
    suit that, while scenes come in any unit. Its origin is among the cameras, where numbers
    are finest.
    """

    scale: float
    """Viewer units in one scene unit."""
    rotation: np.ndarray
    """(3, 3); the identity but for a result that is laid onto another."""
    centre: np.ndarray
    """(3,) world point that is the origin."""
    depth: float
    """Typical depth, in viewer units."""
    frustum: float
    """Length of a camera frustum, in viewer units."""
    up: np.ndarray
    """(3,) unit vector, against what the cameras hold for down."""

    def to_viewer(self, world: np.ndarray) -> np.ndarray:
        """(..., 3) world points in the frame of the viewer, float64."""
        turned = (np.asarray(world, float) - self.centre) @ self.rotation.T
        return np.asarray(self.scale * turned)

    def camera(self, scene: Reconstruction, i: int) -> list[float]:
        """Camera i: the 9 of viewer-from-camera rotation by rows, centre, and fx fy cx cy.

        The last four are divided by the width (fx, cx) and the height (fy, cy) of the image,
        with the corner of the image, not the centre of its first pixel, as (0, 0).
        """
        pose, k = scene.world_from_cam[i], scene.intrinsics[i]
        width, height = scene.size
        numbers = [*(self.rotation @ pose[:3, :3]).ravel(), *self.to_viewer(pose[:3, 3])]
        numbers += [k[0, 0] / width, k[1, 1] / height]
        numbers += [(k[0, 2] + 0.5) / width, (k[1, 2] + 0.5) / height]
        return [round(float(number), 6) for number in numbers]

    def under(self, onto_first: Similarity) -> Look:
        """The look of a second result, whose world `onto_first` lays onto that of this one."""
        # scale R1 (s R x + t - centre) = (scale s) (R1 R) (x - R^T (centre - t) / s)
        moved = onto_first.rotation.T @ (self.centre - onto_first.translation) / onto_first.scale
        return replace(
            self,
            scale=self.scale * onto_first.scale,
            rotation=self.rotation @ onto_first.rotation,
            centre=moved,
        )


def choose_look(scene: Reconstruction, *, frames: int = 8) -> Look:
    """Unit, origin and sizes from the typical depth (of so many frames) and the camera path."""
    depth = typical_depth(scene, frames=frames)
    centres = scene.world_from_cam[:, :3, 3]
    path = float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum())
    # A long walk past near things: the unit follows the path, or its ends would be coarse.
    unit = max(depth, float(np.ptp(centres, axis=0).max()) / 4)
    up = -scene.world_from_cam[:, :3, 1].mean(axis=0)
    if np.linalg.norm(up) < 0.3:  # a camera that turns over has no mean up
        up = -scene.world_from_cam[len(scene) // 2, :3, 1]
    return Look(
        scale=1.0 / unit,
        rotation=np.eye(3),
        centre=centres.mean(axis=0),
        depth=depth / unit,
        frustum=float(np.clip(path / 14, 0.04 * depth, 0.11 * depth)) / unit,
        up=up / np.linalg.norm(up),
    )


def first_view(scene: Reconstruction, look: Look) -> dict[str, Any]:
    """Eye, target and up of the first view: from behind and above the middle camera."""
    middle = scene.world_from_cam[len(scene) // 2]
    forward = look.rotation @ scene.world_from_cam[:, :3, 2].mean(axis=0)
    if np.linalg.norm(forward) < 0.5:  # cameras that look all around have no mean direction
        forward = look.rotation @ middle[:3, 2]
    forward = forward / max(float(np.linalg.norm(forward)), 1e-9)
    centre = look.to_viewer(middle[:3, 3])
    # The path seen from the side of its own extent, so that long ones are in the picture.
    reach = float(np.ptp(look.to_viewer(scene.world_from_cam[:, :3, 3]), axis=0).max())
    back = max(0.55 * look.depth, 1.1 * reach)
    eye = centre - back * forward + 0.5 * back * look.up
    # A little below the middle of the scene: the lower edge of the window belongs to the timeline.
    target = centre + 0.8 * look.depth * forward - 0.08 * look.depth * look.up
    return {
        "eye": eye.round(5).tolist(),
        "target": target.round(5).tolist(),
        "up": look.up.round(5).tolist(),
    }
