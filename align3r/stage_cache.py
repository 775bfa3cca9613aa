"""How the values of the pipeline are kept between an interrupted run and the next."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from align3r.io.cache import StageCache
from align3r.types import MonoDepth, PairFlows, PairPredictions

_MONO = "mono"
_PAIRS = "pairs"
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
    cache: StageCache | None, predict: Callable[[], PairPredictions]
) -> PairPredictions:
    """The kept predictions, or new ones, which are then kept."""
    kept = cache.get(_PAIRS) if cache is not None else None
    if kept is not None:
        arrays, meta = kept
        return _unpack(arrays, tuple(meta["principal_point"]), tuple(meta["warnings"]))
    predictions = predict()
    if cache is not None:
        meta = {
            "principal_point": list(predictions.principal_point),
            "warnings": list(predictions.warnings),
        }
        cache.put(_PAIRS, _pack(predictions), meta)
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


def _unpack(
    arrays: dict[str, np.ndarray], principal_point: tuple[float, float], warnings: tuple[str, ...]
) -> PairPredictions:
    flows = None
    if "flow_edges" in arrays:
        flows = PairFlows(**{name: arrays[f"flow_{name}"] for name in _FLOW_FIELDS})
    return PairPredictions(
        arrays["edges"],
        torch.from_numpy(arrays["points"]),
        torch.from_numpy(arrays["confidence"]),
        principal_point,
        moving=arrays.get("moving"),
        flows=flows,
        world_from_cam=arrays.get("world_from_cam"),
        warnings=warnings,
    )


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
