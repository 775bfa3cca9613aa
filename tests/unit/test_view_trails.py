"""Trails of moving things against a thing whose path is known."""

from __future__ import annotations

import numpy as np

from align3r.io.maps import ArrayMaps
from align3r.reconstruction import Reconstruction
from align3r.view.trails import Segments, follow, join_segments

N, WIDTH, HEIGHT, FOCAL, DEPTH, STEP = 8, 320, 240, 300.0, 3.0, 4
"""A textured square goes `STEP` pixels to the right a frame, before a camera that goes down."""


def scene(*, jump: int | None = None, masks: bool = True) -> Reconstruction:
    rng = np.random.default_rng(0)
    back = rng.integers(60, 120, (HEIGHT // 8, WIDTH // 8, 3)).repeat(8, 0).repeat(8, 1)
    thing = rng.integers(0, 255, (20, 20, 3)).repeat(4, 0).repeat(4, 1)
    images = np.repeat(back[None], N, axis=0).astype(np.uint8)
    depth = np.full((N, HEIGHT, WIDTH), 6.0, np.float32)
    moving = np.zeros(depth.shape, bool)
    for i in range(N):
        here = i, slice(80, 160), slice(60 + STEP * i, 140 + STEP * i)
        images[here], moving[here], depth[here] = thing, masks, DEPTH
        if jump is not None and i >= jump:
            depth[here] = 2 * DEPTH
    world_from_cam = np.repeat(np.eye(4)[None], N, axis=0)
    world_from_cam[:, 1, 3] = 0.1 * np.arange(N)
    k = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1]])
    maps = ArrayMaps(
        depth=depth,
        confidence=np.ones_like(depth),
        moving=moving,
        images=images,
        source_size=(WIDTH, HEIGHT),
    )
    return Reconstruction(
        world_from_cam=world_from_cam,
        intrinsics=np.repeat(k[None], N, axis=0),
        times=np.arange(N) / 10,
        frame_index=np.arange(N),
        size=(WIDTH, HEIGHT),
        maps=maps,
    )


def test_trails_follow_the_thing_through_the_world() -> None:
    parts = list(follow(scene(), spacing=10))
    assert len(parts) == N - 1 and min(map(len, parts)) > 30
    pieces = join_segments(parts)
    # Seen at a fixed row of a camera that goes down: the thing goes down with it.
    wanted = np.array([STEP * DEPTH / FOCAL, 0.1, 0.0])
    np.testing.assert_allclose(
        np.median(pieces.end - pieces.start, axis=0), wanted, atol=0.02 * DEPTH / FOCAL * 10
    )
    assert np.mean(np.abs(pieces.end - pieces.start - wanted).max(axis=1) < 0.02) > 0.9


def test_a_trail_goes_on_where_it_was() -> None:
    pieces = join_segments(list(follow(scene(), spacing=10)))
    longest = np.bincount(pieces.trail).argmax()
    mine = pieces.trail == longest
    assert mine.sum() == N - 1
    np.testing.assert_array_equal(pieces.frame[mine], np.arange(1, N))
    np.testing.assert_allclose(pieces.end[mine][:-1], pieces.start[mine][1:])
    assert len(np.unique(pieces.colours[mine], axis=0)) == 1


def test_nothing_is_drawn_where_the_depth_jumps() -> None:
    parts = list(follow(scene(jump=4), spacing=10))
    assert len(parts[3]) == 0, "a piece crosses the jump of frame 4"
    assert min(len(parts[2]), len(parts[4])) > 30


def test_what_stands_still_has_no_trail() -> None:
    assert sum(map(len, follow(scene(masks=False)))) == 0


def test_whole_trails_are_left_out() -> None:
    pieces = join_segments(list(follow(scene(), spacing=10)))
    some = pieces.some(3)
    assert 0.2 * len(pieces) < len(some) < 0.5 * len(pieces)
    for trail in np.unique(some.trail):
        assert (some.trail == trail).sum() == (pieces.trail == trail).sum()


def test_a_single_long_trail_is_left_out_where_there_is_no_room() -> None:
    pieces = join_segments(list(follow(scene(), spacing=10)))
    first = Segments(*(column[pieces.trail == 0] for column in vars(pieces).values()))
    assert len(first) > 1
    assert not any(len(first.some(every)) for every in range(2, 100))
