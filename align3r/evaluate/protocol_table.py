"""Every protocol that can be run: one row each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from align3r.errors import UsageError
from align3r.evaluate.metrics import DepthRules
from align3r.evaluate.protocols import Pick, PoseRules, Protocol

_ALIGN3R = {
    "lad": DepthRules(align="lad", near=1e-3, far=70.0, clip=(1e-5, 70.0), positive=False),
}


def _alignments(
    names: Mapping[str, str], *, far: float = np.inf, clip: float = np.inf
) -> dict[str, DepthRules]:
    """The same rules with several alignments, by the names that their columns have."""
    return {
        name: DepthRules(align=align, far=far, clip=(-np.inf, clip), positive=False)
        for name, align in names.items()
    }


_MONST3R = {"lad2": "lad2", "median": "median"}
_CUT3R = {"scale": "scale", "metric": "none"}
_EVERY_DEPTH = ("abs_rel", "sq_rel", "rmse", "log_rmse", "delta1", "delta2", "delta3")
_POSE = ("ate_m", "rpe_trans_m", "rpe_rot_deg")
_VIEWS = ("rra@5", "rta@5", "rra@15", "rta@15", "auc@30")
_VIDEO = (
    *("ate_m", "ate_percent", "rpe_rot_deg", "focal_error_percent", "abs_rel", "delta1"),
    *("abs_rel_static", "abs_rel_moving", "mask_iou", "flow_change_error"),
)
_UNSEEN = tuple(
    f"{category}/*"
    for category in (
        *("ball", "book", "couch", "frisbee", "hotdog"),
        *("kite", "remote", "sandwich", "skateboard", "suitcase"),
    )
)
"""The categories of CO3Dv2 that RelPose and PoseDiffusion do not train on: 41 are left."""
# A few images without an order: all pairs, nothing that takes them for a video.
_UNORDERED: dict[str, Any] = {
    "pairs.graph": "complete",
    "pairs.symmetric": True,
    "align.flow_weight": 0.0,
    "align.smooth_weight": 0.0,
    "motion.enabled": False,
}


def _align3r_depth(dataset: str, **rest: Any) -> Protocol:
    return Protocol(
        paper="align3r",
        task="depth",
        dataset=dataset,
        depth=_ALIGN3R,
        resize="bilinear",
        weight="pixels",
        columns=_EVERY_DEPTH,
        **{"pick": Pick(most=110), **rest},
    )


def _peers_depth(paper: str, dataset: str, *, bounds: Mapping[str, float], **rest: Any) -> Protocol:
    names = {"monst3r": _MONST3R, "cut3r": _CUT3R}[paper]
    return Protocol(
        paper=paper,
        task="depth",
        dataset=dataset,
        depth=_alignments(names, **bounds),
        resize="cubic",
        weight="pixels",
        columns=tuple(f"{name}.{metric}" for name in names for metric in ("abs_rel", "delta1")),
        **rest,
    )


def _pose(paper: str, dataset: str, **rest: Any) -> Protocol:
    return Protocol(paper=paper, task="pose", dataset=dataset, columns=_POSE, **rest)


def _views(paper: str, dataset: str, pick: Pick, **rest: Any) -> Protocol:
    return Protocol(
        paper=paper,
        task="multi-view",
        dataset=dataset,
        pick=pick,
        options=_UNORDERED,
        columns=_VIEWS,
        **rest,
    )


def _mono(dataset: str, width: int, height: int, *, sharp: bool = False) -> Protocol:
    boundaries = ("boundary_f1_radius1",) if sharp else ()
    return Protocol(
        paper="fin3r",
        task="mono",
        dataset=dataset,
        reads="moge",
        size=(width, height),
        sharp=sharp,
        columns=(
            *("depth_scale_invariant_rel", "depth_scale_invariant_delta1"),
            *("depth_affine_invariant_rel", "depth_affine_invariant_delta1"),
            *("points_scale_invariant_rel", "points_scale_invariant_delta1"),
            *boundaries,
        ),
    )


def _video(dataset: str, note: str = "") -> Protocol:
    return Protocol(paper="ours", task="video", dataset=dataset, columns=_VIDEO, note=note)


_INDEX_PAIRS = (
    "The paper pairs colour and depth images by their place in the folder, which can be off by a "
    "frame; here they are paired by time."
)
_EVERY_IMAGE = {"need": "none"}
"""Frames are counted over all images: one without a pose or depth counts, and has none."""
_TEST_LIST = (
    "The papers take 1,800 of the test sequences, those whose videos can still be had; here it is "
    "all in the folder."
)
_SLICED = (
    "The released code takes rows 30 to 60 of the pose file for images 30 to 60, although it has "
    "three times as many poses a second: a perfect path would not score zero. Compare with rows "
    "of this protocol only; the protocol monst3r has the poses of the images."
)

ROWS: tuple[Protocol, ...] = (
    _align3r_depth("sintel", sequences="depth", reader={"rendering": "clean"}),
    _align3r_depth("pointodyssey", among="val/*"),
    _align3r_depth("flyingthings3d", reads="sceneflow", among="TEST/*", every=20),
    _align3r_depth(
        "bonn",
        reader=_EVERY_IMAGE,
        sequences="depth",
        pick=Pick(start=30, most=110),
        note=_INDEX_PAIRS,
    ),
    _align3r_depth(
        "tum",
        reader=_EVERY_IMAGE,
        sequences="dynamic",
        pick=Pick(start=30, most=50),
        note=_INDEX_PAIRS,
    ),
    _peers_depth(
        "monst3r",
        "sintel",
        bounds={"far": 70.0, "clip": 70.0},
        sequences="depth",
        reader={"rendering": "final"},
    ),
    _peers_depth(
        "monst3r",
        "bonn",
        bounds={"far": 70.0},
        reader=_EVERY_IMAGE,
        sequences="depth",
        pick=Pick(start=30, most=110),
        note=_INDEX_PAIRS,
    ),
    _peers_depth("monst3r", "kitti", bounds={}, sequences="validation", pick=Pick(most=110)),
    _peers_depth(
        "cut3r",
        "sintel",
        bounds={"far": 70.0, "clip": 70.0},
        sequences="depth",
        reader={"rendering": "final"},
    ),
    _peers_depth(
        "cut3r",
        "bonn",
        bounds={"far": 70.0},
        reader=_EVERY_IMAGE,
        sequences="depth",
        pick=Pick(start=30, most=110),
        note=_INDEX_PAIRS,
    ),
    _peers_depth("cut3r", "kitti", bounds={}, sequences="validation", pick=Pick(most=110)),
    _pose("align3r", "sintel", sequences="pose", reader={"rendering": "clean"}),
    _pose(
        "align3r",
        "tum",
        reader={"association": "rows", "need": "pose"},
        sequences="dynamic",
        pick=Pick(start=30, most=30),
        note=_SLICED,
    ),
    _pose("align3r", "bonn", reader=_EVERY_IMAGE, sequences="depth", pick=Pick(start=30, most=30)),
    _pose("monst3r", "sintel", sequences="pose", reader={"rendering": "final"}),
    _pose(
        "monst3r",
        "tum",
        reader={"need": "pose"},
        sequences="dynamic",
        pick=Pick(stride=3, most=90),
    ),
    _pose(
        "monst3r",
        "bonn",
        reader=_EVERY_IMAGE,
        sequences="depth",
        pick=Pick(start=30, most=110),
        note="Which frames the published rows are of is not known; these are those of depth.",
    ),
    _pose("monst3r", "scannet", pick=Pick(stride=3, most=90), all_posed=True),
    _mono("nyuv2", 640, 480),
    _mono("kitti", 750, 375),
    _mono("eth3d", 2048, 1365),
    _mono("ibims1", 640, 480, sharp=True),
    _mono("gso", 512, 512),
    _mono("ddad", 1400, 700),
    _mono("diode", 1024, 768),
    _mono("hammer", 1664, 832, sharp=True),
    Protocol(
        paper="loftr",
        task="two-view",
        dataset="scannet1500",
        poses=PoseRules(rule="recall", thresholds=(5, 10, 20), areas=(5, 10, 20)),
        columns=("auc@5", "auc@10", "auc@20"),
        note="Intrinsics of the depth camera, for images of 640x480. Papers seldom say which they "
        "take: published rows may be of the other protocol, roma.",
    ),
    Protocol(
        paper="roma",
        task="two-view",
        dataset="scannet1500",
        reader={"intrinsics": "colour"},
        poses=PoseRules(
            rule="recall",
            thresholds=(5, 10, 20),
            areas=(5, 10, 20),
            repeats=5,
            most_matches=5000,
            failure_deg=90.0,
        ),
        columns=("auc@5", "auc@10", "auc@20"),
        note="Intrinsics of the colour camera; five runs of RANSAC, all of which count. Papers "
        "seldom say which they take: published rows may be of the other protocol, loftr.",
    ),
    _views("fin3r", "co3d", Pick(most=10), without=_UNSEEN, groups=True),
    _views("fin3r", "re10k", Pick(drawn=10, least=10), among="test/*", note=_TEST_LIST),
    _views(
        "vggt",
        "co3d",
        Pick(drawn=10, least=50),
        reads="co3d-evaluation",
        without=_UNSEEN,
        groups=True,
    ),
    _views("vggt", "re10k", Pick(drawn=10, least=10), among="test/*", note=_TEST_LIST),
    _video("rendered", "Scenes of our own, with exact truth; generated on first use."),
    _video("rgbd", "Folders in TUM layout with a camera.json."),
)

PROTOCOLS: dict[str, Protocol] = {row.name: row for row in ROWS}


def protocol(task: str, dataset: str, paper: str | None = None) -> Protocol:
    """The protocol of a task on a data set; of a paper, or the first in the table.

    Raises:
        UsageError: There is none.
    """
    fitting = [p for p in ROWS if p.task == task and p.dataset == dataset]
    for found in fitting:
        if paper in (None, found.paper):
            return found
    if fitting:
        raise UsageError(
            f"there is no protocol {paper!r} for {task} on {dataset}",
            hint=f"one of {', '.join(p.paper for p in fitting)}",
        )
    sets = list(dict.fromkeys(p.dataset for p in ROWS if p.task == task))
    hint = f"data sets for {task}: {', '.join(sets)}" if sets else f"tasks: {', '.join(_tasks())}"
    raise UsageError(f"there is no protocol for {task} on {dataset!r}", hint=hint)


def _tasks() -> list[str]:
    return list(dict.fromkeys(p.task for p in ROWS))
