"""The report of an evaluation: CSV and JSON for programs, Markdown and HTML for people."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from align3r.evaluate.summary import Summary
from align3r.io.jsonable import write_json
from align3r.io.whole import disk_errors_in_words

HEADS = {
    "abs_rel": "Abs Rel",
    "sq_rel": "Sq Rel",
    "rmse": "RMSE",
    "log_rmse": "log RMSE",
    "delta1": "δ < 1.25",
    "delta2": "δ < 1.25²",
    "delta3": "δ < 1.25³",
    "abs_rel_static": "Abs Rel static",
    "abs_rel_moving": "Abs Rel moving",
    "ate_m": "ATE",
    "ate_percent": "ATE % of path",
    "rpe_trans_m": "RPE trans",
    "rpe_rot_deg": "RPE rot °",
    "focal_error_percent": "focal err %",
    "mask_iou": "mask IoU",
    "flow_change_error": "depth change along flow",
    "depth_scale_invariant_rel": "scale-inv. Rel",
    "depth_scale_invariant_delta1": "scale-inv. δ1",
    "depth_affine_invariant_rel": "affine-inv. Rel",
    "depth_affine_invariant_delta1": "affine-inv. δ1",
    "points_scale_invariant_rel": "points Rel",
    "points_scale_invariant_delta1": "points δ1",
    "boundary_f1_radius1": "boundary F1",
}
"""What people call the figures."""

_GIVEN = ("focal", "intrinsics", "calibration")
"""Options that tell the method what it would have to find."""

REPORTS = ("evaluation.json", "sequences.csv", "report.md", "report.html")
"""The files that `write_report` writes."""

Made = dict[str, Callable[[Any], str]]
"""A way to write each kind of part."""

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Head and rows."""


def write_report(summary: Summary, folder: Path) -> None:
    """Write evaluation.json, sequences.csv, report.md and report.html.

    Raises:
        InputError: The folder cannot be written.
    """
    with disk_errors_in_words(folder):
        write_json(as_json(summary), folder / "evaluation.json")
        (folder / "sequences.csv").write_text(as_csv(summary), encoding="utf-8")
        blocks = list(_blocks(summary))
        (folder / "report.md").write_text(_markdown(blocks), encoding="utf-8")
        (folder / "report.html").write_text(_html(summary, blocks), encoding="utf-8")


def as_json(summary: Summary) -> dict[str, Any]:
    """Everything but what the files of the sequences hold."""
    rows = [
        {key: entry.get(key) for key in ("sequence", "state", "error", "hint", "row", "seconds")}
        for entry in summary.entries
    ]
    return {
        **summary.config,
        "mean": summary.mean,
        "sequences": rows,
        "missing": summary.missing,
        "published": [asdict(row) for row in summary.published],
    }


def as_csv(summary: Summary) -> str:
    """A row a sequence, with every figure there is; the mean is the last row."""
    rows = [entry.get("row", {}) for entry in summary.entries]
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["sequence", "state", "seconds", *names])
    for entry, row in zip(summary.entries, rows, strict=True):
        figures = [_plain(row.get(name)) for name in names]
        writer.writerow([entry["sequence"], entry["state"], entry.get("seconds", ""), *figures])
    writer.writerow(["mean", "", "", *(_plain(summary.mean.get(name)) for name in names)])
    return out.getvalue()


def comparison_table(summary: Summary) -> Table:
    """Our row, and the published rows of the same protocol."""
    columns = summary.columns
    ours = f"**align3r, {summary.config['options']['model']}**"
    rows = [[ours, *(_number(summary.mean.get(c)) for c in columns), "measured here"]]
    for row in summary.published:
        if any(c in row.values for c in columns):
            figures = [_printed(row.values.get(c)) for c in columns]
            rows.append([row.method, *figures, row.source])
    return ["method", *map(_head, columns), "source"], rows


def sequence_table(summary: Summary) -> Table:
    """A row for each sequence that is measured."""
    columns = summary.columns
    rows = [
        [
            entry["sequence"],
            str(len(entry["frames"])),
            f"{entry['seconds']:.1f}",
            *(_number(entry["row"].get(c)) for c in columns),
        ]
        for entry in summary.of_state("measured")
    ]
    return [summary.protocol.thing, "frames", "s", *map(_head, columns)], rows


