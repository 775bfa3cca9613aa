"""`align3r view`: a result in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from align3r.cli.arguments import Common, parse
from align3r.cli.terminal import start_log


@dataclass(frozen=True, kw_only=True)
class View(Common):
    """Arguments of `align3r view`."""

    result: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Result folder."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in."""
    port: int = 8080
    """Port; if it is taken, the next free one."""


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
    viewer = serve(load(args.result), host=args.host, port=args.port, block=False)
    print(f"open {viewer.url} in a browser; Ctrl-C ends", flush=True)
    try:
        viewer.wait()
    except KeyboardInterrupt:  # the way to end this command, so no error
        print()
    return 0
