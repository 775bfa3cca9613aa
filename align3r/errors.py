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
