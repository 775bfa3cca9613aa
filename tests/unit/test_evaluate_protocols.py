"""The table of protocols: everything it names exists, frames are picked as papers pick them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align3r.config import ModelName, NetworkOptions, Options, PrecisionName
from align3r.datasets.table import DATASETS
from align3r.errors import InputError, UsageError
from align3r.evaluate.metrics import DEPTH_METRICS, GAUGES
from align3r.evaluate.one_sequence import reader_of
from align3r.evaluate.protocol_table import PROTOCOLS, ROWS, protocol
from align3r.evaluate.protocols import Pick, Protocol
from align3r.evaluate.published import _published, published
from align3r.evaluate.running import choose_sequences, configuration, resolved
from align3r.evaluate.summary import summarise
from align3r.evaluate.tasks.reconstructing import with_options
from align3r.evaluate.tasks.table import TASKS, measurer
from align3r.pairwise.choice import unread_options

EVERY = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
KINDS = {"mono": "samples", "two-view": "pairs"}


@EVERY
def test_a_protocol_names_what_there_is(row: Protocol) -> None:
    reader = reader_of(row)
    assert reader.kind == KINDS.get(row.task, "video")
    if row.sequences:
        assert reader.lists[row.sequences]
    assert row.task in TASKS and callable(measurer(row.task))
    assert all(rules.align in GAUGES for rules in row.depth.values())
    assert (row.task == "depth") == bool(row.depth)
    assert with_options(Options(), row.options) is not None
    assert row.columns


@EVERY
def test_published_figures_stand_in_our_columns(row: Protocol) -> None:
    for paper in published(row.name):
        assert set(paper.values) <= set(row.columns), paper.method
        assert paper.values and paper.source
        for column, value in paper.values.items():
            shares = column.rpartition(".")[2].startswith(("delta", "rra", "rta", "auc"))
            assert 0 < value < (1 if shares else 15), (paper.method, column)


def test_every_published_block_belongs_to_a_protocol() -> None:
    assert set(_published()) <= set(PROTOCOLS)


def test_names_are_unique() -> None:
    assert len(PROTOCOLS) == len(ROWS)
    assert {row.reads or row.dataset for row in ROWS} <= set(DATASETS)


def test_the_papers_rows_are_what_they_print() -> None:
    rows = {row.method: row.values for row in published("fin3r/multi-view/co3d")}
    assert rows["DUSt3R"] == {"rra@5": 0.8049, "rta@5": 0.7522, "auc@30": 0.8103}
    rows = {row.method: row.values for row in published("align3r/pose/sintel")}
    assert rows["Align3R"] == {"ate_m": 0.128, "rpe_trans_m": 0.042, "rpe_rot_deg": 0.432}
    assert set(DEPTH_METRICS) >= {"abs_rel", "delta1"}


def test_a_row_is_of_the_paper_that_prints_it() -> None:
    """Papers print different figures of the same network."""
    rows = [row for row in published("cut3r/depth/sintel") if row.method == "VGGT"]
    assert [(row.source, row.values["scale.abs_rel"]) for row in rows] == [
        ("TTT3R (second-hand)", 0.287),
        ("StreamVGGT (second-hand)", 0.298),
    ]
    assert "VGGT" in {row.method for row in published("roma/two-view/scannet1500")}
    assert "SuperGlue" not in {row.method for row in published("loftr/two-view/scannet1500")}


@pytest.mark.parametrize(
    ("pick", "n", "chosen"),
    [
        (Pick(most=3), 10, [0, 1, 2]),
        (Pick(start=30, most=110), 200, list(range(30, 140))),
        (Pick(start=30, most=30), 35, list(range(30, 35))),
        (Pick(stride=3, most=4), 100, [0, 3, 6, 9]),
        (Pick(stride=3, most=4), 1, []),
        (Pick(least=1), 1, [0]),
        (Pick(start=30), 20, []),
        (Pick(start=30), 31, []),
        (Pick(drawn=10, least=50), 49, []),
    ],
)
def test_frames_are_picked(pick: Pick, n: int, chosen: list[int]) -> None:
    assert pick.of(n, "a").tolist() == chosen


def test_random_frames_are_the_same_for_the_same_sequence() -> None:
    pick = Pick(drawn=10)
    first = pick.of(80, "apple/1")
    assert len(set(first.tolist())) == 10 and first.max() < 80
    assert np.array_equal(first, pick.of(80, "apple/1"))
    assert not np.array_equal(first, pick.of(80, "apple/2"))
    assert sorted(pick.of(4, "apple/1").tolist()) == [0, 1, 2, 3]


def test_a_protocol_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="no protocol 'vggt' for depth on sintel") as caught:
        protocol("depth", "sintel", "vggt")
    assert caught.value.hint == "one of align3r, monst3r, cut3r"
    with pytest.raises(UsageError, match="no protocol for pose on 'kitty'") as caught:
        protocol("pose", "kitty")
    assert "sintel" in caught.value.hint
    assert protocol("depth", "sintel").paper == "align3r"


def test_sequences_are_those_of_the_list_that_are_there() -> None:
    row = protocol("pose", "sintel")
    assert choose_sequences(row, ["alley_2", "bandage_1", "cave_2"], []) == ["alley_2", "cave_2"]
    assert choose_sequences(row, ["alley_2", "cave_2"], ["c*"]) == ["cave_2"]
    with pytest.raises(UsageError, match=r"matches 'bandage_1'"):
        choose_sequences(row, ["alley_2", "bandage_1"], ["bandage_1"])
    with pytest.raises(InputError, match="none of the sequences of align3r/pose/sintel is there"):
        choose_sequences(row, ["bandage_1"], [])


def test_a_name_with_brackets_is_its_own_pattern() -> None:
    row, there = protocol("video", "rgbd"), ["clip[1]", "clip1", "other"]
    assert choose_sequences(row, there, ["clip[1]"]) == ["clip[1]", "clip1"]
    assert choose_sequences(row, ["clip[1]"], ["clip[1]"]) == ["clip[1]"]


@pytest.mark.parametrize("paper", ["fin3r", "vggt"])
def test_only_what_the_papers_test_on_counts(paper: str) -> None:
    there = ["test/1", "test/2", "train/3"]
    assert choose_sequences(protocol("multi-view", "re10k", paper), there, []) == there[:2]
    there = ["apple/1", "ball/1", "suitcase/2", "vase/3"]
    assert choose_sequences(protocol("multi-view", "co3d", paper), there, []) == [
        "apple/1",
        "vase/3",
    ]


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.pick.start and row.reader.get("association") != "rows"],
    ids=lambda row: row.name,
)
def test_frames_that_papers_count_by_their_files_are_counted_over_all(row: Protocol) -> None:
    assert row.reader["need"] == "none"


def test_every_twentieth_of_those_that_the_pattern_takes() -> None:
    row = protocol("depth", "flyingthings3d")
    there = [f"TEST/A/{k:04d}/left" for k in range(45)] + ["TRAIN/A/0000/left"]
    assert choose_sequences(row, there, []) == [there[0], there[20], there[40]]


@pytest.mark.parametrize(
    "prescribed", [{"input.stride": 2}, {"input.start": 1.0}, {"camera.poses": "a.txt"}]
)
def test_options_that_change_what_is_measured_are_refused(prescribed: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        resolved(protocol("pose", "sintel"), with_options(Options(), prescribed))


def test_the_options_of_the_protocol_win(caplog: pytest.LogCaptureFixture) -> None:
    options = with_options(Options(model="geometric"), {"pairs.graph": "swin", "input.size": 256})
    found = resolved(protocol("multi-view", "co3d"), options)
    assert found.pairs.graph == "complete" and found.align.flow_weight == 0
    assert found.input.size == 256
    assert caplog.messages == [
        "fin3r/multi-view/co3d takes pairs.graph = complete, not swin",
    ]


@pytest.mark.parametrize(
    ("model", "named", "taken"),
    [
        ("dust3r", "auto", "fp32"),
        ("align3r-depthpro", "auto", "fp32"),
        ("cut3r", "auto", "fp32"),
        ("cut3r", "bf16", "bf16"),
        ("vggt", "auto", "auto"),
        ("vggt", "fp32", "fp32"),
        ("geometric", "auto", "auto"),
    ],
)
def test_models_compute_as_their_published_rows_were_measured(
    model: ModelName, named: PrecisionName, taken: str
) -> None:
    given = Options(model=model, network=NetworkOptions(precision=named))
    options = resolved(protocol("pose", "sintel"), given)
    assert options == with_options(given, {"network.precision": taken})
    assert unread_options(options) == unread_options(given)


def test_single_images_need_a_learned_model() -> None:
    with pytest.raises(UsageError, match="geometric sees no depth in a single image"):
        resolved(protocol("mono", "nyuv2"), Options(model="geometric"))


def test_whether_to_overwrite_is_no_part_of_what_is_measured(tmp_path: Path) -> None:
    row, options = protocol("pose", "sintel"), Options(model="geometric")
    again = with_options(options, {"output.overwrite": True})
    assert configuration(row, tmp_path, options) == configuration(row, tmp_path, again)


def entry(name: str, **row: float | None) -> dict[str, object]:
    return {"sequence": name, "state": "measured", "row": row, "frames": ["0"], "seconds": 1.0}


def test_the_mean_is_weighted_as_the_protocol_says() -> None:
    entries = [
        entry("a", abs_rel=0.1, pixels=30.0, scale=2.0),
        entry("b", abs_rel=0.3, pixels=10.0, scale=4.0),
        {"sequence": "c", "state": "failed", "error": "broken"},
    ]
    found = summarise(protocol("depth", "sintel"), entries, {}, wanted=["a", "b", "c", "d"])
    assert found.mean["abs_rel"] == pytest.approx(0.15)
    assert "scale" not in found.mean
    assert found.missing == ("d",)


def test_categories_count_alike() -> None:
    entries = [entry("x/1", **{"auc@30": 1.0}), entry("x/2", **{"auc@30": 0.0})]
    entries.append(entry("y/1", **{"auc@30": 0.2}))
    found = summarise(protocol("multi-view", "co3d"), entries, {}, wanted=[])
    assert found.mean["auc@30"] == pytest.approx((0.5 + 0.2) / 2)


def test_pairs_of_all_scenes_are_one_list() -> None:
    def scene(name: str, errors: list[float | None]) -> dict[str, object]:
        about = {"rotation_deg": errors, "translation_deg": errors}
        return {**entry(name, **{"auc@5": 0.0}), "about": about}

    entries = [scene("a", [1.0, None]), scene("b", [2.0, 30.0, 4.0, 0.5])]
    found = summarise(protocol("two-view", "scannet1500"), entries, {}, wanted=[])
    # Trapezoids under the steps at 0.5, 1, 2 and 4 degrees of six pairs, cut at 5.
    area = 0.5 * 0.5 / 6 + 0.5 * 1.5 / 6 + 1 * 2.5 / 6 + 2 * 3.5 / 6 + 1 * 4 / 6
    assert found.mean["auc@5"] == pytest.approx(area / 5)
    assert found.mean["rra@5"] == pytest.approx(4 / 6)
