"""`align3r train`: fine-tune a network, in one process or in many."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from align3r.cli.arguments import Common, Switch, parse
from align3r.cli.options_io import read_options
from align3r.cli.terminal import Bars, start_log, table
from align3r.errors import UsageError
from align3r.io.places import output_place
from align3r.train.filling import Options, filled, model_of, takes_point_maps
from align3r.train.options import Align3rOptions, Fin3rOptions
from align3r.train.record import LINES, read_log
from align3r.train.run_folder import check_folder


@dataclass(frozen=True, kw_only=True)
class Train(Common):
    """Arguments of every training."""

    out: Annotated[str | None, tyro.conf.arg(aliases=("-o",))] = None
    """Folder of the training; in the current folder, named after what is trained, when not
    given."""
    config: str | None = None
    """Take the options of this options.json; other options on the command line win over it."""
    dry_run: Switch = False
    """Print what would be done, and stop."""
    prepare: Switch = False
    """Compute what other networks say of all images of the training, keep it, and stop."""


@dataclass(frozen=True, kw_only=True)
class TrainFin3r(Train):
    """Arguments of `align3r train fin3r`."""

    options: Annotated[Fin3rOptions, tyro.conf.arg(name="")] = field(default_factory=Fin3rOptions)


@dataclass(frozen=True, kw_only=True)
class TrainAlign3r(Train):
    """Arguments of `align3r train align3r`."""

    options: Annotated[Align3rOptions, tyro.conf.arg(name="")] = field(
        default_factory=Align3rOptions
    )


SORTS: Mapping[str, tuple[type[TrainFin3r] | type[TrainAlign3r], str]] = {
    "fin3r": (
        TrainFin3r,
        "adapters in an image encoder learn fine detail from a monocular teacher",
    ),
    "align3r": (
        TrainAlign3r,
        "a DUSt3R learns from pairs of dynamic scenes, guided by monocular depth",
    ),
}
"""Trainings by the word after `align3r train`: their arguments, and what they are."""

_EXAMPLES = """\
  align3r train fin3r --student dust3r -o out --data.data 20000@sa1b=/data/sa1b \\
      1000@hypersim=/data/hypersim 1000@tartanair=/data/tartanair
  align3r train align3r -o out --data.data 6250@tartanair=/data/tartanair --dry-run
  align3r train fin3r --help                     all options of a training"""


def run(words: Sequence[str]) -> int:
    """Train, or go on with a training; or say what would be done."""
    if words and words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if not words or words[0] not in SORTS:
        raise _no_such(words)
    sort, rest = words[0], words[1:]
    args = _parsed(sort, rest)
    start_log(verbose=args.verbose, quiet=args.quiet)
    options = filled(args.options)
    out = output_place(args.out if args.out is not None else _usual_place(sort, options))
    if not args.prepare:
        check_folder(out, options, resume=True)
    if args.dry_run:
        from align3r.train.describing import describe

        print(describe(options, out))
        return 0

    from align3r.train.running import prepare, train

    with Bars(enabled=not args.quiet) as bars:
        done = prepare(options, out, progress=bars) if args.prepare else None
        result = None if args.prepare else train(options, out, progress=bars)
    if args.quiet:
        return 0
    if done is not None:
        print(f"computed for {done:,} images that had nothing yet")
    if result is not None:
        _tell(options, out, result)
    return 0


def _parsed(sort: str, words: Sequence[str]) -> TrainFin3r | TrainAlign3r:
    """Parse in two steps: the file of --config gives the defaults for everything else."""
    kind, about = SORTS[sort]
    about = f"{about[0].upper()}{about[1:]}; resumes."
    given: dict[str, Any] = {"command": f"train {sort}", "description": about}
    args: TrainFin3r | TrainAlign3r = parse(kind, words, **given)
    if args.config is None:
        return args
    options: Any = read_options(Path(args.config), type(args.options))
    return parse(kind, words, default=replace(kind(), options=options), **given)


def _no_such(words: Sequence[str]) -> UsageError:
    known = " or ".join(f"`align3r train {name}`" for name in SORTS)
    if not words:
        return UsageError("it is not said what to train", hint=f"{known}; see --help")
    close = difflib.get_close_matches(words[0], SORTS, n=1)
    hint = f"did you mean `align3r train {close[0]}`?" if close else known
    return UsageError(f"there is no training {words[0]!r}", hint=hint)


def _overview() -> str:
    sorts = "\n".join(f"  {name:<9} {about}" for name, (_, about) in SORTS.items())
    return f"usage: align3r train {' | '.join(SORTS)} ...\n\n{sorts}\n\n{_EXAMPLES}"


def _usual_place(sort: str, options: Options) -> str:
    name = options.student if isinstance(options, Fin3rOptions) else options.prior.model
    return f"{sort}_{name}"


def _tell(options: Options, out: Path, result: Path) -> None:
    """How well it went, and how the result is used."""
    measured = [line["validation"] for line in read_log(out / LINES) if "validation" in line]
    if measured:
        rows = [
            (name, f"{measured[0].get(name, float('nan')):.4f}", f"{value:.4f}")
            for name, value in measured[-1].items()
        ]
        print(table(("held out", "before", "after"), rows))
    print(f"\n{out}\n  result  what was learned; log.jsonl, tensorboard, checkpoints, options.json")
    print(f"use it: {used(options, result)}")


def used(options: Options, result: Path) -> str:
    """The command that reconstructs a video with what was learned."""
    words = ["align3r", "reconstruct", "video.mp4", "--model", model_of(options)]
    if isinstance(options, Fin3rOptions):
        words += ["--weights", options.weights] if options.weights else []
        words += ["--adapter", str(result)]
    else:
        words += ["--weights", str(result)]
    if takes_point_maps(options):
        prior = options.prior
        words += ["--prior-dir", "DEPTH"] if prior.model == "truth" else ["--prior", prior.model]
        words += ["--prior.weights", prior.weights] if prior.weights else []
    return shlex.join(words)
