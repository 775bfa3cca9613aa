"""PNG images of labels: the number behind each pixel, whatever colour a palette gives it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from align3r.errors import InputError
from align3r.io.files import check_pixels, read_bytes
from align3r.io.image_header import check_content, declared_size

_SIGNATURE = b"\x89PNG"


def read_labels(path: Path) -> np.ndarray:
    """(H, W) uint8 indices of a PNG with a palette, or levels of a grey one.

    Raises:
        InputError: The file is missing, damaged, too large, or an image of another kind.
    """
    data = read_bytes(path)
    try:
        if not data.startswith(_SIGNATURE):
            raise ValueError("it is no PNG")
        check_pixels(path, declared_size(data))
        check_content(data)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.mode not in ("P", "L"):
                raise ValueError(f"its pixels are {image.mode}, not indices into a palette")
            return np.array(image, np.uint8)
    except InputError:
        raise
    except Exception as error:  # Pillow reports damage by whatever class comes to hand
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{path} is no image of labels: {reason}",
            hint="wanted: a PNG with a palette, or grey of 8 bits",
        ) from error
