"""The DUSt3R family: two frames in, the points of both in the first one's camera out.

DUSt3R (Wang et al., CVPR 2024), MonST3R (Zhang et al., ICLR 2025; the same network), and Align3R
(Lu et al., CVPR 2025), which adds a branch that looks at a point map of monocular depth.

A pair is computed in three steps, so that the first two are done once a frame:
`encode` (one frame) -> `enter` (one frame in one of the two roles) -> `decode` (a pair).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from align3r.models.architecture import PairArchitecture
from align3r.models.croco import CrocoNetwork, encoded
from align3r.models.heads import HEADS, DptHead, Grid, Head, LinearHead, activate
from align3r.models.rope import Rotation
from align3r.models.transformer import DecoderBlock, EncoderBlock, KeysValues, PatchEmbed

Role = Literal[0, 1]
"""0: first view of a pair, whose camera is the frame of reference; 1: second view."""


@dataclass(frozen=True)
class EncodedFrame:
    """What the network knows of B frames of one size before it pairs them."""

    tokens: Tensor
    """(B, N, E) float32 encoder output."""
    injections: tuple[Tensor, ...]
    """(B, N, D) each: what the point-map branch adds to decoder layers 0, 1, ...; may be empty."""
    grid: Grid
    """Rows h and columns w of tokens; N = h * w."""


@dataclass(frozen=True)
class EnteredFrame:
    """B frames that have entered the decoder in one role, up to where they meet their partners."""

    tokens: Tensor
    """(B, N, D) float32, after the self-attention of the first block."""
    offered: KeysValues
    """Keys and values that the other stream's first block will look at."""
    finest: Tensor | None
    """The part of the head that reads the encoder's tokens; None for a linear head."""
    injections: tuple[Tensor, ...]
    """(B, N, D) each, for the layers after the first."""
    grid: Grid
    """Rows and columns of tokens."""


@dataclass(frozen=True)
class PairOutput:
    """Points and confidences of both views of B pairs; H and W may differ between the views."""

    points: tuple[Tensor, Tensor]
    """(B, H, W, 3) float32 each, both in the first view's camera."""
    confidence: tuple[Tensor, Tensor]
    """(B, H, W) float32 each, at least 1."""


