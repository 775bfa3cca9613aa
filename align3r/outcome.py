"""The solution as the result that people get: source pixels, a declared unit, what it is from."""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from align3r import __version__
from align3r.config import Options
from align3r.errors import SolveError, UsageError
from align3r.geometry.cameras import intrinsic_matrix, resize_intrinsics, wrong_camera
from align3r.given import Given
from align3r.io.maps import ArrayMaps
from align3r.io.residuals import pose_residuals, residuals_info
from align3r.pairwise.needs import prior_in_metres
from align3r.reconstruction import Reconstruction, ScaleKind
from align3r.types import Frames, KnownCameras, LensCamera, PairPredictions, Solution


def check_scale(options: Options) -> None:
    """Refuse a scale that nothing which is given can have.

    Args:
        options: With the model chosen.

    Raises:
        UsageError: Metres are asked for, and nothing says what a metre is.
    """
    camera = options.camera
    if options.scale != "metric" or camera.poses is not None or prior_in_metres(options):
        return
    if camera.colmap is not None:
        raise UsageError(
            "--scale metric is asked for, and a COLMAP model has a unit of its own",
            hint="leave it out to keep the unit of the model, or give poses in metres: --poses",
        )
    raise UsageError(
        "--scale metric is asked for, and nothing that is given says what a metre is",
        hint="give poses in metres (--poses), depth maps in metres (--prior-dir DIR "
        "--prior.metric), or a metric depth network, as --prior depthpro --align.prior-weight 0.1",
    )


def as_reconstruction(
    solution: Solution, given: Given, predictions: PairPredictions, options: Options
) -> Reconstruction:
    """The result at the source size, with what it is from; how it was made, the pipeline adds.

    Raises:
        SolveError: A camera is none, or metres are asked for, and the solution has none.
    """
    frames = given.frames
    intrinsics = _intrinsics(solution, given, aspect=predictions.aspect)
    _check_cameras(solution.world_from_cam, intrinsics)
    moving = predictions.moving
    if moving is None:
        moving = np.zeros(frames.images.shape[:3], bool)
    scale = _scale(solution, given, options)
    in_metres = scale == "prior-metric" or options.scale == "metric"
    return Reconstruction(
        world_from_cam=solution.world_from_cam,
        intrinsics=intrinsics,
        times=frames.times,
        frame_index=frames.index,
        size=frames.source_size,
        maps=ArrayMaps(
            depth=solution.depth,
            confidence=solution.confidence,
            moving=moving,
            images=frames.images,
            source_size=frames.source_size,
        ),
        scale=scale,
        info={
            "source": frames.source,
            "align3r": __version__,
            "options": asdict(options),
            "losses": solution.losses,
            "scale_to_metres": 1.0 if in_metres else None,
            "lenses": lenses_info(frames.lenses),
            "shots": shots_info(frames),
            "residuals": _residuals(solution, given.known),
            "pairs": len(given.edges),
            "warnings": told(frames, predictions, solution),
        },
    )


def _intrinsics(solution: Solution, given: Given, *, aspect: float) -> np.ndarray:
    """(N, 3, 3) in source pixels; what the user knows is as it was given."""
    frames, known = given.frames, given.known.intrinsics
    working = np.stack([intrinsic_matrix(f, solution.principal_point) for f in solution.focal])
    working[:, 1, 1] /= aspect
    if known is not None:
        working = np.where(np.isnan(known), working, known)
    return resize_intrinsics(working, frames.size, frames.source_size)


def _residuals(solution: Solution, known: KnownCameras) -> dict[str, Any] | None:
    """What `info["residuals"]` holds; None where nothing was solved."""
    if solution.report is None:
        return None
    residuals = residuals_info(solution.report)
    if known.world_from_cam is not None:
        residuals["poses"] = pose_residuals(solution.world_from_cam, known)
    return residuals


def _check_cameras(world_from_cam: np.ndarray, intrinsics: np.ndarray) -> None:
    """Refuse what no reader of a result would take, before anything is saved."""
    if wrong := wrong_camera(world_from_cam, intrinsics):
        raise SolveError(
            f"the alignment of {len(intrinsics)} frames ended without cameras: {wrong}",
            hint="give the focal length with --focal, use another --align.solver, or look at "
            "--prior-dir and --weights first",
        )


def _scale(solution: Solution, given: Given, options: Options) -> ScaleKind:
    if options.scale == "relative":
        return "relative"
    if given.known.world_from_cam is not None:
        return "known-camera"
    if solution.is_metric:
        return "prior-metric"
    if options.scale == "metric":
        raise SolveError(
            f"--scale metric is asked for, and the {len(given.frames)} frames got no metres from "
            "the depth prior",
            hint="leave out --scale, or give poses in metres with --poses",
        )
    return "relative"


def lenses_info(lenses: tuple[LensCamera, ...]) -> dict[str, Any] | None:
    """What `info["lenses"]` holds; `Reconstruction.lenses` reads it back."""
    if not lenses:
        return None
    cameras = list(dict.fromkeys(lenses))
    return {
        "cameras": [
            {"model": c.model, "width": c.size[0], "height": c.size[1], "params": list(c.params)}
            for c in cameras
        ],
        "of_frame": [cameras.index(lens) for lens in lenses],
    }


def shots_info(frames: Frames) -> list[dict[str, Any]]:
    """One entry a shot: its frames in the result and in the source, and their times."""
    starts = [0, *frames.cuts, len(frames)]
    return [
        {
            "first": first,
            "last": after - 1,
            "source_first": int(frames.index[first]),
            "source_last": int(frames.index[after - 1]),
            "start": float(frames.times[first]),
            "end": float(frames.times[after - 1]),
        }
        for first, after in pairwise(starts)
    ]


def told(frames: Frames, predictions: PairPredictions, solution: Solution) -> list[str]:
    """What a person should know of this run, the causes and not what follows from them."""
    seen = list(predictions.warnings)
    if frames.cuts:
        places = [f"{k} ({frames.times[k]:.2f} s)" for k in frames.cuts]
        shown = ", ".join(places[:5]) + (", ..." if len(places) > 5 else "")
        cut = (
            f"the video is cut before frame {shown}: its {len(places) + 1} parts have nothing in "
            "common and could not be joined, their relative place and scale mean nothing; "
            "--split-shots makes a result of each"
        )
        return [cut, *(line for line in seen if not line.startswith("the video is cut"))]
    # A cut or blank frames, of which the predictor has told, explain what the report finds.
    return seen or list(solution.report.warnings if solution.report else ())
