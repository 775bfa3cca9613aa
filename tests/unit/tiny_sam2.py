"""SAM 2 for video, tiny and untrained."""

from __future__ import annotations

from typing import Any

import torch


def tiny() -> Any:
    from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VideoModel, Sam2VisionConfig

    side, width = 128, 128
    backbone = Sam2HieraDetConfig(
        hidden_size=12,
        image_size=[side, side],
        blocks_per_stage=[1, 2, 2, 1],
        embed_dim_per_stage=[12, 24, 48, 96],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[8, 4, 14, 7],
        global_attention_blocks=[4],
    )
    config = Sam2VideoConfig(
        image_size=side,
        vision_config=Sam2VisionConfig(
            backbone_config=backbone,
            backbone_channel_list=[96, 48, 24, 12],
            backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
            fpn_hidden_size=width,
        ),
        prompt_encoder_config={
            "hidden_size": width,
            "image_size": side,
            "patch_size": 16,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": width,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
        memory_attention_hidden_size=width,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_num_layers=1,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_encoder_hidden_size=width,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=width,
        memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=32,
        memory_fuser_num_layers=1,
    )
    torch.manual_seed(0)
    network = Sam2VideoModel(config)
    # Untrained, it never sees the object: here it always does.
    torch.nn.init.constant_(network.mask_decoder.pred_obj_score_head.proj_out.bias, 10.0)
    return network
