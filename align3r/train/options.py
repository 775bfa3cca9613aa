"""Every option of a training run, once: the same frozen dataclasses are API, CLI and config file.

What the papers leave open is an option here; each says what is known. No torch is needed to read
this module, so the command line can.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from align3r.config import PrecisionName
from align3r.errors import UsageError
from align3r.train.common_options import FREE as FREE
from align3r.train.common_options import DataOptions as DataOptions
from align3r.train.common_options import LoopOptions as LoopOptions
from align3r.train.common_options import check_number
from align3r.train.common_options import parse_size as parse_size

StudentName = Literal[
    "dust3r", "monst3r", "align3r-depthanything", "align3r-depthpro", "cut3r", "vggt"
]
TeacherName = Literal[
    "moge",
    "moge2",
    "depthpro",
    "depthanything-metric-indoor-small",
    "depthanything-metric-indoor-base",
    "depthanything-metric-indoor-large",
    "depthanything-metric-outdoor-small",
    "depthanything-metric-outdoor-base",
    "depthanything-metric-outdoor-large",
    "truth",
]
TrainedPriorName = Literal[
    "auto",
    "depthanything-small",
    "depthanything-base",
    "depthanything-large",
    "depthpro",
    "moge",
    "moge2",
    "truth",
]
FrozenName = Literal["encoder", "encoder+decoder", "none"]
RenormName = Literal["feature", "weight_row", "weight_qkv", "weight_fro", "weight_spectral", "none"]
DistanceName = Literal["l2", "l2sq"]
NormaliserName = Literal["z", "ray"]
FormName = Literal["fin3r", "moge"]


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """The adapters of Fin3R."""

    rank: int = 8
    """Rank of the adapters."""
    alpha: float = 8.0
    """The adapter counts alpha / rank times."""
    renorm: RenormName = "feature"
    """What keeps its norm: features (as the released networks), rows of the weight, its thirds for
    queries, keys and values, the whole weight, its largest singular value, or nothing. Whether
    Fin3R was trained with the first or, as the paper writes it, with weights, is not known."""


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """The loss of Fin3R, and what the paper leaves open in it."""

    form: FormName = "fin3r"
    """Of what is taught: Fin3R's, up to a scale and weighted by confidence, or MoGe's loss of
    points, up to a scale and a shift along z, which is slow on a CPU."""
    distance: DistanceName = "l2sq"
    """Of depth from the teacher's: squared as the paper writes it, or plain as in DUSt3R."""
    normaliser: NormaliserName = "z"
    """What depth and label are divided by in networks that answer with depth: their mean, or how
    far they are from the camera in the mean; the paper does not say. Points are divided by their
    mean distance, as in DUSt3R."""
    confidence_weight: float = 0.2
    """lambda, how much the network wants to be sure; 0.2 as in DUSt3R. The paper does not say."""
    distil_multi_view: bool = True
    """The teacher also teaches images that are one of several views, as the formula says."""
    replay: bool = True
    """Several views of known geometry also take part with DUSt3R's loss of points."""
    replay_distance: DistanceName = "l2"
    """Of points from the true ones: plain as in DUSt3R, or squared as the paper writes it."""
    replay_confidence_weight: float = 0.2
    """lambda of the loss of points."""

    def __post_init__(self) -> None:
        """Refuse weights that are negative.

        Raises:
            UsageError: One is.
        """
        for name in ("confidence_weight", "replay_confidence_weight"):
            check_number("loss", name, getattr(self, name), least=0)


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """Who labels the images."""

    model: TeacherName = "moge"
    """A monocular network, or `truth`: the depth of the data sets, if they have any. Fin3R cites
    MoGe, the first."""
    weights: str | None = None
    """Weights to take instead of the published ones: a file, a folder, or owner/repo@revision."""
    tokens: int | None = None
    """Tokens that MoGe cuts an image into; by default the most that it was trained with. Fin3R
    does not say."""
    precision: PrecisionName = "auto"
    """Numbers of the teacher; auto: bf16 where the machine has it."""
    labels: str | None = field(default=None, metadata=FREE)
    """Folder that keeps the labels, which many runs may share; by default one in the output."""

    def __post_init__(self) -> None:
        """Refuse a number of tokens that is none.

        Raises:
            UsageError: It is not positive.
        """
        check_number("teacher", "tokens", self.tokens, least=1)


@dataclass(frozen=True, kw_only=True)
class TrainedPriorOptions:
    """Monocular depth that goes into the network beside the images."""

    model: TrainedPriorName = "auto"
    """A monocular network, or `truth`: the depth of the data sets. auto: the one that the network
    was trained with; depthanything-large, which gives disparity, for a new Align3R."""
    weights: str | None = None
    """Weights to take instead of the published ones: a folder, or owner/repo@revision."""
    maps: str | None = field(default=None, metadata=FREE)
    """Folder that keeps the depth of every image, which many runs may share; by default one in the
    output."""


