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
        self.manifest.put(
            {
                outcome.source: replace(
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
            }
        )


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
        task = Task(
            source=source,
            out=out / names[source],
            log=out / LOGS / f"{names[source]}.log",
            options=options,
            replaces=None,
            version=__version__,
        )
        known = manifest.entries.get(source)
        try:
            key = key_of(source, options)
            same = known is not None and known.key == key and known.state != "failed"
            if known is not None and same and is_finished(task.out, known.replaces):
                found = replace(done(task), skipped=True, attempts=0)
                if not dry:
                    remove_leftovers(task.out)
                book.outcomes[source] = found
                if known.state != "done":  # Whoever waited for it died before it could say so.
                    fresh[source] = _entry(found, names[source], key, known)
                continue
            check_free(task.out, overwrite=options.output.overwrite)
        except Align3rError as error:
            book.outcomes[source] = failed = Outcome(
                source,
                task.out,
                "failed",
                exit_code=error.exit_code,
                error=str(error),
                hint=error.hint,
            )
            # What stands there is of another key: it keeps its entry, if it has one.
            if known is None or known.state != "done":
                fresh[source] = _entry(failed, names[source], "", known)
            continue
        task = replace(task, replaces=known.replaces if known and same else digest(task.out))
        book.tasks.append(task)
        fresh[source] = Entry(
            names[source],
            key,
            "todo",
            replaces=task.replaces,
            attempts=known.attempts if known is not None and same else 0,
        )
    if not dry:
        manifest.put(fresh)
    return book


def _entry(outcome: Outcome, name: str, key: str, known: Entry | None) -> Entry:
    return Entry(
        name,
        key,
        outcome.state,
        replaces=None if known is None else known.replaces,
        exit_code=outcome.exit_code,
        error=outcome.error,
        hint=outcome.hint,
        frames=outcome.frames,
        seconds=outcome.seconds,
        warnings=outcome.warnings,
        attempts=0 if known is None else known.attempts,
    )
