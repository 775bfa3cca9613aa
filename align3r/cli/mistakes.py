"""Words that the option parser cannot make sense of, as one sentence and one hint."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from align3r.errors import UsageError

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_RULE = re.compile(r"[─-]{3,}")
_SHOWN = 80
_LIKE = 0.7
"""How like an option, from 0 to 1, a word is that may have been meant as it."""


def as_error(
    said: str, words: Sequence[str], *, kind: type[Any], short: Mapping[str, str], command: str
) -> UsageError:
    """What tyro drew in a box on stderr, as an error of ours.

    Args:
        said: All that it wrote.
        words: What it was given.
        kind: The dataclass of the command's arguments.
        short: Short names of options, which people may have meant as well.
        command: After `align3r`.
    """
    title, parts = _parts(said)
    plain = " ".join(line.strip() for line in parts[0])
    help_hint = f"see `align3r {command} --help`"
    if title == "Unrecognized options":
        return _unknown(plain, words, _nearest(kind, short), help_hint)
    if title == "Value error":
        return _wrong_value(plain, words, dict(_options(kind)), help_hint)
    if title == "Required options":
        # Its name stands farther left than its explanation.
        missing = [line.strip() for line in parts[0] if re.match(r" {4}\S", line)]
        return UsageError(f"{', '.join(missing)} is missing", hint=help_hint)
    return _by_pattern(plain, help_hint)


def _parts(said: str) -> tuple[str, list[list[str]]]:
    """Title of a box, drawn with lines or, where those cannot be shown, without; and its parts."""
    title, *lines = [*_COLOUR.sub("", said).splitlines(), ""]
    parts: list[list[str]] = [[]]
    for line in lines:
        inside = line[2:].rstrip(" │╯")
        if _RULE.fullmatch(inside):
            parts.append([])
        elif inside:
            parts[-1].append(inside)
    return title.strip(" ╭─╮"), [part for part in parts if part] or [[]]


def _unknown(
    plain: str, words: Sequence[str], nearest: Callable[[str], str | None], help_hint: str
) -> UsageError:
    """An option that there is not, or a word where none belongs."""
    refused = plain.partition(":")[2].strip().split(", ")
    valued = [word for word in words if word.endswith(f"={refused[0]}")]
    if valued:  # of a switch
        name = valued[0].partition("=")[0]
        return UsageError(f"{name} takes no value", hint=f"give {name} by itself")
    options = [word for word in refused if word.startswith("-")]
    if not options:
        return UsageError(
            f"{_short(refused[0])} is one word too many", hint=f"remove it, or {help_hint}"
        )
    # The box may have broken a long one.
    whole = next((word for word in words if word.startswith(options[0])), options[0])
    name = whole.partition("=")[0]
    close = nearest(name)
    hint = f"did you mean {close}?" if close else help_hint
    return UsageError(f"there is no option {name}", hint=hint)


def _wrong_value(
    plain: str, words: Sequence[str], types: Mapping[str, Any], help_hint: str
) -> UsageError:
    """Words after an option that are not what it takes."""
    found = re.match(r"Error parsing (\S+?):", plain)
    if not found:
        return UsageError(plain, hint=help_hint)
    spellings = found[1].split("/")
    takes = _in_words(types.get(spellings[-1]))
    hint = f"it takes {takes}; {help_hint}" if takes else help_hint
    given = " ".join(_given(words, spellings))
    return UsageError(f"{spellings[-1]} does not take {_short(given)}", hint=hint)


def _given(words: Sequence[str], spellings: Sequence[str]) -> Iterator[str]:
    """The words after an option, up to the next one."""
    for k, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") not in spellings:
            continue
        if equals:
            yield value
        for later in () if equals else words[k + 1 :]:
            if later.startswith("--"):
                break
            yield later
        return


def _by_pattern(plain: str, help_hint: str) -> UsageError:
    """A value that is missing or not among those there are; all else in tyro's own words."""
    if found := re.match(r"Missing value for argument '(\S+)'\. Expected (\d+)", plain):
        count = "value" if found[2] == "1" else f"{found[2]} values"
        return UsageError(f"{found[1].split('/')[-1]} lacks its {count}", hint=help_hint)
    if found := re.match(r"invalid choice (.+) for argument '(\S+)'\. .*\((.*)\)", plain):
        choices = found[3].replace("'", "").rstrip(",")
        return UsageError(f"{found[2]} does not take {found[1]}", hint=f"use one of {choices}")
    return UsageError(plain or "the options cannot be understood", hint=help_hint)


def _nearest(kind: type[Any], short: Mapping[str, str]) -> Callable[[str], str | None]:
    """Finds the option whose name, or whose last part of it, is most like a word."""
    names = [name for name, _ in _options(kind)]
    like = {f"--{name.rpartition('.')[2].lstrip('-')}": name for name in names}
    like |= {name: name for name in names}
    like |= {name: name for name, full in short.items() if full in names}

    def find(word: str) -> str | None:
        close = difflib.get_close_matches(word.replace("_", "-"), like, n=1, cutoff=_LIKE)
        return like[close[0]] if close else None

    return find


def _options(kind: type[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name, as `--group.name`, and type of every option of a class and of its groups."""
    hints = get_type_hints(kind, include_extras=True)
    plain = get_type_hints(kind)
    for option in fields(kind):
        name, takes = option.name.replace("_", "-"), plain[option.name]
        if is_dataclass(takes):
            about = getattr(hints[option.name], "__metadata__", ())
            nameless = any(getattr(extra, "name", None) == "" for extra in about)
            assert isinstance(takes, type)
            yield from _options(takes, prefix if nameless else f"{prefix}{name}.")
        else:
            yield f"--{prefix}{name}", takes
            if takes is bool:
                yield f"--{prefix}no-{name}", takes


def _in_words(takes: Any) -> str | None:
    """The type of an option, for people; None where there are no better words than the help's."""
    inner = [part for part in get_args(takes) if part is not type(None)]
    if get_origin(takes) is tuple:
        return "numbers" if ... in inner else f"{len(inner)} numbers"
    if inner:
        return _in_words(inner[0]) if len(inner) < len(get_args(takes)) else None
    return {int: "a whole number", float: "a number"}.get(takes)


def _short(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN else repr(text[: _SHOWN - 3] + "...")
