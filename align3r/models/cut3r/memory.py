"""CUT3R's memory of poses: what it guesses a frame's pose token to be before it is decoded."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from align3r.models.architecture import Cut3rArchitecture
from align3r.models.rope import unrotated
from align3r.models.transformer import Blocks, DecoderBlock, Linear

BLOCKS = 2
"""Blocks that read, and as many that write."""


class PoseMemory(nn.Module):
    """Tokens that hold pairs of (what a frame looks like, its pose token).

    Attribute names are those of the public checkpoints.
    """

    def __init__(self, architecture: Cut3rArchitecture) -> None:
        super().__init__()
        a = architecture
        width = a.dec_embed_dim
        self.proj_q = Linear(a.enc_embed_dim, width)
        self.masked_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mem = nn.Parameter(torch.zeros(1, a.local_mem_size, 2 * width))
        self.write_blocks, self.read_blocks = (
            nn.ModuleList(
                DecoderBlock(2 * width, a.dec_num_heads, a.mlp_ratio) for _ in range(BLOCKS)
            )
            for _ in range(2)
        )

    def read(self, memory: Tensor, look: Tensor) -> Tensor:
        """The (B, 1, D) pose token that (B, M, 2D) memory has for a frame.

        Args:
            memory: What it knows.
            look: (B, 1, E) mean of the frame's encoder tokens.
        """
        x = self._pair(look, self.masked_token.expand(len(look), -1, -1))
        for block in cast(Blocks, self.read_blocks):
            x = block.meet(x, memory, unrotated, unrotated)
        return x[..., self.masked_token.shape[-1] :]

    def write(self, memory: Tensor, look: Tensor, pose_token: Tensor) -> Tensor:
        """(B, M, 2D) memory that knows the (B, 1, D) output pose token of a frame too."""
        pair = self._pair(look, pose_token)
        for block in cast(Blocks, self.write_blocks):
            memory = block.meet(memory, pair, unrotated, unrotated)
        return memory

    def _pair(self, look: Tensor, pose_token: Tensor) -> Tensor:
        return torch.cat([self.proj_q(look).float(), pose_token], -1)
