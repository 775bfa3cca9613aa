"""Pair graphs: which frames are compared with which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import numpy as np

from align3r.config import GraphName, PairOptions
from align3r.errors import UsageError
from align3r.pairing.keyframes import keyframe_indices

KEYFRAME_REACH = 9
"""A keyframe is paired with the next nine: complete up to ten keyframes, linear beyond."""

Edge = tuple[int, int]


def build_pairs(
    n: int,
    options: PairOptions,
    *,
    keyframes: np.ndarray | None = None,
    loops: np.ndarray | None = None,
) -> np.ndarray:
    """The pairs of a graph over `n` frames.

    Args:
        n: Number of frames, at least 1.
        options: The graph and its numbers.
        keyframes: (K,) one of each run of `options.group` frames; the first ones if not given.
        loops: (L, 2) pairs to be added.

    Returns:
        (E, 2) int64, no self pairs, no doubles. Without `symmetric` every pair is (i, j) with
        i < j, sorted; with it the swapped list follows the original one. One frame has no pairs:
        (0, 2).

    Raises:
        UsageError: No frame at all, a number of the options that makes no sense for this graph,
            or a graph that does not connect all frames.
    """
    _check(n, options)
    added = () if loops is None else map(tuple, loops.tolist())
    keys = keyframe_indices(n, options.group) if keyframes is None else keyframes
    edges = _undirected(chain(GRAPHS[options.graph](n, options, keys), added))
    require_connected(edges, n)
    return np.concatenate([edges, edges[:, ::-1]]) if options.symmetric else edges


def keyframe_groups(n: int, group: int) -> list[np.ndarray]:
    """The frames of every run of `group` frames, int64; one of each is its keyframe."""
    return [np.arange(a, min(a + group, n), dtype=np.int64) for a in range(0, n, group)]


def require_connected(edges: np.ndarray, n: int) -> None:
    """Make sure that every frame can be reached from frame 0.

    Args:
        edges: (E, 2) integer pairs of frame numbers below `n`.
        n: Number of frames.

    Raises:
        UsageError: Some frames hang together with no other part of the video.
    """
    part = np.arange(n)
    while True:
        lowest = part.copy()
        np.minimum.at(lowest, edges[:, 0], part[edges[:, 1]])
        np.minimum.at(lowest, edges[:, 1], part[edges[:, 0]])
        # Following the label of the label halves long chains, so a video needs few rounds.
        lowest = lowest[lowest]
        if np.array_equal(lowest, part):
            break
        part = lowest
    apart = np.flatnonzero(part != 0)
    if len(apart):
        raise UsageError(
            f"the {len(edges)} pairs leave {len(apart)} of {n} frames without a connection to "
            f"frame 0, the first of them frame {apart[0]}",
            hint="use --pairs.graph keyframes, which always connects all frames",
        )


def _check(n: int, options: PairOptions) -> None:
    if n < 1:
        raise UsageError(f"{n} frames make no pair graph", hint="give at least one frame")
    if options.graph not in GRAPHS:
        raise UsageError(
            f"there is no pair graph {options.graph!r}", hint=f"use one of {', '.join(GRAPHS)}"
        )
    if options.graph in WINDOW_OFFSETS and options.window < 1:
        raise UsageError(
            f"a window of {options.window} frames connects nothing", hint="use --pairs.window 5"
        )
    if options.group < 1:
        raise UsageError(
            f"a keyframe group of {options.group} frames is empty", hint="use --pairs.group 10"
        )
    if options.graph == "oneref" and not 0 <= options.reference < n:
        raise UsageError(
            f"reference frame {options.reference} is not among the {n} frames 0 to {n - 1}",
            hint="use --pairs.reference 0",
        )


def _undirected(edges: Iterable[Edge]) -> np.ndarray:
    """Sorted (E, 2) int64 with i < j, without the self pairs and doubles of cyclic graphs."""
    kept = sorted({(min(e), max(e)) for e in edges if e[0] != e[1]})
    return np.array(kept, dtype=np.int64).reshape(-1, 2)


def _windowed(n: int, offsets: Iterable[int], *, cyclic: bool) -> Iterator[Edge]:
    for offset in offsets:
        for i in range(n if cyclic else n - offset):
            yield i, (i + offset) % n


def _complete(n: int, _options: PairOptions, _keys: np.ndarray) -> Iterator[Edge]:
    return _windowed(n, range(1, n), cyclic=False)


def _window(n: int, options: PairOptions, _keys: np.ndarray) -> Iterator[Edge]:
    return _windowed(n, WINDOW_OFFSETS[options.graph](options.window), cyclic=options.cyclic)


def _oneref(n: int, options: PairOptions, _keys: np.ndarray) -> Iterator[Edge]:
    return ((options.reference, j) for j in range(n))


def _keyframes(n: int, options: PairOptions, keys: np.ndarray) -> Iterator[Edge]:
    """All pairs inside each group, and each keyframe with the next few: linear in `n`."""
    for frames in keyframe_groups(n, options.group):
        first = int(frames[0])
        for i, j in _complete(len(frames), options, keys):
            yield first + i, first + j
    reach = range(1, KEYFRAME_REACH + 1)
    for a, b in _windowed(len(keys), reach, cyclic=options.cyclic):
        yield int(keys[a]), int(keys[b])


# Offset 1 is in every window, so a window of at least 1 connects all frames.
WINDOW_OFFSETS: dict[GraphName, Callable[[int], Iterable[int]]] = {
    "swin": lambda window: range(1, window + 1),
    "swinstride": lambda window: range(1, 2 * window, 2),
    "swin2stride": lambda window: range(1, 3 * window - 1, 3),
    "logwin": lambda window: (2**k for k in range(window)),
}
"""Distances j - i of the window graphs. `cyclic` has no say in the other graphs but keyframes."""

GRAPHS: dict[GraphName, Callable[[int, PairOptions, np.ndarray], Iterable[Edge]]] = {
    "keyframes": _keyframes,
    "complete": _complete,
    "oneref": _oneref,
    **dict.fromkeys(WINDOW_OFFSETS, _window),
}
"""Every graph of `PairOptions.graph`, from the number of frames and the keyframes."""
