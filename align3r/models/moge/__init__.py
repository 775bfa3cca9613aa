"""MoGe: the geometry of single images (Wang et al., CVPR 2025), and MoGe-2, in metres."""
