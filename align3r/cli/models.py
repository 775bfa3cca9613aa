"""`align3r models`: which weights are known, which are here, and whether they are whole."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from align3r.cli.arguments import Common, parse
from align3r.cli.terminal import start_log

Action = Literal["list", "download", "verify"]


@dataclass(frozen=True, kw_only=True)
class Models(Common):
    """Arguments of `align3r models`."""

    action: Annotated[Action, Positional, arg(metavar="[ACTION]")] = "list"
    """List what is known and what is here; download by name; verify what is here."""
    names: Annotated[tuple[str, ...], Positional, arg(metavar="[NAME ...]")] = ()
    """Names as in the list, or owner/repository, each with @revision if you like. verify takes
    files and folders too, and without a name it looks at everything that is here."""


def run(words: Sequence[str]) -> int:
    """List, download or verify weights."""
    args = parse(
        Models,
        words,
        command="models",
        description="Weights of networks: what is known, what is here, its size and licence.",
    )
    start_log(verbose=args.verbose, quiet=args.quiet)
    if args.action == "download":
        return _download(args.names, quiet=args.quiet)
    if args.action == "verify":
        return _verify(args.names)
    return _list()


def _list() -> int:
    from align3r.models.catalogue import CATALOGUE
    from align3r.models.hub import cache_folder, cached_snapshot, gigabytes

    rows = [("name", "for", "parameters", "size", "licence of the weights", "here")]
    for name, known in CATALOGUE.items():
        snapshot = cached_snapshot(known.repo, known.revision)
        rows.append(
            (
                name,
                known.purpose,
                f"{known.parameters / 1e6:.1f} M",
                gigabytes(known.size_bytes),
                known.licence,
                f"yes, commit {snapshot.name[:12]}" if snapshot else "no",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())
    print(f"\ndownloads are kept in {cache_folder()}")
    return 0


def _download(names: Sequence[str], *, quiet: bool) -> int:
    from align3r.errors import UsageError
    from align3r.models.weights import locate, resolve

    if not names:
        raise UsageError(
            "no name is given", hint="align3r models download NAME; align3r models lists them"
        )
    if quiet:
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
    sources = [resolve(name) for name in names]
    for name, source in zip(names, sources, strict=True):
        folder = locate(name, notify=lambda words: print(words, flush=True))
        if quiet:
            continue
        print(f"{name}: {folder}")
        if not isinstance(source, Path):
            print(f"  the same elsewhere: {source.repo}@{folder.name}")
    return 0


def _verify(names: Sequence[str]) -> int:
    from align3r.errors import WeightsError
    from align3r.models.catalogue import CATALOGUE
    from align3r.models.weights import is_cached

    names = names or [name for name in CATALOGUE if is_cached(name)]
    if not names:
        print("nothing is here yet: align3r models download NAME")
        return 0
    broken = []
    for name in names:
        try:
            facts = _facts(name)
        except WeightsError as error:
            if len(names) == 1:
                raise
            broken.append(name)
            print(f"{name}: {error}\n  hint: {error.hint}", file=sys.stderr)
        else:
            print(f"{name}: ok, {'; '.join(facts)}")
    if broken:
        raise WeightsError(
            f"{len(broken)} of {len(names)} not in order: {', '.join(broken)}",
            hint="the lines above say what to do",
        )
    return 0


def _facts(name: str) -> Sequence[str]:
    from align3r.models.weights import locate

    path = locate(name, download=False)
    # Not before: this needs torch.
    from align3r.models.verify import verify

    return verify(path)
