"""MoGe-2: points, mask, metric scale, and in some checkpoints normals (Wang et al., 2025)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn, zeros
from torch.nn.functional import normalize

from align3r.models.dinov2 import DinoV2, VitArchitecture
from align3r.models.moge.parts import (
    MogeAnswer,
    ResidualBlock,
    Size,
    as_map,
    doubled,
    enlarged,
    exponential_points,
    projected_sum,
    resampled,
    with_view_plane,
)


@dataclass(frozen=True, kw_only=True)
class PyramidArchitecture:
    """Sizes of a stack of convolutions at ever finer levels, each twice the one before."""

    inputs: tuple[int, ...]
    """Channels of what each level is given."""
    widths: tuple[int, ...]
    """Channels of each level."""
    residual_blocks: tuple[int, ...]
    """Residual blocks of each level."""
    learnt: tuple[bool, ...]
    """Whether each step to a finer level is a transposed convolution; else it is bilinear."""
    output: int | None = None
    """Channels of what the finest level answers; None: all levels answer what they are."""
    hidden: int = 1
    """Hidden channels of a residual block, in its width."""


@dataclass(frozen=True, kw_only=True)
class Moge2Architecture:
    """Sizes of a MoGe-2."""

    encoder: VitArchitecture
    """The image encoder."""
    levels: tuple[int, ...]
    """Blocks of the encoder whose tokens are looked at."""
    projected: int
    """Channels that these are projected to."""
    neck: PyramidArchitecture
    """What all heads share."""
    points: PyramidArchitecture
    """The head of the points."""
    mask: PyramidArchitecture
    """The head of the mask."""
    normal: PyramidArchitecture | None
    """The head of the normals; None: there is none."""
    scale: tuple[int, ...]
    """Widths of the perceptron that tells the metric scale."""
    tokens_range: tuple[int, int] = (1200, 3600)
    """Least and largest number of tokens that it was trained with."""


class Moge2(nn.Module):
    """The network, under the names of its public checkpoints."""

    def __init__(self, architecture: Moge2Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.encoder = Moge2Encoder(a)
        self.neck = Pyramid(a.neck)
        self.points_head = Pyramid(a.points)
        self.mask_head = Pyramid(a.mask)
        self.normal_head = None if a.normal is None else Pyramid(a.normal)
        self.scale_head = perceptron(a.scale)

    @property
    def backbone(self) -> DinoV2:
        """The image encoder alone."""
        return self.encoder.backbone

    def forward(self, images: Tensor, tokens: int) -> MogeAnswer:
        """What the network says of images.

        Args:
            images: (B, 3, H, W) colours in [0, 1].
            tokens: About how many patches to look at.
        """
        height, width = images.shape[-2:]
        aspect = width / height
        grid = (
            max(round(math.sqrt(tokens / aspect)), 1),
            max(round(math.sqrt(tokens * aspect)), 1),
        )
        features, summary = self.encoder(images, grid)
        shared = self.neck(self._levels(features, aspect))

        def full_size(head: Pyramid) -> Tensor:
            return enlarged(head(shared)[-1], (height, width))

        normal = None
        if self.normal_head is not None:
            normal = normalize(full_size(self.normal_head).permute(0, 2, 3, 1), dim=-1)
        return MogeAnswer(
            points=exponential_points(full_size(self.points_head)),
            mask=full_size(self.mask_head)[:, 0].sigmoid(),
            normal=normal,
            metric_scale=self.scale_head(summary)[:, 0].exp(),
        )

    def _levels(self, features: Tensor, aspect: float) -> list[Tensor]:
        """What the levels of the neck are given: all know where they are, the coarsest what."""
        batch, _, height, width = features.shape
        finer = (
            with_view_plane(features.new_empty(batch, 0, height << k, width << k), aspect)
            for k in range(1, len(self.architecture.neck.widths))
        )
        return [with_view_plane(features, aspect), *finer]


class Moge2Encoder(nn.Module):
    """Image encoder, its levels projected and summed."""

    def __init__(self, architecture: Moge2Architecture) -> None:
        super().__init__()
        a = architecture
        self.levels = a.levels
        self.backbone = DinoV2(a.encoder)
        self.output_projections = nn.ModuleList(
            nn.Conv2d(a.encoder.embed_dim, a.projected, 1) for _ in a.levels
        )
        self.image_mean: Tensor
        self.image_std: Tensor
        self.register_buffer("image_mean", zeros(1, 3, 1, 1))
        self.register_buffer("image_std", zeros(1, 3, 1, 1))

    def forward(self, images: Tensor, grid: Size) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) colours in [0, 1] to (B, C, *grid) features and (B, E) class tokens."""
        patch = self.backbone.architecture.patch_size
        resized = resampled(images, (grid[0] * patch, grid[1] * patch))
        levels = self.backbone((resized - self.image_mean) / self.image_std, after=self.levels)
        maps = [as_map(level.patches, grid) for level in levels]
        return projected_sum(self.output_projections, maps), levels[-1].summary


class Pyramid(nn.Module):
    """Convolutions at ever finer levels; each adds what it is given to the level before."""

    def __init__(self, architecture: PyramidArchitecture) -> None:
        super().__init__()
        a = architecture
        self.input_blocks = nn.ModuleList(
            nn.Conv2d(given, width, 1) for given, width in zip(a.inputs, a.widths, strict=True)
        )
        self.res_blocks = nn.ModuleList(
            nn.Sequential(
                *(ResidualBlock(width, a.hidden * width, normalizes=False) for _ in range(count))
            )
            for width, count in zip(a.widths, a.residual_blocks, strict=True)
        )
        self.resamplers = nn.ModuleList(
            doubled(before, width, learns=learns)
            for before, width, learns in zip(a.widths, a.widths[1:], a.learnt, strict=False)
        )
        self.output_blocks = nn.ModuleList(nn.Identity() for _ in a.widths)
        if a.output is not None:
            self.output_blocks[-1] = nn.Conv2d(a.widths[-1], a.output, 1)

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """What every level answers, the coarsest first."""
        answers: list[Tensor] = []
        x = None
        for k, (enter, refine) in enumerate(zip(self.input_blocks, self.res_blocks, strict=True)):
            entered = enter(inputs[k])
            x = refine(entered if x is None else x + entered)
            answers.append(self.output_blocks[k](x))
            if k < len(self.resamplers):
                x = self.resamplers[k](x)
        return answers


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with rectifiers between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
