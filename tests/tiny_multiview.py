"""Tiny networks that see many frames, in architecture alone."""

from __future__ import annotations

from align3r.models.architecture import Cut3rArchitecture, DptSizes
from align3r.models.dinov2 import VitArchitecture
from align3r.models.vggt.architecture import VggtArchitecture

TINY_VGGT = VggtArchitecture(
    encoder=VitArchitecture(embed_dim=32, depth=2, num_heads=2, image_size=56, registers=4),
    depth=4,
    num_heads=2,
    camera_depth=2,
    camera_heads=4,
    levels=(0, 1, 2, 3),
    dpt=DptSizes(feature_dim=16, last_dim=32, layer_dims=(8, 12, 16, 16)),
)
"""Of the weights in golden/multiview, whose file has no config."""
TINY_CUT3R = Cut3rArchitecture(
    enc_embed_dim=32,
    enc_depth=2,
    enc_num_heads=2,
    dec_embed_dim=16,
    dec_depth=4,
    dec_num_heads=4,
    dpt=DptSizes(feature_dim=8, last_dim=4, layer_dims=(3, 4, 5, 6)),
    state_size=10,
    state_dec_num_heads=2,
    local_mem_size=3,
    ray_enc_depth=1,
    ray_enc_num_heads=2,
)
