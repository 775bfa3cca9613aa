"""Every option of a run, once: the same frozen dataclasses are API, CLI, scene.json and docs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from align3r.errors import UsageError

ModelName = Literal[
    "auto",
    "geometric",
    "dust3r",
    "monst3r",
    "align3r-depthanything",
    "align3r-depthpro",
    "vggt",
    "cut3r",
]
PriorName = Literal[
    "auto",
    "none",
    "depthanything-small",
    "depthanything-base",
    "depthanything-large",
    "depthanything-metric-indoor-small",
    "depthanything-metric-indoor-base",
    "depthanything-metric-indoor-large",
    "depthanything-metric-outdoor-small",
    "depthanything-metric-outdoor-base",
    "depthanything-metric-outdoor-large",
    "depthpro",
    "moge",
    "moge2",
]
FlowName = Literal["auto", "dis", "raft"]
PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
GraphName = Literal[
    "keyframes", "complete", "swin", "swinstride", "swin2stride", "logwin", "oneref"
]


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """Which frames of the input take part."""

    start: float = 0.0
    """Begin at this time, in seconds."""
    stop: float | None = None
    """End before this time, in seconds."""
    stride: int = 1
    """Take every n-th frame."""
    fps: float | None = None
    """Video: take at most this many frames a second. Images: their frame rate (30 if not given)."""
    max_frames: int | None = None
    """Take at most this many frames, spread evenly over the whole input."""
    size: int = 512
    """Long side of the working images, in pixels; results are always at the source size."""


@dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """What is known about the cameras, and which regions are known to move."""

    focal: float | None = None
    """Known focal length in source pixels; solved for when not given."""
    intrinsics: tuple[float, float, float, float] | None = None
    """Known fx, fy, cx, cy in source pixels; the centre of the top-left pixel is (0, 0)."""
    calibration: str | None = None
    """File with the known intrinsics and the lens: a COLMAP cameras.txt, cameras.bin or model
    folder, a transforms.json of nerfstudio, or JSON with a camera matrix. On the command line,
    --intrinsics takes a file, too."""
    distortion: tuple[float, ...] | None = None
    """Distortion of the lens in OpenCV's order, k1 k2 p1 p2 k3 k4 k5 k6 or the first 1, 2, 4 or 5
    of them; with --focal or --intrinsics. It is undone before anything else."""
    lens: Literal["opencv", "fisheye"] = "opencv"
    """What --distortion means; fisheye: k1 k2 k3 k4 of OpenCV's fisheye model."""
    poses: str | None = None
    """Known camera poses: a TUM trajectory or a cameras.npz, matched to the frames by time, or a
    transforms.json of nerfstudio, matched by name."""
    colmap: str | None = None
    """Folder of a COLMAP model: known poses, and intrinsics unless they are given otherwise.
    Matched by the names of the images; for a video by the numbers or times in them."""
    poses_are: Literal["auto", "exact", "rough"] = "auto"
    """Exact poses are kept, rough ones only pull; auto: those of --colmap are rough, and so are
    others if --camera.pose-sigma says so."""
    pose_sigma: tuple[float, float] | None = None
    """How rough: standard deviations of the rotations in degrees and of the positions in their own
    unit. When not given: 0.5 degrees, and 1 % of the diagonal of the box around the positions."""
    first_number: int | None = None
    """Video: number in the name of the image that is its first frame. When not given: 0, or 1 if
    no image has a 0."""
    masks: str | None = None
    """Folder of your own masks, one image a frame, white = moving; they win over automatic ones.
    On the command line, sam2 means: automatic masks, refined by SAM 2."""

    @property
    def posed(self) -> bool:
        """Whether poses are given."""
        return self.poses is not None or self.colmap is not None


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """How a learned pair predictor runs."""

    weights: str | None = None
    """Weights to take instead of the published ones: a .safetensors or .pth file, a folder with
    config.json and model.safetensors, or owner/repo@revision."""
    adapter: str | None = None
    """Fine-tuning of the encoder that goes with the weights: a folder of peft or of align3r's own
    training, or a file of Fin3R."""
    precision: PrecisionName = "auto"
    """Number format; auto: bf16 for pairs where the machine has it, else and for depth fp32; where
    a model is evaluated, that of its published figures."""
    batch: int = 0
    """Pairs in one batch; 0 = as many as suit the device and its free memory."""
    cache_gb: float = 2.0
    """Memory for encoded frames, in GB; what does not fit waits on disk."""
    compile: bool = False
    """Compile the network (GPU): slower start, faster pairs."""


@dataclass(frozen=True, kw_only=True)
class PriorOptions:
    """Monocular depth that the pair network or the scale maps start from."""

    model: PriorName = "auto"
    """Depth network; auto: the one that the pair network was trained with, if any."""
    weights: str | None = None
    """Weights to take instead of the published ones: a folder, or owner/repo@revision."""
    dir: str | None = None
    """Folder of your own depth maps, one a frame: exr, npz, npy or 16-bit png."""
    kind: Literal["depth", "disparity"] = "depth"
    """What your own maps hold: depth (larger is farther) or disparity (larger is nearer)."""
    metric: bool = False
    """Your own depth maps are in metres: they give the result its unit, whatever the model, unless
    known poses do."""


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """Which pairs of frames are looked at."""

    graph: GraphName = "keyframes"
    """Pair graph; `keyframes` grows linearly with the frames (30 frames: 138 pairs)."""
    group: int = 10
    """Frames in a keyframe group."""
    window: int = 5
    """Window of swin, swinstride, swin2stride and logwin."""
    reference: int = 0
    """Reference frame of oneref."""
    cyclic: bool = False
    """The last frame is followed by the first."""
    loops: bool = True
    """Keyframes farther apart than the graph reaches (about 90 frames by default) that see the same
    place are paired too; for learned models."""
    symmetric: bool = False
    """Look at every pair in both orders."""


