"""What is taught: every network that Fin3R fine-tunes, and what it says of a batch.

Fin3R distils the head that tells of a view in its own camera: of DUSt3R that of the first view of
a pair, of CUT3R that of a frame's own points, of VGGT that of depth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from align3r.errors import UsageError
from align3r.io.fitting import FitName
from align3r.models.cut3r.loading import load_cut3r
from align3r.models.cut3r.network import Cut3r
from align3r.models.cut3r.values import EncodedView
from align3r.models.loading import load_pair_network
from align3r.models.pair_network import EncodedFrame, PairNetwork
from align3r.models.vggt.loading import load_vggt
from align3r.models.vggt.network import Vggt
from align3r.models.weights import locate
from align3r.train.options import StudentName

PAIR = 2


@dataclass(frozen=True)
class StudentAnswer:
    """What a network says of B samples of S views of H rows and W columns."""

    own: Tensor
    """(B, S, H, W, C) of each view in its own camera: z-depth (C = 1) or points (C = 3)."""
    own_confidence: Tensor
    """(B, S, H, W) above 0."""
    points: Tensor | None = None
    """(B, S, H, W, 3) of all views in the camera of the first, if they were asked for."""
    points_confidence: Tensor | None = None
    """(B, S, H, W) of `points`, above 0."""

    @property
    def depth(self) -> Tensor:
        """(B, S, H, W) z-depth of each view."""
        return self.own[..., -1]


@dataclass(frozen=True, kw_only=True)
class Student:
    """A published network."""

    load: Callable[[Path], nn.Module]
    """Takes its weights to a network on the CPU."""
    takes_point_maps: bool = False
    """Whether it is an Align3R."""


_PAIRS = Student(load=load_pair_network)
_ALIGN3R = Student(load=load_pair_network, takes_point_maps=True)

STUDENTS: Mapping[StudentName, Student] = {
    "dust3r": _PAIRS,
    "monst3r": _PAIRS,
    "align3r-depthanything": _ALIGN3R,
    "align3r-depthpro": _ALIGN3R,
    "cut3r": Student(load=load_cut3r),
    "vggt": Student(load=load_vggt),
}


def load_student(name: StudentName, weights: str | None = None) -> nn.Module:
    """Find, fetch if need be, and load a network, in float32 on the CPU.

    Args:
        name: Which.
        weights: To take instead of the published ones; see `align3r.models.weights.locate`.

    Raises:
        WeightsError: The weights cannot be had, are damaged, or are another network's.
        UsageError: They are of another kind of pair network.
    """
    student = STUDENTS[name]
    network = student.load(locate(weights or name))
    if isinstance(network, PairNetwork) and network.takes_point_maps != student.takes_point_maps:
        kind = "an Align3R" if network.takes_point_maps else "a DUSt3R or MonST3R"
        raise UsageError(
            f"{weights or name} holds {kind} network, and the student is {name}",
            hint="name the student that the weights belong to with --student",
        )
    return network


def answer(
    network: nn.Module, images: Tensor, point_maps: Tensor | None = None, *, joint: bool = True
) -> StudentAnswer:
    """What a network says; gradients pass through all of it, frozen or not.

    A network of pairs sees each view beside the other one; a view that is alone, beside itself.

    Args:
        network: One of `STUDENTS`, with or without adapters.
        images: (B, S, 3, H, W) in [0, 1].
        point_maps: (B, S, H, W, 3), for an Align3R.
        joint: Whether points of all views in the first camera are wanted.

    Raises:
        ValueError: Sizes that are no multiples of the patch size, more than two views for a network
            of pairs, or a point map too many or missing.
    """
    return _ANSWERS[type(network)](network, images, point_maps, joint)


def fit_of(network: nn.Module) -> FitName:
    """How evaluation fits images to a network."""
    return "vggt" if isinstance(network, Vggt) else "network"


def _pair_answer(
    network: PairNetwork, images: Tensor, point_maps: Tensor | None, joint: bool
) -> StudentAnswer:
    batch, length = images.shape[:2]
    if length > PAIR:
        raise ValueError(f"a network of pairs is given {length} views")
    maps = None if point_maps is None else point_maps.flatten(0, 1)
    frames = network.encode(_signed(images).flatten(0, 1), maps)
    # Both orders of a pair: each view is the first of one.
    partner = torch.arange(batch * length).unflatten(0, (batch, length)).roll(1, 1).flatten()
    pairs = network.decode(network.enter(frames, 0), network.enter(_chosen(frames, partner), 1))
    own, confidence = (x[0].unflatten(0, (batch, length)) for x in (pairs.points, pairs.confidence))
    if not joint:
        return StudentAnswer(own, confidence)
    views = [_one_order(p, batch) for p in (pairs.points, pairs.confidence)]
    return StudentAnswer(own, confidence, *(torch.stack(v[:length], 1) for v in views))


def _one_order(views: tuple[Tensor, Tensor], batch: int) -> list[Tensor]:
    """Both views of the pairs whose first view is the first of its sample."""
    return [view.unflatten(0, (batch, -1))[:, 0] for view in views]


def _chosen(frames: EncodedFrame, which: Tensor) -> EncodedFrame:
    injections = tuple(tokens[which] for tokens in frames.injections)
    return EncodedFrame(frames.tokens[which], injections, frames.grid)


def _cut3r_answer(
    network: Cut3r, images: Tensor, _point_maps: Tensor | None, joint: bool
) -> StudentAnswer:
    batch, length = images.shape[:2]
    encoded = network.encode(_signed(images).flatten(0, 1))
    tokens = encoded.tokens.unflatten(0, (batch, length))
    state, outputs = network.start(batch), []
    for view in tokens.unbind(1):
        state, output = network.step(
            state, EncodedView(view, encoded.grid, has_image=True), with_points=joint
        )
        outputs.append(output)
    own, confidence = (
        torch.stack([getattr(output, name) for output in outputs], 1)
        for name in ("own_points", "own_confidence")
    )
    if not joint:
        return StudentAnswer(own, confidence)
    points, certain = (
        torch.stack([cast(Tensor, getattr(output, name)) for output in outputs], 1)
        for name in ("points", "confidence")
    )
    return StudentAnswer(own, confidence, points, certain)


def _vggt_answer(
    network: Vggt, images: Tensor, _point_maps: Tensor | None, joint: bool
) -> StudentAnswer:
    tokens = network.aggregator(images)
    depth, confidence = network.depth(tokens)
    points = network.points(tokens) if joint else ()
    return StudentAnswer(depth[..., None], confidence, *points)


def _signed(images: Tensor) -> Tensor:
    """Colours in [0, 1] as CroCo's descendants take them, in [-1, 1]."""
    return (images - 0.5) / 0.5


_ANSWERS: dict[type[nn.Module], Callable[..., StudentAnswer]] = {
    PairNetwork: _pair_answer,
    Cut3r: _cut3r_answer,
    Vggt: _vggt_answer,
}
