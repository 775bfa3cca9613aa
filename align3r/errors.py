"""The errors a user can cause or meet: one sentence, one hint, one exit code each."""

from __future__ import annotations


class Align3rError(Exception):
    """Root of the family: `str(error)` is one sentence with the numbers, `hint` one way out."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(Align3rError):
    """Options that contradict each other or name something that does not exist."""

    exit_code = 2


class InputError(Align3rError):
    """A file or folder that cannot be read, or an output place that cannot be written."""

    exit_code = 3


class TooLargeError(InputError):
    """A file promises more than fits a limit, which can be raised."""


class NoRoomError(Align3rError):
    """No plan fits the memory or the disk."""

    exit_code = 4


class SolveError(Align3rError):
    """The problem has no finite solution: no texture, no overlap, not a number."""

    exit_code = 5


class WeightsError(Align3rError):
    """Weights of a model that was asked for by name are not to be had."""

    exit_code = 6


class MissingExtraError(UsageError):
    """An optional library is not installed."""


def in_words(error: BaseException) -> Align3rError | None:
    """The error as one of the family, where it says something a user can act on."""
    if isinstance(error, Align3rError):
        return error
    # torch reports a full memory as a RuntimeError, by a class or a text that differ by device.
    text = str(error).lower()
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate" in text)
    ):
        return NoRoomError(
            "the memory is not enough for this video at this size",
            hint="add --input.size 384, --max-frames 100, or both",
        )
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename}: " if error.filename is not None else ""
        return InputError(
            f"{what}{error.strerror.lower()}", hint="check the path, its rights and the free space"
        )
    return None


def first_line(error: BaseException) -> str:
    """What an error that is none of the family says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"
