"""What all commands share: common flags, short names of options, parsing by tyro."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import tyro

SHORT = {
    "--start": "--input.start",
    "--stop": "--input.stop",
    "--stride": "--input.stride",
    "--fps": "--input.fps",
    "--max-frames": "--input.max-frames",
    "--size": "--input.size",
    "--focal": "--camera.focal",
    "--masks": "--camera.masks",
    "--poses": "--camera.poses",
    "--weights": "--network.weights",
    "--prior": "--prior.model",
    "--prior-dir": "--prior.dir",
    "--flow": "--motion.flow",
    "--overwrite": "--output.overwrite",
}
"""Short names of the options that people ask for most."""

_MASKS = SHORT["--masks"]
_REFINED = "sam2"

SHORT_HELP = "Short names: " + ", ".join(f"{short} = {full}" for short, full in SHORT.items()) + "."


@dataclass(frozen=True, kw_only=True)
class Common:
    """Flags that every command has."""

    verbose: Annotated[bool, tyro.conf.arg(aliases=("-v",))] = False
    """Tell more of what happens."""
    quiet: Annotated[bool, tyro.conf.arg(aliases=("-q",))] = False
    """Tell nothing but errors and the outcome."""
    debug: bool = False
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
        SystemExit: After printing help (0) or what is wrong with the words (2).
    """
    parsed: Any = tyro.cli(
        kind,
        prog=f"align3r {command}",
        description=description,
        args=list(words),
        default=default,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    assert isinstance(parsed, kind)
    return parsed


def spell_out(words: Sequence[str]) -> list[str]:
    """Replace short names, as `--start 3` or `--start=3`, by the options that they stand for.

    `--masks sam2` asks for automatic masks, refined; a folder of that name is `./sam2`.
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
        else:
            spelled.append(name + equals + value)
    return spelled
