"""What scene.json says beyond the scene itself, checked before anything relies on its form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from align3r.io.lenses import check_lens
from align3r.types import LensCamera

_WHOLE = ("points", "inliers", "flow_px", "flow_inliers")


def wrong_section(info: dict[str, Any], *, n_frames: int, origin: str) -> str | None:
    """The name of a section that is not of the form in which align3r writes it; None: all are.

    Sections that are not there, or that nobody here reads, are fine.

    Raises:
        InputError: A lens is none.
    """
    for name, is_right in _SECTIONS.items():
        if info.get(name) is not None and not is_right(info[name]):
            return name
    lenses = info.get("lenses")
    if lenses is not None and not _are_lenses(lenses, n_frames=n_frames, origin=origin):
        return "lenses"
    return None


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_source(value: object) -> bool:
    """A path, or a list of paths."""
    paths = value if isinstance(value, list) else [value]
    return all(isinstance(path, str) for path in paths)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _are_losses(value: object) -> bool:
    return isinstance(value, dict) and all(x is None or _is_number(x) for x in value.values())


def _are_timings(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, dict)
        and isinstance(row.get("stage"), str)
        and _is_number(row.get("seconds"))
        and _is_number(row.get("peak_mb"))
        for row in value
    )


def _are_residuals(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("whole"), dict):
        return False
    numbers = [value["whole"].get(name) for name in _WHOLE] + [value.get("path_scale")]
    return all(number is None or _is_number(number) for number in numbers)


def _are_lenses(value: object, *, n_frames: int, origin: str) -> bool:
    if not isinstance(value, dict):
        return False
    cameras, of_frame = value.get("cameras"), value.get("of_frame")
    if not isinstance(cameras, list) or not isinstance(of_frame, list):
        return False
    for camera in cameras:
        if not isinstance(camera, dict) or not isinstance(camera.get("params"), list):
            return False
        width, height = camera.get("width", 0), camera.get("height", 0)
        if not (_is_side(width) and _is_side(height)):
            return False
        if not all(_is_number(number) and _is_small(number) for number in camera["params"]):
            return False
        params = tuple(map(float, camera["params"]))
        lens = LensCamera(str(camera.get("model")), (int(width), int(height)), params)
        check_lens(lens, origin=origin)
    known = range(len(cameras))
    return len(of_frame) == n_frames and all(type(k) is int and k in known for k in of_frame)


def _is_side(value: object) -> bool:
    return isinstance(value, int) and type(value) is int and _is_small(value)


def _is_small(number: float) -> bool:
    return abs(number) < 1e12


_SECTIONS: dict[str, Callable[[object], bool]] = {
    "source_path": _is_source,
    "warnings": _are_texts,
    "losses": _are_losses,
    "timings": _are_timings,
    "residuals": _are_residuals,
}
