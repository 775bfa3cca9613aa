"""Rendered sequences: geometry against slow twins, images against geometry, and the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from align3r.datasets import rendered_sequences
from align3r.datasets.rendered import film as films
from align3r.datasets.rendered.film import Film, Order
from align3r.datasets.rendered.flow import landing
from align3r.datasets.rendered.noise import hashed, value_noise
from align3r.datasets.rendered.raycast import Solid, pixel_centres
from align3r.datasets.rendered.recipes import BY_NAME, RECIPES
from align3r.datasets.rendered.shading import in_shadow
from align3r.datasets.rendered.writing import PARTS, render_sequence
from align3r.datasets.table import dataset
from align3r.errors import InputError, UsageError
from align3r.io.images import read_rgb

SMALL = (96, 54)
NAMES = [row.name for row in RECIPES]


def film(name: str, *, seed: int = 0, size: tuple[int, int] = SMALL) -> Film:
    return Film(Order(name, seed, size).filled())


def files_of(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


# Slow twins: one ray, one solid, one face at a time.


def meets(solid: Solid, start: np.ndarray, way: np.ndarray, t: float) -> float:
    """How far along a ray in the world a solid is met."""
    from_world = np.linalg.inv(solid.world_from_solid(t))
    o, d = from_world[:3, :3] @ start + from_world[:3, 3], from_world[:3, :3] @ way
    half = solid.half
    found = []
    if solid.kind == "ellipsoid":
        a, b, c = (
            sum(x * y / h**2 for x, y, h in zip(p, q, half, strict=True))
            for p, q in ((d, d), (o, d), (o, o))
        )
        if b * b - a * (c - 1) > 0:
            found = [float(np.real(root)) for root in np.roots([a, 2 * b, c - 1])]
            found = [] if min(found) <= 0 else [min(found)]  # from inside, it is not seen
    else:
        for axis in range(3):
            for side in (-1, 1):
                s = (side * half[axis] - o[axis]) / d[axis]
                at = o + s * d
                if s > 1e-3 and all(
                    abs(at[k]) <= half[k] * (1 + 1e-12) for k in range(3) if k != axis
                ):
                    found.append(s)
        if len(found) == 1 and solid.kind == "box":
            found = []  # from inside, it is not seen
        found = [max(found)] if found and solid.kind == "room" else found
    return min(found, default=np.inf)


def first_met(solids: list[Solid], start: np.ndarray, way: np.ndarray, t: float) -> tuple:
    far = [meets(solid, start, way, t) for solid in solids]
    return int(np.argmin(far)), min(far)


def ray(film: Film, i: int, pixel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shot = film.shot(i)
    way = np.linalg.inv(shot.k) @ [*pixel, 1.0]
    return shot.world_from_cam[:3, 3], shot.world_from_cam[:3, :3] @ way


@pytest.mark.parametrize("name", ["store_static", "street_drive", "pendulum", "park_orbit"])
def test_depth_masks_and_flow_are_those_of_a_slow_twin(name: str) -> None:
    one, i = film(name), 11
    w, h = one.size
    seen = one.seen(i)
    flow, visible = one.flow(i, seen)
    moving, depth = one.moving(seen), one.depth(seen)
    rng = np.random.default_rng(0)
    rows = rng.choice(np.flatnonzero(moving.ravel()), 12).tolist()
    rows += rng.choice(np.flatnonzero(~moving.ravel()), 18).tolist()
    now, then = one.shot(i), one.shot(i + 1)
    for row in rows:
        v, u = divmod(int(row), w)
        start, way = ray(one, i, np.array([u, v]))
        number, far = first_met(one.solids, start, way, now.t)
        solid = one.solids[number]
        assert solid.moves == moving[v, u]
        if solid.is_sky:
            assert np.isnan(depth[v, u])
        else:
            np.testing.assert_allclose(depth[v, u], far, rtol=1e-6)
        point = np.linalg.inv(solid.world_from_solid(now.t)) @ [*(start + far * way), 1.0]
        later = np.linalg.inv(then.world_from_cam) @ solid.world_from_solid(then.t) @ point
        x, y, z = then.k @ later[:3]
        if not (z > 0 and -0.5 <= x / z <= w - 0.5 and -0.5 <= y / z <= h - 0.5):
            assert np.isnan(flow[v, u]).all() and not visible[v, u]
            continue
        np.testing.assert_allclose(flow[v, u], [x / z - u, y / z - v], atol=2e-5)
        start, way = ray(one, i + 1, np.array([x / z, y / z]))
        again, there = first_met(one.solids, start, way, then.t)
        assert visible[v, u] == (again == number and abs(there / z - 1) < 1e-5)


def test_shadows_are_those_of_a_slow_twin() -> None:
    one = film("store_static")
    seen, towards, t = one.seen(0), one.light.direction, one.shot(0).t
    rows = np.random.default_rng(1).choice(len(seen.depth), 40, replace=False)
    found = set(in_shadow(one.solids, seen, rows, towards, t=t).tolist())
    for row in rows.tolist():
        others = [
            solid
            for number, solid in enumerate(one.solids)
            if number != seen.which[row] and solid.kind != "room"
        ]
        dark = np.isfinite(first_met(others, seen.world[row], towards, t)[1])
        assert dark == (row in found)
    assert 0 < len(found) < len(rows)


def test_noise_is_that_of_a_slow_twin() -> None:
    def one(x: int, y: int, z: int, seed: int) -> float:
        def mixed(value: int, shift: int, factor: int) -> int:
            return (value ^ (value >> shift)) * factor % 2**64

        out = mixed((x * 0x9E3779B97F4A7C15 + seed + 1) % 2**64, 29, 0xBF58476D1CE4E5B9)
        out = mixed((out + y) * 0x94D049BB133111EB % 2**64, 31, 0xD6E8FEB86659FD93)
        out = mixed((out + z) * 0xA5A3564E27F8862D % 2**64, 32, 0xD6E8FEB86659FD93)
        return (out >> 40) / 2**24

    rng = np.random.default_rng(2)
    cells = rng.integers(-50, 50, (20, 3))
    want = [one(*cell, 7) for cell in cells.tolist()]
    np.testing.assert_array_equal(hashed(cells, 7), want)
    points = rng.uniform(-9, 9, (20, 3))
    for point, got in zip(points, value_noise(points, 7), strict=True):
        base = np.floor(point).astype(int)
        f = point - base
        f = f * f * (3 - 2 * f)
        total = sum(
            np.prod(np.where(np.array(corner) == 1, f, 1 - f)) * one(*(base + corner).tolist(), 7)
            for corner in np.ndindex(2, 2, 2)
        )
        assert got == pytest.approx(2 * total - 1, abs=1e-12)


# Laws, for every sequence.


@pytest.mark.parametrize("name", NAMES)
def test_every_sequence_is_fit_to_be_seen(name: str) -> None:
    for seed in (0, 1):
        one = film(name, seed=seed)
        masks, depths, bright = [], [], []
        for i in (0, 10, 20, 29) if seed == 0 else (10,):
            seen = one.seen(i)
            depth = one.depth(seen)
            assert (depth[np.isfinite(depth)] > 0.05).all() and np.isfinite(depth).mean() > 0.7
            masks.append(one.moving(seen).mean())
            depths.append(np.nanmedian(depth))
            image = one.image(i)
            assert image.shape == (54, 96, 3) and image.dtype == np.uint8
            bright.append(image.mean())
            assert image.std() > 15
        assert max(masks) > 0.02 and max(masks) < 0.45
        assert min(depths) > 0.3
        assert 50 < min(bright) and max(bright) < 200
        poses = np.stack([one.shot(i).world_from_cam for i in range(30)])
        turns = poses[:, :3, :3]
        np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), [np.eye(3)] * 30, atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(turns), 1.0)


def test_things_that_move_are_rigid_and_the_others_stay() -> None:
    for name in NAMES:
        for solid in film(name).solids:
            a, b = solid.world_from_solid(0.3), solid.world_from_solid(1.1)
            np.testing.assert_allclose(b[:3, :3] @ b[:3, :3].T, np.eye(3), atol=1e-9)
            np.testing.assert_allclose(b[3], [0, 0, 0, 1], atol=0)
            if not solid.moves:
                np.testing.assert_array_equal(a, b)


def test_the_set_covers_what_makes_video_hard() -> None:
    def path_m(one: Film) -> float:
        places = [one.shot(i).world_from_cam[:3, 3] for i in range(30)]
        return float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())

    def turn_deg(one: Film) -> float:
        ways = [one.shot(i).world_from_cam[:3, 2] for i in (0, 29)]
        return float(np.degrees(np.arccos(np.clip(ways[0] @ ways[1], -1, 1))))

    assert len(RECIPES) >= 8 and len(BY_NAME) == len(RECIPES)
    films = {name: film(name) for name in NAMES}
    assert path_m(films["store_static"]) == 0 and turn_deg(films["store_static"]) == 0
    assert path_m(films["street_tripod"]) == 0 and turn_deg(films["street_tripod"]) > 25
    assert turn_deg(films["store_turn"]) > 70
    assert path_m(films["street_drive"]) > 10
    passer = films["close_passer"]
    assert max(passer.moving(passer.seen(i)).mean() for i in range(14, 26)) > 0.22


@pytest.mark.parametrize("name", ["desk_orbit", "street_walk", "living_room"])
def test_static_points_have_the_depth_that_the_next_frame_sees(name: str) -> None:
    one, i = film(name, size=(192, 108)), 4
    seen = one.seen(i)
    flow, visible = one.flow(i, seen)
    landed = landing(one.solids, seen, one.shot(i).t, one.shot(i + 1))
    target = (pixel_centres(one.size).reshape(108, 192, 2) + np.nan_to_num(flow)).astype(np.float32)
    there = cv2.remap(one.depth(one.seen(i + 1)), target[..., 0], target[..., 1], cv2.INTER_LINEAR)
    inside = visible & ~one.moving(seen)
    ratio = there[inside] / landed.depth.reshape(108, 192)[inside]
    assert inside.mean() > 0.5
    assert np.nanmedian(np.abs(ratio - 1)) < 1e-3


@pytest.mark.parametrize("name", ["store_static", "street_walk", "handheld_pan", "pendulum"])
def test_flow_brings_the_next_image_back(name: str) -> None:
    one, i = film(name, size=(256, 144)), 12
    seen = one.seen(i)
    flow, visible = one.flow(i, seen)
    here, there = one.image(i).astype(np.float32), one.image(i + 1).astype(np.float32)
    target = pixel_centres(one.size).reshape(144, 256, 2) + np.nan_to_num(flow)
    x, y = np.moveaxis(target.astype(np.float32), -1, 0)
    back = cv2.remap(there, x, y, cv2.INTER_LINEAR)
    error, before = np.abs(back - here).mean(-1), np.abs(there - here).mean(-1)
    moving = one.moving(seen)
    assert visible.mean() > 0.7
    for part in (visible & moving, visible & ~moving):
        assert np.median(error[part]) < 8
    assert error[visible & moving].mean() < 0.6 * before[visible & moving].mean()
    hidden = np.isfinite(flow).all(-1) & ~visible
    assert hidden.any(), "flow is there for what is hidden, too"
    assert error[hidden].mean() > 2 * error[visible].mean()


def test_another_seed_is_another_video_of_the_same_kind() -> None:
    for name in ("desk_orbit", "street_tripod", "living_room"):
        films = [film(name, seed=seed) for seed in (0, 1, 2)]
        places = np.stack([[one.shot(i).world_from_cam[:3, 3] for i in range(30)] for one in films])
        apart = np.linalg.norm(places[1:, 0] - places[0, 0], axis=-1)
        assert (apart > 1e-4).all() and (apart < 0.4).all()
        ways = np.linalg.norm(np.diff(places, axis=1), axis=-1).sum(1)
        assert ways.max() <= 1.5 * ways.min()


def test_a_longer_video_goes_back_the_way_it_came() -> None:
    one = film("street_drive")
    for k in (1, 7, 28):
        there, back = one.shot(29 - k), one.shot(29 + k)
        np.testing.assert_allclose(back.world_from_cam, there.world_from_cam, atol=1e-9)
        assert back.t == pytest.approx(there.t)
    assert one.shot(58).t == pytest.approx(0.0)


# Files.


ORDER = Order("bare_room", 0, (48, 32), 3)


def test_the_same_order_gives_the_same_bytes_however_many_render_it(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    render_sequence(ORDER, tmp_path / "a", progress=lambda k, n: told.append((k, n)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    told.clear()
    render_sequence(ORDER, tmp_path / "b", jobs=2, progress=lambda k, n: told.append((k, n)))
    assert told[-1] == (3, 3)
    first = files_of(tmp_path / "a")
    assert first == files_of(tmp_path / "b")
    assert len(first) == 2 + 3 + 3 + 3 + 2 + 2
    render_sequence(Order("bare_room", 1, (48, 32), 3), tmp_path / "c")
    other = files_of(tmp_path / "c")
    assert other.keys() == first.keys()
    assert not {name for name in first if first[name] == other[name]}


def test_a_sequence_is_read_as_it_was_rendered(tmp_path: Path) -> None:
    sequence = rendered_sequences.read(tmp_path, "street_walk", size=SMALL, frames=3)
    assert (len(sequence), sequence.frames) == (3, ("0000", "0001", "0002"))
    one, truth = film("street_walk"), sequence.truth
    assert truth.size == SMALL and truth.metric and truth.depth_stride == 1
    assert truth.depth is not None and truth.moving is not None and truth.flow is not None
    for i in range(3):
        seen = one.seen(i)
        np.testing.assert_array_equal(sequence.image(i), one.image(i))
        np.testing.assert_array_equal(truth.depth(i), one.depth(seen))
        np.testing.assert_array_equal(truth.moving(i), one.moving(seen))
        np.testing.assert_array_equal(truth.world_from_cam[i], one.shot(i).world_from_cam)
        np.testing.assert_array_equal(truth.intrinsics[i], one.k)
    assert np.isnan(truth.depth(0)).any(), "there is sky"
    np.testing.assert_array_equal(truth.flow(1), one.flow(1, one.seen(1))[0])
    assert truth.flow(2).shape == (54, 96, 2) and np.isnan(truth.flow(2)).all()
    np.testing.assert_allclose(truth.times, [0, 1 / 12, 2 / 12])
    part = sequence.select([1, 2])
    assert part.truth.depth is not None
    np.testing.assert_array_equal(part.truth.depth(0), truth.depth(1))
    np.testing.assert_array_equal(part.image(1), read_rgb(sequence.images[2]))


def test_it_is_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = rendered_sequences.read
    first = read(tmp_path, "bare_room/3", size=(48, 32), frames=2)
    before = files_of(tmp_path)
    monkeypatch.setattr(rendered_sequences, "render_sequence", None)
    again = read(tmp_path, "bare_room/3", size=(48, 32), frames=2)
    assert again.name == "bare_room/3" and again.images == first.images
    assert files_of(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bare_room-3-48x32-2"]


def test_an_old_version_is_rendered_again(tmp_path: Path) -> None:
    def read() -> None:
        rendered_sequences.read(tmp_path, "bare_room", size=(48, 32), frames=2)

    read()
    want = files_of(tmp_path)
    about = next(tmp_path.rglob("sequence.json"))
    old = json.loads(about.read_text()) | {"version": 0}
    about.write_text(json.dumps(old))
    (about.parent / "images" / "0000.png").unlink()
    read()
    assert files_of(tmp_path) == want


@pytest.mark.parametrize("lost", ["images/0001.png", "flow/0000.npz", "depth", "cameras.npz"])
def test_half_a_sequence_is_refused(tmp_path: Path, lost: str) -> None:
    def read() -> None:
        rendered_sequences.read(tmp_path, "bare_room", size=(48, 32), frames=2)

    read()
    path = tmp_path / "bare_room-0-48x32-2" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match=lost.partition(".")[0].partition("/")[0]) as caught:
        read()
    assert caught.value.hint


def test_damaged_maps_are_told_by_name(tmp_path: Path) -> None:
    sequence = rendered_sequences.read(tmp_path, "bare_room", size=(48, 32), frames=2)
    folder = tmp_path / "bare_room-0-48x32-2"
    truth = sequence.truth
    assert truth.depth is not None and truth.flow is not None
    (folder / "depth" / "0000.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(InputError, match=r"depth.0000\.npz"):
        truth.depth(0)
    np.savez(folder / "flow" / "0000.npz", flow=np.zeros((2, 2, 2), np.float32))
    with pytest.raises(InputError, match=r"shape \(2, 2, 2\)"):
        truth.flow(0)
    np.savez(folder / "cameras.npz", world_from_cam=np.eye(4), K=np.eye(3), time=np.zeros(2))
    with pytest.raises(InputError, match=r"cameras\.npz is damaged"):
        rendered_sequences.read(tmp_path, "bare_room", size=(48, 32), frames=2)


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "bare_room-0-48x32-2"

    def refused(match: str) -> None:
        before = files_of(tmp_path)
        with pytest.raises(InputError, match=match):
            rendered_sequences.read(tmp_path, "bare_room", size=(48, 32), frames=2)
        assert files_of(tmp_path) == before

    place.write_text("a letter")
    refused("not a folder")
    place.unlink()
    place.mkdir()
    refused("no rendered sequence")
    (place / "sequence.json").write_text('{"format": "another"}')
    refused("no rendered sequence")
    (place / "sequence.json").write_text("{")
    refused("no rendered sequence")
    (place / "sequence.json").unlink()
    (place / "thesis.txt").write_text("years of work")
    refused(r"thesis\.txt")
    shutil.rmtree(place)
    rendered_sequences.read(tmp_path, "bare_room", size=(48, 32), frames=2)
    about = place / "sequence.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"version": 0}))
    (place / "notes.txt").write_text("mine")
    refused(r"notes\.txt")


def test_an_interrupted_rendering_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_sequence(ORDER, tmp_path / "a", progress=stop)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        render_sequence(ORDER, tmp_path / "a", progress=stop, jobs=2)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="exists already"):
        render_sequence(ORDER, tmp_path / "a")


def test_orders_that_cannot_be(tmp_path: Path) -> None:
    for order in (
        Order("nothing"),
        Order("bare_room", -1),
        Order("bare_room", 0, (8, 200)),
        Order("bare_room", 0, None, 0),
    ):
        with pytest.raises(UsageError):
            render_sequence(order, tmp_path / "a")
    with pytest.raises(UsageError, match="0 processes"):
        render_sequence(ORDER, tmp_path / "a", jobs=0)
    for name in ("bare_room/x", "bare_room/-1", "nowhere", "../bare_room", "bare_room/1/2"):
        with pytest.raises(UsageError):
            rendered_sequences.read(tmp_path, name)
    assert list(tmp_path.iterdir()) == []
    assert Order("bare_room").filled() == Order("bare_room", 0, (512, 288), 30)


def test_it_is_a_data_set_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = dataset("rendered")
    assert row.names(tmp_path) == sorted(NAMES)
    assert rendered_sequences.names(tmp_path, seeds=(0, 5))[:2] == ["bare_room", "bare_room/5"]
    recipe = BY_NAME["bare_room"]
    small = type(recipe)(**{**vars(recipe), "size": (48, 32), "frames": 2})
    monkeypatch.setattr(films, "recipe", lambda _name: small)
    sequence = row.read(tmp_path, "bare_room")
    assert sequence.dataset == "rendered" and len(sequence) == 2
    assert {path.name for path in sequence.images[0].parents[1].iterdir()} == {
        "sequence.json",
        "cameras.npz",
        *PARTS,
    }


def test_no_network_library_is_needed() -> None:
    program = (
        "import sys, align3r.datasets.rendered_sequences, align3r.datasets.rendered.clip\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
