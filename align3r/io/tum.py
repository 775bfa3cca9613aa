"""The TUM trajectory format: one line a frame, `t tx ty tz qx qy qz qw`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from align3r.export_options import ExportOptions
from align3r.reconstruction import Reconstruction


def write_tum(scene: Reconstruction, path: Path) -> None:
    """Write the camera path: seconds, camera position, quaternion x y z w of world_from_cam.

    Raises:
        OSError: The file cannot be written.
    """
    quat_xyzw = Rotation.from_matrix(scene.world_from_cam[:, :3, :3]).as_quat()
    table = np.column_stack([scene.times, scene.world_from_cam[:, :3, 3], quat_xyzw])
    text = io.StringIO()
    np.savetxt(text, table, fmt="%.9f")
    path.write_text(text.getvalue(), encoding="ascii")


def export_tum(scene: Reconstruction, path: Path, _: ExportOptions) -> None:
    """`write_tum` as a row of the table of exports; there is nothing to choose."""
    write_tum(scene, path)
