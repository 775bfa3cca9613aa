"""What an interrupted run leaves behind: pairs in mapped files, and which of them are finished."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import tiny

from align3r.config import PairOptions
from align3r.io.cache import StageCache
from align3r.io.storage import Storage
from align3r.models.pair_network import PairNetwork
from align3r.pairing import build_pairs
from align3r.pairing.memory import STAGED_ITEMS
from align3r.pairwise.network import predictor
from align3r.pairwise.network.predictor import NetworkPredictor, RunOptions
from align3r.pairwise.predictor import PairJournal, empty_predictions
from align3r.stage_cache import SomePairs, cached_predictions
from align3r.types import Frames, KnownCameras, PairFlows, PairPredictions

EDGES = build_pairs(5, PairOptions(graph="complete"))
SIZE = (32, 48)


def frames() -> Frames:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (5, *SIZE, 3), dtype=np.uint8)
    return Frames(images, np.arange(5.0), np.arange(5), (48, 32), "five")


def staged(cache: StageCache) -> Storage:
    return Storage(cache.files, frozenset(STAGED_ITEMS))


def predict(
    cache: StageCache, *, stop_at: int | None = None, told: list[int] | None = None
) -> PairPredictions:
    """All pairs by a tiny network; interrupted when so many are done."""
    torch.manual_seed(0)
    net = PairNetwork(tiny()).eval()
    for parameter in net.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape)
    network = NetworkPredictor("tiny", net, RunOptions(device=torch.device("cpu")))

    def tell(stage: str, done: int, total: int) -> None:
        if told is not None:
            told.append(done)
        if done == stop_at:
            raise KeyboardInterrupt

    def see(journal: PairJournal | None) -> PairPredictions:
        return network.predict(
            frames(),
            EDGES,
            known=KnownCameras(),
            progress=tell,
            journal=journal,
            storage=staged(cache),
        )

    return cached_predictions(cache, see)


@pytest.fixture(autouse=True)
def _keep_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "_KEEP_EVERY_S", 0.0)


def opened(tmp_path: Path) -> StageCache:
    return StageCache(tmp_path / "cache", "key")


def test_an_interrupted_network_goes_on_in_the_same_files(tmp_path: Path) -> None:
    whole = predict(StageCache(tmp_path / "other", "key"))
    with pytest.raises(KeyboardInterrupt):
        predict(opened(tmp_path), stop_at=6)
    told: list[int] = []
    found = predict(opened(tmp_path), told=told)
    assert told == list(range(6, len(EDGES) + 1))
    assert torch.equal(found.points, whole.points)
    assert torch.equal(found.confidence, whole.confidence)
    names = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert names == [
        "key.txt",
        "pairs.npz",
        "predictions.confidence.npy",
        "predictions.points.npy",
    ]
    assert (tmp_path / "cache" / "pairs.npz").stat().st_size < found.points.numpy().nbytes / 2


def test_kept_predictions_are_mapped_and_nothing_is_computed_again(tmp_path: Path) -> None:
    first = predict(opened(tmp_path))

    def never(journal: PairJournal | None) -> PairPredictions:
        raise AssertionError("they are kept")

    again = cached_predictions(opened(tmp_path), never)
    assert torch.equal(again.points, first.points)
    np.testing.assert_array_equal(again.edges, EDGES)
    cache = opened(tmp_path)
    kept = cache.get("pairs")
    assert kept is not None and isinstance(kept[0]["points"], np.memmap)


def test_without_the_arrays_the_notes_about_them_count_for_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        predict(opened(tmp_path), stop_at=6)
    (tmp_path / "cache" / "predictions.points.npy").unlink()
    told: list[int] = []
    predict(opened(tmp_path), told=told)
    assert told[0] == 0


def test_what_is_about_to_change_is_not_taken_for_finished(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    points, confidence = empty_predictions(4, SIZE, staged(cache))
    journal = SomePairs(cache)
    journal.save(np.array([0, 2]), points, confidence)
    journal.save(np.array([3]), points, confidence)
    again = opened(tmp_path)
    left = empty_predictions(4, SIZE, staged(again))
    assert sorted(SomePairs(again).restore(*left).tolist()) == [0, 2, 3]
    SomePairs(again).forget()
    assert SomePairs(again).restore(*left).tolist() == []
    in_memory = empty_predictions(4, SIZE, None)
    SomePairs(again).save(np.array([1]), *in_memory)
    assert again.kept("some-pairs.") == [], "what is nowhere but in memory cannot be found again"


def test_a_predictor_that_fails_leaves_no_large_files(tmp_path: Path) -> None:
    cache = opened(tmp_path)

    def fail(journal: PairJournal | None) -> PairPredictions:
        empty_predictions(4, SIZE, staged(cache))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cached_predictions(cache, fail)
    assert not (tmp_path / "cache").exists()


def test_flows_come_back_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    there, back = rng.normal(size=(2, 3, 4, 5, 2)).astype(np.float16)
    valid = rng.random((2, 3, 4, 5)) < 0.5
    edges = np.array([[0, 1], [1, 2], [0, 2]])
    cache = opened(tmp_path)
    points, confidence = empty_predictions(3, (4, 5), staged(cache))
    points[:], confidence[:] = 2.0, 3.0
    flows = PairFlows(edges, there, back, valid[0], valid[1])
    given = PairPredictions(edges, points, confidence, (2.0, 1.5), aspect=1.1, flows=flows)
    cached_predictions(cache, lambda journal: given)
    found = cached_predictions(opened(tmp_path), lambda journal: given)
    assert found is not given and found.flows is not None
    np.testing.assert_array_equal(found.flows.backward, back)
    np.testing.assert_array_equal(found.flows.forward_valid, valid[0])
    assert found.aspect == 1.1 and (found.points == 2.0).all()
