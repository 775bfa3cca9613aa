"""A data set: what it is called, where its reader is, and what the reader is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from align3r.datasets.depth_sample import DepthSample
from align3r.datasets.image_pair import ImagePair
from align3r.datasets.sequence import Sequence
from align3r.errors import InputError, UsageError


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set, and where its reader is.

    The module has two functions: `names(root, **settings)` gives the names of what is there,
    sorted, and `read(root, name, **settings)` gives what has one of them. What that is, says
    `kind`; each kind has a method of its own here.

    | kind | a name is | it gives | method |
    |---|---|---|---|
    | `video` | a sequence | a `Sequence` | `read` |
    | `pairs` | a scene | a list of `ImagePair` | `read_pairs` |
    | `samples` | an image | a `DepthSample` | `read_sample` |
    | `images` | a shard | images one after the other, with their names | `stream` |
    """

    name: str
    """As it is asked for: `sintel`."""
    title: str
    """As people write it: `MPI-Sintel`."""
    module: str
    """Of `align3r.datasets`."""
    layout: str
    """What a root holds, in one line, for those who have another folder."""
    kind: Literal["video", "pairs", "samples", "images"] = "video"
    """What has a name."""
    terms: str
    """Under which terms it is published."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the reader is called with besides."""
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Sequences that papers use, by the name of the list."""

    def names(self, root: Path) -> list[str]:
        """The sequences under a root, sorted; or scenes, samples or shards, by the kind.

        Raises:
            InputError: There are none: it is another folder, or nothing of what is needed.
        """
        if not root.is_dir():
            raise InputError(
                f"there is no folder {root}", hint=f"{self.title} has the layout {self.layout}"
            )
        found: list[str] = self._reader().names(root, **self.settings)
        if not found:
            raise InputError(
                f"{root} holds no sequence of {self.title}", hint=f"its layout is {self.layout}"
            )
        return found

    def read(self, root: Path, name: str) -> Sequence:
        """One sequence.

        Raises:
            InputError: It is not there, is not whole, or a file of it cannot be read; what is
                missing is named.
            UsageError: The data set is of another kind.
        """
        sequence: Sequence = self._read("video", root, name)
        return sequence

    def read_pairs(self, root: Path, name: str) -> list[ImagePair]:
        """The pairs of one scene.

        Raises:
            InputError, UsageError: As `read`.
        """
        pairs: list[ImagePair] = self._read("pairs", root, name)
        return pairs

    def read_sample(self, root: Path, name: str) -> DepthSample:
        """One image with its depth.

        Raises:
            InputError, UsageError: As `read`.
        """
        sample: DepthSample = self._read("samples", root, name)
        return sample

    def stream(self, root: Path, name: str) -> Iterator[tuple[str, np.ndarray]]:
        """The images of one shard: what each is called, and (H, W, 3) uint8 RGB.

        Raises:
            InputError, UsageError: As `read`; also later, when an image is asked for.
        """
        images: Iterator[tuple[str, np.ndarray]] = self._read("images", root, name)
        return images

    def missing(self, root: Path, wanted: str) -> list[str]:
        """Sequences of the list `wanted` that are not under a root."""
        there = set(self.names(root))
        return [name for name in self.lists[wanted] if name not in there]

    def _read(self, kind: str, root: Path, name: str) -> Any:
        if self.kind != kind:
            raise UsageError(
                f"{self.title} holds {self.kind}, not {kind}",
                hint="choose another data set, or read this one as what it is",
            )
        return self._reader().read(root, name, **self.settings)

    def _reader(self) -> Any:
        return importlib.import_module(f"align3r.datasets.{self.module}")
