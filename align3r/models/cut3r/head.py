"""What CUT3R says of one frame: its camera, points seen from two places, colours."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from align3r.models.architecture import Cut3rArchitecture
from align3r.models.heads import DptHead, Grid, length_exp
from align3r.models.rope import Rotate
from align3r.models.transformer import NORM_EPS, Linear, Mlp, SelfAttention

POSE = 7
"""Numbers of a camera: translation and quaternion w x y z."""

TRANSFORM_BLOCKS = 2
"""Blocks that bring tokens of a frame into the first camera."""


class Cut3rHead(nn.Module):
    """Four heads on one set of tokens; attribute names are those of the public checkpoints."""

    def __init__(self, architecture: Cut3rArchitecture) -> None:
        super().__init__()
        a = architecture
        self.dpt_self = DptHead(a)
        self.dpt_cross = DptHead(a)
        self.dpt_rgb = DptHead(a, channels=3)
        self.final_transform = nn.ModuleList(
            PosedBlock(a.dec_embed_dim, a.dec_num_heads, a.mlp_ratio)
            for _ in range(TRANSFORM_BLOCKS)
        )
        self.pose_head = PoseHead(a.dec_embed_dim, a.mlp_ratio)

    def in_first_camera(self, tokens: Tensor, pose_token: Tensor, rotate: Rotate) -> Tensor:
        """(B, N, D) tokens of a frame's own camera, moved by what its (B, 1, D) pose token knows.

        Args:
            tokens: Output of the decoder without the pose token.
            pose_token: The output pose token.
            rotate: Rotation of the tokens.
        """
        for block in self.final_transform:
            tokens = block(tokens, pose_token, rotate)
        return tokens


def dense(head: DptHead, token_sets: Sequence[Tensor], grid: Grid) -> Tensor:
    """(B, channels, 16h, 16w) raw outputs of the L + 1 token sets, the encoder's first."""
    raw: Tensor = head(head.enter(token_sets[0], grid), token_sets, grid)
    return raw


class PoseHead(nn.Module):
    """The camera in the output pose token."""

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        self.mlp = Mlp(dim, ratio, out=POSE)

    def forward(self, pose_token: Tensor) -> Tensor:
        """(B, D) to a (B, 7) camera encoding; see `camera_encoding`."""
        return camera_encoding(self.mlp(pose_token).float())


class PosedBlock(nn.Module):
    """An encoder block whose norms are set by a pose token."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = PosedNorm(dim)
        self.attn = SelfAttention(dim, heads)
        self.norm2 = PosedNorm(dim)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(self, x: Tensor, pose_token: Tensor, rotate: Rotate) -> Tensor:
        """(B, N, dim) tokens and a (B, 1, dim) pose token to (B, N, dim)."""
        x = x + self.attn(self.norm1(x, pose_token), rotate)
        return x + self.mlp(self.norm2(x, pose_token))


class PosedNorm(nn.Module):
    """Layer norm with a scale and a shift that a pose token says (adaptive layer norm)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = nn.Sequential(nn.SiLU(), Linear(dim, 2 * dim))

    def forward(self, x: Tensor, pose_token: Tensor) -> Tensor:
        """(B, N, dim) tokens and a (B, 1, dim) pose token to (B, N, dim)."""
        shift, scale = self.mlp(pose_token).float().chunk(2, -1)
        return self.norm(x) * (1 + scale) + shift


def camera_encoding(raw: Tensor) -> Tensor:
    """Raw (..., 7) outputs to a translation and a unit quaternion w x y z with w >= 0.

    A translation t means t / |t| * (exp(|t|) - 1), as it is with points.
    """
    quat_wxyz = normalize(raw[..., 3:], dim=-1)
    upper = torch.where(quat_wxyz[..., :1] < 0, -quat_wxyz, quat_wxyz)
    return torch.cat([length_exp(raw[..., :3]), upper], -1)


def colours(raw: Tensor) -> Tensor:
    """Raw (B, 3, H, W) outputs to (B, H, W, 3) colours in (-1, 1)."""
    share = raw.permute(0, 2, 3, 1).sigmoid()
    # The ends are left out, so that the colours can be turned back into raw outputs.
    return 2 * (share * (1 - 2e-6) + 1e-6) - 1
