"""The sizes of CroCo's descendants: what a checkpoint's config and shapes say."""

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
class CrocoArchitecture:
    """What DUSt3R and CUT3R share; the defaults are those of the public ViT-Large networks."""

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
    """Attention heads of whatever has width D and is not said to have others."""
    mlp_ratio: float = 4.0
    """Hidden width of the multilayer perceptrons, in block widths."""
    rope_base: float = 100.0
    """Base of the rotary frequencies."""
    head_type: Literal["dpt", "linear"] = "dpt"
    """Kind of the heads."""
    depth_mode: Mode = ("exp", -math.inf, math.inf)
    """How raw outputs become points."""
    conf_mode: Mode = ("exp", 1.0, math.inf)
    """How raw outputs become confidences."""
    dpt: DptSizes = field(default_factory=DptSizes)
    """Widths of the heads, if they are DPT heads."""

    @property
    def hooks(self) -> tuple[int, int, int, int]:
        """Which of the L + 1 token sets the four levels of a DPT head read."""
        depth = self.dec_depth
        return 0, depth * 2 // 4, depth * 3 // 4, depth


@dataclass(frozen=True, kw_only=True)
class PairArchitecture(CrocoArchitecture):
    """Sizes of a DUSt3R-family network."""

    point_map_blocks: int = 0
    """Blocks of Align3R's point-map branch; 0: there is no branch, the network is a DUSt3R."""


@dataclass(frozen=True, kw_only=True)
class Cut3rArchitecture(CrocoArchitecture):
    """Sizes of a CUT3R."""

    state_size: int = 768
    """Tokens S of the state."""
    state_dec_num_heads: int = 16
    """Attention heads of the state's decoder; no shape in a checkpoint tells."""
    local_mem_size: int = 256
    """Tokens M of the pose memory, twice as wide as the decoders."""
    ray_enc_depth: int = 2
    """Blocks of the encoder of ray maps."""
    ray_enc_num_heads: int = 16
    """Attention heads of the encoder of ray maps."""
