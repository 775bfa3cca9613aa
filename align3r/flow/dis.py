"""Dense optical flow by Dense Inverse Search (Kroeger et al., ECCV 2016), as OpenCV has it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from align3r.flow.warp import backward_warp


class DisFlow:
    """Dense Inverse Search flow; a start flow lets it follow displacements beyond its own reach."""

    name = "dis"

    def __call__(
        self, source: np.ndarray, target: np.ndarray, *, start: np.ndarray | None = None
    ) -> np.ndarray:
        """Flow from source to target.

        Args:
            source: (h, w, 3) uint8 RGB or (h, w) uint8 grey.
            target: Image of the same shape.
            start: (h, w, 2) float32 first guess, in pixels.

        Returns:
            (h, w, 2) float32: pixel of source + flow = its match in target.
        """
        source, target = _grey(source), _grey(target)
        if start is None:
            return _search(source, target)
        # The target is warped by the start and only the rest is searched: DIS's own start flow
        # is lost at its coarsest scales when the displacement is larger than an object.
        start = np.ascontiguousarray(start, np.float32)
        rest = _search(source, backward_warp(target, start))
        return np.asarray(rest + backward_warp(start, rest))


def _search(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    # A searcher of its own for each call, which costs nothing: it must not be shared by threads.
    # Any: the stubs of OpenCV do not know that the start flow may be None.
    dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(dis.calc(source, target, None))


def _grey(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
