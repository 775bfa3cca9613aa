"""From camera tokens to pose encodings, in a few steps that mend the answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, relu

from align3r.models.dinov2 import ScaledBlock
from align3r.models.rope import unrotated
from align3r.models.transformer import NORM_EPS, Linear, Mlp
from align3r.models.vggt.aggregator import NORM_EPS as SCENE_EPS
from align3r.models.vggt.architecture import VggtArchitecture

ENCODING = 9
"""Numbers of a pose encoding, see `pose_encoding`."""


class CameraHead(nn.Module):
    """Every step sees all frames and the answer so far, and adds to the latter.

    The answer so far scales and shifts the normalised tokens (DiT; Peebles and Xie, ICCV 2023).
    """

    def __init__(self, architecture: VggtArchitecture) -> None:
        super().__init__()
        a, width = architecture, architecture.width
        self.steps = a.camera_steps
        self.token_norm = nn.LayerNorm(width, eps=SCENE_EPS)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, ENCODING))
        self.embed_pose = Linear(ENCODING, width)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), Linear(width, 3 * width))
        self.trunk = nn.ModuleList(
            ScaledBlock(width, a.camera_heads, a.encoder.mlp_ratio, eps=SCENE_EPS)
            for _ in range(a.camera_depth)
        )
        self.trunk_norm = nn.LayerNorm(width, eps=SCENE_EPS)
        self.pose_branch = Mlp(width, 0.5, out=ENCODING)

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """(B, S, 2 E) camera tokens to the (B, S, 9) answer after each step; the last counts."""
        tokens = self.token_norm(tokens)
        answer = tokens.new_zeros(*tokens.shape[:2], ENCODING)
        known = self.empty_pose_tokens.expand_as(answer)
        reports = []
        for _ in range(self.steps):
            answer = answer + self._correction(tokens, known)
            # A step learns from its own correction alone.
            known = answer.detach()
            # The angles of view are no less than 0 in what is said, not in what is mended.
            reports.append(torch.cat([answer[..., :7], relu(answer[..., 7:])], -1))
        return reports

    def _correction(self, tokens: Tensor, known: Tensor) -> Tensor:
        modulation = self.poseLN_modulation(self.embed_pose(known))
        shift, scale, gate = modulation.chunk(3, -1)
        normed = layer_norm(tokens, tokens.shape[-1:], eps=NORM_EPS)
        x = gate * (normed * (1 + scale) + shift) + tokens
        for block in self.trunk:
            x = block(x, unrotated)
        return self.pose_branch(self.trunk_norm(x))
