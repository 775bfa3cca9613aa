"""What the descendants of CroCo share: image encoder, first decoder, number formats.

CroCo v2 (Weinzaepfel et al., ICCV 2023) is what DUSt3R and CUT3R were trained from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

from align3r.models.architecture import CrocoArchitecture
from align3r.models.heads import Grid
from align3r.models.precision import set_matrices
from align3r.models.rope import Rotate, Rotation, grid_positions, rotation
from align3r.models.transformer import NORM_EPS, DecoderBlock, EncoderBlock, Linear, PatchEmbed

Network = TypeVar("Network", bound="CrocoNetwork")


class CrocoNetwork(nn.Module):
    """Image encoder and first decoder; attribute names are those of the public checkpoints."""

    architecture: CrocoArchitecture

    def __init__(self, architecture: CrocoArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.patch_embed = PatchEmbed(a.patch_size, a.enc_embed_dim)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(a.enc_embed_dim, a.enc_num_heads, a.mlp_ratio) for _ in range(a.enc_depth)
        )
        self.enc_norm = nn.LayerNorm(a.enc_embed_dim, eps=NORM_EPS)
        self.decoder_embed = Linear(a.enc_embed_dim, a.dec_embed_dim)
        self.dec_blocks = self._decoder(a.dec_num_heads)
        self.dec_norm = nn.LayerNorm(a.dec_embed_dim, eps=NORM_EPS)

    def _decoder(self, heads: int) -> nn.ModuleList:
        a = self.architecture
        return nn.ModuleList(
            DecoderBlock(a.dec_embed_dim, heads, a.mlp_ratio) for _ in range(a.dec_depth)
        )

    def heads(self) -> Iterable[nn.Module]:
        """The parts whose outputs leave the network, after an exponential for the most part."""
        raise NotImplementedError

    def in_precision(self: Network, *, blocks: torch.dtype, heads: torch.dtype) -> Network:
        """This network with its matrices in other number formats.

        Norms, the residual stream, rotary angles, patch embeddings, the last layer and the
        activations of the heads stay in float32.

        Args:
            blocks: Of the linear layers outside of the heads.
            heads: Of the convolutions of the heads.
        """
        set_matrices(self, blocks, without=self.heads())
        for head in self.heads():
            # Tokens are a channels-last image by nature; convolutions are faster on it as well.
            layers = [m for m in head.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
            for layer in layers[:-1]:
                weight = layer.to(heads).weight
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        return self

    def grid_of(self, size: tuple[int, ...]) -> Grid:
        """Rows and columns of tokens of an image of H x W pixels.

        Raises:
            ValueError: H or W is no multiple of the patch size.
        """
        height, width = size
        patch = self.architecture.patch_size
        if height % patch or width % patch:
            raise ValueError(f"an image of {width}x{height} has no whole patches of {patch}")
        return height // patch, width // patch

    def grid_rotation(self, grid: Grid, head_dim: int, device: torch.device) -> Rotation:
        """The rotation of a grid of tokens, in attention heads of so many channels."""
        return rotation(grid_positions(grid, device), head_dim, self.architecture.rope_base)


def encoded(x: Tensor, blocks: nn.ModuleList, norm: nn.Module, rotate: Rotate) -> Tensor:
    """(B, N, E) tokens of an encoder, normalised, from those of its patches."""
    for block in blocks:
        x = block(x, rotate)
    normalised: Tensor = norm(x)
    return normalised
