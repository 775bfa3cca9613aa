"""From decoder tokens to points and confidences: DPT and linear heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pad, pixel_shuffle, relu

from align3r.models.architecture import CrocoArchitecture, Mode
from align3r.models.transformer import Linear

Grid = tuple[int, int]
"""Rows and columns of tokens."""

STRIP_ROWS = 64
"""Rows of the full-size output that a DPT head computes at a time."""

RAW = 4
"""Channels of a head's output: x, y, z and confidence, before the activations."""


class DptHead(nn.Module):
    """Dense prediction transformer head (Ranftl et al., ICCV 2021) on four token sets.

    The finest level reads the encoder's tokens alone, so `enter` computes it once a frame. The
    1x1 `out_conv` runs before the upsampling it commutes with: a quarter of the work.
    """

    def __init__(self, architecture: CrocoArchitecture, *, channels: int = RAW) -> None:
        super().__init__()
        sizes = architecture.dpt
        encoder, decoder = architecture.enc_embed_dim, architecture.dec_embed_dim
        d0, d1, d2, d3 = sizes.layer_dims
        wide, last = sizes.feature_dim, sizes.last_dim
        self.hooks = architecture.hooks
        self.act_postprocess = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(encoder, d0, 1), nn.ConvTranspose2d(d0, d0, 4, stride=4)),
                nn.Sequential(nn.Conv2d(decoder, d1, 1), nn.ConvTranspose2d(d1, d1, 2, stride=2)),
                nn.Sequential(nn.Conv2d(decoder, d2, 1)),
                nn.Sequential(nn.Conv2d(decoder, d3, 1), nn.Conv2d(d3, d3, 3, stride=2, padding=1)),
            ]
        )
        self.scratch = Scratch(sizes.layer_dims, wide)
        self.head = nn.Sequential(
            nn.Conv2d(wide, wide // 2, 3, padding=1),
            Upsample(),
            nn.Conv2d(wide // 2, last, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(last, channels, 1),
        )

    def enter(self, encoder_tokens: Tensor, grid: Grid) -> Tensor:
        """The finest level before it is fused: (B, N, E) to (B, C, 4h, 4w)."""
        level = self._level(0, encoder_tokens, grid)
        return self.scratch.refinenet1.enter(level)

    def forward(self, entered: Tensor, token_sets: Sequence[Tensor], grid: Grid) -> Tensor:
        """(B, channels, 16h, 16w) float32 raw outputs.

        Args:
            entered: Output of `enter` for the same frame.
            token_sets: L + 1 sets of (B, N, width) tokens; set 0 is not looked at.
            grid: Rows h and columns w of tokens.
        """
        nets = self.scratch
        level1, level2, level3 = (
            self._level(k, token_sets[self.hooks[k]], grid) for k in (1, 2, 3)
        )
        # Level 3 has ceil(h / 2) rows; doubled, it may have one row or column too many.
        path = nets.refinenet4(level3)[..., : grid[0], : grid[1]]
        path = nets.refinenet3(path + nets.refinenet3.enter(level2))
        path = nets.refinenet2(path + nets.refinenet2.enter(level1))
        path = nets.refinenet1(path + entered)
        return self._full_size(self.head[0](path))

    def _full_size(self, features: Tensor) -> Tensor:
        """The rest of the head: (B, C, 8h, 8w) to (B, channels, 16h, 16w), strip by strip.

        The maps of full size would be the largest of the whole network, and most of the time
        would go by waiting for their memory.
        """
        _, _, convolve, _, last = self.head
        assert isinstance(convolve, nn.Conv2d) and isinstance(last, nn.Conv2d)
        assert last.bias is not None
        height, width = 2 * features.shape[2], 2 * features.shape[3]
        # Channels last, as convolutions like it: neighbouring pixels are whole vectors.
        wide = enlarged(features.permute(0, 2, 3, 1).contiguous(), 2, (0, width))
        strips = []
        for start in range(0, height, STRIP_ROWS):
            stop = min(start + STRIP_ROWS, height)
            # A 3x3 convolution looks one row beyond the strip; beyond the image there are zeros.
            first, end = max(start - 1, 0), min(stop + 1, height)
            strip = enlarged(wide, 1, (first, end)).permute(0, 3, 1, 2)
            strip = pad(strip, (1, 1, first - start + 1, stop + 1 - end))
            strip = relu(conv2d(strip, convolve.weight, convolve.bias), inplace=True)
            # The last product in float32: its output is exponentiated.
            strips.append(conv2d(strip.float(), last.weight.float(), last.bias.float()))
        return torch.cat(strips, 2)

    def _level(self, k: int, tokens: Tensor, grid: Grid) -> Tensor:
        dtype = self.scratch.layer1_rn.weight.dtype
        # The transposed tokens are a channels-last image already: no copy.
        image = tokens.to(dtype).unflatten(1, grid).permute(0, 3, 1, 2)
        image = self.act_postprocess[k](image)
        return self.scratch.lateral(k, image)


def enlarged(x: Tensor, dim: int, part: tuple[int, int]) -> Tensor:
    """Rows (dim 1) or columns (2) `part` = (first, end) of a (B, h, w, C) image at twice its size.

    Bilinear with aligned corners, one direction at a time.
    """
    size = x.shape[dim]
    at = torch.arange(*part, device=x.device) * ((size - 1) / (2 * size - 1))
    before = at.long().clamp(max=max(size - 2, 0))
    after = (before + 1).clamp(max=size - 1)
    share = (at - before).to(x.dtype)[:, None]
    share = share[:, None] if dim == 1 else share
    return torch.lerp(x.index_select(dim, before), x.index_select(dim, after), share)


class Scratch(nn.Module):
    """Lateral convolutions and fusion blocks, under the names of the checkpoints."""

    def __init__(self, layer_dims: Sequence[int], wide: int) -> None:
        super().__init__()
        for k, dim in enumerate(layer_dims, start=1):
            self.add_module(f"layer{k}_rn", nn.Conv2d(dim, wide, 3, padding=1, bias=False))
        self.layer1_rn: nn.Conv2d
        self.refinenet1 = Fusion(wide)
        self.refinenet2 = Fusion(wide)
        self.refinenet3 = Fusion(wide)
        self.refinenet4 = Fusion(wide, is_coarsest=True)

    def lateral(self, k: int, level: Tensor) -> Tensor:
        """Level k, counted from the finest, brought to the width of the fused maps."""
        return self.get_submodule(f"layer{k + 1}_rn")(level)


class Fusion(nn.Module):
    """Refine a level, double its resolution."""

    def __init__(self, wide: int, *, is_coarsest: bool = False) -> None:
        super().__init__()
        if not is_coarsest:
            self.resConfUnit1 = ResidualConv(wide)
        self.resConfUnit2 = ResidualConv(wide)
        self.out_conv = nn.Conv2d(wide, wide, 1)
        self.upsample = Upsample()

    def enter(self, lateral: Tensor) -> Tensor:
        """What a lateral level adds to the path from below."""
        return self.resConfUnit1(lateral)

    def forward(self, path: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, 2h, 2w)."""
        return self.upsample(self.out_conv(self.resConfUnit2(path)))


class ResidualConv(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(wide, wide, 3, padding=1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same."""
        return x + self.conv2(relu(self.conv1(relu(x)), inplace=True))


class Upsample(nn.Module):
    """Bilinear, twice the size, corners aligned."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, 2h, 2w)."""
        return interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class LinearHead(nn.Module):
    """One linear layer a token, for every pixel of its patch."""

    def __init__(self, architecture: CrocoArchitecture) -> None:
        super().__init__()
        self.patch_size = architecture.patch_size
        self.proj = Linear(architecture.dec_embed_dim, RAW * architecture.patch_size**2)

    def enter(self, encoder_tokens: Tensor, grid: Grid) -> None:
        """Nothing: this head reads the last token set alone."""

    def forward(self, entered: None, token_sets: Sequence[Tensor], grid: Grid) -> Tensor:
        """(B, 4, 16h, 16w) float32 raw outputs; see `DptHead.forward`."""
        image = self.proj(token_sets[-1]).unflatten(1, grid).permute(0, 3, 1, 2)
        return pixel_shuffle(image, self.patch_size).float()


Head = DptHead | LinearHead

HEADS: dict[str, Callable[[CrocoArchitecture], Head]] = {
    "dpt": DptHead,
    "linear": LinearHead,
}


def length_exp(a: Tensor) -> Tensor:
    """(..., 3) vectors of the same direction and the length exp(|a|) - 1."""
    # expm1 keeps what a small length has; the floor guards the direction of a zero vector.
    length = a.norm(dim=-1, keepdim=True)
    return a / length.clamp(min=1e-8) * length.expm1()


def _length_square(a: Tensor) -> Tensor:
    length = a.norm(dim=-1, keepdim=True)
    return a / length.clamp(min=1e-8) * length.square()


POINTS_FROM: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": length_exp,
    "square": _length_square,
    "linear": lambda a: a,
}


def activate(raw: Tensor, depth_mode: Mode, conf_mode: Mode) -> tuple[Tensor, Tensor]:
    """Raw outputs (B, 4, H, W) to points (B, H, W, 3) and confidences (B, H, W), float32."""
    raw = raw.float().permute(0, 2, 3, 1).contiguous()
    points = POINTS_FROM[depth_mode[0]](raw[..., :3])
    kind, least, greatest = conf_mode
    if kind == "sigmoid":
        return points, (greatest - least) * torch.sigmoid(raw[..., 3]) + least
    return points, least + raw[..., 3].exp().clamp(max=greatest - least)
