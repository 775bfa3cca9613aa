"""From predictions, flows and masks at full size to the pixels that take part in the solve."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from align3r.errors import SolveError
from align3r.optim.fused import FlowObservations, PointObservations
from align3r.optim.residuals import WEIGHT_FROM
from align3r.types import PairFlows, PairPredictions


@dataclass(frozen=True)
class Grid:
    """The pixels of every view that take part: one a cell, or all of them."""

    index: np.ndarray
    """(P,) into the flattened image."""
    cells: tuple[int, int]
    """Rows and columns of cells; the image size itself when every pixel takes part."""
    size: tuple[int, int]
    """(height, width) of the image."""

    @property
    def full(self) -> bool:
        """Every pixel takes part."""
        return self.cells == self.size

    def pixels(self) -> np.ndarray:
        """(P, 2) column and row of each pixel."""
        row, column = np.divmod(self.index, self.size[1])
        return np.stack([column, row], axis=1).astype(np.float64)


def choose_grid(height: int, width: int, pixels: int, rng: np.random.Generator) -> Grid:
    """About `pixels` pixels on a jittered grid; all of them if `pixels` is 0 or too many.

    The jitter keeps the grid from falling in step with stripes and edges of the image.
    """
    if pixels <= 0 or pixels >= height * width:
        return Grid(np.arange(height * width), (height, width), (height, width))
    rows = min(height, max(1, round((pixels * height / width) ** 0.5)))
    columns = min(width, max(1, round(pixels / rows)))
    row_edge = np.linspace(0, height, rows + 1).round().astype(int)
    column_edge = np.linspace(0, width, columns + 1).round().astype(int)
    shape = (rows, columns)
    row = rng.integers(row_edge[:-1, None], row_edge[1:, None], shape)
    column = rng.integers(column_edge[None, :-1], column_edge[None, 1:], shape)
    return Grid((row * width + column).ravel(), shape, (height, width))


@dataclass(frozen=True)
class Samples:
    """The predictions at the pixels of the grid, in float32."""

    edges: np.ndarray
    """(E, 2)."""
    points: Tensor
    """(E, 2, P, 3)."""
    confidence: Tensor
    """(E, 2, P), >= 1."""

    def only(self, keep: Tensor) -> Samples:
        """The same with no confidence where `keep` (N, P) is False."""
        kept = keep[torch.from_numpy(self.edges).to(keep.device)]
        return replace(self, confidence=torch.where(kept, self.confidence, 1.0))


def sample_predictions(predictions: PairPredictions, grid: Grid, device: torch.device) -> Samples:
    """Pick the grid's pixels, looking at every prediction on the way.

    Raises:
        SolveError: A prediction is not finite; names the pair.
    """
    index = torch.from_numpy(grid.index).to(predictions.points.device)
    shape = (len(predictions.edges), 2, len(index))
    points, confidence = torch.empty(*shape, 3), torch.empty(shape)
    for edge, (i, j) in enumerate(predictions.edges):
        point, sure = predictions.points[edge], predictions.confidence[edge]
        # Least and greatest are found much faster than single values that are not finite.
        if not all(torch.stack(values.aminmax()).isfinite().all() for values in (point, sure)):
            bad = int((~point.isfinite()).sum() + (~sure.isfinite()).sum())
            raise SolveError(
                f"the prediction of pair ({i}, {j}) has {bad} values that are not finite",
                hint="this is a fault of the pair predictor; try --device cpu",
            )
        points[edge] = point.reshape(2, -1, 3)[:, index].float()
        confidence[edge] = sure.reshape(2, -1)[:, index].float().clamp(min=1.0)
    return Samples(
        edges=np.asarray(predictions.edges, np.int64),
        points=points.to(device),
        confidence=confidence.to(device),
    )


def parts(edges: np.ndarray, n_frames: int) -> tuple[int, np.ndarray]:
    """How many parts the pairs (E, 2) leave the frames in, and the part of each frame."""
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(n_frames, n_frames))
    count, label = connected_components(graph, directed=False)
    return int(count), label


def check_connected(edges: np.ndarray, n_frames: int) -> None:
    """Every frame can be reached from every other.

    Raises:
        SolveError: The pairs fall into parts; names them.
    """
    if len(edges) == 0:
        raise SolveError(
            f"there are no pairs between the {n_frames} frames",
            hint="alignment needs at least two frames and one pair",
        )
    count, label = parts(edges, n_frames)
    if count > 1:
        some = [np.flatnonzero(label == part) for part in range(min(count, 5))]
        names = "; ".join(_range_text(part) for part in some)
        more = f" and {count - 5} more" if count > 5 else ""
        raise SolveError(
            f"the pairs leave the frames in {count} parts without a link: {names}{more}",
            hint="choose a denser graph, for example --pairs.graph complete",
        )


def _range_text(frames: np.ndarray) -> str:
    """Frame numbers as `0-4, 7`."""
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    text = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ", ".join(text[:6]) + (", ..." if len(text) > 6 else "")


def point_observations(samples: Samples, n_frames: int, *, conf: str = "log") -> PointObservations:
    """All predictions sorted by view, ready for the pair term."""
    n_pairs, _, pixels, _ = samples.points.shape
    view = samples.edges.reshape(-1)
    order = np.argsort(view, kind="stable")
    device = samples.points.device
    take = torch.from_numpy(order).to(device)
    flat = samples.points.flatten(0, 1)[take]
    homogeneous = torch.cat([flat.mT, flat.new_ones(2 * n_pairs, 1, pixels)], dim=1)
    return PointObservations(
        points=homogeneous.contiguous(),
        weight=WEIGHT_FROM[conf](samples.confidence.flatten(0, 1)[take]),
        edge=take // 2,
        view=torch.from_numpy(view[order]).to(device),
        spans=_spans(view[order], n_frames),
    )


def flow_observations(
    flows: PairFlows,
    centred: Tensor,
    grid: Grid,
    static: np.ndarray | None,
    *,
    unit: float = 1.0,
) -> FlowObservations:
    """Both directions of every flow, sorted by source view, ready for the flow term.

    Args:
        flows: Edges numbered like the N frames of `centred` and `static`.
        centred: (N, 2, P) pixel minus principal point, y not stretched.
        grid: The pixels that take part.
        static: (N, h, w) True where nothing moves; None: everywhere.
        unit: Pixels of the term in a working pixel.
    """
    n_pairs, n_frames = len(flows.edges), len(centred)
    source = np.concatenate([flows.edges[:, 0], flows.edges[:, 1]])
    sink = np.concatenate([flows.edges[:, 1], flows.edges[:, 0]])
    back = np.arange(2 * n_pairs) >= n_pairs
    order = np.lexsort((back, source))
    shape = (2 * n_pairs, len(grid.index))
    flow, keep = np.empty((shape[0], 2, shape[1]), np.float32), np.empty(shape, bool)
    for row, edge in enumerate(order % n_pairs + n_pairs * back[order]):
        pair = edge % n_pairs
        field = flows.backward[pair] if back[edge] else flows.forward[pair]
        valid = flows.backward_valid[pair] if back[edge] else flows.forward_valid[pair]
        flow[row] = field.reshape(-1, 2)[grid.index].T
        valid = valid.reshape(-1)[grid.index]
        if static is not None:
            valid = valid & static[source[edge]].reshape(-1)[grid.index]
        keep[row] = valid & np.isfinite(flow[row]).all(0)
    device = centred.device
    to = torch.from_numpy(source[order]).to(device)
    kept = torch.from_numpy(keep).to(device)[:, None]
    target = torch.from_numpy(flow).to(device).add_(centred[to]).mul_(unit)
    spans = _spans(source[order], n_frames)
    middles = [start + int((~back[order][start:end]).sum()) for start, end in spans]
    return FlowObservations(
        target=target.masked_fill_(~kept, 0.0),
        keep=kept.float(),
        source=to,
        sink=torch.from_numpy(sink[order]).to(device),
        backward_flow=torch.from_numpy(back[order]).to(device),
        spans=tuple((a, m, b) for (a, b), m in zip(spans, middles, strict=True)),
        unit=unit,
    )


def _spans(sorted_views: np.ndarray, n_frames: int) -> tuple[tuple[int, int], ...]:
    """Where each view begins and ends in an ascending list of views."""
    bounds = np.searchsorted(sorted_views, np.arange(n_frames + 1))
    return tuple((int(a), int(b)) for a, b in pairwise(bounds))
