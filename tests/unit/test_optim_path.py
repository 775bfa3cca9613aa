"""Steps along the path: the same as straight ones to first order, and right far beyond it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import roma
import torch
from torch import Tensor
from torch.testing import assert_close

from align3r.geometry.rigid import compose
from align3r.optim.fused import PointObservations
from align3r.optim.path import Path
from align3r.optim.state import Fixed, State
from align3r.optim.tangents import move

N = 5
EDGES = [(0, 1), (2, 1), (1, 3), (0, 1), (3, 4)]  # a mirror, and one pair twice


def observations(edges: list[tuple[int, int]], n: int) -> PointObservations:
    """Sorted by view, as those of a solve; their data are not looked at."""
    view = torch.tensor(edges).flatten()
    order = torch.argsort(view, stable=True)
    edge = torch.arange(len(edges)).repeat_interleave(2)[order]
    nothing = torch.zeros(0)
    return PointObservations(nothing, nothing, edge, view[order], ((0, 0),) * n)


def path_of(edges: list[tuple[int, int]], n: int, known: tuple[int, ...] = ()) -> Path:
    weight = np.linspace(1, 2, len(edges))
    return Path.of(observations(edges, n), weight, np.isin(np.arange(n), known))


def nothing_known(n: int) -> Fixed:
    blank = torch.full((n, 16), torch.nan, dtype=torch.float64)
    return Fixed(blank.view(n, 4, 4), blank[:, 0], blank[:, :3])


def random_state(n: int, n_pairs: int) -> State:
    rng = torch.Generator().manual_seed(0)

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    return State(
        depth=some(n, 3).exp(),
        rotation=roma.rotvec_to_rotmat(some(n, 3)),
        translation=some(n, 3),
        focal=some(n).exp(),
        pair_scale=some(n_pairs).exp(),
        pair_rotation=roma.rotvec_to_rotmat(some(n_pairs, 3)),
        pair_translation=some(n_pairs, 3),
        log_unit=torch.tensor(0.1).double(),
    )


@pytest.mark.parametrize("known", [(), (0,), (1, 3)])
def test_to_first_order_it_is_the_straight_step(known: tuple[int, ...]) -> None:
    state, fixed, path = random_state(N, len(EDGES)), nothing_known(N), path_of(EDGES, N, known)
    for view in known:
        pose = compose(state.rotation[view], (-state.log_unit).exp() * state.translation[view])
        fixed.world_from_cam[view] = pose
    step = torch.randn(
        7 * (N + len(EDGES)) + 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    for view in known:
        step[7 * view : 7 * view + 6] = 0
    step[-1] *= bool(known)
    apart = []
    for length in (1e-3, 1e-4):
        along, straight = (how(state, length * step, fixed) for how in (path.move, move))
        names = ("rotation", "translation", "pair_rotation", "pair_translation")
        apart.append([float((getattr(along, a) - getattr(straight, a)).abs().max()) for a in names])
        for name in ("focal", "pair_scale", "log_unit"):
            assert_close(getattr(along, name), getattr(straight, name), atol=0, rtol=0)
        for view in known:
            assert_close(along.rotation[view], straight.rotation[view], atol=0, rtol=0)
            assert_close(along.translation[view], straight.translation[view], atol=0, rtol=0)
    assert 1e-8 < max(apart[0]) < 1e-3
    np.testing.assert_allclose(apart[1], np.array(apart[0]) / 100, rtol=0.1, atol=1e-14)


def test_a_motion_of_the_whole_world_is_exact_however_large() -> None:
    """Turn, shift and growth together: what is seen only grows."""
    state, path = random_state(N, len(EDGES)), path_of(EDGES, N)
    turn, shift = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.2, -0.7]]).double()
    growth = 0.8
    speed = torch.linalg.cross(turn.expand(N, 3), state.translation) + shift
    views = [
        (turn[None, None] @ state.rotation)[:, 0],
        ((speed + growth * state.translation)[:, None] @ state.rotation)[:, 0],
        torch.zeros(N, 1).double(),
    ]
    speed = torch.linalg.cross(turn.expand(len(EDGES), 3), state.pair_translation)
    speed += shift / state.pair_scale[:, None]
    pairs = [
        (turn[None, None] @ state.pair_rotation)[:, 0],
        (speed[:, None] @ state.pair_rotation)[:, 0],
        torch.full((len(EDGES), 1), growth).double(),
    ]
    step = torch.cat([torch.cat(views, 1), torch.cat(pairs, 1)]).flatten()
    found = path.move(state, torch.cat([step, step.new_zeros(1)]), nothing_known(N))
    assert_close(found.depth, np.exp(growth) * state.depth)
    for one in range(N):
        for other in range(N):
            assert_close(
                found.rotation[one].T @ found.rotation[other],
                state.rotation[one].T @ state.rotation[other],
            )
            assert_close(_seen(found, one, other), np.exp(growth) * _seen(state, one, other))
    assert_close(
        found.pair_rotation[1], found.rotation[0] @ state.rotation[0].T @ state.pair_rotation[1]
    )
    origin, before = (s.pair_scale[:, None] * s.pair_translation for s in (found, state))
    assert_close(
        found.rotation[0].T @ (origin - found.translation[0]).T,
        np.exp(growth) * state.rotation[0].T @ (before - state.translation[0]).T,
    )


def _seen(state: State, one: int, other: int) -> Tensor:
    """Place of a camera as another sees it."""
    return state.rotation[one].T @ (state.translation[other] - state.translation[one])


def test_a_path_that_bends_is_not_stretched() -> None:
    """Straight, its cameras would fly apart; a camera's pairs stay with it."""
    n = 40
    edges = [(k, k + 1) for k in range(n - 1)]
    along = torch.arange(n).double()
    place = torch.stack([along, 0 * along, 0 * along], 1)
    eye = torch.eye(3).double()
    first = place[:-1]
    state = replace(
        random_state(n, n - 1),
        rotation=eye.expand(n, 3, 3),
        translation=place,
        pair_scale=torch.ones(n - 1).double(),
        pair_rotation=eye.expand(n - 1, 3, 3),
        pair_translation=first,
    )
    bend = 0.05  # a step: two radians at the end
    node = torch.zeros(2 * n - 1, 7).double()
    node[:, 2] = bend * torch.cat([along, along[:-1]])
    node[:, 4] = bend / 2 * torch.cat([along, along[:-1]]).square()
    step = torch.cat([node.flatten(), node.new_zeros(1)])
    found, straight = (how(state, step, nothing_known(n)) for how in (path_of(edges, n).move, move))
    hop = found.translation.diff(dim=0).norm(dim=1)
    assert_close(hop, torch.ones(n - 1).double(), atol=bend**2, rtol=0)
    assert float(straight.translation.diff(dim=0).norm(dim=1).max()) > 2
    assert_close(found.pair_translation, found.translation[:-1])
    assert_close(found.pair_rotation, found.rotation[:-1])
    angle = roma.rotmat_to_rotvec(found.rotation)[:, 2]
    assert_close(angle, bend * along)


def test_views_hang_from_views_near_in_time() -> None:
    far = [(0, 4), (0, 2), (0, 1), (1, 2), (3, 2), (2, 3), (3, 4)]
    path = path_of(far, 5)
    assert path.above[:5].tolist() == [-1, 0, 1, 2, 3]
    assert path.above[5:].tolist() == [0, 0, 0, 1, 2, 2, 3]
    assert path.order.tolist() == [0, 1, 2, 3, 4]


def test_known_views_hang_from_nothing() -> None:
    chain = [(0, 1), (1, 2), (2, 3), (3, 4)]
    path = path_of(chain, 5, known=(2, 4))
    assert path.above[[2, 4]].tolist() == [-1, -1]
    assert path.above[[0, 1]].tolist() == [1, 2] and path.above[3] in (2, 4)
    seen = path.order.tolist()
    assert sorted(seen) == [0, 1, 2, 3, 4]
    assert seen.index(2) < seen.index(1) < seen.index(0)
