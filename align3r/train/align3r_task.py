"""Align3R's fine-tuning of DUSt3R: pairs of dynamic scenes, with monocular depth as a guide.

Lu et al., CVPR 2025: point maps of monocular depth enter both decoders through convolutions that
start at zero; the image encoder stays as it is; the loss is DUSt3R's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from align3r.errors import UsageError
from align3r.evaluate.pictures import single_depth
from align3r.models.loading import load_pair_network
from align3r.models.pair_network import EncodedFrame, PairNetwork, PairOutput
from align3r.models.weights import locate
from align3r.progress import Report
from align3r.train.data.values import Batch
from align3r.train.losses import LossSettings, mean_over_pixels, pair_losses
from align3r.train.network_folder import save_pair_network
from align3r.train.options import Align3rOptions, FrozenName
from align3r.train.truth import points_in_first_camera

_ENCODER = ("patch_embed.", "enc_blocks.", "enc_norm.", "decoder_embed.")
_DECODER = ("dec_blocks.", "dec_blocks2.", "dec_norm.")
FROZEN: dict[FrozenName, tuple[str, ...]] = {
    # What both published networks have in common with the DUSt3R that they started from.
    "encoder": _ENCODER,
    "encoder+decoder": (*_ENCODER, *_DECODER),
    "none": (),
}
"""Name starts of what stays as it is."""

Validate = Callable[[nn.Module, Report], dict[str, float]]


class Align3rTask(nn.Module):
    """What is trained, and how its loss is computed; see `loop.Task`."""

    def __init__(
        self,
        network: PairNetwork,
        *,
        freeze: FrozenName = "encoder",
        symmetric: bool = True,
        confidence_weight: float = 0.2,
        validation: Validate | None = None,
    ) -> None:
        """Take a network, and freeze a part of it in place.

        Args:
            network: With a point-map branch, float32.
            freeze: What stays as it is.
            symmetric: Look at each pair both ways round.
            confidence_weight: How much the network wants to be sure.
            validation: Measures the network on what is held out; None: nothing is.

        Raises:
            UsageError: The network has no point-map branch.
        """
        super().__init__()
        if not network.takes_point_maps:
            raise UsageError(
                "the network has no branch for monocular depth",
                hint="load it with with_point_maps=True",
            )
        self.network = network.train()
        self._symmetric = symmetric
        self._validation = validation
        self._settings = LossSettings(distance="l2", confidence_weight=confidence_weight)
        for name, value in network.named_parameters():
            value.requires_grad_(not name.startswith(FROZEN[freeze]))
            # Weights may be mapped from their file, which is not to be written to.
            if value.requires_grad:
                value.data = value.data.clone()

    @classmethod
    def from_options(
        cls, options: Align3rOptions, *, validation: Validate | None = None
    ) -> Align3rTask:
        """Start from a DUSt3R, whose branch is new and adds zero, or go on with an Align3R.

        Raises:
            WeightsError: The weights cannot be had, are damaged, or of another network.
        """
        return cls(
            load_pair_network(locate(options.weights or "dust3r"), with_point_maps=True),
            freeze=options.freeze,
            symmetric=options.symmetric,
            confidence_weight=options.confidence_weight,
            validation=validation,
        )

    def trained(self) -> dict[str, nn.Parameter]:
        """What an optimiser gets, by name."""
        return {n: value for n, value in self.named_parameters() if value.requires_grad}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`loss` of DUSt3R, and the parts of the two views in it, all ().

        Args:
            batch: Pairs with depth, intrinsics, poses and point maps.
        """
        output, (points, valid) = self.predict(batch), self._truth(batch)
        losses = pair_losses(
            output.points,
            output.confidence,
            points.unbind(1),
            valid.unbind(1),
            settings=self._settings,
        )
        first, second = (
            mean_over_pixels(loss, mask) for loss, mask in zip(losses, valid.unbind(1), strict=True)
        )
        return {"loss": first + second, "first_view": first, "second_view": second}

    def predict(self, batch: Batch) -> PairOutput:
        """Points and confidences of B pairs; of 2 B if symmetric, the second half turned round."""
        network, pairs = self.network, len(batch.images)
        if batch.point_maps is None or batch.images.shape[1] != 2:
            raise ValueError(f"pairs with point maps are wanted, not {batch.images.shape[1]} views")
        # One batch of all first and then all second frames: each is encoded once.
        images, maps = (x.transpose(0, 1).flatten(0, 1) for x in (batch.images, batch.point_maps))
        frames = network.encode(2 * images - 1, maps)
        others = _turned(frames, pairs)
        if not self._symmetric:
            frames, others = _first(frames, pairs), _first(others, pairs)
        return network.decode(network.enter(frames, 0), network.enter(others, 1))

    def _truth(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, 2, H, W, 3) points and (B, 2, H, W) where they are known, of 2 B if symmetric."""
        batch = _both_ways(batch) if self._symmetric else batch
        points = points_in_first_camera(batch)
        return points, (batch.depth > 0) & points.isfinite().all(-1)

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, np.ndarray]:
        """(H', W', 3) uint8: first frames of a pair with true depth, answer and ratio below."""
        depth = self.predict(batch).points[0][0, ..., 2].float().cpu().numpy()
        image = (batch.images[0, 0].permute(1, 2, 0) * 255).round().byte().cpu().numpy()
        truth = batch.depth[0, 0].cpu().numpy()
        if not np.isfinite(truth).any():
            return {}
        return {"image, true depth, depth, ratio": single_depth(image, truth, depth)}

    def validate(self, report: Report) -> dict[str, float]:
        """Metrics on what is held out, by name."""
        return {} if self._validation is None else self._validation(self.network, report)

    def save(self, folder: Path) -> None:
        """Write the network as a folder that `--weights` takes, whole or not at all.

        Raises:
            UsageError: The folder holds something else.
            InputError: The place cannot be written.
        """
        save_pair_network(self.network, folder)


def _both_ways(batch: Batch) -> Batch:
    """The cameras and depths of B pairs, and then those of the same pairs turned round."""
    depth, intrinsics, world_from_cam = (
        torch.cat([x, x.flip(1)]) for x in (batch.depth, batch.intrinsics, batch.world_from_cam)
    )
    return replace(batch, depth=depth, intrinsics=intrinsics, world_from_cam=world_from_cam)


def _turned(frame: EncodedFrame, pairs: int) -> EncodedFrame:
    """First frames in the place of second ones, and the other way round."""
    return replace(
        frame,
        tokens=frame.tokens.roll(pairs, 0),
        injections=tuple(x.roll(pairs, 0) for x in frame.injections),
    )


def _first(frame: EncodedFrame, pairs: int) -> EncodedFrame:
    return replace(
        frame,
        tokens=frame.tokens[:pairs],
        injections=tuple(x[:pairs] for x in frame.injections),
    )
