"""VGGT (Wang et al., CVPR 2025): frames of a scene in; cameras, depth and points of all out."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from align3r.models.vggt.aggregator import Aggregator, SceneTokens
from align3r.models.vggt.architecture import VggtArchitecture
from align3r.models.vggt.camera_head import CameraHead
from align3r.models.vggt.dense_head import (
    DenseHead,
    depth_and_confidence,
    points_and_confidence,
)


@dataclass(frozen=True)
class VggtAnswer:
    """What the network says of B scenes of S frames; the first frame is about the world's origin.

    Lengths are relative: in training, the mean distance of the points to the first camera was 1.
    """

    pose_encoding: Tensor
    """(B, S, 9), see `pose_encoding`."""
    depth: Tensor
    """(B, S, H, W) z-depth of each frame in its camera."""
    depth_confidence: Tensor
    """(B, S, H, W), at least 1."""
    points: Tensor
    """(B, S, H, W, 3) points in the world, by a head of their own."""
    points_confidence: Tensor
    """(B, S, H, W), at least 1."""


class Vggt(nn.Module):
    """Trunk and heads; attribute names are those of the public checkpoints.

    The public network also follows points; that head is not here, and its tensors are not read.
    """

    def __init__(self, architecture: VggtArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.aggregator = Aggregator(architecture)
        self.camera_head = CameraHead(architecture)
        self.depth_head = DenseHead(architecture, channels=2)
        self.point_head = DenseHead(architecture, channels=4)

    def forward(self, images: Tensor) -> VggtAnswer:
        """Everything at once.

        Args:
            images: (B, S, 3, H, W) in [0, 1]; H and W are multiples of the patch size.

        Raises:
            ValueError: A size that is no multiple of the patch size.
        """
        tokens = self.aggregator(images)
        return VggtAnswer(self.cameras(tokens), *self.depth(tokens), *self.points(tokens))

    def cameras(self, tokens: SceneTokens) -> Tensor:
        """(B, S, 9) pose encodings."""
        return self.camera_head(tokens.camera)[-1]

    def depth(self, tokens: SceneTokens) -> tuple[Tensor, Tensor]:
        """(B, S, H, W) depth and confidence."""
        return depth_and_confidence(self.depth_head(tokens))

    def points(self, tokens: SceneTokens) -> tuple[Tensor, Tensor]:
        """(B, S, H, W, 3) points in the world and (B, S, H, W) confidence."""
        return points_and_confidence(self.point_head(tokens))
