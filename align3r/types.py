"""The values that flow from stage to stage. Frozen: no stage edits another's output.

Conventions (the only table): OpenCV camera axes (x right, y down, z forward); poses are
`world_from_cam`; the centre of the top-left pixel is (0, 0); depth is z-depth, `nan` where
unknown; confidence is float32, larger is better; masks are True where the scene moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, total)."""


@dataclass(frozen=True)
class LensCamera:
    """A camera with its lens, in the words of COLMAP."""

    model: str
    """COLMAP's name of the camera model, as OPENCV or OPENCV_FISHEYE."""
    size: tuple[int, int]
    """(width, height) of its images, pixels."""
    params: tuple[float, ...]
    """In COLMAP's order and pixels: the centre of the top-left pixel is (0.5, 0.5)."""


@dataclass(frozen=True)
class Frames:
    """The frames that take part, at the working size, with the times of the container."""

    images: np.ndarray
    """(N, h, w, 3) uint8 RGB at the working size."""
    times: np.ndarray
    """(N,) float64 seconds, strictly increasing."""
    index: np.ndarray
    """(N,) int64 number of each frame in the source."""
    source_size: tuple[int, int]
    """(width, height) of the source frames, after the rotation tag is obeyed."""
    source: str
    """Name of the video or folder, for people."""
    names: tuple[str, ...] = ()
    """N names of the image files, with their folders; empty for a video."""
    lenses: tuple[LensCamera, ...] = ()
    """N cameras that took the frames, where the distortion of their lenses has been undone; empty
    where the frames are as they were read."""
    cuts: tuple[int, ...] = ()
    """Positions of the frames that begin a new shot, the first frame left out."""

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.times) == len(self.index):
            raise ValueError(
                f"{len(self.images)} images, {len(self.times)} times, {len(self.index)} numbers: "
                "a frame has one of each"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the working images."""
        return self.images.shape[2], self.images.shape[1]


@dataclass(frozen=True)
class KnownCameras:
    """What the user knows about the cameras; None means: solve for it."""

    intrinsics: np.ndarray | None = None
    """(N, 3, 3) float64 in pixels of the working size; nan rows for frames whose focal length is
    not known; fixed in the solve."""
    world_from_cam: np.ndarray | None = None
    """(N, 4, 4) float64; nan rows for frames whose pose is not known."""
    pose_sigma: np.ndarray | None = None
    """(N, 2) standard deviations of the poses: rotation in degrees, position in their own unit;
    nan rows for poses that are exact. None: all are; exact poses are fixed in the solve."""

    @property
    def exact(self) -> KnownCameras:
        """Without the poses that are known roughly."""
        if self.world_from_cam is None or self.pose_sigma is None:
            return self
        rough = ~np.isnan(self.pose_sigma).any(axis=1)
        poses = np.where(rough[:, None, None], np.nan, self.world_from_cam)
        known = bool(np.isfinite(poses).any())
        return KnownCameras(self.intrinsics, poses if known else None)


@dataclass(frozen=True)
class MonoDepth:
    """Monocular depth of every frame, from a depth network or from the user."""

    depth: np.ndarray
    """(N, h, w) float32 > 0 z-depth at the working size; each frame has a scale of its own."""
    point_maps: np.ndarray
    """(N, h, w, 3) float32: what Align3R's point-map branch is fed, about [0, 1] on each axis."""
    focal: np.ndarray | None
    """(N,) float64 focal lengths in working pixels, if the depth network estimates them."""
    is_metric: bool
    """Whether `depth` claims to be in metres."""
    name: str
    """Of the depth network, or of the user's folder, for people."""

    def __post_init__(self) -> None:
        if self.depth.shape != self.point_maps.shape[:3]:
            raise ValueError(
                f"depth of shape {self.depth.shape} and point maps of {self.point_maps.shape}"
            )


@dataclass(frozen=True)
class PairFlows:
    """Dense optical flow of every pair (i, j), both directions, in working pixels."""

    edges: np.ndarray
    """(E, 2) int64."""
    forward: np.ndarray
    """(E, h, w, 2) float16 or float32: pixel of i + forward = its match in j."""
    backward: np.ndarray
    """(E, h, w, 2): pixel of j + backward = its match in i."""
    forward_valid: np.ndarray
    """(E, h, w) bool: forward-backward consistent and inside the image."""
    backward_valid: np.ndarray
    """(E, h, w) bool."""


@dataclass(frozen=True)
class PairPredictions:
    """What a predictor says about pairs (i, j): point maps of both views in camera i's frame.

    Every pair has a free scale of its own. Points are finite and confidences are >= 1; a
    confidence of 1 has no say in the alignment (its weight is ln 1 = 0).
    """

    edges: np.ndarray
    """(E, 2) int64, i != j."""
    points: Tensor
    """(E, 2, h, w, 3) float16 or float32: views i and j, both in camera i's frame."""
    confidence: Tensor
    """(E, 2, h, w) float16 or float32."""
    principal_point: tuple[float, float]
    """Principal point, in working pixels, that the points were made with."""
    aspect: float = 1.0
    """Horizontal over vertical focal length, in working pixels, that the points were made with."""
    moving: np.ndarray | None = None
    """(N, h, w) bool, if the predictor looked at the whole video and already knows."""
    flows: PairFlows | None = None
    """Flow of the same pairs, if the predictor needed it anyway."""
    world_from_cam: np.ndarray | None = None
    """(N, 4, 4), where points cannot say more: a camera that stands still or only turns."""
    warnings: tuple[str, ...] = ()
    """What the predictor noticed and a person should know ("no parallax ...")."""


ScaleSource = Literal["flow", "pairs", "none"]


@dataclass(frozen=True)
class Residuals:
    """What is left over, in M groups of pixels (pairs, frames or all); nan where nothing speaks."""

    points: np.ndarray
    """(M,) median distance of the depth points from the predicted ones, over the depth."""
    inliers: np.ndarray
    """(M,) share of the confidence on points closer than 5 % of the depth."""
    flow_px: np.ndarray
    """(M,) median miss of the optical flow by cameras and depth, working pixels, static scene."""
    flow_inliers: np.ndarray
    """(M,) share of those misses below one pixel."""


@dataclass(frozen=True)
class AlignReport:
    """How well the cameras and depths of a solution explain what was predicted and seen."""

    edges: np.ndarray
    """(E, 2) int64."""
    pair_scale: np.ndarray
    """(E,) unit of the solution over unit of the pair."""
    pairs: Residuals
    """E groups: both views of each pair."""
    frames: Residuals
    """N groups: all pairs of each frame."""
    whole: Residuals
    """One group."""
    path_scale: float
    """What the camera path has to be multiplied by to fit the depth; nan where it stands still."""
    path_scale_from: ScaleSource
    """What it was measured with: optical flow, or the pairs' own poses, which are noisy."""
    warnings: tuple[str, ...] = ()
    """What a person should know before measuring in the result."""


@dataclass(frozen=True)
class Solution:
    """What the aligner found, at the working size, in one common scale."""

    world_from_cam: np.ndarray
    """(N, 4, 4) float64; camera 0 is the identity unless poses were known."""
    focal: np.ndarray
    """(N,) float64, working pixels (fx = fy)."""
    principal_point: tuple[float, float]
    """Working pixels."""
    depth: np.ndarray
    """(N, h, w) float32 z-depth; nan where unknown."""
    confidence: np.ndarray
    """(N, h, w) float32."""
    losses: dict[str, float] = field(default_factory=dict)
    """Final value of each named term and their weighted `total`."""
    world_from_pair: np.ndarray | None = None
    """(E, 3, 4) float64 similarity of each pair, scale * rotation | translation; None where no
    pairs were aligned."""
    report: AlignReport | None = None
    """None where no pairs were aligned."""
    is_metric: bool = False
    """The unit of length is the metre of a metric depth prior."""
