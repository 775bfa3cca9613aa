"""What all commands share: common flags, short names of options, parsing by tyro."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, fields, is_dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from align3r.cli.mistakes import as_error

SHORT = {
    "--start": "--input.start",
    "--stop": "--input.stop",
    "--stride": "--input.stride",
    "--fps": "--input.fps",
    "--max-frames": "--input.max-frames",
    "--size": "--input.size",
    "--focal": "--camera.focal",
    "--intrinsics": "--camera.intrinsics",
    "--distortion": "--camera.distortion",
    "--masks": "--camera.masks",
    "--poses": "--camera.poses",
    "--colmap": "--camera.colmap",
    "--weights": "--network.weights",
    "--adapter": "--network.adapter",
    "--prior": "--prior.model",
    "--prior-dir": "--prior.dir",
    "--flow": "--motion.flow",
    "--overwrite": "--output.overwrite",
}
"""Short names of the options that people ask for most."""

_MASKS = SHORT["--masks"]
_REFINED = "sam2"
_INTRINSICS, _CALIBRATION = SHORT["--intrinsics"], "--camera.calibration"

# tyro joins lines of a description but those that begin with a dash.
SHORT_HELP = "Short names:\n" + textwrap.fill(
    ", ".join(f"{short}\xa0=\xa0{full}" for short, full in SHORT.items()) + ".",
    80,
    break_on_hyphens=False,
).replace("\xa0", " ")


Switch = tyro.conf.FlagCreatePairsOff[bool]
"""A bool of a command that is off unless it is asked for, so that --no-NAME has no sense."""


@dataclass(frozen=True, kw_only=True)
class Common:
    """Flags that every command has."""

    verbose: Annotated[Switch, tyro.conf.arg(aliases=("-v",))] = False
    """Tell more of what happens."""
    quiet: Annotated[Switch, tyro.conf.arg(aliases=("-q",))] = False
    """Tell nothing but warnings, errors and what is asked for, as by --dry-run."""
    debug: Switch = False
    """Show the traceback of an error."""


Arguments = TypeVar("Arguments", bound=Common)


def parse(
    kind: type[Arguments],
    words: Sequence[str],
    *,
    command: str,
    description: str,
    default: Arguments | None = None,
) -> Arguments:
    """Turn the words after the command into its arguments.

    Raises:
        SystemExit: After printing help.
        UsageError: The words are not what the command takes.
    """
    _unfold(kind)
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            parsed: Any = tyro.cli(
                kind,
                prog=f"align3r {command}",
                description=description,
                args=list(words),
                default=default,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        error = as_error(said.getvalue(), words, kind=kind, short=SHORT, command=command)
        raise error from None
    assert isinstance(parsed, kind)
    return parsed


def _unfold(kind: type[Any]) -> None:
    """Give tyro the docstring of every option as one line: it would keep the line breaks."""
    docs: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if is_dataclass(owner):
            docs |= _docstrings(owner)
    hints = get_type_hints(kind)
    for option in fields(kind):
        if is_dataclass(hints[option.name]):
            _unfold(hints[option.name])
        elif option.name in docs:
            # Beside what others have to say of it, such as whether a resumed run may change it.
            option.metadata = MappingProxyType({**option.metadata, "help": docs[option.name]})


def _docstrings(kind: type[Any]) -> dict[str, str]:
    """What stands below each field of a class, without line breaks; nothing without its source."""
    try:
        source = inspect.getsource(kind)
    except OSError:
        return {}
    (found,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(found, ast.ClassDef)
    docs = {}
    for option, below in pairwise(found.body):
        if isinstance(option, ast.AnnAssign) and isinstance(option.target, ast.Name):
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                docs[option.target.id] = " ".join(str(below.value.value).split())
    return docs


def spell_out(words: Sequence[str]) -> list[str]:
    """Replace short names, as `--start 3` or `--start=3`, by the options that they stand for.

    `--masks sam2` asks for automatic masks, refined; a folder of that name is `./sam2`.
    `--intrinsics` takes four numbers, with spaces or commas between them, or a file.
    """
    spelled: list[str] = []
    left = list(words)
    while left:
        name, equals, value = left.pop(0).partition("=")
        name = SHORT.get(name.replace("_", "-"), name)
        if name == _MASKS and (value if equals else "".join(left[:1])) == _REFINED:
            if not equals:
                left.pop(0)
            # Masks that a --config names would win over the automatic ones.
            spelled += [_MASKS, "None", "--motion.refine", _REFINED]
        elif name == _INTRINSICS and (equals or left):
            spelled += _intrinsics(value if equals else left.pop(0))
        else:
            spelled.append(name + equals + value)
    return spelled


def _intrinsics(first: str) -> list[str]:
    """The option for what follows --intrinsics: numbers, or a file."""
    numbers = first.split(",")
    return [_INTRINSICS, *numbers] if all(map(_is_number, numbers)) else [_CALIBRATION, first]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
