"""Observations: what the builder keeps, selections, blocks."""

from __future__ import annotations

import numpy as np

from align3r.pairwise.geometric.observations import ObservationBuilder, Observations


def built() -> Observations:
    """Flow i -> j is (10 i + j, -j) pixels; each pair keeps another part of the image."""
    builder = ObservationBuilder(4, (20, 30), spacing=10)
    for i, j in ((2, 0), (0, 1), (1, 0), (0, 3)):
        flow = np.broadcast_to(np.array([10.0 * i + j, -j], np.float32), (20, 30, 2))
        valid = np.zeros((20, 30), bool)
        valid[:, : 10 * (j + 1)] = True
        builder.add(i, j, flow, valid)
    builder.add(3, 2, np.zeros((20, 30, 2), np.float32), np.zeros((20, 30), bool))
    return builder.build()


def test_builder_keeps_valid_grid_pixels_in_order() -> None:
    obs = built()
    assert obs.n_frames == 4 and len(obs.anchor_frame) == 4 * 6
    np.testing.assert_array_equal(obs.anchor_pixel[:3], [[5, 5], [15, 5], [25, 5]])
    order = obs.source * 4 + obs.target
    assert (np.diff(order) >= 0).all()
    for anchor, target, pixel in zip(obs.anchor, obs.target, obs.pixel, strict=True):
        i, at = obs.anchor_frame[anchor], obs.anchor_pixel[anchor]
        np.testing.assert_array_equal(pixel, at + np.array([10 * i + target, -target]))
        assert at[0] < 10 * (target + 1)


def test_blocks_cover_every_pair_once() -> None:
    obs = built()
    blocks = obs.blocks
    assert [(i, j) for i, j, _ in blocks] == [(0, 1), (0, 3), (1, 0), (2, 0)]
    assert [rows.stop - rows.start for _, _, rows in blocks] == [4, 6, 2, 2]
    assert blocks[-1][2].stop == len(obs.anchor)
    for i, j, rows in blocks:
        assert (obs.source[rows] == i).all() and (obs.target[rows] == j).all()


def test_among_keeps_pairs_inside_a_selection_only() -> None:
    obs = built()
    part = obs.among(np.array([True, True, False, True]))
    assert [(i, j) for i, j, _ in part.blocks] == [(0, 1), (0, 3), (1, 0)]
    assert len(part.anchor_frame) == len(obs.anchor_frame), "anchors keep their numbers"
    none = obs.among(np.zeros(4, bool))
    assert none.blocks == [] and none.pixel.shape == (0, 2)


def test_thinned_keeps_every_nth_anchor_with_all_that_sees_it() -> None:
    obs = built()
    part = obs.thinned(2)
    keep = obs.anchor % 2 == 0
    np.testing.assert_array_equal(part.anchor, obs.anchor[keep])
    np.testing.assert_array_equal(part.pixel, obs.pixel[keep])


def test_nothing_added_is_nothing_seen() -> None:
    obs = ObservationBuilder(2, (20, 30), spacing=10).build()
    assert not len(obs.anchor) and obs.pixel.shape == (0, 2) and obs.blocks == []
