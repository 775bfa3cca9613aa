"""Dense optical flow by RAFT (Teed and Deng, ECCV 2020), as torchvision has it."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from align3r.errors import MissingExtraError, SolveError, WeightsError
from align3r.flow.hub_file import HubFile, read_weights

_STRIDE = 8
"""The network sees an eighth of the image on each axis."""
_LEAST_SIDE = 128
"""So that the coarsest of its four correlation maps still has two cells."""
_VOLUME_BYTES = 2**30
"""Correlations of one batch on a GPU."""
_LARGEST_BATCH = 16


class RaftFlow:
    """RAFT, large; it compares all pixels with all others, so it needs no start flow."""

    name = "raft"

    def __init__(
        self,
        device: torch.device,
        *,
        dtype: torch.dtype = torch.float32,
        weights: str | Path | None = None,
        download: bool = True,
    ) -> None:
        """Load the network.

        Args:
            device: Where to compute.
            dtype: float32, or the half precision of the convolutions and correlations;
                positions are float32 always.
            weights: File with the weights; torchvision's own if not given, from torch's cache.
            download: Whether torchvision's weights may be downloaded.

        Raises:
            MissingExtraError: torchvision is not there or does not work.
            WeightsError: The weights cannot be had, or are damaged, or of another network.
        """
        zoo = _optical_flow_models()
        path = _published(zoo).find(download=download) if weights is None else Path(weights)
        network = zoo.raft_large(weights=None, progress=False)
        try:
            network.load_state_dict(read_weights(path))
        except RuntimeError as error:
            raise WeightsError(
                f"{path} does not hold the weights of torchvision's raft_large",
                hint=f"its published file is {_published(zoo).url}",
            ) from error
        self._network = network.eval().requires_grad_(False).to(device)
        self._device, self._dtype = device, dtype
        # The network keeps the correlations of a call in itself, and a GPU is shared badly.
        self._one_at_a_time = threading.Lock()

    def __call__(
        self, source: np.ndarray, target: np.ndarray, *, start: np.ndarray | None = None
    ) -> np.ndarray:
        """Flow from source to target.

        Args:
            source: (h, w, 3) uint8 RGB.
            target: Image of the same shape.
            start: Not looked at: RAFT finds large displacements itself, and a wrong start would
                mislead it.

        Returns:
            (h, w, 2) float32: pixel of source + flow = its match in target.

        Raises:
            SolveError: A flow is not finite.
        """
        return np.asarray(self._flows(source[None], target[None])[0])

    def many(self, images: np.ndarray, ways: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
        """Flows from image to image, several at once where that is quicker.

        Args:
            images: (N, h, w, 3) uint8 RGB.
            ways: (source, target) of each flow.

        Yields:
            (h, w, 2) float32 for each way.

        Raises:
            SolveError: A flow is not finite.
        """
        size = self._batch(images.shape[1:3])
        for k in range(0, len(ways), size):
            sources, targets = np.array(ways[k : k + size]).T
            yield from self._flows(images[sources], images[targets])

    def _batch(self, shape: tuple[int, ...]) -> int:
        """Flows at once; a CPU is full with two."""
        if self._device.type == "cpu":
            return 2
        cells = (max(shape[0], _LEAST_SIDE) * max(shape[1], _LEAST_SIDE)) // _STRIDE**2
        # The full correlation map and its three smaller ones, float32.
        return min(max(_VOLUME_BYTES * 3 // (4 * 4 * cells**2), 1), _LARGEST_BATCH)

    def _flows(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """(B, h, w, 2) float32 flows of (B, h, w, 3) images."""
        height, width = sources.shape[1:3]
        (top, bottom), (left, right) = _margins(height), _margins(width)
        padding = (left, right, top, bottom)
        with self._one_at_a_time, torch.inference_mode(), self._precision():
            flow = self._network(self._input(sources, padding), self._input(targets, padding))[-1]
            flow = flow[..., top : top + height, left : left + width].float()
            if not torch.isfinite(flow).all():
                raise SolveError(
                    "RAFT found a flow that is not a number", hint="take --motion.flow dis"
                )
            return np.ascontiguousarray(flow.permute(0, 2, 3, 1).cpu().numpy())

    def _input(self, images: np.ndarray, padding: tuple[int, int, int, int]) -> Tensor:
        """(B, 3, H, W) in [-1, 1]; the border is repeated up to a size that the network takes."""
        values = torch.tensor(images, device=self._device).permute(0, 3, 1, 2).float()
        return functional.pad(values / 127.5 - 1.0, padding, mode="replicate")

    def _precision(self) -> AbstractContextManager[Any]:
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, self._dtype)


def _margins(side: int) -> tuple[int, int]:
    """What to add before and after a side."""
    missing = max(-(-side // _STRIDE) * _STRIDE, _LEAST_SIDE) - side
    return missing // 2, missing - missing // 2


def _published(zoo: Any) -> HubFile:
    """The weights that did best: trained on Chairs, Things, Sintel, KITTI and HD1K."""
    return HubFile(zoo.Raft_Large_Weights.C_T_SKHT_V2.url, "RAFT's weights", "BSD-3-Clause, 21 MB")


def _optical_flow_models() -> Any:
    try:
        return importlib.import_module("torchvision.models.optical_flow")
    except (ImportError, RuntimeError, OSError) as error:
        if isinstance(error, ModuleNotFoundError) and str(error.name).startswith("torchvision"):
            raise MissingExtraError(
                "RAFT needs torchvision, which is not installed",
                hint="install torchvision, which is the extra align3r[raft]",
            ) from error
        # A torchvision that was built for another torch fails in one of these ways.
        reason = str(error).partition("\n")[0]
        raise MissingExtraError(
            f"torchvision does not work beside torch {torch.__version__}: {reason}",
            hint="install the torchvision that belongs to this torch",
        ) from error
