"""`align3r export`: a result in other programs' formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from align3r.cli.arguments import Common, parse
from align3r.cli.terminal import start_log
from align3r.export_options import ExportOptions


@dataclass(frozen=True, kw_only=True)
class Export(Common):
    """Arguments of `align3r export`."""

    result: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Result folder."""
    to: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FORMAT ...")]
    """Formats to write, one or more; they are listed above."""
    out: Annotated[str | None, tyro.conf.arg(aliases=("-o",))] = None
    """Folder for the files; OUT/export when not given."""
    options: Annotated[ExportOptions, tyro.conf.arg(name="")] = field(default_factory=ExportOptions)


def run(words: Sequence[str]) -> int:
    """Write every format asked for; each is there whole or not at all."""
    from align3r.io.exports import EXPORTS, check_export, export, find_export

    # tyro keeps the line breaks before lines that begin with a dash.
    listed = "\n".join(f"- {to}: {kind.name}, {kind.what}." for to, kind in EXPORTS.items())
    about = f"Write a result in other programs' formats. FORMAT is one of:\n{listed}"
    args = parse(Export, words, command="export", description=about)
    start_log(verbose=args.verbose, quiet=args.quiet)
    from align3r.errors import UsageError
    from align3r.io.files import check_inside
    from align3r.io.places import output_place
    from align3r.io.result import load

    if not args.to:
        raise UsageError("no format is named", hint="add --to colmap nerfstudio ply")
    kinds = {to: find_export(to) for to in args.to}
    scene = load(args.result)
    folder = Path(args.result) / "export" if args.out is None else output_place(args.out)
    if args.out is None:
        check_inside(folder, Path(args.result))
    for to, kind in kinds.items():
        check_export(to, folder / kind.name, overwrite=args.options.overwrite)
    for to, kind in kinds.items():
        path = export(scene, to, folder / kind.name, options=args.options)
        if not args.quiet:
            print(f"{path}  {kind.what_with(args.options)}")
    return 0
