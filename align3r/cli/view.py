"""`align3r view`: a result in the browser."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from align3r.cli.arguments import Common, Switch, parse
from align3r.cli.terminal import start_log


@dataclass(frozen=True, kw_only=True)
class View(Common):
    """Arguments of `align3r view`."""

    result: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Result folder."""
    other: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="OUT2")] = None
    """A second result of the same video, shown beside the first."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in."""
    port: int = 8080
    """Port; if it is taken, the next free one."""
    open: Switch = False
    """Open the browser of this machine."""


def run(words: Sequence[str]) -> int:
    """Serve the viewer until interrupted."""
    args = parse(
        View, words, command="view", description="Look at a result in the browser, by a server."
    )
    start_log(verbose=args.verbose, quiet=args.quiet)
    from align3r.errors import UsageError
    from align3r.io.result import load
    from align3r.view.server import serve

    if not 0 <= args.port <= 65535:  # the server's thread would fail and the command wait for ever
        raise UsageError(
            f"--port {args.port} is no port", hint="use 1 to 65535, or 0 for any free one"
        )
    scenes = [load(path) for path in (args.result, args.other) if path is not None]
    names = folder_names(args.result, args.other or "")
    viewer = serve(*scenes, names=names, host=args.host, port=args.port, block=False)
    print(f"open {viewer.url} in a browser; Ctrl-C ends", flush=True)
    if args.open:
        webbrowser.open(viewer.url)
    try:
        viewer.wait()
    except KeyboardInterrupt:  # the way to end this command, so no error
        print()
    return 0


def folder_names(first: str, second: str) -> tuple[str, str]:
    """What two folders are called: their last names, with parents where those are the same."""
    paths = [Path(path).resolve().parts for path in (first, second)]
    for depth in range(1, 4):
        names = ["/".join(parts[-depth:]) for parts in paths]
        if names[0] != names[1]:
            break
    return names[0], names[1]
