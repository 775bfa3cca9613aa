"""TUM RGB-D (Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems, IROS 2012)."""

from __future__ import annotations

import re
from pathlib import Path

from align3r.datasets.files import check_sequence
from align3r.datasets.frames import Pinhole
from align3r.datasets.sequence import Sequence
from align3r.datasets.stamped import Need, Pairing, Partner, read_stamped, recordings

SIZE = (640, 480)
CAMERAS: dict[str, Pinhole] = {
    "1": (517.3, 516.5, 318.6, 255.3),
    "2": (520.9, 521.0, 325.1, 249.7),
    "3": (535.4, 539.2, 320.1, 247.6),
}
"""The colour camera by the digit after `freiburg`. Images of 1 and 2 are distorted, those of 3 are
not; depth is laid onto colour in all."""


def names(root: Path, **_: object) -> list[str]:
    """Folders with the three lists, whatever the settings of `read`."""
    return recordings(root, "*")


def read(
    root: Path,
    name: str,
    *,
    association: Partner = "greedy",
    within: float = 0.02,
    need: Need = "both",
    intrinsics: Pinhole | None = None,
) -> Sequence:
    """A sequence, its frames in order of time; stamps count from 1970.

    Args:
        root: With folders of `rgb.txt`, `depth.txt` and `groundtruth.txt`.
        name: As `rgbd_dataset_freiburg3_walking_xyz`.
        association: See `stamped.Pairing`.
        within: See `stamped.Pairing`.
        need: See `stamped.Pairing`; depth is unknown everywhere in a frame that has none.
        intrinsics: Of a camera that is none of the benchmark's.

    Raises:
        InputError: Files are missing or cannot be read, or no image has what is needed.
        UsageError: A setting does not exist, or the camera is not known.
    """
    check_sequence(name, recordings(root, "*"), root)
    digit = re.search(r"freiburg([123])", name)
    known = {SIZE: CAMERAS[digit[1]]} if digit else {}
    return read_stamped(
        root / name,
        ("tum", name),
        pairing=Pairing(association=association, within=within, need=need),
        intrinsics=(intrinsics, known),
    )
