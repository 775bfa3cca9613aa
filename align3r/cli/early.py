"""What can be refused at once: before torch is imported, and before the input is read."""

from __future__ import annotations

from pathlib import Path

from align3r.config import CameraOptions, Options
from align3r.errors import InputError, UsageError
from align3r.io.picking import check_input_options
from align3r.io.places import check_inputs_stay
from align3r.io.sources import Source, resolve_source
from align3r.io.whole import check_output


def check_given(source: Source, options: Options) -> None:
    """Refuse an input or options that no run could use.

    Raises:
        InputError: The input, or a file that the options name, is not there or cannot be read.
        UsageError: Options make no sense, or contradict each other.
    """
    is_video = resolve_source(source).is_video
    check_input_options(options.input)
    if options.camera != CameraOptions():
        from align3r.io.cameras import open_cameras  # Of the slower libraries, scipy.

        open_cameras(options.camera, is_video=is_video)
    masks = options.camera.masks
    if masks is not None and not Path(masks).exists():
        raise InputError(f"no such file or folder: {masks}", hint="check the path")
    # With a depth network as well, the options contradict each other, which comes first.
    if options.prior.dir is not None and options.prior.model in ("auto", "none"):
        from align3r.io.priors import check_maps

        check_maps(options.prior.dir)  # Even where no one would look at them.


def check_result_place(out: Path, source: Source, options: Options, *, dry_run: bool) -> None:
    """Refuse a place that cannot become the result, as the run itself would.

    Raises:
        UsageError: It is taken, or the run reads from it.
        InputError: It cannot be written.
    """
    check_inputs_stay(out, source, options)
    try:
        check_output(out, options.output.overwrite)
    except UsageError:
        if not dry_run:
            from align3r.io.leftovers import remove_leftovers

            remove_leftovers(out)  # Of a run that was killed when its result was just whole.
        raise
