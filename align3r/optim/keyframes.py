"""Long videos: keyframes first, then each group of frames against the keyframes it holds."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from align3r.optim.journal import Checkpoint, Journal
from align3r.optim.sampling import check_connected, parts
from align3r.optim.stages import Scene, solve_part
from align3r.optim.state import Estimate, Fixed
from align3r.types import Progress


def solve_keyframes(
    scene: Scene,
    keyframes: np.ndarray,
    progress: Progress | None,
    checkpoint: Checkpoint | None,
) -> tuple[Estimate, dict[str, float]]:
    """The keyframes first, then every group of frames against the keyframes it holds.

    In a group the cameras and depths of its keyframes are constraints, up to one common unit
    that is divided out again: no group can have a scale of its own.

    Returns:
        The whole scene; losses are means over the solves.
    """
    edges = scene.samples.edges
    is_key = np.zeros(len(scene.centred), bool)
    is_key[keyframes] = True
    keys = np.flatnonzero(is_key)
    groups = _groups(edges, is_key)
    journal = Journal(1 + len(groups), scene.options.steps, progress, checkpoint)
    key_scene, key_edges = scene.part(keys, _rows(scene.fixed, keys))
    check_connected(key_scene.samples.edges, len(keys))
    estimate, losses = solve_part(key_scene, 0, journal)
    whole = _scatter(_blank(scene, len(edges)), estimate, keys, key_edges)
    history = [losses]
    for number, frames in enumerate(groups, start=1):
        shared = whole.focal[keys[0]] if scene.options.focal == "shared" else None
        fixed = _group_constraints(scene.fixed, whole, frames, is_key[frames], focal=shared)
        part, inside = scene.part(frames, fixed)
        estimate, losses = solve_part(part, number, journal)
        whole = _scatter(whole, estimate, frames, inside)
        history.append(losses)
    mean = {name: float(np.mean([one.get(name, 0.0) for one in history])) for name in losses}
    return whole, mean


def keyframes_linked(edges: np.ndarray, n_frames: int, keyframes: np.ndarray) -> bool:
    """Whether there are two keyframes or more and pairs among them connect them all."""
    number = np.full(n_frames, -1)
    number[keyframes] = np.arange(len(keyframes))
    among = number[edges[(number[edges] >= 0).all(1)]]
    return len(keyframes) >= 2 and parts(among, len(keyframes))[0] == 1


def _groups(edges: np.ndarray, is_key: np.ndarray) -> list[np.ndarray]:
    """Frames joined by pairs other than those between keyframes; keyframes end up in several."""
    rest = edges[~is_key[edges].all(1)]
    # Groups meet in keyframes only: leave those out, then give them back to their neighbours.
    loose = rest[~is_key[rest].any(1)]
    _, label = parts(loose, len(is_key))
    groups = []
    for part in np.unique(label[~is_key]):
        inside = (label == part) & ~is_key
        touching = rest[inside[rest].any(1)]
        groups.append(np.union1d(np.flatnonzero(inside), touching))
    return sorted(groups, key=lambda frames: int(frames[~is_key[frames]][0]))


def _rows(fixed: Fixed, frames: np.ndarray) -> Fixed:
    """What is fixed of some frames."""
    take = torch.from_numpy(frames)
    return Fixed(fixed.world_from_cam[take], fixed.focal[take], fixed.depth[take])


def _group_constraints(
    known: Fixed, whole: Estimate, frames: np.ndarray, is_key: np.ndarray, *, focal: Tensor | None
) -> Fixed:
    """Keyframe cameras and depths as found, the rest as known; the shared focal for all."""
    take = torch.from_numpy(frames)
    key = torch.from_numpy(is_key).to(whole.depth.device)
    own = _rows(known, frames)
    lens = torch.where(key, whole.focal[take], own.focal)
    return Fixed(
        torch.where(key[:, None, None], whole.world_from_cam[take], own.world_from_cam),
        lens if focal is None else focal.expand_as(lens),
        torch.where(key[:, None], whole.depth[take], own.depth),
    )


def _blank(scene: Scene, n_pairs: int) -> Estimate:
    """An estimate of nothing yet."""
    like = scene.fixed
    return Estimate(
        torch.full_like(like.world_from_cam, torch.nan),
        torch.full_like(like.focal, torch.nan),
        torch.full_like(like.depth, torch.nan),
        like.focal.new_full((n_pairs, 3, 4), torch.nan),
    )


def _scatter(whole: Estimate, part: Estimate, frames: np.ndarray, pairs: np.ndarray) -> Estimate:
    """The whole with a part put in."""
    at, pair_at = torch.from_numpy(frames), torch.from_numpy(pairs)
    return Estimate(
        whole.world_from_cam.index_put((at,), part.world_from_cam),
        whole.focal.index_put((at,), part.focal),
        whole.depth.index_put((at,), part.depth),
        whole.world_from_pair.index_put((pair_at,), part.world_from_pair),
    )
