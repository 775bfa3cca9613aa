"""What finished stages leave behind, so that a killed run goes on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from align3r import __version__
from align3r.config import Options
from align3r.errors import InputError
from align3r.io.arrays import read_npz
from align3r.io.colmap_model import find_model
from align3r.io.files import parse_json
from align3r.io.images import cannot_read, images_in
from align3r.io.jsonable import jsonable
from align3r.io.sources import Source, resolve_source
from align3r.io.storage import MappedFiles
from align3r.io.whole import disk_errors_in_words

log = logging.getLogger(__name__)

_META = "meta"
_ARRAY = "array."
_ARRAYS = "arrays"
_KEY_FILE = "key.txt"
_CHUNK = 1 << 20


def cache_folder(out: str | Path) -> Path:
    """The stage cache that belongs to an output folder: its hidden sibling."""
    out = Path(out)
    return out.with_name(f".{out.name}.cache")


class StageCache:
    """One file a finished stage, valid for one key (see `fingerprint`).

    Arrays that are mapped from `files` stay in their own files: they are neither written twice
    nor read into memory again.
    """

    def __init__(self, folder: Path, key: str) -> None:
        """Open `folder`; what another key left in it is removed. Nothing is written yet."""
        self._folder = folder
        self._key = key
        self.files = MappedFiles(folder, prepare=self._begin)
        """Arrays that are filled piece by piece; those of an interrupted run are found again."""
        if folder.is_symlink() or (folder.exists() and self._stored_key() != key):
            log.info("the stage cache %s is of another input or other options: removed", folder)
            self.clear()

    def put(self, stage: str, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
        """Keep the outcome of a stage; a file is there whole or not at all.

        Raises:
            InputError: The cache cannot be written, or there is no space left.
        """
        if any(array.dtype.hasobject for array in arrays.values()):
            raise ValueError("only arrays of numbers can be kept: nothing is ever unpickled")
        mapped = {name: self.files.file_of(array) for name, array in arrays.items()}
        if any(mapped.values()):
            self.files.flush()  # The stage is finished only when they are whole.
        stored: dict[str, Any] = {
            _ARRAY + name: array for name, array in arrays.items() if mapped[name] is None
        }
        stored[_META] = _bytes(jsonable(meta))
        stored[_ARRAYS] = _bytes({name: (*_kind(a), mapped[name]) for name, a in arrays.items()})
        path = self._path(stage)
        part = path.with_suffix(".part")
        is_new = not self._folder.exists()
        with disk_errors_in_words(self._folder):
            try:
                self._begin()
                part.unlink(missing_ok=True)  # A link would be written through.
                with part.open("xb") as file:
                    np.savez(file, **stored)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                if is_new:
                    self.clear()  # A cache that holds no stage is of no use to the next run.
                raise

    def get(self, stage: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """What `put` kept for this stage; None when there is nothing, or it is damaged.

        Arrays that were mapped when they were put are mapped again.
        """
        path = self._path(stage)
        if not path.is_file():
            return None
        try:
            return self._read(path)
        except (OSError, ValueError, TypeError, AttributeError, InputError) as error:
            log.warning("the stage cache entry %s is damaged (%s): computed again", path, error)
            path.unlink(missing_ok=True)
            return None

    def _read(self, path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What is in the file of a stage, if it is just what was put there."""
        # What is not mapped was stored as it is, so nothing can be larger than the file.
        stored = read_npz(path, most_bytes=path.stat().st_size)
        if not {_META, _ARRAYS} <= stored.keys():
            raise ValueError("it does not say what it holds")
        meta = parse_json(stored[_META].tobytes())
        if not isinstance(meta, dict):
            raise ValueError("what is noted of it is not what was noted")
        arrays = {}
        for name, (*kind, file) in parse_json(stored[_ARRAYS].tobytes()).items():
            array = stored.get(_ARRAY + name) if file is None else self.files.open(file)
            if array is None or _kind(array) != tuple(kind):
                raise ValueError(f"{name} is not the array that was put there")
            arrays[name] = array
        return arrays, meta

    def kept(self, prefix: str) -> list[str]:
        """The stages whose names begin so, in order."""
        return sorted(path.stem for path in self._folder.glob(f"{prefix}*.npz"))

    def remove(self, stage: str) -> None:
        """Forget a stage."""
        self._path(stage).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove everything; mapped arrays that are still looked at stay readable."""
        if self._folder.is_symlink():
            self._folder.unlink()  # What it leads to is none of ours.
        shutil.rmtree(self._folder, ignore_errors=True)
        self.files = MappedFiles(self._folder, prepare=self._begin)

    def remove_files(self) -> None:
        """Remove the mapped arrays, and the folder if no stage is kept in it."""
        if self.kept(""):
            self.files.remove()
        else:
            self.clear()

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._stored_key() == self._key:
            return
        path = self._folder / _KEY_FILE
        part = path.with_suffix(".part")
        try:
            part.unlink(missing_ok=True)  # A link would be written through.
            part.write_text(self._key, encoding="utf-8")
            # Whole or as it was: with half a key the next run would remove every stage.
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _path(self, stage: str) -> Path:
        return self._folder / f"{stage}.npz"

    def _stored_key(self) -> str:
        try:
            return (self._folder / _KEY_FILE).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""


def fingerprint(source: Source, options: Options) -> str:
    """Tell inputs and options apart: hex digest that changes when the result would.

    It covers every file of the source and the user's poses, masks, depth maps, weights and adapter
    (path, size, time of change, and the content of up to 1 MiB at both ends), the options but for
    `output`, which no stage looks at, and the version of align3r.

    Raises:
        InputError: The source cannot be read.
    """
    digest = hashlib.sha256(__version__.encode())
    stages = dataclasses.asdict(options)
    stages.pop("output")
    digest.update(json.dumps(jsonable(stages), sort_keys=True).encode())
    resolved = resolve_source(source)
    if resolved.times is not None:
        digest.update(resolved.times.tobytes())
    paths = list(resolved.paths)
    camera, network = options.camera, options.network
    for known in (camera.poses, camera.colmap, camera.calibration):
        if known is not None:
            path = Path(known).expanduser()
            paths += _files_of(find_model(path) if path.is_dir() else path)
    if options.camera.masks is not None:
        paths += images_in(Path(options.camera.masks))
    for given in (options.prior.dir, network.weights, network.adapter, options.prior.weights):
        # Weights may be the name of something that is not on this disk.
        if given is not None and Path(given).expanduser().exists():
            paths += _files_of(Path(given).expanduser())
    for path in paths:
        _add_file(digest, path)
    return digest.hexdigest()


def _bytes(values: Any) -> np.ndarray:
    """JSON as an array, which is what an archive of arrays can hold."""
    return np.frombuffer(json.dumps(values, allow_nan=False).encode(), np.uint8)


def _kind(array: np.ndarray) -> tuple[str, list[int]]:
    """What of an array has to come back as it was, as JSON knows it."""
    return array.dtype.str, list(array.shape)


def _files_of(path: Path) -> list[Path]:
    """The file, or the files of the folder."""
    try:
        return sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    except OSError as error:
        raise cannot_read(path, error) from error


def _add_file(digest: Any, path: Path) -> None:
    try:
        about = path.stat()
        with path.open("rb") as file:
            head = file.read(_CHUNK)
            file.seek(max(about.st_size - _CHUNK, 0))
            tail = file.read(_CHUNK)
    except OSError as error:
        raise cannot_read(path, error) from error
    digest.update(f"{path.resolve()}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
    digest.update(hashlib.sha256(head).digest() + hashlib.sha256(tail).digest())
