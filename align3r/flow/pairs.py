"""Flow of all pairs of a graph, each unordered pair computed once for both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from align3r.flow.matches import Features, detect, match, start_flow
from align3r.flow.protocol import BatchedFlow, DenseFlow
from align3r.flow.warp import consistent
from align3r.io.storage import Storage
from align3r.parallel import in_threads
from align3r.types import PairFlows

_LARGEST_PX = 2048.0
"""Beyond this, float16 has steps of two pixels; no image of a working size is that large."""
_FAR = 0.08
"""Median displacement, in long sides of the image, from which matches start the flow."""

_TwoWay = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def pair_flows(
    images: np.ndarray,
    edges: np.ndarray,
    flow: DenseFlow,
    *,
    on_pair: Callable[[int, int], None] | None = None,
    storage: Storage | None = None,
) -> PairFlows:
    """Flows of all pairs in both directions, and where they come back to their pixel.

    Args:
        images: (N, h, w, 3) uint8 RGB.
        edges: (E, 2) int64; (i, j) and (j, i) may both be there and share one computation.
        flow: The dense flow.
        on_pair: Called with (done, total) unordered pairs.
        storage: Gives out the arrays; None: main memory.

    Returns:
        Flows in float16, in the order of `edges`.
    """
    flows = empty_flows(edges, (images.shape[1], images.shape[2]), storage)
    there = (flows.forward, flows.backward)
    valid = (flows.forward_valid, flows.backward_valid)
    rows: dict[tuple[int, int], list[tuple[int, bool]]] = {}
    for k, (i, j) in enumerate(np.asarray(edges).tolist()):
        rows.setdefault((min(i, j), max(i, j)), []).append((k, i > j))
    pairs = sorted(rows)
    computed = zip(pairs, _both_ways(flow, images, pairs), strict=True)
    for done, (pair, (found, agree)) in enumerate(computed):
        for k, mirrored in rows[pair]:
            for way in (0, 1):
                there[way][k] = np.clip(found[way ^ mirrored], -_LARGEST_PX, _LARGEST_PX)
                valid[way][k] = agree[way ^ mirrored]
        if on_pair is not None:
            on_pair(done + 1, len(rows))
    return flows


def empty_flows(
    edges: np.ndarray, shape: tuple[int, int], storage: Storage | None, *, item: str = "flows"
) -> PairFlows:
    """Flows of the pairs (E, 2) in images of (h, w), to be filled: float16 and bool.

    Args:
        edges: (E, 2) pairs of frames.
        shape: (h, w) of the images.
        storage: Gives out the arrays; None: main memory.
        item: What the arrays belong to in the storage.

    Raises:
        InputError: There is no space left for their files.
    """
    storage, whole = storage or Storage(), (len(edges), *shape)
    return PairFlows(
        edges,
        storage.empty(f"{item}.forward", (*whole, 2), np.float16),
        storage.empty(f"{item}.backward", (*whole, 2), np.float16),
        storage.empty(f"{item}.forward_valid", whole, bool),
        storage.empty(f"{item}.backward_valid", whole, bool),
    )


def _both_ways(
    flow: DenseFlow, images: np.ndarray, pairs: list[tuple[int, int]]
) -> Iterator[_TwoWay]:
    """Flows of each pair there and back, and where they agree."""
    if isinstance(flow, BatchedFlow):
        flows = flow.many(images, [way for i, j in pairs for way in ((i, j), (j, i))])
        yield from map(_with_agreement, zip(flows, flows, strict=True))
        return
    frames = sorted({frame for pair in pairs for frame in pair})
    features = dict(zip(frames, in_threads(detect, (images[k] for k in frames)), strict=True))

    def both(pair: tuple[int, int]) -> _TwoWay:
        i, j = pair
        found = two_way_flows(flow, (images[i], images[j]), (features[i], features[j]))
        return _with_agreement(found)

    yield from in_threads(both, pairs)


def _with_agreement(found: tuple[np.ndarray, np.ndarray]) -> _TwoWay:
    return found, (consistent(found[0], found[1]), consistent(found[1], found[0]))


def two_way_flows(
    flow: DenseFlow, images: tuple[np.ndarray, np.ndarray], features: tuple[Features, Features]
) -> tuple[np.ndarray, np.ndarray]:
    """Flows of two images, there and back; far ones start from their sparse matches.

    Args:
        flow: The dense flow.
        images: Two (h, w, 3) uint8 RGB images a and b.
        features: Their key points.

    Returns:
        (h, w, 2) float32 each: a to b and b to a.
    """
    a, b = images
    index_a, index_b = match(*features)
    at_a, at_b = features[0].points[index_a], features[1].points[index_b]
    shape = (a.shape[0], a.shape[1])
    if not _are_far(at_a, at_b, shape):
        return flow(a, b), flow(b, a)
    forward = flow(a, b, start=start_flow(at_a, at_b, shape))
    backward = flow(b, a, start=start_flow(at_b, at_a, shape))
    return forward, backward


def _are_far(source: np.ndarray, target: np.ndarray, shape: tuple[int, int]) -> bool:
    """Whether the (m, 2) matches lie so far apart that a dense flow needs a start.

    A start is a coarse thing: where the flow finds the way alone, it does so more exactly.
    """
    if not len(source):
        return False
    moves = np.linalg.norm(target - source, axis=-1)
    return bool(np.median(moves) > _FAR * max(shape))
