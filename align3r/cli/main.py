"""The `align3r` command: finds the subcommand, and turns every error into words and a code."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from align3r.errors import UsageError, first_line, in_words

COMMANDS = {
    "reconstruct": "cameras, depth, moving masks and points from a video: the main job",
    "compare": "one video in several ways (depth or scale maps, solvers, ...), one report",
    "evaluate": "protocols and tables of the papers on their data sets, and ablations",
    "train": "fine-tune a network: Fin3R's adapters, or an Align3R",
    "batch": "many videos, on this machine or on a Ray cluster; what is done is skipped",
    "view": "look at a result in the browser",
    "export": "write a result for other programs: colmap, nerfstudio, glb, rerun and more",
    "models": "weights of networks: list, download, verify",
    "doctor": "versions, device, free memory and a self-test",
}

RESUMED = frozenset({"reconstruct", "compare", "evaluate", "train", "batch"})
"""Commands that go on where they were interrupted."""
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Words after the program name; those of the process when not given.

    Returns:
        0 fine, 1 unknown error, 2 usage, 3 input or output, 4 memory, 5 no solution,
        6 weights, 7 some videos of a batch failed, 130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except SystemExit as stop:  # how the option parser ends, for help (0) and mistakes (2)
        return stop.code if isinstance(stop.code, int) else 2
    except BrokenPipeError:
        # Whoever read our output has enough. Python flushes once more at exit: to nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        hint = "; run the same command again to resume" if words[:1] and words[0] in RESUMED else ""
        print(f"\ninterrupted{hint}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return _report(error, debug="--debug" in words)


def _dispatch(words: list[str]) -> int:
    """Import the module of the command, and only that, and run it."""
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from align3r import __version__

        print(f"align3r {__version__}")
        return 0
    name = words[0]
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean `align3r {close[0]}`?" if close else "see `align3r --help`"
        raise UsageError(f"there is no command {name!r}", hint=hint)
    command = importlib.import_module(f"align3r.cli.{name}")
    return int(command.run(words[1:]))


def _overview() -> str:
    commands = "\n".join(f"  {name:<12} {does}" for name, does in COMMANDS.items())
    return (
        "usage: align3r COMMAND ...\n\n"
        "Cameras, consistent depth, motion masks and point clouds from an ordinary video.\n\n"
        f"{commands}\n\n"
        "  align3r reconstruct video.mp4 -o out     then open out/scene.html\n"
        "  align3r COMMAND --help                   all options of a command\n"
        "  align3r --version\n\n"
        "exit codes: 0 fine, 2 usage, 3 input or output, 4 not enough memory, 5 no solution,\n"
        "            6 weights not to be had, 7 some videos of a batch failed, 130 interrupted,\n"
        "            1 anything else"
    )


def _report(error: Exception, *, debug: bool) -> int:
    """Print one sentence and one hint on stderr; give the exit code."""
    if debug:
        traceback.print_exception(error)
    known = in_words(error)
    if known is None:
        print(f"error: {type(error).__name__}: {first_line(error)}", file=sys.stderr)
        if not debug:
            print("hint: run again with --debug for the traceback", file=sys.stderr)
        return 1
    print(f"error: {known}", file=sys.stderr)
    if known.hint:
        print(f"hint: {known.hint}", file=sys.stderr)
    return known.exit_code
