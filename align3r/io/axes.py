"""Axes of other programs: every flip is made where a file is written or read."""

from __future__ import annotations

import numpy as np

CV_FROM_GL = np.diag([1.0, -1.0, -1.0, 1.0])
"""Our camera axes (x right, y down, z forward) from those of OpenGL, glTF, Blender and nerfstudio,
whose cameras look along -z with y up. It is its own inverse."""
