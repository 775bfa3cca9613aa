"""CUT3R: a state that sees one frame after the other (Wang et al., CVPR 2025).

A frame is computed in two steps: `encode` (it alone) -> `step` (it and the state). The state does
not grow, so a video may be as long as it likes; `stream` goes through one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

from align3r.models.architecture import Cut3rArchitecture
from align3r.models.croco import CrocoNetwork, encoded
from align3r.models.cut3r.head import Cut3rHead, colours, dense
from align3r.models.cut3r.memory import PoseMemory
from align3r.models.cut3r.values import Cut3rOutput, Cut3rState, EncodedView, Flag
from align3r.models.heads import Grid, activate
from align3r.models.rope import Rotation, grid_positions, in_half, rotation
from align3r.models.transformer import NORM_EPS, Blocks, EncoderBlock, Linear, PatchEmbed

RAY = 6
"""Channels of a ray map: origin and direction."""


class Cut3r(CrocoNetwork):
    """The network; attribute names are those of the public checkpoints."""

    architecture: Cut3rArchitecture
    half_rotation = False
    """Whether the rotary queries and keys of the image encoder are rounded to float16, as the
    published code does on a GPU: it changes outputs by some 1e-4."""

    def __init__(self, architecture: Cut3rArchitecture) -> None:
        super().__init__(architecture)
        a = architecture
        width = a.enc_embed_dim
        self.patch_embed_ray_map = PatchEmbed(a.patch_size, width, channels=RAY)
        self.enc_blocks_ray_map = nn.ModuleList(
            EncoderBlock(width, a.ray_enc_num_heads, a.mlp_ratio) for _ in range(a.ray_enc_depth)
        )
        self.enc_norm_ray_map = nn.LayerNorm(width, eps=NORM_EPS)
        self.masked_img_token = nn.Parameter(torch.zeros(1, width))
        self.masked_ray_map_token = nn.Parameter(torch.zeros(1, width))
        self.register_tokens = nn.Embedding(a.state_size, width)
        self.decoder_embed_state = Linear(width, a.dec_embed_dim)
        self.dec_blocks_state = self._decoder(a.state_dec_num_heads)
        self.dec_norm_state = nn.LayerNorm(a.dec_embed_dim, eps=NORM_EPS)
        self.pose_token = nn.Parameter(torch.zeros(1, 1, a.dec_embed_dim))
        self.pose_retriever = PoseMemory(a)
        self.downstream_head = Cut3rHead(a)

    def heads(self) -> Iterable[nn.Module]:
        """The dense heads, and the one of the camera."""
        head = self.downstream_head
        return head.dpt_self, head.dpt_cross, head.dpt_rgb, head.pose_head

    def start(self, batch: int = 1) -> Cut3rState:
        """The state before the first frame of so many videos."""
        tokens = self.decoder_embed_state(self.register_tokens.weight).float()
        memory = self.pose_retriever.mem
        return Cut3rState(tokens.expand(batch, -1, -1), memory.expand(batch, -1, -1), is_fresh=True)

    def stream(
        self, images: Iterable[Tensor], *, with_points: bool = True
    ) -> Iterator[Cut3rOutput]:
        """One output a frame, in the memory that one frame takes.

        Args:
            images: (B, 3, H, W) each, in [-1, 1]; taken one at a time, as the outputs are asked
                for. Sizes may change on the way, B may not.
            with_points: See `step`.
        """
        state = None
        for image in images:
            # Not around the loop: whoever takes the outputs would be in this mode as well.
            with torch.inference_mode():
                state, output = self.step(
                    state or self.start(len(image)), self.encode(image), with_points=with_points
                )
            yield output

    def encode(
        self,
        image: Tensor | None = None,
        ray_map: Tensor | None = None,
        *,
        marks_absence: bool = False,
    ) -> EncodedView:
        """What depends on each view alone.

        Args:
            image: (B, 3, H, W) in [-1, 1]; H and W are multiples of the patch size.
            ray_map: (B, H, W, 6); see `align3r.models.cut3r.rays`.
            marks_absence: Say of a view without image or without ray map that it has none. In
                training that is done in batches that have both kinds; frame by frame it never is.

        Raises:
            ValueError: There is neither, or the sizes do not fit.
        """
        maps = None if ray_map is None else ray_map.permute(0, 3, 1, 2)
        given = [part for part in (image, maps) if part is not None]
        if not given or any(part.shape[-2:] != given[0].shape[-2:] for part in given):
            raise ValueError("a view is an image, a ray map, or both of the same size")
        grid = self.grid_of(given[0].shape[-2:])
        parts = [] if image is None else [self._encode_image(image, grid)]
        if maps is not None:
            parts.append(self._encode_rays(maps, grid))
        if marks_absence and image is None:
            parts.append(self.masked_img_token)
        if marks_absence and maps is None:
            parts.append(self.masked_ray_map_token)
        return EncodedView(sum(parts[1:], start=parts[0]), grid, image is not None)

    def step(
        self,
        state: Cut3rState,
        view: EncodedView,
        *,
        update: Flag = True,
        reset: Flag = False,
        with_points: bool = True,
        with_colours: bool = False,
    ) -> tuple[Cut3rState, Cut3rOutput]:
        """What the state knows of a view, and the state after it.

        Args:
            state: From `start` or the step before; it is not changed.
            view: Of as many videos; one without an image leaves the state as it is.
            update: Whether the state learns from this view.
            reset: Whether the next view finds the state as it was before the first one.
            with_points: Whether to compute the points in the first camera too; those of the own
                camera, moved by its pose, are about the same.
            with_colours: Whether to compute colours too: what a ray map would see.
        """
        look = view.tokens.mean(1, keepdim=True)
        tokens, sets = self._decode(state.tokens, view, self._expected_pose(state, look))
        output = self._answer(sets, view.grid, with_points=with_points, with_colours=with_colours)
        if not view.has_image:
            return state, output
        memory = self.pose_retriever.write(state.memory, look, sets[-1][:, :1])
        first = self.start(len(look))
        return Cut3rState(
            _where(reset, first.tokens, _where(update, tokens, state.tokens)),
            _where(reset, first.memory, _where(update, memory, state.memory)),
            is_fresh=False,
        ), output

    def _encode_image(self, image: Tensor, grid: Grid) -> Tensor:
        a = self.architecture
        turn = self.grid_rotation(grid, a.enc_embed_dim // a.enc_num_heads, image.device)
        rotate = in_half(turn) if self.half_rotation else turn
        return encoded(self.patch_embed(image), self.enc_blocks, self.enc_norm, rotate)

    def _encode_rays(self, maps: Tensor, grid: Grid) -> Tensor:
        a = self.architecture
        rotate = self.grid_rotation(grid, a.enc_embed_dim // a.ray_enc_num_heads, maps.device)
        patches = self.patch_embed_ray_map(maps)
        return encoded(patches, self.enc_blocks_ray_map, self.enc_norm_ray_map, rotate)

    def _expected_pose(self, state: Cut3rState, look: Tensor) -> Tensor:
        """(B, 1, D) pose token of views of this (B, 1, E) look, before they are decoded."""
        if state.is_fresh:
            return self.pose_token.expand(len(look), -1, -1)
        return self.pose_retriever.read(state.memory, look)

    def _decode(
        self, state: Tensor, view: EncodedView, pose_token: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The new state, and L + 1 sets of tokens: the encoder's, then pose token and patches."""
        a, device = self.architecture, state.device
        patches = grid_positions(view.grid, device)
        # The pose token has a place outside of the image, one step before its corner.
        places = torch.cat([patches.new_full((1, 2), -1), patches])
        image_turn, image_turn_there = self._turns(places)
        state_turn_there, state_turn = self._turns(state_positions(a.state_size, device))
        image = torch.cat([pose_token, self.decoder_embed(view.tokens).float()], 1)
        sets = [view.tokens]
        blocks, state_blocks = cast(Blocks, self.dec_blocks), cast(Blocks, self.dec_blocks_state)
        for block, state_block in zip(blocks, state_blocks, strict=True):
            image, state = (
                block.meet(image, state, image_turn, state_turn_there),
                state_block.meet(state, image, state_turn, image_turn_there),
            )
            sets.append(image)
        sets[-1] = self.dec_norm(image)
        return self.dec_norm_state(state), sets

    def _turns(self, places: Tensor) -> tuple[Rotation, Rotation]:
        """The rotations of tokens at (N, 2) places in the heads of the image's and state's side."""
        a = self.architecture
        image, state = (
            rotation(places, a.dec_embed_dim // heads, a.rope_base)
            for heads in (a.dec_num_heads, a.state_dec_num_heads)
        )
        return image, state

    def _answer(
        self, sets: list[Tensor], grid: Grid, *, with_points: bool, with_colours: bool
    ) -> Cut3rOutput:
        a, head = self.architecture, self.downstream_head
        pose_token = sets[-1][:, :1]
        own = [sets[0], *(tokens[:, 1:] for tokens in sets[1:])]
        own_points, own_confidence = activate(
            dense(head.dpt_self, own, grid), a.depth_mode, a.conf_mode
        )
        points = confidence = None
        if with_points:
            rotate = self.grid_rotation(grid, a.dec_embed_dim // a.dec_num_heads, own[0].device)
            moved = [*own[:-1], head.in_first_camera(own[-1], pose_token, rotate)]
            points, confidence = activate(
                dense(head.dpt_cross, moved, grid), a.depth_mode, a.conf_mode
            )
        return Cut3rOutput(
            own_points=own_points,
            own_confidence=own_confidence,
            points=points,
            confidence=confidence,
            camera=head.pose_head(pose_token[:, 0]),
            colours=colours(dense(head.dpt_rgb, own, grid)) if with_colours else None,
        )


def state_positions(size: int, device: torch.device) -> Tensor:
    """(S, 2) row and column of each token of the state, in a square of even width."""
    width = math.isqrt(size)
    width += width % 2
    index = torch.arange(size, device=device)
    return torch.stack([index // width, index % width], -1)


def _where(flag: Flag, yes: Tensor, no: Tensor) -> Tensor:
    """(B, N, D) tensor `yes` for the items of a batch that have the flag."""
    if isinstance(flag, Tensor):
        return torch.where(flag[:, None, None], yes, no)
    return yes if flag else no
