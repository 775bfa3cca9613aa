"""Networks that are asked about every frame once, and whose answers are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch.utils.data import get_worker_info

from align3r.errors import InputError
from align3r.train.data.values import SourceView
from align3r.train.frame_cache import FrameCache

Network = TypeVar("Network")


class Asked(Generic[Network]):
    """A network and what it has said of frames; loaded when it is first asked.

    It may be on a GPU, where a process that reads data for another cannot follow: there, all frames
    have to be seen ahead.
    """

    what: str
    """It gives a frame, in a word."""

    def __init__(
        self, cache: FrameCache, make: Callable[[], Network], *, device: torch.device
    ) -> None:
        """Open a cache; nothing is loaded or written yet.

        Args:
            cache: Of this network.
            make: Loads it.
            device: Where it computes.
        """
        self._cache = cache
        self._make = make
        self._device = device
        self._network: Network | None = None

    def __call__(self, view: SourceView) -> SourceView:
        """The frame, filled in with what the network says of it.

        Raises:
            InputError: The cache cannot be read or written; or nothing is kept of this frame, and
                this is a process that cannot ask.
            Align3rError: What loading or asking the network raises.
        """
        raise NotImplementedError

    def has(self, view: SourceView) -> bool:
        """Whether something is kept of this frame; it may yet turn out to be damaged."""
        return self._cache.has(view.name, view.image)

    @property
    def producer(self) -> str:
        """Who says it: the same for the same weights, whatever they are called."""
        return self._cache.folder.name

    def __getstate__(self) -> dict[str, object]:
        """Without the network: another process loads its own."""
        return {**vars(self), "_network": None}

    def _loaded(self, view: SourceView) -> Network:
        """The network, to be asked about a frame.

        Raises:
            InputError: This is a process that cannot ask.
        """
        if self._device.type != "cpu" and get_worker_info() is not None:
            raise InputError(
                f"there is no {self.what} of {view.name}, and the network is in another process",
                hint="compute all of it before the training with --prepare, or read the frames "
                "with --loop.workers 0",
            )
        if self._network is None:
            self._network = self._make()
        return self._network
