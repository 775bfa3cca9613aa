"""Which videos a batch is about."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from align3r.errors import UsageError
from align3r.io.images import IMAGE_SUFFIXES, natural_key
from align3r.io.sources import check_no_address

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv".split()
)


def find_videos(words: Iterable[str | Path]) -> list[Path]:
    """The videos behind the words, each once, as absolute paths, in order.

    Args:
        words: Videos, folders of images (one video each), folders of videos, list files, and
            quoted patterns of these. Whether a file is there and can be read is not looked at.

    Raises:
        UsageError: There is none, or it is an image by itself.
        InputError: One is an address in the network.
    """
    words = list(words)
    for word in words:
        check_no_address(word)
    found = [path for word in words for path in _behind(Path(word).expanduser())]
    if not found:
        raise UsageError("no video is given", hint="align3r batch videos/*.mp4 -o outs")
    images = [path for path in found if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if images:
        raise UsageError(
            f"{len(images)} of {len(found)} inputs are single images, the first is {images[0]}",
            hint="give the folder of the images: it is one video",
        )
    return list(dict.fromkeys(Path(path).resolve() for path in found))


def _behind(word: Path) -> list[Path]:
    if not word.exists() and glob.has_magic(str(word)):
        matches = sorted(map(Path, glob.glob(str(word), recursive=True)), key=natural_key)  # noqa: PTH207
        if not matches:
            raise UsageError(f"the pattern {word} matches nothing", hint="check the path")
        return [path for match in matches for path in _behind(match)]
    if word.is_dir():
        inside = sorted(word.iterdir(), key=natural_key)
        videos = [path for path in inside if path.suffix.lower() in VIDEO_SUFFIXES]
        if videos and not any(path.suffix.lower() in IMAGE_SUFFIXES for path in inside):
            return videos
    return [word]
