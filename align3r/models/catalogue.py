"""The published weights: where they are, what they may be used for, how large they are.

No commit of these repositories is known here, so none is written down. The first download takes
what `main` is then; the cache remembers the commit, later runs use that one without asking, and
`align3r models download` prints it, so that `repo@commit` can be asked for elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NON_COMMERCIAL = "CC BY-NC-SA 4.0, non-commercial"


@dataclass(frozen=True, kw_only=True)
class Published:
    """Weights that somebody else published, on the hub for the most part."""

    repo: str
    """Owner and repository; of what is to be fetched by hand, those of the authors' code."""
    kind: Literal["pair", "depth", "masks", "unknown"]
    """What commands load them as: a model that answers for pairs, a network for monocular depth,
    one that follows masks; unknown: no command does, Python alone."""
    purpose: str
    """What they are for, in a few words."""
    licence: str
    """Licence of the weights, as far as their card states one."""
    parameters: int
    """Number of parameters; of depth networks, about."""
    size_bytes: int
    """Size of the download, about."""
    revision: str = "main"
    """Branch, tag or commit."""
    by_hand: str = ""
    """Name of the file that a person has to fetch, where its authors have nothing on the hub."""


def _pair(repo: str, parameters: int, *, purpose: str, licence: str = NON_COMMERCIAL) -> Published:
    return Published(
        repo=repo,
        kind="pair",
        purpose=purpose,
        licence=licence,
        parameters=parameters,
        size_bytes=4 * parameters,
    )


def _depth_anything(size: str, *, scene: str = "") -> Published:
    parameters = {"Small": 24_800_000, "Base": 97_500_000, "Large": 335_300_000}[size]
    licence = "Apache-2.0" if size == "Small" else "CC BY-NC 4.0, non-commercial"
    if scene:
        # Of the metric ones, only one card is known here.
        licence = "Apache-2.0" if (scene, size) == ("Outdoor", "Large") else "see its card"
    return Published(
        repo=f"depth-anything/Depth-Anything-V2-{f'Metric-{scene}-' if scene else ''}{size}-hf",
        kind="depth",
        purpose=f"metric depth, {scene.lower()}s" if scene else "relative depth",
        licence=licence,
        parameters=parameters,
        size_bytes=4 * parameters,
    )


def _moge(
    name: str,
    parameters: int,
    *,
    purpose: str = "depth and focal length",
    licence: str = "MIT",
) -> Published:
    return Published(
        repo=f"Ruicheng/{name}",
        kind="depth",
        purpose=purpose,
        licence=licence,
        parameters=parameters,
        size_bytes=4 * parameters,
    )


_ALIGN3R = "none stated; code CC BY-NC-SA 4.0"

CATALOGUE: dict[str, Published] = {
    "dust3r": _pair(
        "naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt",
        571_171_208,
        purpose="pairs, static scenes",
    ),
    "monst3r": _pair(
        "Junyi42/MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt",
        571_171_208,
        purpose="pairs, moving scenes",
    ),
    "align3r-depthanything": _pair(
        "cyun9286/Align3R_DepthAnythingV2_ViTLarge_BaseDecoder_512_dpt",
        603_066_248,
        purpose="pairs, on depthanything-large",
        licence=_ALIGN3R,
    ),
    "align3r-depthpro": _pair(
        "cyun9286/Align3R_DepthPro_ViTLarge_BaseDecoder_512_dpt",
        603_066_248,
        purpose="pairs, on depthpro",
        licence=_ALIGN3R,
    ),
    "vggt": Published(
        repo="facebook/VGGT-1B",
        kind="pair",
        purpose="many frames at once, static scenes",
        licence="CC BY-NC 4.0, non-commercial",
        parameters=1_256_537_516,
        size_bytes=5_030_000_000,
    ),
    "cut3r": Published(
        repo="CUT3R/CUT3R",
        kind="pair",
        purpose="frame after frame, moving scenes",
        licence=NON_COMMERCIAL,
        parameters=793_307_858,
        size_bytes=3_173_761_006,
        by_hand="cut3r_512_dpt_4_64.pth",
    ),
    "depthanything-small": _depth_anything("Small"),
    "depthanything-base": _depth_anything("Base"),
    "depthanything-large": _depth_anything("Large"),
    "depthanything-metric-indoor-small": _depth_anything("Small", scene="Indoor"),
    "depthanything-metric-indoor-base": _depth_anything("Base", scene="Indoor"),
    "depthanything-metric-indoor-large": _depth_anything("Large", scene="Indoor"),
    "depthanything-metric-outdoor-small": _depth_anything("Small", scene="Outdoor"),
    "depthanything-metric-outdoor-base": _depth_anything("Base", scene="Outdoor"),
    "depthanything-metric-outdoor-large": _depth_anything("Large", scene="Outdoor"),
    "depthpro": Published(
        repo="apple/DepthPro-hf",
        kind="depth",
        purpose="metric depth and focal length",
        licence="apple-amlr, research only",
        parameters=950_000_000,
        size_bytes=1_900_000_000,
    ),
    "moge": _moge("moge-vitl", 314_174_026, licence="MIT or Apache-2.0, see its card"),
    "moge2": _moge("moge-2-vitl", 326_209_227, purpose="metric depth and focal length"),
    "sam2": Published(
        repo="facebook/sam2.1-hiera-large",
        kind="masks",
        purpose="outlines of moving things",
        licence="Apache-2.0",
        parameters=224_400_000,
        size_bytes=900_000_000,
    ),
}
"""By the names of `--model` and `--prior.model`; `sam2` is what `--masks sam2` takes."""
