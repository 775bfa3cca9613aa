"""A sequence of a data set: where its images are, and what is true about them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Numbers
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from align3r.datasets.truth import Truth
from align3r.errors import InputError
from align3r.io.images import read_rgb


@dataclass(frozen=True)
class Sequence:
    """A video, or a set of images of one scene. Nothing is read before it is asked for."""

    dataset: str
    """Name of its row in `table.DATASETS`."""
    name: str
    """As the data set calls it; parts of a path with `/` between them."""
    frames: tuple[str, ...]
    """What the data set calls each frame: a number, a time, the stem of a file."""
    truth: Truth
    images: tuple[Path, ...]
    """The image files, one a frame; empty where images are inside other files (`read`)."""
    read: Callable[[int], np.ndarray] | None = None
    """Frame number -> (H, W, 3) uint8 RGB, where images are inside other files."""
    remarks: tuple[str, ...] = ()
    """What was left out and why, a sentence each."""

    def __len__(self) -> int:
        return len(self.frames)

    def image(self, i: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB of a frame.

        Raises:
            InputError: It cannot be read, or is not of the size of the others.
        """
        image = self.read(i) if self.read is not None else read_rgb(self.images[i])
        size, wanted = (image.shape[1], image.shape[0]), self.truth.size
        if size != wanted:
            raise InputError(
                f"frame {self.frames[i]} of {self.name} is {size[0]}x{size[1]} pixels, the first "
                f"is {wanted[0]}x{wanted[1]}",
                hint="copy the image again",
            )
        return image

    def select(self, frames: Numbers[int] | np.ndarray) -> Sequence:
        """Some of the frames, in the order given."""
        chosen = [int(i) for i in frames]
        read = self.read
        return replace(
            self,
            frames=tuple(self.frames[i] for i in chosen),
            truth=self.truth.select(chosen),
            images=tuple(self.images[i] for i in chosen) if self.images else (),
            read=None if read is None else lambda i: read(chosen[i]),
        )
