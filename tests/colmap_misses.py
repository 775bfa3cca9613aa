"""What COLMAP itself makes of a model that was exported for it."""

from __future__ import annotations

import numpy as np
import pycolmap


def reprojection_misses(
    model: pycolmap.Reconstruction, *, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """How far observations are from where COLMAP projects their points.

    Args:
        model: As COLMAP reads it.
        least: Images of the shortest tracks that count.

    Returns:
        Observed minus projected (M, 2), in pixels, and the lengths of the tracks (P,).
    """
    off, lengths = [], []
    for point in model.points3D.values():
        if point.track.length() < least:
            continue
        lengths.append(point.track.length())
        for element in point.track.elements:
            image = model.images[element.image_id]
            observed = image.points2D[element.point2D_idx]
            assert model.points3D[observed.point3D_id].xyz is not None
            off.append(observed.xy - image.project_point(point.xyz))
    return np.array(off), np.array(lengths)
