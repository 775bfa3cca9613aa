"""From patch tokens to a value for every pixel: VGGT's kind of DPT head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from align3r.models.heads import Fusion, Grid, Scratch
from align3r.models.vggt.aggregator import NORM_EPS, SceneTokens
from align3r.models.vggt.architecture import VggtArchitecture
from align3r.models.view_plane import view_plane

FRAMES_AT_ONCE = 4
"""Frames whose maps are in memory together; at 518x518 a frame takes some 450 MB."""

PLACE_WEIGHT = 0.1
"""Of the embedding of places, beside features of about unit size."""

_LONGEST_WAVE = 100.0


class DenseHead(nn.Module):
    """Dense prediction transformer head (Ranftl et al., ICCV 2021) on four levels of tokens.

    Features are told where in the view they are, twice. The 1x1 `out_conv` of a fusion block runs
    before the resizing it commutes with.
    """

    def __init__(self, architecture: VggtArchitecture, channels: int) -> None:
        super().__init__()
        sizes, width = architecture.dpt, architecture.width
        dims = sizes.layer_dims
        self.patch_size = architecture.encoder.patch_size
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.projects = nn.ModuleList(nn.Conv2d(width, dim, 1) for dim in dims)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(dims[0], dims[0], 4, stride=4),
                nn.ConvTranspose2d(dims[1], dims[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(dims[3], dims[3], 3, stride=2, padding=1),
            ]
        )
        self.scratch = DenseScratch(dims, sizes.feature_dim, sizes.last_dim, channels)

    def forward(self, tokens: SceneTokens) -> Tensor:
        """Raw outputs (B, S, H, W, channels) of every frame."""
        frames = [level.flatten(0, 1).split(FRAMES_AT_ONCE) for level in tokens.patches]
        raw = torch.cat([self._maps(levels, tokens.grid) for levels in zip(*frames, strict=True)])
        return raw.permute(0, 2, 3, 1).unflatten(0, tokens.levels[0].shape[:2])

    def _maps(self, levels: tuple[Tensor, ...], grid: Grid) -> Tensor:
        """(n, channels, H, W) of four (n, h * w, 2 E) levels."""
        nets = self.scratch
        aspect = grid[1] / grid[0]
        level1, level2, level3, level4 = (
            nets.lateral(k, self._level(k, tokens, grid, aspect)) for k, tokens in enumerate(levels)
        )
        path = fuse(nets.refinenet4, level4, None, size_of(level3))
        path = fuse(nets.refinenet3, path, level3, size_of(level2))
        path = fuse(nets.refinenet2, path, level2, size_of(level1))
        height, width = size_of(level1)
        path = fuse(nets.refinenet1, path, level1, (2 * height, 2 * width))
        full_size = self.patch_size * grid[0], self.patch_size * grid[1]
        return nets.output_conv2(placed(resized(nets.output_conv1(path), full_size), aspect))

    def _level(self, k: int, tokens: Tensor, grid: Grid, aspect: float) -> Tensor:
        image = self.norm(tokens).unflatten(1, grid).permute(0, 3, 1, 2)
        return self.resize_layers[k](placed(self.projects[k](image), aspect))


class DenseScratch(Scratch):
    """Fusion and output convolutions, under the names of the checkpoints."""

    def __init__(self, dims: tuple[int, ...], wide: int, last: int, channels: int) -> None:
        super().__init__(dims, wide)
        self.output_conv1 = nn.Conv2d(wide, wide // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(wide // 2, last, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(last, channels, 1),
        )


def fuse(block: Fusion, path: Tensor, lateral: Tensor | None, size: Grid) -> Tensor:
    """Add a level to the path from the coarser ones, refine it, bring it to a size.

    These networks were trained with units that cut off what is below zero in their input itself,
    so the way around the convolutions does not have it either.
    """
    if lateral is not None:
        path = path + block.enter(relu(lateral))
    return resized(block.out_conv(block.resConfUnit2(relu(path))), size)


def resized(x: Tensor, size: Grid) -> Tensor:
    """(n, C, h, w) maps at another size, bilinear with aligned corners."""
    return interpolate(x, size=size, mode="bilinear", align_corners=True)


def size_of(x: Tensor) -> Grid:
    """Rows and columns of (n, C, h, w) maps."""
    return x.shape[2], x.shape[3]


def placed(x: Tensor, aspect: float) -> Tensor:
    """(n, C, h, w) features that know where in a view of that width by height they are."""
    return x + PLACE_WEIGHT * place_embedding(size_of(x), aspect, like=x)


def place_embedding(size: Grid, aspect: float, *, like: Tensor) -> Tensor:
    """(C, h, w): sines and cosines of the column, then those of the row, computed in float64.

    Args:
        size: Rows h and columns w.
        aspect: Width by height of the view.
        like: (n, C, ...) features, whose channels, device and number format to take.
    """
    # On the CPU, for not every device has float64.
    plane = view_plane(size, aspect, like=torch.empty(0, dtype=torch.float64))
    across, down = (
        waves(along, like.shape[1] // 2).to(like) for along in (plane[0, :, 0], plane[:, 0, 1])
    )
    columns = across[:, None, :].expand(-1, size[0], -1)
    return torch.cat([columns, down[:, :, None].expand(-1, -1, size[1])])


def waves(along: Tensor, channels: int) -> Tensor:
    """(n,) places on a line to (channels, n) sines and cosines, from short waves to long ones."""
    half = channels // 2
    exponent = torch.arange(half, device=along.device, dtype=along.dtype) / half
    angles = _LONGEST_WAVE ** -exponent[:, None] * along
    return torch.cat([angles.sin(), angles.cos()])


def depth_and_confidence(raw: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 2) raw outputs to depth (...) and its confidence (...)."""
    return raw[..., 0].exp(), 1 + raw[..., 1].exp()


def points_and_confidence(raw: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 4) raw outputs to points (..., 3) and their confidence (...)."""
    signed = raw[..., :3]
    return signed.sign() * signed.abs().expm1(), 1 + raw[..., 3].exp()
