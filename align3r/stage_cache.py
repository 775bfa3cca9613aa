"""How the values of the pipeline are kept between an interrupted run and the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from align3r.io.cache import StageCache
from align3r.pairwise.predictor import PairJournal
from align3r.types import MonoDepth, PairFlows, PairPredictions

_MONO = "mono"
_PAIRS = "pairs"
_SOME_PAIRS = "some-pairs."
_ALIGN = "align"
_ALIGN_AGAIN = "align-again"
_FLOW_FIELDS = ("edges", "forward", "backward", "forward_valid", "backward_valid")


def cached_mono(cache: StageCache | None, see: Callable[[], MonoDepth]) -> MonoDepth:
    """The kept monocular depth, or a new one, which is then kept."""
    kept = cache.get(_MONO) if cache is not None else None
    if kept is not None:
        arrays, meta = kept
        return MonoDepth(
            arrays["depth"],
            arrays["point_maps"],
            arrays.get("focal"),
            is_metric=bool(meta["is_metric"]),
            name=str(meta["name"]),
        )
    mono = see()
    if cache is not None:
        arrays = {"depth": mono.depth, "point_maps": mono.point_maps}
        if mono.focal is not None:
            arrays["focal"] = mono.focal
        cache.put(_MONO, arrays, {"is_metric": mono.is_metric, "name": mono.name})
    return mono


def cached_predictions(
    cache: StageCache | None, predict: Callable[[PairJournal | None], PairPredictions]
) -> PairPredictions:
    """The kept predictions, or new ones, which are then kept instead of what the journal holds.

    Raises:
        InputError: The cache cannot be written, or there is no space left.
    """
    kept = cache.get(_PAIRS) if cache is not None else None
    if kept is not None:
        arrays, meta = kept
        return _unpack(arrays, meta)
    if cache is None:
        return predict(None)
    journal = SomePairs(cache)
    try:
        predictions = predict(journal)
        meta = {
            "principal_point": list(predictions.principal_point),
            "aspect": predictions.aspect,
            "warnings": list(predictions.warnings),
        }
        cache.put(_PAIRS, _pack(predictions), meta)
    except BaseException:
        if not cache.kept(_SOME_PAIRS):
            cache.remove_files()  # Arrays that no run will find anything in.
        raise
    journal.forget()
    return predictions


def _pack(predictions: PairPredictions) -> dict[str, np.ndarray]:
    arrays = {
        "edges": predictions.edges,
        "points": predictions.points.numpy(),
        "confidence": predictions.confidence.numpy(),
    }
    if predictions.moving is not None:
        arrays["moving"] = predictions.moving
    if predictions.world_from_cam is not None:
        arrays["world_from_cam"] = predictions.world_from_cam
    if predictions.flows is not None:
        for name in _FLOW_FIELDS:
            arrays[f"flow_{name}"] = getattr(predictions.flows, name)
    return arrays


def _unpack(arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> PairPredictions:
    flows = None
    if "flow_edges" in arrays:
        flows = PairFlows(**{name: arrays[f"flow_{name}"] for name in _FLOW_FIELDS})
    return PairPredictions(
        arrays["edges"],
        torch.from_numpy(arrays["points"]),
        torch.from_numpy(arrays["confidence"]),
        tuple(meta["principal_point"]),
        aspect=meta["aspect"],
        moving=arrays.get("moving"),
        flows=flows,
        world_from_cam=arrays.get("world_from_cam"),
        warnings=tuple(meta["warnings"]),
    )


class SomePairs:
    """A `PairJournal`: which pairs of the arrays in the cache's files are finished."""

    def __init__(self, cache: StageCache) -> None:
        self._cache = cache

    def restore(self, points: Tensor, confidence: Tensor) -> np.ndarray:
        """Rows of the pairs that are in these arrays already."""
        files = self._cache.files
        if not all(files.is_left_behind(array.numpy()) for array in (points, confidence)):
            self.forget()
        kept = [self._cache.get(stage) for stage in self._cache.kept(_SOME_PAIRS)]
        rows = [entry[0]["rows"] for entry in kept if entry is not None]
        return np.concatenate([np.zeros(0, np.int64), *rows])

    def save(self, rows: np.ndarray, points: Tensor, confidence: Tensor) -> None:
        """Note that these pairs are finished.

        Raises:
            InputError: The cache cannot be written, or there is no space left.
        """
        files = self._cache.files
        if any(files.file_of(array.numpy()) is None for array in (points, confidence)):
            return  # They are nowhere but in memory.
        files.flush()
        before = self._cache.kept(_SOME_PAIRS)
        number = int(before[-1].removeprefix(_SOME_PAIRS)) + 1 if before else 0
        self._cache.put(f"{_SOME_PAIRS}{number:06d}", {"rows": rows}, {})

    def forget(self) -> None:
        """Take no pair for finished any more."""
        for stage in self._cache.kept(_SOME_PAIRS):
            self._cache.remove(stage)


class AlignCheckpoint:
    """Where the aligner keeps its state from time to time."""

    def __init__(self, cache: StageCache, *, again: bool = False) -> None:
        """Keep it in `cache`; a solve that is done again has a state of its own."""
        self._cache = cache
        self._name = _ALIGN_AGAIN if again else _ALIGN

    def load(self) -> dict[str, np.ndarray] | None:
        """The state kept last, or None."""
        kept = self._cache.get(self._name)
        return kept[0] if kept is not None else None

    def save(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep this state instead of the one before."""
        self._cache.put(self._name, arrays, {})
