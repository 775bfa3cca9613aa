"""The network as pair predictor: the cached, batched way equals one pair after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import tiny

from align3r.config import PairOptions
from align3r.errors import SolveError, UsageError
from align3r.models.pair_network import EnteredFrame, PairNetwork
from align3r.pairing import build_pairs
from align3r.pairwise.network import predictor
from align3r.pairwise.network.features import FeatureCache
from align3r.pairwise.network.predictor import NetworkPredictor, RunOptions
from align3r.pairwise.network.schedule import Schedule
from align3r.pairwise.predictor import in_half
from align3r.types import Frames, KnownCameras, MonoDepth

CPU = torch.device("cpu")


def network(*, branch: bool = False, head: str = "dpt", seed: int = 0) -> PairNetwork:
    torch.manual_seed(seed)
    net = PairNetwork(tiny(branch=branch, head=head)).eval()
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape) * (
            0.5 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.1
        )
    return net


def video(n: int, size: tuple[int, int] = (48, 32)) -> Frames:
    width, height = size
    images = np.random.default_rng(n).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    return Frames(images, np.arange(n) / 10, np.arange(n), size, "noise")


def mono_of(frames: Frames) -> MonoDepth:
    maps = np.random.default_rng(7).random((*frames.images.shape[:3], 3), np.float32)
    return MonoDepth(maps[..., 2] + 0.1, maps, None, False, "random")


def one_by_one(
    net: PairNetwork, frames: Frames, edges: np.ndarray, mono: MonoDepth | None
) -> tuple[np.ndarray, np.ndarray]:
    """The slow and obvious way: the whole network for every pair."""
    images = (torch.from_numpy(frames.images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    points, confidence = [], []
    for i, j in edges.tolist():
        maps = None
        if mono is not None:
            maps = tuple(torch.from_numpy(mono.point_maps[k : k + 1]) for k in (i, j))
        with torch.inference_mode():
            out = net((images[i : i + 1], images[j : j + 1]), maps)  # type: ignore[arg-type]
        points.append(torch.cat(out.points).numpy())
        confidence.append(torch.cat(out.confidence).numpy())
    return np.stack(points), np.stack(confidence)


@pytest.mark.parametrize("branch", [False, True], ids=["dust3r", "align3r"])
@pytest.mark.parametrize("head", ["dpt", "linear"])
@pytest.mark.parametrize(("batch", "cache_bytes"), [(1, 10**9), (3, 10**9), (2, 0), (1, 60_000)])
def test_cached_and_batched_equals_one_by_one(
    branch: bool, head: str, batch: int, cache_bytes: int
) -> None:
    net, frames = network(branch=branch, head=head), video(7)
    mono = mono_of(frames) if branch else None
    edges = np.array([[0, 1], [1, 0], [0, 6], [2, 3], [5, 4], [6, 2], [3, 3], [1, 4]])
    run = RunOptions(device=CPU, batch=batch, cache_bytes=cache_bytes)
    seen: list[tuple[str, int, int]] = []
    found = NetworkPredictor("tiny", net, run).predict(
        frames, edges, known=KnownCameras(), mono=mono, progress=lambda *told: seen.append(told)
    )
    points, confidence = one_by_one(net, frames, edges, mono)
    assert found.points.dtype == found.confidence.dtype == torch.float16
    np.testing.assert_allclose(found.points.float(), points, rtol=6e-4, atol=2e-6)
    np.testing.assert_allclose(found.confidence.float(), confidence, rtol=6e-4)
    np.testing.assert_array_equal(found.edges, edges)
    assert seen[-1] == ("pairs", 8, 8)


def test_every_frame_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net, frames = network(), video(23)
    edges = build_pairs(23, PairOptions(group=5, symmetric=True))
    encoded = 0
    original = PairNetwork.encode

    def counted(self: PairNetwork, image: torch.Tensor, point_map: torch.Tensor | None = None):  # type: ignore[no-untyped-def]
        nonlocal encoded
        encoded += len(image)
        return original(self, image, point_map)

    monkeypatch.setattr(PairNetwork, "encode", counted)
    for cache_bytes in (10**9, 0):
        encoded = 0
        run = RunOptions(device=CPU, batch=2, cache_bytes=cache_bytes)
        NetworkPredictor("tiny", net, run).predict(frames, edges, known=KnownCameras())
        assert encoded == 23


def entered(value: float) -> EnteredFrame:
    def full(*shape: int) -> torch.Tensor:
        return torch.full(shape, float(value))

    return EnteredFrame(
        full(1, 6, 8), (full(1, 2, 6, 4), full(1, 2, 6, 4)), None, (full(1, 6, 8),), (2, 3)
    )


BYTES = 4 * (48 * 4)


def test_the_cache_keeps_its_bound_and_gives_back_what_it_was_given() -> None:
    chain = np.array([[k, k + 1] for k in range(9)] + [[0, 9]])
    schedule = Schedule(chain, 1)
    with FeatureCache(schedule, 2 * BYTES) as cache:
        for k, batch in schedule:
            for frame in batch.frames:
                if frame not in cache:
                    cache.put(frame, {0: entered(frame), 1: entered(-frame)})
                kept = cache.get(frame, CPU)
                assert float(kept[0].tokens[0, 0, 0]) == frame
                assert float(kept[1].offered[1][0, 0, 0, 0]) == -frame
                assert kept[0].grid == (2, 3) and kept[0].finest is None
            cache.release(k)
            assert cache.bytes_in_memory <= 2 * BYTES
        assert cache.spills > 0
        assert cache.bytes_in_memory == 0


def test_frames_that_are_needed_soon_stay_in_memory() -> None:
    """A frame needed at the very end waits on disk, and is written once."""
    edges = np.array([[0, 1]] + [[k, k + 1] for k in range(1, 9)] + [[0, 9]])
    schedule = Schedule(edges, 1)
    with FeatureCache(schedule, 2 * 2 * BYTES) as cache:
        for k, batch in schedule:
            for frame in batch.frames:
                if frame not in cache:
                    cache.put(frame, {0: entered(frame), 1: entered(frame)})
                cache.get(frame, CPU)
            cache.release(k)
        assert cache.spills <= 1


def test_spilled_frames_leave_no_files(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    net, frames = network(), video(6)
    edges = build_pairs(6, PairOptions(graph="complete"))
    run = RunOptions(device=CPU, batch=1, cache_bytes=0)
    NetworkPredictor("tiny", net, run).predict(frames, edges, known=KnownCameras())
    assert not list(tmp_path.iterdir())


def test_schedule_covers_every_pair_once_and_keeps_few_frames_open() -> None:
    edges = build_pairs(60, PairOptions(group=10))
    schedule = Schedule(edges, 4)
    rows = [row for _, batch in schedule for row in batch.rows]
    assert sorted(rows) == list(range(len(edges)))
    open_frames: set[int] = set()
    most = 0
    for k, batch in schedule:
        open_frames |= set(batch.frames)
        most = max(most, len(open_frames))
        open_frames = {f for f in open_frames if schedule.next_use(f, k) is not None}
    assert not open_frames
    # One group, and the keyframes of all groups.
    assert most <= 10 + 6 + 4


def test_roles_of_a_frame() -> None:
    schedule = Schedule(np.array([[0, 1], [1, 2]]), 1)
    assert [schedule.roles(k) for k in range(4)] == [(0,), (0, 1), (1,), ()]


def test_align3r_without_monocular_depth_is_refused() -> None:
    predictor = NetworkPredictor("align3r-depthpro", network(branch=True), RunOptions(device=CPU))
    with pytest.raises(UsageError, match="needs monocular depth"):
        predictor.predict(video(2), np.array([[0, 1]]), known=KnownCameras())


def test_what_is_not_a_number_is_refused_at_the_first_pair() -> None:
    net = network()
    with torch.no_grad():
        net.enc_blocks[0].mlp.fc1.weight[0, 0] = torch.nan  # type: ignore[index,union-attr]
    seen: list[int] = []
    predictor = NetworkPredictor("tiny", net, RunOptions(device=CPU))
    edges = np.array([[0, 1], [1, 2]])
    with pytest.raises(SolveError, match="not numbers for the pairs \\(0, 1\\)"):
        predictor.predict(
            video(3), edges, known=KnownCameras(), progress=lambda _, done, __: seen.append(done)
        )
    assert seen == [0]


def test_huge_points_stay_finite() -> None:
    net, frames = network(), video(2)
    with torch.no_grad():
        for head in (net.downstream_head1, net.downstream_head2):
            head["dpt"].head[-1].bias += 14.0  # type: ignore[index]
    found = NetworkPredictor("tiny", net, RunOptions(device=CPU)).predict(
        frames, np.array([[0, 1]]), known=KnownCameras()
    )
    assert found.points.abs().max() == 60_000
    assert found.points.isfinite().all() and found.confidence.isfinite().all()


def test_half_precision_has_an_end_on_both_sides() -> None:
    found = in_half(torch.tensor([torch.inf, 1e9, 65503.0, 1.0, 0.0, -1e9, -torch.inf]))
    assert found.tolist() == [60_000, 60_000, 60_000, 1, 0, -60_000, -60_000]
    assert found.dtype == torch.float16


class Notes:
    """A journal in memory."""

    def __init__(self) -> None:
        self.kept: list[tuple[np.ndarray, torch.Tensor, torch.Tensor]] = []

    def restore(self, points: torch.Tensor, confidence: torch.Tensor) -> np.ndarray:
        for rows, kept_points, kept_confidence in self.kept:
            points[rows], confidence[rows] = kept_points, kept_confidence
        return np.concatenate([np.zeros(0, np.int64), *(rows for rows, _, _ in self.kept)])

    def save(self, rows: np.ndarray, points: torch.Tensor, confidence: torch.Tensor) -> None:
        self.kept.append((rows, points[rows].clone(), confidence[rows].clone()))

    def forget(self) -> None:
        self.kept.clear()


@pytest.mark.parametrize("cache_bytes", [10**9, 0])
@pytest.mark.parametrize("lost", [None, 0, 3], ids=["whole", "first lost", "one lost"])
def test_with_a_journal_only_the_rest_is_computed(
    monkeypatch: pytest.MonkeyPatch, cache_bytes: int, lost: int | None
) -> None:
    monkeypatch.setattr(predictor, "_KEEP_EVERY_S", 0.0)
    net, frames = network(), video(6)
    edges = build_pairs(6, PairOptions(graph="complete"))
    run = RunOptions(device=CPU, batch=1, cache_bytes=cache_bytes)
    whole = NetworkPredictor("tiny", net, run).predict(frames, edges, known=KnownCameras())
    notes = Notes()

    def interrupt(stage: str, done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        NetworkPredictor("tiny", net, run).predict(
            frames, edges, known=KnownCameras(), progress=interrupt, journal=notes
        )
    assert len(notes.kept) == 7
    if lost is not None:
        del notes.kept[lost]
    had = len(notes.kept)
    told: list[int] = []
    found = NetworkPredictor("tiny", net, run).predict(
        frames,
        edges,
        known=KnownCameras(),
        progress=lambda stage, done, total: told.append(done),
        journal=notes,
    )
    assert told == list(range(had, len(edges) + 1))
    assert torch.equal(found.points, whole.points)
    assert torch.equal(found.confidence, whole.confidence)
