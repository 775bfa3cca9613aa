"""What a comparison measured: for programs, for the terminal and for people's pages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align3r import __version__
from align3r.datasets.truth import Truth
from align3r.evaluate.score import score
from align3r.evaluate.variations import AXES, Run
from align3r.io.jsonable import jsonable
from align3r.io.sources import Source, resolve_source
from align3r.reconstruction import Reconstruction
from align3r.view.comparison import relative_depth, write_comparison

Row = Mapping[str, str | float]
"""Name of the run and its figures, by the heads of the table; what was not measured is absent."""

RUN = "run"
_ALIKE = ("", "geometry")
ALIGN = "align"


@dataclass(frozen=True)
class Column:
    """A figure of the table."""

    head: str
    path: tuple[str, ...]
    """Where it is in the entry of a run in compare.json."""
    form: str = ".4g"
    about: str = ""
    """For people; empty where the head says it."""


COLUMNS = (
    Column("pairs", ("pairs",), ".0f"),
    Column("predict s", ("predict_seconds",), ".1f", "depth networks, pairs and their flow"),
    Column("align s", ("align_seconds",), ".1f", "from pairs to cameras and dense depth"),
    Column("align MB", ("align_peak_mb",), ".0f", "largest memory of the process meanwhile"),
    Column("loss", ("losses", "total"), about="the weighted sum of the terms after it"),
    Column("pair", ("losses", "pair")),
    Column("flow", ("losses", "flow")),
    Column("smooth", ("losses", "smooth")),
    Column("prior", ("losses", "prior"), about="distance of the depth from a prior's"),
    Column("pose", ("losses", "pose"), about="distance from roughly known cameras"),
    Column("points %", ("residuals", "points_percent"), ".2f", "median miss of the pairs' points"),
    Column("in %", ("residuals", "inliers_percent"), ".0f", "share that misses by less than 5 %"),
    Column("flow px", ("residuals", "flow_px"), ".2f", "median miss of the flow"),
    Column("depth/path", ("residuals", "path_scale"), ".3f", "1: path and depth have one scale"),
    Column("gap %", ("depth_gap_percent",), ".2f", "median difference of depth to the base run"),
    Column("ATE m", ("score", "ate_m"), about="root mean square error of the camera positions"),
    Column("ATE %", ("score", "ate_percent"), ".3g", "the same, of the length of the path"),
    Column("RPE deg", ("score", "rpe_rot_deg"), ".3g", "error of rotation from frame to frame"),
    Column("focal %", ("score", "focal_error_percent"), ".3g", "error of the focal length"),
    Column("Abs Rel", ("score", "abs_rel"), about="mean relative error of depth, one scale"),
    Column("d<1.25", ("score", "delta1"), about="part of the depth within a factor of 1.25"),
    Column("static", ("score", "abs_rel_static"), about="Abs Rel where nothing moves"),
    Column("moving", ("score", "abs_rel_moving"), about="Abs Rel where something moves"),
    Column("IoU", ("score", "mask_iou"), ".3g", "moving masks against the true ones"),
)
"""The table; columns that no run has a figure for are left out. compare.json has all scores."""


def make_report(
    plan: Sequence[Run],
    scenes: Mapping[str, Reconstruction],
    *,
    source: Source,
    truth: Truth | None,
    seen: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """Everything that was measured, for compare.json: what has nothing to be about is None.

    Args:
        plan: The runs, the base run first.
        scenes: What came out, by the name of the run.
        source: What they are about.
        truth: Its truth, if it is known.
        seen: The shared stages of each run: runs with the same name of a stage had it in common.
    """
    base = scenes[plan[0].name]
    runs = {}
    for run in plan:
        name, scene = run.name, scenes[run.name]
        scale, gap = relative_depth(base, scene)
        runs[name] = {
            "varies": run.axis,
            **run.values(),
            "pairs": scene.info.get("pairs"),
            "predict_seconds": _shared_seconds(name, scenes, seen),
            **_alignment(scene),
            "losses": scene.info.get("losses", {}),
            "residuals": _residuals(scene),
            "warnings": scene.info.get("warnings", []),
            "scale_to_base": scale,
            "depth_gap_percent": 100 * gap,
        }
        if truth is not None:
            runs[name]["score"] = score(scene, truth)
    about = {
        "align3r": __version__,
        "source": resolve_source(source).name,
        "frames": len(base),
        "runs": runs,
    }
    return dict(jsonable(about))


def _shared_seconds(
    name: str, scenes: Mapping[str, Reconstruction], seen: Mapping[str, Mapping[str, str]]
) -> float:
    """Seconds of the stages that runs share; the one that came first took them, not a reader."""
    own = [row["stage"] for row in scenes[name].info.get("timings", [])]
    seconds = 0.0
    for stage, place in seen[name].items():
        sharing = [scene for run, scene in scenes.items() if seen[run][stage] == place]
        took = [
            float(row["seconds"])
            for scene in sharing
            for row in scene.info.get("timings", [])
            if row["stage"] == stage and stage in own
        ]
        seconds += max(took, default=0.0)
    return seconds


def _alignment(scene: Reconstruction) -> dict[str, float]:
    for row in scene.info.get("timings", []):
        if row["stage"] == ALIGN:
            return {"align_seconds": row["seconds"], "align_peak_mb": row["peak_mb"]}
    return {}


def _residuals(scene: Reconstruction) -> dict[str, float]:
    """Those of the whole video; those of frames and pairs are in the scene.json of each run."""
    found = scene.info.get("residuals")
    if not found:
        return {}
    whole = found["whole"]
    return {
        **{f"{name}_percent": _percent(whole[name]) for name in ("points", "inliers")},
        "flow_px": whole["flow_px"],
        "flow_inliers_percent": _percent(whole["flow_inliers"]),
        "path_scale": found["path_scale"],
    }


def _percent(share: float | None) -> float:
    """What JSON knows as null is nan."""
    return float("nan") if share is None else 100 * share


def describe_runs(report: Mapping[str, Any]) -> list[Row]:
    """The table as numbers, a row a run."""
    rows: list[Row] = []
    for name, entry in report["runs"].items():
        row: dict[str, str | float] = {RUN: name}
        for column in COLUMNS:
            value = _look_up(entry, column.path)
            if value is not None:
                row[column.head] = value
        rows.append(row)
    return rows


def _look_up(entry: Mapping[str, Any], path: Iterable[str]) -> float | None:
    value: Any = entry
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return None if value is None else float(value)


def in_words(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the table."""
    columns = [c for c in COLUMNS if any(c.head in row for row in rows)]
    cells = [[str(row[RUN]), *(_number(row.get(c.head), c.form) for c in columns)] for row in rows]
    return ["", *(c.head for c in columns)], cells