def remarks(summary: Summary) -> list[str]:
    """What a reader of the table has to know, a sentence each."""
    protocol, measured = summary.protocol, summary.of_state("measured")
    every = len(summary.entries) + len(summary.missing)
    of_each = f"{protocol.pick.in_words()} of each; " if protocol.of_videos else ""
    counts = f"{len(measured)} of {every} {protocol.things} are measured"
    said = [f"{counts}; {of_each}{protocol.mean_in_words}."]
    given = summary.config["options"].get("camera", {})
    known = [name for name in _GIVEN if given.get(name) is not None]
    if known:
        said.append(f"The camera is given ({', '.join(known)}); methods of papers do not know it.")
    if protocol.note:
        said.append(protocol.note)
    if summary.missing:
        rest = "not that of the paper's table" if summary.published else "that of the others"
        said.append(
            f"Not in the folder, or not asked for: {_some(summary.missing)}. The mean is {rest}."
        )
    for e in summary.of_state("failed"):
        hint = f" Hint: {e['hint']}." if e.get("hint") else ""
        said.append(f"Failed: {e['sequence']}: {e['error']}.{hint}")
    said += [f"Left out: {e['sequence']}: {e['error']}." for e in summary.of_state("left out")]
    for entry in measured:
        said += [f"{entry['sequence']}: {remark}" for remark in entry.get("remarks", ())]
    return said


def _blocks(summary: Summary) -> Iterable[tuple[str, Any]]:
    """The report as parts that every format knows."""
    yield "title", summary.protocol.name
    yield "table", comparison_table(summary)
    yield "list", remarks(summary)
    yield "heading", summary.protocol.things.capitalize()
    yield "table", sequence_table(summary)
    for entry in summary.of_state("measured"):
        for what, file in entry.get("pictures", {}).items():
            yield "picture", (f"{entry['sequence']}: {_CAPTIONS[what]}", f"sequences/{file}")


_CAPTIONS = {
    "depth": "image, true depth, predicted depth, their ratio (red too far, blue too near, full "
    "colour 25 %)",
    "path": "true path (grey) and aligned estimate",
}


def markdown_table(table: Table) -> str:
    """Figures to the right."""
    head, rows = table
    marks = ["---" if _is_words(head, k) else "---:" for k in range(len(head))]
    lines = [head, marks, *rows]
    return "\n".join("| " + " | ".join(_cell(word) for word in line) + " |" for line in lines)


def _is_words(head: Sequence[str], column: int) -> bool:
    return column == 0 or head[column] == "source"


def _cell(word: str) -> str:
    return word.replace("|", "\\|").replace("\n", " ")


def _markdown(blocks: Sequence[tuple[str, Any]]) -> str:
    made: Made = {
        "title": lambda words: f"# {words}",
        "heading": lambda words: f"## {words}",
        "table": markdown_table,
        "list": lambda lines: "\n".join(f"- {line}" for line in lines),
        "picture": lambda pair: f"{pair[0]}\n\n![{pair[0]}]({_link(pair[1])})",
    }
    return "\n\n".join(made[kind](what) for kind, what in blocks) + "\n"


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1400px; margin: 2rem auto; padding: 0 1rem;
  color: #2d2d34; }}
table {{ border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }}
td, th {{ padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }}
.words {{ text-align: left; }}
tr.ours {{ font-weight: 600; background: #f2f6ff; }}
figure {{ margin: 1.5rem 0; }} img {{ max-width: 100%; }}
</style>
{body}
</html>
"""


def _html(summary: Summary, blocks: Sequence[tuple[str, Any]]) -> str:
    made: Made = {
        "title": lambda words: f"<h1>{html.escape(words)}</h1>",
        "heading": lambda words: f"<h2>{html.escape(words)}</h2>",
        "table": _html_table,
        "list": lambda lines: _wrapped("ul", [_wrapped("li", [html.escape(x)]) for x in lines]),
        "picture": lambda pair: (
            f'<figure><figcaption>{html.escape(pair[0])}</figcaption><img loading="lazy" '
            f'src="{html.escape(_link(pair[1]))}" alt="{html.escape(pair[0])}"></figure>'
        ),
    }
    body = "\n".join(made[kind](what) for kind, what in blocks)
    return _PAGE.format(title=html.escape(summary.protocol.name), body=body)


def _html_table(table: Table) -> str:
    head, rows = table
    classes = [' class="words"' if _is_words(head, k) else "" for k in range(len(head))]

    def cells(tag: str, row: Sequence[str]) -> list[str]:
        pairs = zip(row, classes, strict=True)
        return [_wrapped(tag, [html.escape(word.strip("*"))], about) for word, about in pairs]

    lines = [_wrapped("tr", cells("th", head))]
    for row in rows:
        ours = row[0].startswith("**")
        lines.append(_wrapped("tr", cells("td", row), ' class="ours"' if ours else ""))
    return _wrapped("table", lines)


def _wrapped(tag: str, inner: Sequence[str], about: str = "") -> str:
    return f"<{tag}{about}>{''.join(inner)}</{tag}>"


def _link(path: str) -> str:
    """A file name may have characters that an address may not."""
    return quote(path)


def _head(column: str) -> str:
    alignment, _, metric = column.rpartition(".")
    words = HEADS.get(metric, metric.upper() if "@" in metric else metric)
    return f"{words} ({alignment})" if alignment else words


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4g}"


def _printed(value: float | None) -> str:
    """A published figure: no digit is lost."""
    return "-" if value is None else f"{value:g}"


def _plain(value: float | None) -> str:
    return "" if value is None or value != value else repr(float(value))


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
