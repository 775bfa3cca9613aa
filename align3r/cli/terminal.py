"""What a person sees while a command runs: log lines, one bar a stage, tables."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from tqdm import tqdm

STORY = (
    "align3r.pipeline",
    "align3r.pairwise.choice",
    "align3r.pairwise.registry",
    "align3r.flow.choose",
    "align3r.evaluate.comparing",
    "align3r.evaluate.running",
    "align3r.train.loop",
    "align3r.batch.runner",
)
"""Whose remarks a plain run shows: what is planned, and what `auto` stands for."""


class Lines(logging.Handler):
    """Log records as lines on stderr that do not tear the progress bars."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        """Warnings that were shown already."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        words = record.getMessage()
        if record.levelno >= logging.WARNING:
            self.seen.append(words)
            words = f"{record.levelname.lower()}: {words}"
        tqdm.write(words, file=sys.stderr)


def start_log(*, verbose: bool, quiet: bool) -> Lines:
    """Send the library's log to the terminal; returns the handler.

    Plain runs show the pipeline's own story and warnings, -v everything, -q warnings alone.
    """
    library = logging.getLogger("align3r")
    for old in [h for h in library.handlers if isinstance(h, Lines)]:
        library.removeHandler(old)
    lines = Lines()
    library.addHandler(lines)
    library.setLevel(logging.DEBUG if verbose else logging.WARNING)
    # A visitor that hangs up is no news; the viewer's server tells it with a traceback.
    logging.getLogger("websockets").setLevel(logging.DEBUG if verbose else logging.CRITICAL)
    for name in STORY:
        level = logging.NOTSET if verbose or quiet else logging.INFO
        logging.getLogger(name).setLevel(level)
    return lines


class Bars:
    """One progress bar a stage, on stderr; silent where stderr is no terminal."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._bar: tqdm[Any] | None = None
        self._stage = ""
        # None: tqdm itself looks whether there is a terminal.
        self._disable = None if enabled else True

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` steps of a stage are made."""
        if self._bar is None or stage != self._stage:
            self.close()
            self._stage = stage
            self._bar = tqdm(
                total=total,
                desc=stage,
                file=sys.stderr,
                disable=self._disable,
                leave=True,
                bar_format="{desc:<24} {bar:30} {n_fmt}/{total_fmt} {elapsed}",
            )
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Finish the bar of the current stage."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text: the first to the left, the others to the right."""
    every = [list(head), *[list(row) for row in rows]]
    widths = [max(len(row[c]) for row in every) for c in range(len(head))]
    lines = []
    for row in every:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    lines.insert(1, "  " + "-" * (sum(widths) + 2 * (len(head) - 1)))
    return "\n".join(lines)


def timing_table(timings: Sequence[Mapping[str, Any]]) -> str:
    """Stage, seconds and peak memory, and the sum and the highest peak below."""
    rows = [(str(t["stage"]), f"{t['seconds']:.1f}", f"{t['peak_mb']:.0f}") for t in timings]
    total = sum(float(t["seconds"]) for t in timings)
    peak = max((float(t["peak_mb"]) for t in timings), default=0.0)
    return table(("stage", "seconds", "peak MB"), [*rows, ("total", f"{total:.1f}", f"{peak:.0f}")])
