"""What a training writes down: a line of JSON a time, and the same for tensorboard."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from align3r.io.files import parse_json, read_text
from align3r.io.jsonable import jsonable
from align3r.io.whole import disk_errors_in_words

log = logging.getLogger(__name__)

LINES, BOARD = "log.jsonl", "tensorboard"


class Record:
    """`log.jsonl`, and `tensorboard` where that is installed, in the folder of a training."""

    def __init__(self, out: Path, *, step: int) -> None:
        """Go on after a step, or -1: what was written after it is taken back.

        Raises:
            InputError: The place cannot be written.
        """
        self._out, self._path = out, out / LINES
        with disk_errors_in_words(out):
            out.mkdir(parents=True, exist_ok=True)
            _take_back(self._path, step)
            self._file = self._path.open("a", encoding="utf-8")
        self._board = _board(out / BOARD, step)

    def numbers(self, step: int, values: Mapping[str, Any], *, group: str = "") -> None:
        """Write numbers of a step; in a group of their own, such as `validation`, if it is named.

        Raises:
            InputError: There is no space left.
        """
        line = {"step": step, group: values} if group else {"step": step, **values}
        with disk_errors_in_words(self._path):
            # A number that is not finite has no place in JSON, and is null.
            self._file.write(json.dumps(jsonable(line)) + "\n")
            self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{group or 'training'}/{name}", value, step)
            self._board.flush()

    def pictures(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Show (H, W, 3) uint8 images of a step, in tensorboard alone."""
        if self._board is not None:
            for name, image in images.items():
                self._board.add_image(name, image, step, dataformats="HWC")

    @property
    def shows_pictures(self) -> bool:
        """Whether there is a place for pictures."""
        return self._board is not None

    def close(self) -> None:
        """Write what is left."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log.jsonl; one that a killed run left unfinished is passed over.

    Raises:
        InputError: It cannot be read.
    """
    lines = []
    for text in read_text(path).splitlines():
        try:
            line = parse_json(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines


def _take_back(path: Path, step: int) -> None:
    """Leave out what a run wrote after its last checkpoint: it is done again."""
    if not path.exists():
        return
    kept = [json.dumps(line) + "\n" for line in read_log(path) if line["step"] <= step]
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_text("".join(kept), encoding="utf-8")
    scratch.replace(path)


def _board(folder: Path, step: int) -> Any:
    """A writer of tensorboard's that goes on after a step, or None."""
    try:
        module = importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        log.warning(
            "tensorboard is not installed, so there are only the numbers in %s; "
            "pip install 'align3r[train]' for curves and pictures",
            LINES,
        )
        return None
    return module.SummaryWriter(str(folder), purge_step=step + 1)