@dataclass(frozen=True, kw_only=True)
class MotionOptions:
    """How moving regions are told from the static scene."""

    enabled: bool = True
    """Find moving regions; off: everything is taken as static."""
    threshold: float = 6.0
    """Disagreement with the static scene, in robust standard deviations, that counts as motion."""
    flow: FlowName = "auto"
    """Optical flow for learned models; auto: RAFT on a GPU if its weights are there, else DIS."""
    refine: Literal["none", "sam2"] = "none"
    """Let SAM 2 follow the outlines of the automatic masks; the same as --masks sam2."""


@dataclass(frozen=True, kw_only=True)
class AlignOptions:
    """How pair predictions become one scene."""

    geometry: Literal["depth", "scale", "scale-grid"] = "depth"
    """Solve for a depth map per frame, for a free scale map on a prior depth, or for a smooth one
    (scale-grid), which keeps the edges and the detail of a good prior."""
    cells: int = 9
    """Cells of a scale-grid along the long side of the image."""
    schedule: Literal["auto", "joint", "keyframes"] = "auto"
    """All pairs at once, or keyframes first, then each group against them (auto: more than 120
    frames with the solver adam). The second solve of learned models, from the first with moving
    masks found again, always takes all pairs at once."""
    solver: Literal["gauss-newton", "adam", "none"] = "gauss-newton"
    """Gauss-Newton with depth eliminated, or the paper's Adam on all unknowns: one objective. none:
    no refinement, only what the pairs agree on; of vggt and cut3r, that is the network's answer."""
    steps: int = 300
    """Steps of the solver adam; 300 as in the paper's supplement."""
    learning_rate: float = 0.05
    """Initial learning rate of the solver adam, cosine decay."""
    pixels: int = 2304
    """Pixels a view in the solve, on a grid; 0 = all; fewer where the memory is too small for them.
    Depth is always full size."""
    focal: Literal["shared", "per-frame"] = "shared"
    """One focal length for the video, or one a frame."""
    flow_weight: float = 0.1
    """Weight of the flow loss (MonST3R, which takes 0.01); 0 switches it off."""
    smooth_weight: float = 0.01
    """Weight of the trajectory smoothness, five times as much without flow; 0 switches it off."""
    prior_weight: float = 0.0
    """Weight of how far depths are from the prior, or from where they start without one; 0: off."""


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written beside the cameras, depth and masks."""

    min_confidence: float = 1.5
    """Points of points.ply and the viewer need at least this confidence."""
    max_points: int = 1_000_000
    """Most points in points.ply."""
    html: bool = True
    """Write scene.html, the self-contained viewer."""
    pictures: bool = True
    """Write depth.mp4 and cameras.png."""
    overwrite: bool = False
    """Replace an existing result folder."""


_LEAST = {
    "seed": 0,
    "memory_budget": 0.001,
    "pairs.group": 2,
    "pairs.window": 1,
    "pairs.reference": 0,
    "motion.threshold": 0,
    "network.batch": 0,
    "network.cache_gb": 0,
    "align.steps": 1,
    "align.learning_rate": 0,
    "align.cells": 1,
    "align.pixels": 0,
    "align.flow_weight": 0,
    "align.smooth_weight": 0,
    "align.prior_weight": 0,
    "output.min_confidence": 0,
    "output.max_points": 1,
}
"""Smallest value of each number that is not checked where the input is read."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """All options of one reconstruction."""

    model: ModelName = "auto"
    """Pair predictor; `geometric` needs no weights and no download, the others are networks."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    memory_budget: float | None = None
    """Main memory to stay within, in GB; what does not fit is kept in files on the disk.
    By default: what is free."""
    scale: Literal["auto", "relative", "metric"] = "auto"
    """Unit of length. auto: that of known poses, else metres if a depth prior has them, else none;
    metric: metres or an error (known poses are then taken as metres); relative: none."""
    seed: int = 0
    """Same seed, same machine, same files."""
    input: InputOptions = field(default_factory=InputOptions)
    camera: CameraOptions = field(default_factory=CameraOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    prior: PriorOptions = field(default_factory=PriorOptions)
    pairs: PairOptions = field(default_factory=PairOptions)
    motion: MotionOptions = field(default_factory=MotionOptions)
    align: AlignOptions = field(default_factory=AlignOptions)
    output: OutputOptions = field(default_factory=OutputOptions)

    def __post_init__(self) -> None:
        """Refuse numbers that no run can make sense of.

        Raises:
            UsageError: A number is out of its range or not a number.
        """
        for name, least in _LEAST.items():
            group, _, field_name = name.rpartition(".")
            value = getattr(getattr(self, group) if group else self, field_name)
            # Not `value < least`: that is False for nan.
            if value is not None and not value >= least:
                raise UsageError(
                    f"--{name.replace('_', '-')} is {value}", hint=f"it is at least {least}"
                )