@dataclass(frozen=True, kw_only=True)
class StudentDefaults:
    """What a network is trained with, unless asked otherwise."""

    sizes: tuple[str, ...]
    lengths: tuple[int, ...]
    views_a_batch: int
    patch: int = 16
    """Width and height are multiples of it."""


_WIDE_512 = ("512x384", "512x336", "512x288", "512x256", "512x160")
_VIDEO_512 = ("512x288", "512x336", "512x256")
_CUT3R_512 = ("512x384", "512x336", "512x288", "512x256", "512x208", "512x144")
_TALL_512 = ("384x512", "336x512", "288x512", "256x512")
_PAIRS = StudentDefaults(sizes=_WIDE_512, lengths=(2,), views_a_batch=4)
_ALIGN3R = StudentDefaults(sizes=_VIDEO_512, lengths=(2,), views_a_batch=4)

STUDENT_DEFAULTS: dict[StudentName, StudentDefaults] = {
    "dust3r": _PAIRS,
    "monst3r": _PAIRS,
    "align3r-depthanything": _ALIGN3R,
    "align3r-depthpro": _ALIGN3R,
    "cut3r": StudentDefaults(
        sizes=(*_CUT3R_512, *_TALL_512), lengths=tuple(range(2, 9)), views_a_batch=8
    ),
    "vggt": StudentDefaults(
        sizes=("518x392", "518x294", "518x336", "518x280", "518x518"),
        lengths=tuple(range(2, 9)),
        views_a_batch=8,
        patch=14,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Fin3rOptions:
    """All options of a training of Fin3R: adapters in the encoder learn from a teacher's depth."""

    student: StudentName = "dust3r"
    """Which network is fine-tuned."""
    weights: str | None = None
    """Its weights instead of the published ones: a file, a folder, or owner/repo@revision."""
    adapter: str | None = None
    """Adapters to start from instead of new ones; their own settings win over --lora."""
    lora: LoraOptions = field(default_factory=LoraOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    prior: TrainedPriorOptions = field(default_factory=TrainedPriorOptions)
    data: DataOptions = field(default_factory=DataOptions)
    loop: LoopOptions = field(default_factory=LoopOptions)


@dataclass(frozen=True, kw_only=True)
class Align3rOptions:
    """All options of a training of Align3R: a pair network learns to use a depth prior."""

    weights: str | None = None
    """Network to start from, instead of the published DUSt3R; what it has no weights for starts so
    that it changes nothing."""
    prior: TrainedPriorOptions = field(default_factory=TrainedPriorOptions)
    freeze: FrozenName = "encoder"
    """What stays as it is: the encoder of images, as the paper says; its decoder, too, so that the
    branch for monocular depth and the heads alone are trained; or nothing, as the published
    command says."""
    symmetric: bool = True
    """Each pair is looked at both ways round, as in the training of Align3R."""
    confidence_weight: float = 0.2
    """How much the network wants to be sure; 0.2 as in DUSt3R and Align3R."""
    # Align3R crops to 0.8, 0.9 or all of the image before anything else.
    data: DataOptions = field(default_factory=lambda: DataOptions(zoom=1 / 0.8))
    loop: LoopOptions = field(
        default_factory=lambda: LoopOptions(
            epochs=50.0,
            effective_batch=16,
            learning_rate=5e-5,
            warmup_epochs=5.0,
            weight_decay=0.05,
        )
    )

    def __post_init__(self) -> None:
        """Refuse a weight that is negative.

        Raises:
            UsageError: It is.
        """
        check_number("", "confidence_weight", self.confidence_weight, least=0)


def fill_data(data: DataOptions, student: StudentName) -> DataOptions:
    """The options of data, with what suits the student wherever nothing was asked for.

    Raises:
        UsageError: The student does not take a size or a length, or a sample fits no batch.
    """
    defaults = STUDENT_DEFAULTS[student]
    sizes, lengths = data.sizes or defaults.sizes, data.lengths or defaults.lengths
    for size in sizes:
        if any(side % defaults.patch for side in parse_size(size)):
            raise UsageError(
                f"{student} takes no images of {size}",
                hint=f"width and height are multiples of {defaults.patch}",
            )
    if defaults.lengths == (2,) != lengths:
        raise UsageError(
            f"{student} takes pairs, not samples of {', '.join(map(str, lengths))} views",
            hint="leave out --data.lengths",
        )
    views = data.views_a_batch or max(defaults.views_a_batch, *lengths)
    return replace(data, sizes=sizes, lengths=lengths, views_a_batch=views)
