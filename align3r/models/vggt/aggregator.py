"""Attention within frames and across them, in turns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from align3r.models.dinov2 import DinoV2, ScaledBlock, normalized
from align3r.models.heads import Grid
from align3r.models.precision import set_matrices
from align3r.models.rope import grid_positions, rotation
from align3r.models.vggt.architecture import VggtArchitecture

NORM_EPS = 1e-5


@dataclass(frozen=True)
class SceneTokens:
    """What the heads read of B scenes of S frames."""

    levels: tuple[Tensor, Tensor, Tensor, Tensor]
    """(B, S, T, 2 E) each: as the frame knows itself, then as the scene knows it.

    A frame's T tokens are its camera, the registers and its h * w patches, row by row.
    """
    grid: Grid
    """Rows h and columns w of patches."""

    @property
    def camera(self) -> Tensor:
        """(B, S, 2 E), one token a frame."""
        return self.levels[-1][:, :, 0]

    @property
    def patches(self) -> tuple[Tensor, ...]:
        """(B, S, h * w, 2 E) of each level."""
        return tuple(level[:, :, -self.grid[0] * self.grid[1] :] for level in self.levels)


class Aggregator(nn.Module):
    """The trunk of the network, from pixels to tokens.

    The first frame has a camera token and registers of its own; all others share theirs. That is
    all that tells one frame from another, so their order does not matter but for the first.
    """

    def __init__(self, architecture: VggtArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        width = a.encoder.embed_dim
        self.patch_embed = DinoV2(a.encoder)
        self.frame_blocks, self.global_blocks = (
            nn.ModuleList(
                ScaledBlock(
                    width,
                    a.num_heads,
                    a.encoder.mlp_ratio,
                    eps=NORM_EPS,
                    normalizes_queries=True,
                )
                for _ in range(a.depth)
            )
            for _ in range(2)
        )
        self.camera_token = nn.Parameter(torch.zeros(1, 2, 1, width))
        self.register_token = nn.Parameter(torch.zeros(1, 2, a.registers, width))

    def in_precision(self, dtype: torch.dtype) -> Aggregator:
        """This trunk with the matrices of its blocks in another number format.

        Norms, the residual stream, rotary angles and patch embeddings stay in float32.
        """
        set_matrices(self, dtype)
        return self

    def forward(self, images: Tensor) -> SceneTokens:
        """Tokens of (B, S, 3, H, W) frames in [0, 1]; H and W are multiples of the patch size.

        Raises:
            ValueError: A size that is no multiple of the patch size.
        """
        a = self.architecture
        batch, frames = images.shape[:2]
        patch = a.encoder.patch_size
        grid = images.shape[-2] // patch, images.shape[-1] // patch
        x = self._enter(images)
        positions = self._positions(grid, images.device)
        head_dim = x.shape[-1] // a.num_heads
        within = rotation(positions, head_dim, a.rope_base)
        across = rotation(positions.repeat(frames, 1), head_dim, a.rope_base)
        levels = []
        for k in range(a.depth):
            own = self.frame_blocks[k](x, within).unflatten(0, (batch, frames))
            shared = self.global_blocks[k](own.flatten(1, 2), across).unflatten(1, (frames, -1))
            if k in a.levels:
                levels.append(torch.cat([own, shared], -1))
            x = shared.flatten(0, 1)
        first, second, third, last = levels
        return SceneTokens((first, second, third, last), grid)

    def _enter(self, images: Tensor) -> Tensor:
        """(B * S, T, E): camera token, registers and encoded patches of each frame."""
        batch, frames = images.shape[:2]
        patches = self.patch_embed(normalized(images).flatten(0, 1))[0].patches
        special = torch.cat([self.camera_token, self.register_token], 2)
        whose = torch.arange(frames, device=images.device).clamp(max=1)
        special = special[:, whose].expand(batch, -1, -1, -1).flatten(0, 1)
        return torch.cat([special, patches], 1)

    def _positions(self, grid: Grid, device: torch.device) -> Tensor:
        """(T, 2) rows and columns of a frame's tokens; 0 for those that are nowhere in it."""
        nowhere = torch.zeros(1 + self.architecture.registers, 2, device=device, dtype=torch.long)
        return torch.cat([nowhere, 1 + grid_positions(grid, device)])
