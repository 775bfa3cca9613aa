"""JSON packed by gzip, from elsewhere: no larger, unpacked, than memory is meant for."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

from align3r.errors import TooLargeError
from align3r.io.files import cannot_read, check_regular, most_array_bytes, parse_json


def read_json_gz(path: Path) -> Any:
    """What a JSON file packed by gzip holds.

    Raises:
        InputError: It cannot be opened, or is larger, unpacked, than `files.most_array_bytes`.
        ValueError: It is damaged, cut short, or no JSON.
    """
    check_regular(path)
    most = most_array_bytes()
    try:
        packed = path.open("rb")
    except OSError as error:
        raise cannot_read(path, error) from error
    with packed, gzip.GzipFile(fileobj=packed) as file:
        try:
            text = file.read(most + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"it is no whole gzip file: {error}") from error
    if len(text) > most:
        raise TooLargeError(
            f"{path} unpacks to more than {most / 1e9:.3g} GB",
            hint="if it is your own, raise the limit: ALIGN3R_MAX_ARRAY_GB",
        )
    return parse_json(text)