def _number(value: str | float | None, form: str) -> str:
    return "-" if value is None else format(float(value), form)


def remarks(report: Mapping[str, Any]) -> list[str]:
    """What was compared and what the figures mean, a sentence each, as far as the runs show it."""
    runs = report["runs"]
    name, base = next(iter(runs.items()))
    values = ", ".join(f"{axis} {base[axis]}" for axis in AXES if axis in base)
    said = [f"{name}: {values}. Every other run differs from it in one thing."]
    # The runs that differ in nothing but the geometry, by their geometry.
    alike = {entry["geometry"]: entry for entry in runs.values() if entry["varies"] in _ALIKE}
    if {"depth", "scale"} <= set(alike):
        said += _free_scale_maps(alike["depth"], alike["scale"])
    if {"depth", "scale-grid"} <= set(alike):
        said.append(_smooth_scales(alike["depth"], alike["scale-grid"]))
    if any(entry["varies"] in ("flow", "graph", "method") for entry in runs.values()):
        said.append(
            "Runs with other pairs, or without flow, minimise another sum: their losses are not "
            "to be compared with those of the others."
        )
    for name, entry in runs.items():
        said += [f"{name}: {warning}" for warning in entry["warnings"]]
    return said


def _free_scale_maps(depth: Mapping[str, Any], scale: Mapping[str, Any]) -> list[str]:
    """One remark; none without two losses, as when a lone frame left nothing to minimise."""
    one, two = (_look_up(entry, ("losses", "total")) for entry in (depth, scale))
    if not one or not two:
        return []
    said = (
        "With the same start a free scale map is the same problem as a depth map, because its "
        "logarithm is that of the depth minus a constant a pixel: here the losses differ by "
        f"{100 * abs(two / one - 1):.2g} %"
    )
    if "" in (depth["varies"], scale["varies"]):
        gaps = [_look_up(entry, ("depth_gap_percent",)) for entry in (depth, scale)]
        known = [gap for gap in gaps if gap is not None]
        if len(known) == len(gaps):
            said += f", the depths by {max(known):.2g} % (median)"
    said += ". Between the pixels of the solve the one follows the prior, the other the pairs."
    return [said]


def _smooth_scales(depth: Mapping[str, Any], grid: Mapping[str, Any]) -> str:
    said = (
        "A grid of scales is another problem: a frame has few of them, so the shape of its depth "
        "is the prior's"
    )
    one, two = (_look_up(entry, ("score", "abs_rel")) for entry in (grid, depth))
    if one is not None and two is not None:
        said += f"; Abs Rel is {one:.4g}, that of the depth map {two:.4g}"
    return f"{said}."


def as_markdown(report: Mapping[str, Any]) -> str:
    """The table, what its heads mean, and remarks, for people and pull requests."""
    rows = describe_runs(report)
    head, cells = in_words(rows)
    base = next(iter(report["runs"]))
    varied = list(dict.fromkeys(entry["varies"] for entry in report["runs"].values()))
    lines = [
        f"# {report['source']}: {', '.join(filter(None, varied))}",
        "",
        f"{report['frames']} frames, align3r {report['align3r']}.",
        "",
        "| " + " | ".join(head) + " |",
        "|---|" + "---:|" * (len(head) - 1),
        *["| " + " | ".join(row) + " |" for row in cells],
        "",
        *[f"- {c.head}: {c.about}." for c in COLUMNS if c.head in head and c.about],
        "",
        *[f"{remark}\n" for remark in remarks(report)],
        "![image, depth of every run, ratio to the base run](compare.png)",
        "",
        f"All depths are in the scale of {base}. Ratio: white is equal, red: farther than {base},",
        "blue: nearer; full colour is 20 %.",
        "",
    ]
    return "\n".join(lines)


def write_report(
    report: Mapping[str, Any], scenes: Mapping[str, Reconstruction], folder: Path
) -> None:
    """Write compare.json, compare.md and compare.png.

    Raises:
        OSError: They cannot be written.
    """
    write_comparison(scenes, folder / "compare.png")
    (folder / "compare.md").write_text(as_markdown(report), encoding="utf-8")
    text = json.dumps(report, indent=2, allow_nan=False)
    (folder / "compare.json").write_text(text + "\n", encoding="utf-8")
