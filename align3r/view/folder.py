"""The whole result folder: data by io, pictures and scene.html by this room."""

from __future__ import annotations

from pathlib import Path

from align3r.config import OutputOptions
from align3r.io.places import output_place
from align3r.io.result import save_result
from align3r.reconstruction import Reconstruction
from align3r.view.html import write_html
from align3r.view.pictures import write_camera_plot, write_depth_video


def save(scene: Reconstruction, out: str | Path, options: OutputOptions | None = None) -> Path:
    """Write the result folder with scene.html, depth.mp4 and cameras.png, whole or not at all.

    Args:
        scene: What to save.
        out: The folder; its parents are made.
        options: What is written and how much of it; the defaults when not given.

    Returns:
        The folder.

    Raises:
        UsageError: `out` exists and overwriting is off, or it is something else than a result.
        InputError: The place cannot be written, or there is no space left.
        SolveError: A camera is none, so that nobody could load it.
    """
    options = options or OutputOptions()

    def add_html(scene: Reconstruction, folder: Path) -> None:
        write_html(scene, folder / "scene.html", min_confidence=options.min_confidence)

    def add_pictures(scene: Reconstruction, folder: Path) -> None:
        write_depth_video(scene, folder / "depth.mp4")
        write_camera_plot(scene, folder / "cameras.png")

    extras = [add_html] if options.html else []
    extras += [add_pictures] if options.pictures else []
    return save_result(
        scene,
        output_place(out),
        overwrite=options.overwrite,
        max_points=options.max_points,
        min_confidence=options.min_confidence,
        extras=extras,
    )
