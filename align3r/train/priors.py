"""Monocular depth of every frame, computed once, as the pair network's branch is fed with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from align3r.config import PriorOptions
from align3r.device import exact_convolutions
from align3r.errors import SolveError
from align3r.models.weights import locate
from align3r.mono.network import DepthNetwork
from align3r.mono.registry import make_depth_network
from align3r.train.asking import Asked
from align3r.train.data.values import SourceView, UnfitFrameError
from align3r.train.frame_cache import FrameCache, weights_digest

_VALUES = "values"
_LARGEST = float(np.finfo(np.float16).max)
TRUTH = "truth"


def true_priors(view: SourceView) -> SourceView:
    """The frame with its true depth as the prior; what is not known is as far as the farthest.

    Raises:
        UnfitFrameError: The frame has no true depth at all.
    """
    known = None if view.depth is None else np.isfinite(view.depth) & (view.depth > 0)
    if known is None or view.depth is None or not known.any():
        raise UnfitFrameError(
            f"{view.name} has no true depth, so none that could be a prior",
            hint="leave out this data set, or choose another --prior.model than truth",
        )
    far = view.depth[known].max()
    return replace(view, prior=np.where(known, view.depth, far).astype(np.float32))


@dataclass(frozen=True)
class LaterNetwork:
    """A depth network that is loaded when it is called for, in whatever process."""

    name: str
    weights: str | None
    device: torch.device

    def __call__(self) -> DepthNetwork:
        """Load it.

        Raises:
            WeightsError: The weights cannot be had, are damaged, or are another network's.
            MissingExtraError: `transformers` cannot be imported as it is installed.
        """
        # In float32, as when a video is reconstructed: half precision leaves steps in the depth.
        options = PriorOptions(weights=self.weights)
        return make_depth_network(options, self.name, device=self.device, dtype=torch.float32)


class Priors(Asked[DepthNetwork]):
    """Gives frames what a monocular network says of them."""

    what = "depth"

    def __call__(self, view: SourceView) -> SourceView:
        """The frame with raw disparity or depth at its size.

        Raises:
            InputError: The cache cannot be read or written; or nothing is kept of this frame, and
                this is a process that cannot ask.
            SolveError: The network answers numbers that are not finite.
            Align3rError: What loading the network raises.
        """
        kept = self._cache.get(view.name, view.image)
        values = None if kept is None else kept.get(_VALUES)
        if values is None or values.shape != view.image.shape[:2]:
            values = self._ask(view)
            self._cache.put(view.name, view.image, {_VALUES: values})
        return replace(view, prior=values.astype(np.float32))

    def _ask(self, view: SourceView) -> np.ndarray:
        """(H, W) float16: errs by 2^-11 of each value at most."""
        network = self._loaded(view)
        with exact_convolutions(self._device):
            (found,) = network([view.image])
        if not np.isfinite(found.values).all():
            raise SolveError(
                f"{network.name} answers numbers that are not finite for {view.name}",
                hint="leave this frame out, or choose another --prior.model",
            )
        return np.asarray(np.clip(found.values, -_LARGEST, _LARGEST), np.float16)


def make_priors(
    name: str, weights: str | None, folder: Path, *, device: torch.device
) -> Callable[[SourceView], SourceView]:
    """What gives frames their monocular depth.

    Args:
        name: Of a depth network, or `truth`.
        weights: Its weights instead of the published ones.
        folder: Where maps are kept, of any number of networks; not looked at for `truth`.
        device: Where the network computes.

    Raises:
        WeightsError: The weights are not to be had.
        InputError: They cannot be read.
    """
    if name == TRUTH:
        return true_priors
    # Of these weights, whatever they are called; asked for before hours of anything else.
    cache = FrameCache(folder, f"{name} {weights_digest(locate(weights or name))}")
    return Priors(cache, LaterNetwork(name, weights, device), device=device)
