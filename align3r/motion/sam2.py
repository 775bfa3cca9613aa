"""Outlines of moving things followed through the video by SAM 2 (Ravi et al., ICLR 2025)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from align3r.models.pretrained import load_pretrained

Follow = Callable[[np.ndarray, Mapping[int, np.ndarray]], Iterator[tuple[int, np.ndarray]]]
"""Called with images and the (h, w) masks of some of them; answers for all the others."""

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_OBJECT = 1
_PROMPTS = 4
"""Prompted frames that a frame is compared with, the nearest ones: half before, half after."""
_WINDOW = 64
"""Frames that are kept in memory, about 20 MB each."""
_LEAD_IN = 8
"""Frames that two windows share: more than the six without a prompt that SAM 2 looks back to."""


def refine_masks(
    images: np.ndarray,
    moving: np.ndarray,
    follow: Follow,
    *,
    on_frame: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Add to each frame's mask what the masks of other frames become when they are followed.

    As MonST3R does (Zhang et al., ICLR 2025): the masks of the odd frames are followed into the
    even ones, and the other way round; nothing is taken away. A frame in which nothing moves says
    nothing about the others: what moves in those may stand still in this one.

    Args:
        images: (N, h, w, 3) uint8 RGB.
        moving: (N, h, w) bool, True = moving.
        follow: `Sam2`, or what else follows masks.
        on_frame: Called with (done, total) followed frames.

    Returns:
        (N, h, w) bool, a new array; True wherever `moving` is.
    """
    refined = moving.copy()
    count = len(moving)
    ways = [(range(parity, count, 2), range(1 - parity, count, 2)) for parity in (1, 0)]
    prompts = [{k: moving[k] for k in told if moving[k].any()} for told, _ in ways]
    total = sum(len(asked) for (_, asked), given in zip(ways, prompts, strict=True) if given)
    done = 0
    for (_, asked), given in zip(ways, prompts, strict=True):
        if not given or not asked:
            continue
        for k, mask in follow(images, given):
            if k in asked:
                refined[k] |= mask
                done += 1
                if on_frame is not None:
                    on_frame(done, total)
    return refined


class Sam2:
    """SAM 2 for video, of any size; all that moves is one thing to it."""

    def __init__(
        self, folder: Path, *, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        """Load the network.

        Args:
            folder: With config.json and model.safetensors.
            device: Where to compute.
            dtype: Number format of the network.

        Raises:
            WeightsError: The folder is damaged, or holds another network.
            MissingExtraError: The installed `transformers` does not have SAM 2 for video.
        """
        # Points, which nobody gives, are what the prompt encoder's positions are for.
        self._network = load_pretrained(
            folder,
            "Sam2VideoModel",
            device=device,
            dtype=dtype,
            unused=r"^prompt_encoder\.shared_embedding\.",
        )
        # By default all that were ever given: more and more work for each frame.
        self._network.config.max_cond_frame_num = _PROMPTS
        self._device, self._dtype = device, dtype
        self._side = int(self._network.config.image_size)

    def __call__(
        self, images: np.ndarray, prompts: Mapping[int, np.ndarray]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Follow the masks of some frames through all the others.

        Args:
            images: (N, h, w, 3) uint8 RGB.
            prompts: (h, w) bool masks by frame.

        Yields:
            Each frame without a prompt, in any order, and its (h, w) bool mask.
        """
        for frames, first_asked in _windows(len(images)):
            given = {k: prompts[k] for k in frames if k in prompts}
            for k, mask in self._follow(images, frames, given):
                if k >= first_asked:
                    yield k, mask

    @torch.inference_mode()
    def _follow(
        self, images: np.ndarray, frames: range, prompts: Mapping[int, np.ndarray]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """All frames of a window that have no prompt, and their masks."""
        start, shape = frames.start, images.shape[1:3]
        if not prompts:
            yield from ((k, np.zeros(shape, bool)) for k in frames)
            return
        session = self._session(images[start : frames.stop])
        for k, mask in prompts.items():
            self._prompt(session, k - start, mask)
        first = min(prompts)
        onward = [(k, False) for k in range(first, frames.stop)]
        back = [(k, True) for k in range(first - 1, start - 1, -1)]
        for k, reverse in onward + back:
            if k in prompts:
                continue
            found = self._network(inference_session=session, frame_idx=k - start, reverse=reverse)
            # Logits, on a quarter of the network's pixels on each axis.
            logits = interpolate(found.pred_masks.float(), shape, mode="bilinear")
            yield k, (logits[0, 0] > 0).cpu().numpy()

    def _session(self, images: np.ndarray) -> Any:
        """The network's memory of a window, with one object and nothing known of it."""
        # Any: versions of transformers differ in how much of this is typed.
        transformers: Any = importlib.import_module("transformers")
        session = transformers.Sam2VideoInferenceSession(
            video=torch.stack([self._pixels(image) for image in images]),
            video_height=images.shape[1],
            video_width=images.shape[2],
            inference_device=self._device,
            inference_state_device=self._device,
            dtype=self._dtype,
        )
        session.obj_id_to_idx(_OBJECT)
        return session

    def _prompt(self, session: Any, k: int, mask: np.ndarray) -> None:
        """Tell where the object is in frame k of the session."""
        values = torch.from_numpy(mask.astype(np.float32))[None, None]
        is_object = self._resized(values) >= 0.5
        session.add_mask_inputs(session.obj_id_to_idx(_OBJECT), k, is_object.float())
        session.obj_with_new_inputs = [_OBJECT]
        self._network(inference_session=session, frame_idx=k)

    def _pixels(self, image: np.ndarray) -> Tensor:
        """(3, S, S) as the network was trained: square, whatever the image is."""
        values = torch.tensor(image, dtype=torch.float32).permute(2, 0, 1)[None] / 255
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (_MEAN, _STD))
        return ((self._resized(values) - mean) / std)[0].to(self._dtype)

    def _resized(self, values: Tensor) -> Tensor:
        side = (self._side, self._side)
        return interpolate(values, side, mode="bilinear", antialias=True)


def _windows(count: int) -> Iterator[tuple[range, int]]:
    """Frames that are looked at together, and the first of them that no window before has."""
    for start in range(0, max(count - _LEAD_IN, 1), _WINDOW - _LEAD_IN):
        frames = range(start, min(start + _WINDOW, count))
        yield frames, start + _LEAD_IN if start else 0
