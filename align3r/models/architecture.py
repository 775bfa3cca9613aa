"""The sizes of a pair network: what a checkpoint's config and shapes say."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

Mode = tuple[str, float, float]
"""Name of an output activation and the least and the greatest value it can give."""


@dataclass(frozen=True, kw_only=True)
class DptSizes:
    """Widths of a DPT head."""

    feature_dim: int = 256
    """Channels of the fused maps."""
    last_dim: int = 128
    """Channels before the last convolution."""
    layer_dims: tuple[int, int, int, int] = (96, 192, 384, 768)
    """Channels of the four levels before they are fused."""


@dataclass(frozen=True, kw_only=True)
class PairArchitecture:
    """Sizes of a DUSt3R-family network; the defaults are those of the public ViT-Large ones."""

    patch_size: int = 16
    """Side of a patch, in pixels."""
    enc_embed_dim: int = 1024
    """Width E of the encoder."""
    enc_depth: int = 24
    """Blocks of the encoder."""
    enc_num_heads: int = 16
    """Attention heads of the encoder."""
    dec_embed_dim: int = 768
    """Width D of both decoders."""
    dec_depth: int = 12
    """Blocks L of each decoder."""
    dec_num_heads: int = 12
    """Attention heads of both decoders and of the point-map branch."""
    mlp_ratio: float = 4.0
    """Hidden width of the multilayer perceptrons, in block widths."""
    rope_base: float = 100.0
    """Base of the rotary frequencies."""
    head_type: Literal["dpt", "linear"] = "dpt"
    """Kind of both heads."""
    depth_mode: Mode = ("exp", -math.inf, math.inf)
    """How raw outputs become points."""
    conf_mode: Mode = ("exp", 1.0, math.inf)
    """How raw outputs become confidences."""
    dpt: DptSizes = field(default_factory=DptSizes)
    """Widths of the heads, if they are DPT heads."""
    point_map_blocks: int = 0
    """Blocks of Align3R's point-map branch; 0: there is no branch, the network is a DUSt3R."""

    @property
    def hooks(self) -> tuple[int, int, int, int]:
        """Which of the L + 1 token sets the four levels of a DPT head read."""
        depth = self.dec_depth
        return 0, depth * 2 // 4, depth * 3 // 4, depth
