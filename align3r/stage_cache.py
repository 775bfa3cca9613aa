"""How the values of the pipeline are kept between an interrupted run and the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    """The kept predictions, or new ones, which are then kept instead of what the journal holds."""
    kept = cache.get(_PAIRS) if cache is not None else None
    if kept is not None:
        arrays, meta = kept
        return _unpack(arrays, meta)
    predictions = predict(None if cache is None else SomePairs(cache))
    if cache is not None:
        meta = {
            "principal_point": list(predictions.principal_point),
            "aspect": predictions.aspect,
            "warnings": list(predictions.warnings),
        }
        cache.put(_PAIRS, _pack(predictions), meta)
        for stage in cache.kept(_SOME_PAIRS):
            cache.remove(stage)
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
    """A `PairJournal` in the stage cache: one file each time something is saved."""

    def __init__(self, cache: StageCache) -> None:
        self._cache = cache

    def load(self) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        """What was saved and is whole."""
        for stage in self._cache.kept(_SOME_PAIRS):
            kept = self._cache.get(stage)
            if kept is not None:
                points, confidence = kept[0]["points"], kept[0]["confidence"]
                yield kept[0]["rows"], torch.from_numpy(points), torch.from_numpy(confidence)

    def save(self, rows: np.ndarray, points: Tensor, confidence: Tensor) -> None:
        """Keep these pairs beside the ones before.

        Raises:
            InputError: The cache cannot be written, or there is no space left.
        """
        before = self._cache.kept(_SOME_PAIRS)
        number = int(before[-1].removeprefix(_SOME_PAIRS)) + 1 if before else 0
        arrays = {"rows": rows, "points": points.numpy(), "confidence": confidence.numpy()}
        self._cache.put(f"{_SOME_PAIRS}{number:06d}", arrays, {})


class AlignCheckpoint:
    """Where the aligner keeps its state from time to time."""

    def __init__(self, cache: StageCache) -> None:
        self._cache = cache

    def load(self) -> dict[str, np.ndarray] | None:
        """The state kept last, or None."""
        kept = self._cache.get(_ALIGN)
        return kept[0] if kept is not None else None

    def save(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep this state instead of the one before."""
        self._cache.put(_ALIGN, arrays, {})
