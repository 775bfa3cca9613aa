"""The sizes of a VGGT."""

from __future__ import annotations

from dataclasses import dataclass, field

from align3r.models.architecture import DptSizes
from align3r.models.dinov2 import VitArchitecture


@dataclass(frozen=True, kw_only=True)
class VggtArchitecture:
    """Sizes of a VGGT; the defaults are those of the one public network, VGGT-1B."""

    encoder: VitArchitecture = field(default_factory=lambda: VitArchitecture(registers=4))
    """Of the encoder that sees each frame alone; its width E is that of all blocks."""
    depth: int = 24
    """Number of pairs of a block within frames and a block across them."""
    num_heads: int = 16
    """Attention heads of these blocks."""
    registers: int = 4
    """Tokens a frame that stand for nothing in it, beside the one that stands for its camera."""
    rope_base: float = 100.0
    """Base of the rotary frequencies."""
    camera_depth: int = 4
    """Blocks of the camera head."""
    camera_heads: int = 16
    """Attention heads of these blocks."""
    camera_steps: int = 4
    """How often the camera head mends its answer."""
    levels: tuple[int, int, int, int] = (4, 11, 17, 23)
    """Which pairs of blocks the dense heads read; the camera head reads the last one."""
    dpt: DptSizes = field(
        default_factory=lambda: DptSizes(last_dim=32, layer_dims=(256, 512, 1024, 1024))
    )
    """Widths of the dense heads."""

    def __post_init__(self) -> None:
        if self.levels[-1] != self.depth - 1:
            raise ValueError(f"level {self.levels[-1]} is not the last of {self.depth}")

    @property
    def width(self) -> int:
        """Channels 2 E of the tokens that the heads read."""
        return 2 * self.encoder.embed_dim
