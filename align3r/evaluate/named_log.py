"""What is logged about a sequence names it: several are measured one after the other, or beside."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_LIBRARY = "align3r"


@contextmanager
def log_of(sequence: str) -> Iterator[None]:
    """Inside, every line of this library's log begins with the name of the sequence."""
    name, handlers = _Name(sequence), _handlers()
    for handler in handlers:
        handler.addFilter(name)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(name)


@contextmanager
def kept_warnings() -> Iterator[list[str]]:
    """What the library warns of inside, for another process to show."""
    kept = _Kept(logging.WARNING)
    library = logging.getLogger(_LIBRARY)
    library.addHandler(kept)
    try:
        yield kept.lines
    finally:
        library.removeHandler(kept)


class _Name(logging.Filter):
    """Lets all records pass, with a name in front."""

    def __init__(self, sequence: str) -> None:
        super().__init__()
        self._sequence = sequence

    def filter(self, record: logging.LogRecord) -> bool:
        ours = record.name.partition(".")[0] == _LIBRARY
        if ours and not hasattr(record, "sequence"):  # Another handler may have had it before.
            record.sequence = self._sequence
            record.msg, record.args = f"{self._sequence}: {record.getMessage()}", ()
        return True


class _Kept(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _handlers() -> list[logging.Handler]:
    """Where records of the library arrive."""
    found: list[logging.Handler] = []
    logger: logging.Logger | None = logging.getLogger(_LIBRARY)
    while logger is not None:
        found += logger.handlers
        logger = logger.parent if logger.propagate else None
    return found
