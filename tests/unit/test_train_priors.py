"""Monocular depth of frames: asked for once, kept, and the same whether it was kept or not."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from align3r.errors import InputError, SolveError, UsageError, WeightsError
from align3r.io.priors import PriorMap
from align3r.train import asking
from align3r.train.data.values import SourceView
from align3r.train.frame_cache import FrameCache
from align3r.train.priors import LaterNetwork, Priors, make_priors, true_priors

CPU = torch.device("cpu")


@dataclass
class Guess:
    """A depth network that says how bright an image is."""

    name: str = "guess"
    kind: Any = "disparity"
    is_metric: bool = False
    batch: int = 1
    factor: float = 1.0
    seen: list[int] = field(default_factory=list)

    def __call__(self, images: Sequence[np.ndarray]) -> list[PriorMap]:
        self.seen.append(len(images))
        return [PriorMap(self.factor * image.mean(-1).astype(np.float32), None) for image in images]


@pytest.fixture
def view() -> SourceView:
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    depth = np.linspace(1, 5, 48, dtype=np.float32).reshape(6, 8)
    return SourceView("set/a/0", image, depth, None, None)


def priors_of(network: Guess, folder: Path, device: torch.device = CPU) -> Priors:
    return Priors(FrameCache(folder, network.name), lambda: network, device=device)


def test_a_frame_is_asked_about_once(view: SourceView, tmp_path: Path) -> None:
    network = Guess()
    first = priors_of(network, tmp_path)(view)
    again = priors_of(network, tmp_path)(view)
    assert network.seen == [1]
    assert first.prior is not None and again.prior is not None
    assert first.prior.dtype == again.prior.dtype == np.float32
    assert np.array_equal(first.prior, again.prior)
    np.testing.assert_allclose(first.prior, view.image.mean(-1), rtol=2**-11)
    assert replace(first, prior=None) == replace(view, prior=None)


def test_it_is_known_what_is_kept(view: SourceView, tmp_path: Path) -> None:
    found = priors_of(Guess(), tmp_path)
    assert not found.has(view)
    found(view)
    assert found.has(view)
    assert not found.has(replace(view, image=view.image[::-1]))


def test_what_is_kept_of_another_size_is_made_again(view: SourceView, tmp_path: Path) -> None:
    network = Guess()
    cache = FrameCache(tmp_path, network.name)
    for wrong in ({"values": np.ones((3, 4), np.float16)}, {"other": np.ones((6, 8))}):
        cache.put(view.name, view.image, wrong)
        found = priors_of(network, tmp_path)(view)
        assert found.prior is not None and found.prior.shape == (6, 8)
    assert network.seen == [1, 1]


def test_what_float16_does_not_hold_is_as_far_as_it_goes(view: SourceView, tmp_path: Path) -> None:
    prior = priors_of(Guess(factor=1e6), tmp_path)(view).prior
    assert prior is not None and np.isfinite(prior).all() and prior.max() == 65504


def test_numbers_that_are_not_finite_are_refused(view: SourceView, tmp_path: Path) -> None:
    found = priors_of(Guess(factor=np.nan), tmp_path)
    with pytest.raises(SolveError, match="set/a/0"):
        found(view)
    assert not found.has(view)


def test_a_reader_cannot_ask_a_network_on_a_gpu(
    view: SourceView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Guess()
    monkeypatch.setattr(asking, "get_worker_info", lambda: object())
    on_gpu = priors_of(network, tmp_path, torch.device("cuda"))
    with pytest.raises(InputError, match="set/a/0") as caught:
        on_gpu(view)
    assert "--prepare" in caught.value.hint and not network.seen
    kept = priors_of(network, tmp_path)(view)
    assert on_gpu(view) is not None and kept.prior is not None


def test_other_processes_load_their_own(view: SourceView, tmp_path: Path) -> None:
    make = LaterNetwork("depthpro", "weights", CPU)
    found = Priors(FrameCache(tmp_path, "x"), make, device=CPU)
    found._network = Guess()
    sent = pickle.loads(pickle.dumps(found))
    assert sent._network is None and sent._make == make
    found(view)
    assert np.array_equal(sent(view).prior, found(view).prior)


def test_the_truth_is_whole(view: SourceView) -> None:
    assert view.depth is not None
    depth = view.depth.copy()
    depth[0, 0], depth[0, 1], depth[0, 2] = np.nan, 0, np.inf
    prior = true_priors(replace(view, depth=depth)).prior
    assert prior is not None and prior.dtype == np.float32
    assert (prior[0, :3] == 5).all() and np.array_equal(prior[1:], depth[1:])


@pytest.mark.parametrize("depth", [None, np.full((6, 8), np.nan, np.float32)])
def test_a_frame_without_truth_has_no_true_prior(view: SourceView, depth: Any) -> None:
    with pytest.raises(InputError, match="set/a/0 has no true depth"):
        true_priors(replace(view, depth=depth))


def test_priors_by_name(tmp_path: Path) -> None:
    assert make_priors("truth", None, tmp_path, device=CPU) is true_priors
    with pytest.raises(WeightsError):
        make_priors("depthpro", str(tmp_path / "none"), tmp_path, device=CPU)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text("{}")
    found = make_priors("depthpro", str(tmp_path / "weights"), tmp_path / "maps", device=CPU)
    assert isinstance(found, Priors) and not (tmp_path / "maps").exists()
    with pytest.raises(WeightsError):
        LaterNetwork("depthpro", str(tmp_path / "weights"), CPU)()
    with pytest.raises(UsageError, match="no depth network"):
        LaterNetwork("guess", str(tmp_path / "weights"), CPU)()
