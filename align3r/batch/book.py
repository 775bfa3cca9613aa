"""What a batch has to do: videos that are done, that cannot be, and that are left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from align3r import __version__
from align3r.batch.manifest import Entry, Manifest
from align3r.batch.naming import result_names
from align3r.batch.results import digest, done, is_finished, key_of
from align3r.batch.values import Outcome, Task
from align3r.config import Options
from align3r.errors import Align3rError, UsageError
from align3r.io.leftovers import remove_leftovers
from align3r.io.whole import check_free

LOGS = "logs"


@dataclass
class Book:
    """What is known of the videos of a call."""

    manifest: Manifest
    tasks: list[Task] = field(default_factory=list)
    """To be done."""
    outcomes: dict[Path, Outcome] = field(default_factory=dict)

    def settle(self, outcome: Outcome) -> None:
        """Note what became of a video.

        Raises:
            InputError: The manifest cannot be written.
        """
        self.outcomes[outcome.source] = outcome
        before = self.manifest.entries[outcome.source]
        self.manifest.put({outcome.source: _after(before, outcome)})


def check_folder(out: Path) -> None:
    """Refuse a place that cannot be a folder of results.

    Raises:
        UsageError: It is a file, or the result of one video.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} exists and is not a folder", hint="choose another with -o")
    if (out / "scene.json").exists():
        raise UsageError(
            f"{out} is the result of one video, not a folder for many",
            hint="choose another with -o",
        )


def planned(sources: Sequence[Path], out: Path, options: Options, *, dry: bool = False) -> Book:
    """Which videos are done, which cannot be, and which are to do; the manifest says so, too."""
    manifest = Manifest.read(out)
    book = Book(manifest)
    names = result_names(sources, {s: entry.out for s, entry in manifest.entries.items()})
    fresh: dict[Path, Entry] = {}
    for source in sources:
        name = names[source]
        known = manifest.entries.get(source, Entry(name, key="", state="todo"))
        task = _task(source, out, name, options)
        try:
            key = key_of(source, options)
            same = known.key == key and known.state != "failed"
            outcome = _found(task, known) if same else None
            if outcome is None:
                check_free(task.out, overwrite=options.output.overwrite)
        except Align3rError as error:
            key, outcome = "", _failed(task, error)
        if outcome is None:
            replaces, attempts = (known.replaces, known.attempts) if same else (digest(task.out), 0)
            book.tasks.append(replace(task, replaces=replaces))
            fresh[source] = Entry(name, key, "todo", replaces=replaces, attempts=attempts)
        else:
            book.outcomes[source] = outcome
            # What stands there as done keeps its entry, even where it is of another key.
            if known.state != "done":
                fresh[source] = _after(replace(known, key=key), outcome)
    if not dry:
        for outcome in book.outcomes.values():
            if outcome.skipped:
                remove_leftovers(outcome.out)
        manifest.put(fresh)
    return book


def _task(source: Path, out: Path, name: str, options: Options) -> Task:
    return Task(
        source=source,
        out=out / name,
        log=out / LOGS / f"{name}.log",
        options=options,
        replaces=None,
        version=__version__,
    )


def _found(task: Task, known: Entry) -> Outcome | None:
    """What a former call has done, even if it died before it could say so."""
    if not is_finished(task.out, known.replaces):
        return None
    return replace(done(task), skipped=True, attempts=0)


def _failed(task: Task, error: Align3rError) -> Outcome:
    return Outcome(
        task.source,
        task.out,
        "failed",
        exit_code=error.exit_code,
        error=str(error),
        hint=error.hint,
    )


def _after(before: Entry, outcome: Outcome) -> Entry:
    """What the manifest says of a video from now on."""
    return replace(
        before,
        state=outcome.state,
        exit_code=outcome.exit_code,
        error=outcome.error,
        hint=outcome.hint,
        frames=outcome.frames,
        seconds=outcome.seconds,
        warnings=outcome.warnings,
        attempts=before.attempts + outcome.attempts,
    )
