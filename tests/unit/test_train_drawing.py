"""The drawing of an uncertain scale shows what its page says."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
SAYS = (
    "about 70 % of the pixels have a depth that is off by more than 10 %, "
    "of the tree at depth 8 only 6 %"
)


@pytest.fixture(scope="module")
def drawing() -> dict[str, Any]:
    pytest.importorskip("matplotlib", reason="needs the extra [test]")
    return runpy.run_path(str(DOCS / "drawings" / "scale_uncertainty.py"))


def test_near_things_are_eroded_most(drawing: dict[str, Any]) -> None:
    truth, mean = drawing["seen"](0.0), drawing["average"]()
    trees, walls = np.array([drawing["lost"](mean, truth, t) for t in drawing["TREES"]]).T
    assert (trees[:-1] > 1.7 * trees[1:]).all()
    assert (trees > walls).all()
    page = " ".join((DOCS / "fin3r.md").read_text(encoding="utf-8").split())
    assert SAYS in page
    assert trees[0] == pytest.approx(0.7, abs=0.015) and trees[-1] == pytest.approx(0.06, abs=0.005)
    spread = [tree.shift(drawing["deltas"]()).std() for tree in drawing["TREES"]]
    expected = [
        drawing["image_spread"](t.point(), drawing["TRANSLATION"], 500.0, 0.05)[0]
        for t in drawing["TREES"]
    ]
    np.testing.assert_allclose(spread, expected, rtol=0.02)
    assert "spreads by 7.5 pixels" in page and expected[0] == pytest.approx(7.5)


def test_the_picture_is_drawn(drawing: dict[str, Any]) -> None:
    figure = drawing["draw"]()
    assert len(figure.axes) == 6  # two images with their bars, and two plots
    drawing["plt"].close(figure)
    assert (DOCS / "pictures" / "scale_uncertainty.png").stat().st_size < 200_000
