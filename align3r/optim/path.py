"""Steps that follow the path: what hangs from a camera moves with it, however far that goes.

A step of the normal equations is a velocity of every node. In a long video the directions that are
least certain bend and stretch the whole path. Moved straight along its velocity a camera leaves
the arc that it is on, and the residuals between neighbours, which hardly bend, grow with the square
of the step. Here a node moves as the one it hangs from does, times the exponential of what its
velocity has beyond that one's (generators of similarities of the world). To first order that is the
same step; beyond it neighbours keep their places to each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from torch import Tensor

from align3r.geometry.rigid import compose
from align3r.optim.fused import PointObservations
from align3r.optim.state import Fixed, State
from align3r.optim.tangents import NODE, crosses, move


@dataclass(frozen=True)
class Path:
    """What hangs from what: a view from one near it in time, a pair from one of its views."""

    edges: np.ndarray
    """(E, 2) views of each pair."""
    weight: np.ndarray
    """(E,) say of each pair in how much what its views see grows."""
    order: np.ndarray
    """(N,) views, each after the one it hangs from."""
    above: np.ndarray
    """(N + E,) the view that each node hangs from, -1 where there is none."""

    @staticmethod
    def of(pairs: PointObservations, weight: np.ndarray, known: np.ndarray) -> Path:
        """The path through pairs of as near views as there are.

        Args:
            pairs: The predictions; they connect all views.
            weight: (E,) of all predictions of each pair.
            known: (N,) bool, views that hang from nothing; view 0 does if there are none.
        """
        by_pair = np.argsort(pairs.edge.cpu().numpy(), kind="stable")
        edges = pairs.view.cpu().numpy()[by_pair].reshape(-1, 2)
        n = len(known)
        links = np.unique(edges, axis=0)
        roots = np.flatnonzero(known) if known.any() else np.zeros(1, np.int64)
        ends = np.concatenate([links, np.stack([roots, np.full_like(roots, n)], axis=1)])
        apart = np.append(np.abs(links[:, 1] - links[:, 0]), np.full(len(roots), 0.5))
        graph = coo_matrix((apart, (ends[:, 0], ends[:, 1])), shape=(n + 1, n + 1))
        order, above = breadth_first_order(minimum_spanning_tree(graph), n, directed=False)
        hung = np.where(above[:n] < n, above[:n], -1)
        return Path(edges, weight, order[1:], np.concatenate([hung, edges[:, 0]]))

    def move(self, state: State, step: Tensor, fixed: Fixed) -> State:
        """The state after a step (7 N + 7 E + 1,), as by `tangents.move` to first order.

        Free depths grow with the pairs of their view.
        """
        straight, n = move(state, step, fixed), len(state.focal)
        node = step[:-1].view(-1, NODE)
        growth = torch.cat([self._growth(node[n:, 6]), node[n:, 6]])
        scale = state.pair_scale.cpu()
        place = torch.cat(
            [
                compose(state.rotation, state.translation).cpu(),
                compose(
                    scale[:, None, None] * state.pair_rotation.cpu(),
                    scale[:, None] * state.pair_translation.cpu(),
                ),
            ]
        )
        found = self._motion(_velocity(place, node, growth, n)) @ place
        size = torch.cat([growth[:n], scale.log() + growth[n:]]).exp()
        rotation = (found[:, :3, :3] / size[:, None, None]).to(state.rotation)
        translation = found[:, :3, 3].to(state.rotation)
        known = fixed.world_from_cam[:, 0, 0].isfinite()
        grown = straight.depth * size[:n, None].to(straight.depth)
        return replace(
            straight,
            depth=torch.where(fixed.depth.isnan(), grown, straight.depth),
            rotation=torch.where(known[:, None, None], straight.rotation, rotation[:n]),
            translation=torch.where(known[:, None], straight.translation, translation[:n]),
            pair_rotation=rotation[n:],
            pair_translation=translation[n:] / straight.pair_scale[:, None],
        )

    def _growth(self, of_pairs: Tensor) -> Tensor:
        """(N,) how much the logarithm of what a view sees grows: the mean over its pairs."""
        n, views = len(self.order), self.edges.ravel()
        heavy = np.repeat(self.weight, 2)
        total = np.bincount(views, heavy * np.repeat(of_pairs.numpy(), 2), minlength=n)
        return torch.from_numpy(total / np.bincount(views, heavy + 1e-30, minlength=n))

    def _motion(self, velocity: Tensor) -> Tensor:
        """(N + E, 4, 4) similarities of the world that each node moves by."""
        beyond = velocity - torch.from_numpy(self.above >= 0)[:, None, None] * velocity[self.above]
        motion: Tensor = torch.linalg.matrix_exp(beyond)
        each = motion.numpy()
        for view in self.order[self.above[self.order] >= 0]:
            each[view] = each[self.above[view]] @ each[view]
        n = len(self.order)
        each[n:] = each[self.above[n:]] @ each[n:]
        return motion


def _velocity(place: Tensor, node: Tensor, growth: Tensor, n_views: int) -> Tensor:
    """(N + E, 4, 4) generators in the world.

    Args:
        place: (N + E, 4, 4) of views and pairs.
        node: (N + E, 7) their steps.
        growth: (N + E,) of views around themselves, of pairs around the origin.
        n_views: N.
    """
    own = compose(torch.einsum("na,aij->nij", node[:, :3], crosses(node)), node[:, 3:6])
    own[:, 3, 3] = 0
    velocity: Tensor = place @ own @ torch.linalg.inv(place)
    velocity[:, :3, :3] += growth[:, None, None] * torch.eye(3).to(growth)
    velocity[:n_views, :3, 3] -= growth[:n_views, None] * place[:n_views, :3, 3]
    return velocity
