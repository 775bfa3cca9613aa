"""Comparisons with the real pipeline: what is shared, what is measured, what it shows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import align3r
from align3r import pipeline, prediction, solving
from align3r.config import (
    AlignOptions,
    InputOptions,
    MotionOptions,
    Options,
    OutputOptions,
    PairOptions,
    PriorOptions,
)
from align3r.errors import SolveError
from align3r.evaluate import comparing
from align3r.io import storage
from align3r.pairwise.geometric.predictor import GeometricPredictor
from align3r.types import PairPredictions

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CLIP = str(EXAMPLES / "clip.mp4")
QUICK = Options(
    device="cpu",
    input=InputOptions(size=128, max_frames=4),
    align=AlignOptions(solver="adam", steps=5),
    output=OutputOptions(html=False, pictures=False, max_points=10),
)


class Counted:
    """A pair predictor like a network's, which knows nothing of flow and of what moves."""

    name = "counted"

    def __init__(self, calls: Counter[str]) -> None:
        self.calls = calls

    def predict(self, *args: Any, **words: Any) -> PairPredictions:
        self.calls["pairs"] += 1
        found = GeometricPredictor().predict(*args, **words)
        return replace(found, flows=None, moving=None)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often pairs, their flow and monocular depth were computed, with a stand-in network."""
    calls: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **words: Any) -> Any:
            calls[name] += 1
            return function(*args, **words)

        return call

    for place in (pipeline, comparing):
        monkeypatch.setattr(place, "fetch_weights", lambda options: None)
    monkeypatch.setattr(prediction, "make_predictor", lambda options: Counted(calls))
    monkeypatch.setattr(prediction, "pair_flows", counted("flow", prediction.pair_flows))
    monkeypatch.setattr(pipeline, "see_depth", counted("depth", pipeline.see_depth))
    return calls


@pytest.fixture
def own_depth(tmp_path: Path) -> str:
    folder = tmp_path / "depth"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(4):
        np.save(folder / f"{k}.npy", rng.uniform(1, 4, (24, 32)).astype(np.float32))
    return str(folder)


def test_no_network_runs_twice(tmp_path: Path, calls: Counter[str], own_depth: str) -> None:
    options = replace(QUICK, model="dust3r", prior=PriorOptions(dir=own_depth))
    found = align3r.compare(
        CLIP, tmp_path / "out", vary=["geometry", "solver", "flow"], options=options
    )
    assert calls == {"pairs": 1, "flow": 1, "depth": 1}
    assert list(found.runs)[:2] == ["base", "scale"]
    assert list(found.runs)[-2:] == ["gauss-newton", "flow-off"]
    seconds = {row["predict s"] for row in found.table if row["run"] in ("base", "gauss-newton")}
    assert len(seconds) == 1, "who finds the pairs shows what they took"
    assert "flow" in found.table[0] and "flow" not in found.table[-1]


def test_other_pairs_are_predicted_and_nothing_else(tmp_path: Path, calls: Counter[str]) -> None:
    options = replace(QUICK, model="dust3r", pairs=PairOptions(window=1))
    align3r.compare(CLIP, tmp_path / "out", vary=["graph=swin", "solver"], options=options)
    assert calls == {"pairs": 2, "flow": 2}


def test_flow_is_there_for_all_runs_if_one_reads_it(tmp_path: Path, calls: Counter[str]) -> None:
    options = replace(QUICK, model="dust3r", motion=MotionOptions(enabled=False))
    found = align3r.compare(CLIP, tmp_path / "out", vary=["flow"], options=options)
    assert calls == {"pairs": 1, "flow": 1}
    assert "flow" in found.table[0] and "flow" not in found.table[1]


def test_priors_share_pairs_with_a_network_that_looks_at_none(
    tmp_path: Path, calls: Counter[str], own_depth: str
) -> None:
    align = replace(QUICK.align, geometry="scale")
    options = replace(QUICK, model="dust3r", align=align, prior=PriorOptions(dir=own_depth))
    found = align3r.compare(CLIP, tmp_path / "out", vary=["prior"], options=options)
    assert list(found.runs) == ["prior-own", "prior-none"]
    assert calls == {"pairs": 1, "flow": 1, "depth": 1}


def test_an_interrupted_comparison_repeats_nothing(
    tmp_path: Path, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without masks to be found again a run is one solve.
    options = replace(QUICK, model="dust3r", motion=MotionOptions(enabled=False))
    aligned: list[str] = []
    align = solving.align

    def fails_at_the_second(*args: Any, **words: Any) -> Any:
        aligned.append(words["options"].solver)
        if len(aligned) == 2:
            raise SolveError("no")
        return align(*args, **words)

    monkeypatch.setattr(solving, "align", fails_at_the_second)
    words: dict[str, Any] = {"vary": ["solver", "flow"], "options": options}
    with pytest.raises(SolveError):
        align3r.compare(CLIP, tmp_path / "out", **words)
    assert not (tmp_path / "out").exists()
    found = align3r.compare(CLIP, tmp_path / "out", **words)
    assert calls == {"pairs": 1, "flow": 1}
    assert aligned == ["adam", "gauss-newton", "gauss-newton", "adam"]
    assert list(found.runs) == ["base", "gauss-newton", "flow-off"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_pairs_that_are_there_need_no_more_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, out = replace(QUICK, model="geometric"), tmp_path / "out"
    needed = pipeline.plan(CLIP, options, out=out).memory.disk_bytes

    def free(_: Path) -> SimpleNamespace:
        taken = sum(path.stat().st_size for path in tmp_path.rglob("*.npy"))
        return SimpleNamespace(free=int(1.6 * needed) - taken)

    monkeypatch.setattr(storage.shutil, "disk_usage", free)
    with monkeypatch.context() as patch:
        patch.setattr(solving, "align", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            align3r.compare(CLIP, out, vary=["solver"], options=options)
    assert free(out).free < needed, "the pairs are there"
    align3r.compare(CLIP, out, vary=["solver"], options=options)
    assert (out / "compare.json").is_file()


def test_a_lone_image_can_be_compared(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8))
    options = replace(QUICK, model="geometric")
    found = align3r.compare(str(image), tmp_path / "rep", options=options)
    assert list(found.runs) == ["depth", "scale"]
    assert "| scale |" in (tmp_path / "rep" / "compare.md").read_text()


@pytest.mark.parametrize("solver", ["adam", "gauss-newton"])
def test_a_free_scale_map_is_the_same_problem_as_a_depth_map(tmp_path: Path, solver: Any) -> None:
    # All pixels take part: otherwise full-size depth is filled in along the prior, or the pairs.
    options = replace(
        QUICK,
        input=InputOptions(size=96, max_frames=5),
        align=AlignOptions(solver=solver, pixels=0),
    )
    found = align3r.compare(
        CLIP, tmp_path / "out", options=options, truth=EXAMPLES / "clip_truth.npz"
    )
    depth, scale = found.table[:2]
    assert scale["loss"] == pytest.approx(depth["loss"], rel=1e-3)
    for term in ("pair", "flow", "smooth"):
        assert scale[term] == pytest.approx(depth[term], rel=5e-3), term
    assert float(scale["gap %"]) < 0.2
    assert scale["Abs Rel"] == pytest.approx(depth["Abs Rel"], rel=5e-3)
    assert "the same problem as a depth map" in (tmp_path / "out" / "compare.md").read_text()


def test_the_twin_gives_what_the_files_hold(tmp_path: Path) -> None:
    told: list[str] = []
    found = align3r.compare(
        CLIP,
        tmp_path / "out",
        vary=["solver"],
        options=QUICK,
        progress=lambda stage, done, total: told.append(stage),
    )
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == found.report
    assert [row["run"] for row in found.table] == ["adam", "gauss-newton"]
    for name, scene in found.runs.items():
        np.testing.assert_array_equal(
            scene.depth(2), align3r.load(tmp_path / "out" / name).depth(2)
        )
    assert "adam: align" in told and "gauss-newton: align" in told
    assert comparing.compare is align3r.compare
