"""Numbers and floors in the explanations are those of the code: who changes one hears of it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import test_layers

from align3r.config import AlignOptions, InputOptions, MotionOptions, PairOptions
from align3r.datasets import table
from align3r.evaluate import protocol_table
from align3r.evaluate.published import published
from align3r.optim import constraints, depth_prior, gauss_newton, stages
from align3r.optim import depth as full_depth
from align3r.optim.solve import BETAS
from align3r.pairing.graphs import KEYFRAME_REACH, build_pairs

DOCS = Path(__file__).resolve().parents[1] / "docs"
WORDS = {"five": 5.0, "nine": 9.0}


def pairs(n: int) -> int:
    return len(build_pairs(n, PairOptions()))


FACTS = [
    ("how_it_works", r"a working size \((\d+) pixels", InputOptions().size),
    ("how_it_works", r"\((\d+) for 30 frames\)", pairs(30)),
    ("how_it_works", r"an image (\d+) wide", stages.FLOW_PIXELS),
    ("how_it_works", r"\(not below (\d+)\)", stages.SMALLEST),
    ("how_it_works", r"\\text\{flow\} = ([\d.]+)\$ here", AlignOptions().flow_weight),
    ("how_it_works", r"\\text\{smooth\} = \\frac\{([\d.]+)\}", AlignOptions().smooth_weight),
    ("how_it_works", r"is (\w+) times as much where neither", stages.SMOOTH_WITHOUT_FLOW),
    ("how_it_works", r"\\text\{pose\} = (\d) \\cdot 10\^\{-4\}", 1e4 * constraints.POSE_WEIGHT),
    ("how_it_works", r"with \$m = (\d)\$ for pixels that move", depth_prior.MOVING_WEIGHT),
    ("how_it_works", r"spline of (\d+) cells", AlignOptions().cells),
    ("how_it_works", r"s / ([\d.]+)\)\^2", full_depth.TOLERANCE),
    ("how_it_works", r"= 10\^\{(-\d)\} \\text\{ of the median", math.log10(gauss_newton.QUIET)),
    ("how_it_works", r"(\d+) steps on all unknowns", AlignOptions().steps),
    ("how_it_works", r"learning rate ([\d.]+) with", AlignOptions().learning_rate),
    ("how_it_works", r"\\beta = \(([\d.]+), ", BETAS[0]),
    ("how_it_works", r"above\s+(\d+) \(`--motion.threshold`\)", MotionOptions().threshold),
    ("ablations", r"cubic spline of (\d+) cells", AlignOptions().cells),
    ("long_videos", r"groups of (\d+) frames", PairOptions().group),
    ("long_videos", r"with the next (\w+)\.", KEYFRAME_REACH),
    ("long_videos", r"30 frames make (\d+) pairs", pairs(30)),
    ("long_videos", r"100 make (\d+)", pairs(100)),
    ("long_videos", r"1000 make (\d+)", pairs(1000)),
]


@pytest.mark.parametrize(("page", "said", "fact"), FACTS, ids=[said for _, said, _ in FACTS])
def test_a_number_is_that_of_the_code(page: str, said: str, fact: float) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(said, text)
    assert found, f"{page}.md does not say {said!r} any more"
    for number in found:
        value = WORDS[number] if number in WORDS else float(number)
        assert value == pytest.approx(fact)


def test_the_changelog_counts_what_there_is() -> None:
    ours = {"rendered", "rgbd"}
    papers = [row for row in protocol_table.ROWS if row.dataset not in ours]
    counts = {
        "protocols of": len(papers),
        "data sets,": len({row.dataset for row in papers}),
        "published rows": sum(len(published(row.name)) for row in papers),
        "readers of data sets": len(table.ROWS),
    }
    text = (DOCS.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    for what, count in counts.items():
        assert re.findall(rf"(\d+) {what}", text) == [str(count)], what


def test_the_floors_of_the_design_are_those_that_imports_obey() -> None:
    text = (DOCS / "design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", text, re.MULTILINE)
    told = {int(floor): set(re.findall(r"`(\w+)(?:/|\.py)`", rooms)) for floor, rooms in rows}
    floors = dict(enumerate(set(rooms) - {"__main__"} for rooms in test_layers.FLOORS))
    assert told == {floor: rooms for floor, rooms in floors.items() if rooms}
