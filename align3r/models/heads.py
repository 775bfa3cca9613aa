"""From decoder tokens to points and confidences: DPT and linear heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle, relu

from align3r.models.architecture import Mode, PairArchitecture
from align3r.models.transformer import Linear

Grid = tuple[int, int]
"""Rows and columns of tokens."""

RAW = 4
"""Channels of a head's output: x, y, z and confidence, before the activations."""


class DptHead(nn.Module):
    """Dense prediction transformer head (Ranftl et al., ICCV 2021) on four token sets.

    The finest level reads the encoder's tokens alone, so `enter` computes it once a frame. The
    1x1 `out_conv` runs before the upsampling it commutes with: a quarter of the work.
    """

    def __init__(self, architecture: PairArchitecture) -> None:
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
            nn.Conv2d(last, RAW, 1),
        )

    def enter(self, encoder_tokens: Tensor, grid: Grid) -> Tensor:
        """The finest level before it is fused: (B, N, E) to (B, C, 4h, 4w)."""
        level = self._level(0, encoder_tokens, grid)
        return self.scratch.refinenet1.enter(level)

    def forward(self, entered: Tensor, token_sets: Sequence[Tensor], grid: Grid) -> Tensor:
        """(B, 4, 16h, 16w) float32 raw outputs.

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
        before, last = self.head[:-1], self.head[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        features = before(path)
        # The last product in float32: its output is exponentiated.
        return nn.functional.conv2d(features.float(), last.weight.float(), last.bias.float())

    def _level(self, k: int, tokens: Tensor, grid: Grid) -> Tensor:
        dtype = self.scratch.layer1_rn.weight.dtype
        # The transposed tokens are a channels-last image already: no copy.
        image = tokens.to(dtype).unflatten(1, grid).permute(0, 3, 1, 2)
        image = self.act_postprocess[k](image)
        return self.scratch.lateral(k, image)


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

    def __init__(self, architecture: PairArchitecture) -> None:
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

HEADS: dict[str, Callable[[PairArchitecture], Head]] = {
    "dpt": DptHead,
    "linear": LinearHead,
}


def _length_exp(a: Tensor) -> Tensor:
    # expm1 keeps what a small length has; the floor guards the direction of a zero vector.
    length = a.norm(dim=-1, keepdim=True)
    return a / length.clamp(min=1e-8) * length.expm1()


def _length_square(a: Tensor) -> Tensor:
    length = a.norm(dim=-1, keepdim=True)
    return a / length.clamp(min=1e-8) * length.square()


POINTS_FROM: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": _length_exp,
    "square": _length_square,
    "linear": lambda a: a,
}


def activate(raw: Tensor, depth_mode: Mode, conf_mode: Mode) -> tuple[Tensor, Tensor]:
    """Raw outputs (B, 4, H, W) to points (B, H, W, 3) and confidences (B, H, W), float32."""
    raw = raw.float()
    points = POINTS_FROM[depth_mode[0]](raw[:, :3].permute(0, 2, 3, 1))
    kind, least, greatest = conf_mode
    if kind == "sigmoid":
        return points, (greatest - least) * torch.sigmoid(raw[:, 3]) + least
    return points, least + raw[:, 3].exp().clamp(max=greatest - least)
