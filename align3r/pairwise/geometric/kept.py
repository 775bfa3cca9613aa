"""Maps of all frames in arrays of the storage: in files where the memory is short."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from align3r.io.storage import Storage

Kept = TypeVar("Kept")


class PerFrame(Generic[Kept]):
    """A value of every frame: a dataclass of maps, kept field by field."""

    def __init__(
        self,
        kind: Callable[..., Kept],
        fields: Mapping[str, DTypeLike],
        shape: tuple[int, int, int],
        *,
        name: str,
        storage: Storage | None,
    ) -> None:
        """Make room.

        Args:
            kind: Makes a frame's value from its fields.
            fields: What a pixel of each field is.
            shape: (N, h, w).
            name: ITEM.NAME in the storage.
            storage: Gives out the arrays; None: main memory.

        Raises:
            InputError: There is no space left for their files.
        """
        storage = storage or Storage()
        self._kind = kind
        self._arrays = {
            field: storage.empty(f"{name}.{field}", shape, pixel) for field, pixel in fields.items()
        }

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values())))

    def __getitem__(self, i: int) -> Kept:
        return self._kind(**{field: array[i] for field, array in self._arrays.items()})

    def all(self, field: str) -> np.ndarray:
        """(N, h, w) one field of all frames."""
        return self._arrays[field]

    def fill(self, values: Iterable[Kept], on_frame: Callable[[int], None]) -> None:
        """Keep the values of all frames, in order; tells how many are done."""
        for i, value in enumerate(values):
            for field, array in self._arrays.items():
                array[i] = getattr(value, field)
            on_frame(i + 1)