class PairNetwork(CrocoNetwork):
    """DUSt3R, MonST3R or Align3R; attribute names are those of the public checkpoints."""

    architecture: PairArchitecture

    def __init__(self, architecture: PairArchitecture) -> None:
        super().__init__(architecture)
        a = architecture
        width, heads, ratio = a.dec_embed_dim, a.dec_num_heads, a.mlp_ratio
        self.dec_blocks2 = self._decoder(heads)
        if a.point_map_blocks:
            self.patch_embed_point_cloud = PatchEmbed(a.patch_size, width)
            self.dec_blocks_pc = nn.ModuleList(
                EncoderBlock(width, heads, ratio) for _ in range(a.point_map_blocks)
            )
            self.zero_convs = nn.ModuleList(
                nn.Sequential(nn.Conv1d(width, width, 1)) for _ in range(a.point_map_blocks + 1)
            )
        # Checkpoints keep a DPT head one level deeper than a linear one.
        self.downstream_head1, self.downstream_head2 = (
            nn.ModuleDict({"dpt": HEADS["dpt"](a)}) if a.head_type == "dpt" else HEADS["linear"](a)
            for _ in range(2)
        )

    @property
    def takes_point_maps(self) -> bool:
        """Whether this is an Align3R network."""
        return self.architecture.point_map_blocks > 0

    def heads(self) -> Iterable[nn.Module]:
        """The heads of both roles."""
        return self.downstream_head1, self.downstream_head2

    def forward(
        self,
        images: tuple[Tensor, Tensor],
        point_maps: tuple[Tensor, Tensor] | None = None,
    ) -> PairOutput:
        """Both views of B pairs, from the pixels.

        Args:
            images: (B, 3, H, W) each, in [-1, 1]; the two sizes may differ.
            point_maps: (B, H, W, 3) each, for an Align3R network.
        """
        maps = point_maps or (None, None)
        first, second = (self.encode(image, m) for image, m in zip(images, maps, strict=True))
        return self.decode(self.enter(first, 0), self.enter(second, 1))

    def encode(self, image: Tensor, point_map: Tensor | None = None) -> EncodedFrame:
        """What depends on each frame alone.

        Args:
            image: (B, 3, H, W) in [-1, 1]; H and W are multiples of the patch size.
            point_map: (B, H, W, 3) normalised point map, for an Align3R network.

        Raises:
            ValueError: Sizes that do not fit, or a point map too many or missing.
        """
        a = self.architecture
        grid = self.grid_of(image.shape[-2:])
        if self.takes_point_maps != (point_map is not None):
            raise ValueError("an Align3R network takes a point map, and no other does")
        rotate = self.grid_rotation(grid, a.enc_embed_dim // a.enc_num_heads, image.device)
        tokens = encoded(self.patch_embed(image), self.enc_blocks, self.enc_norm, rotate)
        injections: tuple[Tensor, ...] = ()
        if point_map is not None:
            injections = self.inject(self.point_map_tokens(point_map))
        return EncodedFrame(tokens, injections, grid)

    def point_map_tokens(self, point_map: Tensor) -> list[Tensor]:
        """Tokens t_0, t_1, ... (B, N, D) of the point-map branch, for (B, H, W, 3) point maps."""
        a = self.architecture
        grid = point_map.shape[1] // a.patch_size, point_map.shape[2] // a.patch_size
        rotate = self.grid_rotation(grid, a.dec_embed_dim // a.dec_num_heads, point_map.device)
        tokens = [self.patch_embed_point_cloud(point_map.permute(0, 3, 1, 2))]
        for block in self.dec_blocks_pc:
            tokens.append(block(tokens[-1], rotate))
        return tokens

    def inject(self, tokens: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The zero-initialised linear maps of the branch's tokens."""
        return tuple(
            conv(t.transpose(1, 2)).transpose(1, 2)
            for conv, t in zip(self.zero_convs, tokens, strict=True)
        )

    def enter(self, frame: EncodedFrame, role: Role) -> EnteredFrame:
        """The first steps into the decoder and the head, which no other frame has a part in."""
        rotate = self._decoder_rotation(frame.grid, frame.tokens.device)
        x = self.decoder_embed(frame.tokens).float()
        if frame.injections:
            x = x + frame.injections[0]
        own, other = self._block(0, role), self._block(0, 1 - role)
        return EnteredFrame(
            tokens=own.look_at_own(x, rotate),
            offered=other.keys_values(x, rotate),
            finest=self._head(role).enter(frame.tokens, frame.grid),
            injections=frame.injections[1:],
            grid=frame.grid,
        )

    def decode(self, first: EnteredFrame, second: EnteredFrame) -> PairOutput:
        """The rest of the network, for B pairs of entered frames."""
        token_sets = self.decode_tokens(first, second)
        a = self.architecture
        outputs = []
        for role, frame in enumerate((first, second)):
            raw = self._head(role)(frame.finest, token_sets[role], frame.grid)
            outputs.append(activate(raw, a.depth_mode, a.conf_mode))
        (points1, confidence1), (points2, confidence2) = outputs
        return PairOutput((points1, points2), (confidence1, confidence2))

    def decode_tokens(
        self, first: EnteredFrame, second: EnteredFrame
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Outputs of the L blocks of both streams, the last one normalised.

        Entry 0 of each list stands for the encoder's tokens and is empty: `enter` has used them.
        """
        frames = first, second
        turns = [self._decoder_rotation(f.grid, f.tokens.device) for f in frames]
        own, offered = [f.tokens for f in frames], [f.offered for f in frames]
        sets: tuple[list[Tensor], list[Tensor]] = ([], [])
        for role in (0, 1):
            sets[role].append(own[role].new_empty(0))
        depth = self.architecture.dec_depth
        for layer in range(depth):
            streams = [
                self._block(layer, role)(own[role], offered[1 - role], turns[role])
                for role in (0, 1)
            ]
            for role, frame in enumerate(frames):
                if layer < len(frame.injections):
                    streams[role] = streams[role] + frame.injections[layer]
                is_last = layer == depth - 1
                sets[role].append(self.dec_norm(streams[role]) if is_last else streams[role])
            if layer + 1 < depth:
                following = [self._block(layer + 1, role) for role in (0, 1)]
                own = [following[r].look_at_own(streams[r], turns[r]) for r in (0, 1)]
                offered = [following[1 - r].keys_values(streams[r], turns[r]) for r in (0, 1)]
        return sets

    def _block(self, layer: int, role: int) -> DecoderBlock:
        block = (self.dec_blocks2 if role else self.dec_blocks)[layer]
        assert isinstance(block, DecoderBlock)
        return block

    def _head(self, role: int) -> Head:
        head = self.downstream_head2 if role else self.downstream_head1
        found = head["dpt"] if isinstance(head, nn.ModuleDict) else head
        assert isinstance(found, DptHead | LinearHead)
        return found

    def _decoder_rotation(self, grid: Grid, device: torch.device) -> Rotation:
        a = self.architecture
        return self.grid_rotation(grid, a.dec_embed_dim // a.dec_num_heads, device)
