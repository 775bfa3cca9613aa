"""How well an alignment went, in two lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def health_lines(info: Mapping[str, Any]) -> list[str]:
    """Lines about the residuals and losses of a result's `info`; none where nothing was aligned."""
    residuals = info.get("residuals")
    if not residuals:
        return []
    whole = {name: _number(value) for name, value in residuals["whole"].items()}
    agree = [
        f"points agree to {_percent(whole['points'])} of the depth "
        f"({_percent(whole['inliers'], 0)} within 5 %)"
    ]
    if np.isfinite(whole["flow_px"]):
        agree.append(
            f"flow to {whole['flow_px']:.2f} px ({_percent(whole['flow_inliers'], 0)} within 1 px)"
        )
    lines = [f"alignment: {', '.join(agree)}", "  " + "; ".join(_more(residuals, info))]
    return lines + _poses(residuals.get("poses"))


def _poses(poses: Mapping[str, Any] | None) -> list[str]:
    """How far the cameras are from poses that were given."""
    if not poses or not poses["given"]:
        return []
    degrees, position = (_number(poses["median"][name]) for name in ("degrees", "position"))
    how = "kept" if poses["exact"] else "rough"
    return [
        f"  {poses['given']} given poses, {how}: {degrees:.2f} degrees and {position:.3g} of their "
        "unit away (median)"
    ]


def _more(residuals: Mapping[str, Any], info: Mapping[str, Any]) -> list[str]:
    """Scale of the path, worst pair, losses."""
    words, scale = [], _number(residuals["path_scale"])
    if np.isfinite(scale):
        roughly = "" if residuals["path_scale_from"] == "flow" else ", roughly"
        words.append(f"depth/path scale {scale:.2f}{roughly}")
    pairs = residuals["pairs"]
    misses = np.array([_number(value) for value in pairs["points"]])
    if np.isfinite(misses).any():
        worst = int(np.nanargmax(misses))
        words.append(
            f"worst pair {pairs['i'][worst]}-{pairs['j'][worst]} ({_percent(misses[worst])})"
        )
    losses = info.get("losses", {})
    if "total" in losses:
        terms = ", ".join(
            f"{name} {value:.3g}" for name, value in losses.items() if name != "total"
        )
        words.append(f"loss {losses['total']:.3g} ({terms})")
    return words


def _number(value: float | None) -> float:
    """What JSON knows as null is nan."""
    return float("nan") if value is None else float(value)


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{2 if 0 < share < 0.001 else digits}f} %"
