"""How the values of the pipeline are kept between an interrupted run and the next."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from align3r.io.cache import StageCache
from align3r.pairwise.predictor import PairJournal
from align3r.types import MonoDepth, PairFlows, PairPredictions

log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]
Kept = TypeVar("Kept")

_MONO = "mono"
_PAIRS = "pairs"
_SOME_PAIRS = "some-pairs."
_ALIGN = "align"
_ALIGN_AGAIN = "align-again"
_NUMBERED = re.compile(re.escape(_SOME_PAIRS) + r"\d{6,12}")
_FLOW_FIELDS = ("edges", "forward", "backward", "forward_valid", "backward_valid")


def cached_mono(cache: StageCache | None, see: Callable[[], MonoDepth]) -> MonoDepth:
    """The kept monocular depth, or a new one, which is then kept."""
    kept = _kept(cache, _MONO, _unpack_mono)
    if kept is not None:
        return kept
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
    kept = _kept(cache, _PAIRS, _unpack)
    if kept is not None:
        return kept
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


def _kept(
    cache: StageCache | None, stage: str, unpack: Callable[[Arrays, dict[str, Any]], Kept]
) -> Kept | None:
    """What is kept of a stage; None where that is nothing, or not what a run leaves behind."""
    found = cache.get(stage) if cache is not None else None
    if cache is None or found is None:
        return None
    try:
        return unpack(*found)
    except (KeyError, ValueError, TypeError) as error:
        log.warning("what is kept of the stage %s is not usable (%s): computed again", stage, error)
        cache.remove(stage)
        return None


def _unpack_mono(arrays: Arrays, meta: dict[str, Any]) -> MonoDepth:
    return MonoDepth(
        arrays["depth"],
        arrays["point_maps"],
        arrays.get("focal"),
        is_metric=bool(meta["is_metric"]),
        name=str(meta["name"]),
    )


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


def _unpack(arrays: Arrays, meta: dict[str, Any]) -> PairPredictions:
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
        rows = [np.zeros(0, np.int64)]
        for stage in self._stages():
            found = _kept(self._cache, stage, lambda arrays, meta: arrays["rows"])
            if found is not None and found.dtype == np.int64 and found.ndim == 1:
                rows.append(found[(found >= 0) & (found < len(points))])
        return np.concatenate(rows)

    def save(self, rows: np.ndarray, points: Tensor, confidence: Tensor) -> None:
        """Note that these pairs are finished.

        Raises:
            InputError: The cache cannot be written, or there is no space left.
        """
        files = self._cache.files
        if any(files.file_of(array.numpy()) is None for array in (points, confidence)):
            return  # They are nowhere but in memory.
        files.flush()
        before = self._stages()
        number = int(before[-1].removeprefix(_SOME_PAIRS)) + 1 if before else 0
        self._cache.put(f"{_SOME_PAIRS}{number:06d}", {"rows": rows}, {})

    def _stages(self) -> list[str]:
        return [stage for stage in self._cache.kept(_SOME_PAIRS) if _NUMBERED.fullmatch(stage)]

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
