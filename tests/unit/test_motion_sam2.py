"""Masks followed by SAM 2: who prompts whom, and the real network with random weights."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_sam2 import tiny

from align3r.errors import MissingExtraError, WeightsError
from align3r.models.pretrained import load_pretrained
from align3r.motion import sam2
from align3r.motion.sam2 import Sam2, refine_masks

SHAPE = (60, 90)
CPU = torch.device("cpu")


def frames(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, *SHAPE, 3), np.uint8)


def masks(n: int, *, empty: tuple[int, ...] = ()) -> np.ndarray:
    """A box that is in another place in each frame."""
    moving = np.zeros((n, *SHAPE), bool)
    for k in set(range(n)) - set(empty):
        moving[k, 10:30, 4 * k : 4 * k + 20] = True
    return moving


class Follower:
    """Keeps what it was asked; every frame that it is asked for gets a row of its own."""

    def __init__(self) -> None:
        self.asked: list[dict[int, np.ndarray]] = []

    def __call__(
        self, images: np.ndarray, prompts: Mapping[int, np.ndarray]
    ) -> Iterator[tuple[int, np.ndarray]]:
        self.asked.append(dict(prompts))
        for k in sorted(set(range(len(images))) - set(prompts), reverse=True):
            mask = np.zeros(SHAPE, bool)
            mask[40 + k] = True
            yield k, mask


@pytest.mark.parametrize("n", [2, 3, 8, 9])
def test_odd_frames_prompt_the_even_ones_and_even_frames_the_odd_ones(n: int) -> None:
    moving, follower, seen = masks(n), Follower(), []
    kept = moving.copy()
    refined = refine_masks(
        frames(n), moving, follower, on_frame=lambda done, total: seen.append((done, total))
    )
    odd, even = range(1, n, 2), range(0, n, 2)
    assert [set(asked) for asked in follower.asked] == [set(odd), set(even)]
    for asked in follower.asked:
        for k, mask in asked.items():
            np.testing.assert_array_equal(mask, kept[k])
    expected = moving.copy()
    for k in range(n):
        expected[k, 40 + k] = True
    np.testing.assert_array_equal(refined, expected)
    np.testing.assert_array_equal(moving, kept)
    assert refined.dtype == bool and seen == [(k + 1, n) for k in range(n)]


def test_empty_masks_prompt_nothing_and_only_the_other_half_is_taken() -> None:
    moving, follower, seen = masks(6, empty=(0, 1, 3, 4, 5)), Follower(), []
    refined = refine_masks(
        frames(6), moving, follower, on_frame=lambda done, total: seen.append((done, total))
    )
    assert [set(asked) for asked in follower.asked] == [{2}]
    changed = [k for k in range(6) if (refined[k] != moving[k]).any()]
    assert changed == [1, 3, 5] and seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_where_nothing_moves_nobody_is_asked(n: int) -> None:
    follower = Follower()
    refined = refine_masks(frames(n), np.zeros((n, *SHAPE), bool), follower)
    assert not refined.any() and follower.asked == []


def test_a_single_frame_has_nobody_to_tell_it_more() -> None:
    follower, moving = Follower(), masks(1)
    refined = refine_masks(frames(1), moving, follower)
    np.testing.assert_array_equal(refined, moving)
    assert follower.asked == [] and refined is not moving


@pytest.mark.parametrize("count", [1, 8, 9, 63, 64, 65, 120, 121, 300])
def test_windows_cover_every_frame_once_and_share_a_lead_in(count: int) -> None:
    windows = list(sam2._windows(count))
    answered = [k for span, first in windows for k in span if k >= first]
    assert answered == list(range(count))
    assert max(len(span) for span, _ in windows) <= sam2._WINDOW
    for (before, _), (after, first) in itertools.pairwise(windows):
        assert before.stop - after.start == sam2._LEAD_IN == first - after.start


# The real network, tiny, with random weights.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sam2")
    tiny().save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def network(folder: Path) -> Sam2:
    return Sam2(folder, device=CPU)


Call = tuple[int, bool, bool, np.ndarray]
"""Frame, reverse, whether it was prompted, and what came out."""


@pytest.fixture
def calls(network: Sam2) -> Iterator[list[Call]]:
    kept: list[Call] = []

    def keep(_: Any, positional: tuple[Any, ...], given: dict[str, Any], found: Any) -> None:
        k, session = given["frame_idx"], (*positional, given.get("inference_session"))[0]
        prompted = k in session.mask_inputs_per_obj[0]
        kept.append((k, given.get("reverse", False), prompted, found.pred_masks.numpy()))

    hook = network._network.register_forward_hook(keep, with_kwargs=True)
    yield kept
    hook.remove()


def test_all_masks_are_given_before_any_is_followed_onward_and_then_back(
    network: Sam2, calls: list[Call]
) -> None:
    moving = masks(7)
    answers = dict(network(frames(7), {k: moving[k] for k in (2, 5)}))
    assert [call[:3] for call in calls] == [
        *[(2, False, True), (5, False, True)],
        *[(3, False, False), (4, False, False), (6, False, False)],
        *[(1, True, False), (0, True, False)],
    ]
    assert sorted(answers) == [0, 1, 3, 4, 6]
    assert all(mask.shape == SHAPE and mask.dtype == bool for mask in answers.values())


def test_the_masks_are_those_of_the_propagation_of_transformers(
    network: Sam2, calls: list[Call]
) -> None:
    images, prompts = frames(7), {k: masks(7)[k] for k in (2, 5)}
    list(network(images, prompts))
    ours = {k: logits for k, _, prompted, logits in calls if not prompted}
    assert set(ours) == {0, 1, 3, 4, 6}
    session = network._session(images)
    with torch.inference_mode():
        for k, mask in prompts.items():
            network._prompt(session, k, mask)
        theirs: dict[int, np.ndarray] = {}
        for reverse in (False, True):
            for found in network._network.propagate_in_video_iterator(
                session, start_frame_idx=2, reverse=reverse
            ):
                theirs[found.frame_idx] = found.pred_masks.numpy()
    assert set(theirs) == set(range(7))
    for k, logits in ours.items():
        np.testing.assert_array_equal(logits, theirs[k])


def test_a_prompt_arrives_in_its_place(network: Sam2, calls: list[Call]) -> None:
    moving = masks(3)
    list(network(frames(3), {1: moving[1]}))
    (_, _, _, logits) = next(call for call in calls if call[2])
    rows, columns = (np.arange(size) for size in logits.shape[2:])
    v = ((rows + 0.5) * SHAPE[0] / len(rows)).astype(int)
    u = ((columns + 0.5) * SHAPE[1] / len(columns)).astype(int)
    agree = (logits[0, 0] > 0) == moving[1][np.ix_(v, u)]
    assert agree.mean() > 0.97


def test_what_is_followed_depends_on_the_prompt_and_on_the_image(network: Sam2) -> None:
    images, moving = frames(3), masks(3)
    prompts = {1: moving[1]}
    with torch.no_grad():
        network._network.memory_attention.layer_norm.weight.mul_(20)
    try:
        plain = dict(network(images, prompts))
        again = dict(network(images, prompts))
        turned = dict(network(images[:, ::-1].copy(), prompts))
        moved = dict(network(images, {1: ~moving[1]}))
    finally:
        with torch.no_grad():
            network._network.memory_attention.layer_norm.weight.div_(20)
    for k in (0, 2):
        np.testing.assert_array_equal(plain[k], again[k])
    assert any((plain[k] != turned[k]).any() for k in (0, 2))
    assert any((plain[k] != moved[k]).any() for k in (0, 2))


def test_images_are_prepared_as_the_processor_of_transformers_does(network: Sam2) -> None:
    image = frames(1)[0]
    resized = torch.nn.functional.interpolate(
        torch.tensor(image).permute(2, 0, 1)[None].float(),
        (128, 128),
        mode="bilinear",
        antialias=True,
    )[0]
    pixels = network._pixels(image)
    assert pixels.shape == (3, 128, 128)
    for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        expected = (resized[channel] / 255 - mean) / std
        torch.testing.assert_close(pixels[channel], expected)


def test_the_same_pixels_come_from_the_processor_itself(network: Sam2) -> None:
    pytest.importorskip("torchvision", reason="the processor needs torchvision")
    from transformers import Sam2VideoVideoProcessor

    images = frames(2)
    processor = Sam2VideoVideoProcessor(size={"height": 128, "width": 128})
    theirs = processor(videos=[list(images)], return_tensors="pt").pixel_values_videos[0]
    ours = torch.stack([network._pixels(image) for image in images])
    # Theirs are rounded to whole grey levels after resizing.
    assert (theirs - ours).abs().max() < 1.01 / 255 / 0.224


def test_long_videos_go_in_windows(
    network: Sam2, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sam2, "_WINDOW", 6)
    monkeypatch.setattr(sam2, "_LEAD_IN", 2)
    moving = masks(12, empty=(9, 11))
    answers = [k for k, _ in network(frames(12), {k: moving[k] for k in (1, 3)})]
    assert sorted(answers) == [0, 2, *range(4, 12)] and len(set(answers)) == len(answers)
    # Windows 0-5 and 4-9 and 8-11; only the first has prompts.
    assert {call[0] for call in calls} == set(range(6))


def test_refining_with_the_network_adds_only(network: Sam2) -> None:
    moving = masks(5, empty=(3,))
    refined = refine_masks(frames(5), moving, network)
    assert refined.shape == moving.shape and refined.dtype == bool
    assert refined[moving].all() and (refined != moving).any()


def test_half_precision_works(folder: Path) -> None:
    half = Sam2(folder, device=CPU, dtype=torch.bfloat16)
    moving = masks(4)
    assert refine_masks(frames(4), moving, half)[moving].all()


# Weights.


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_weights_that_are_cut_short_are_said(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="is damaged"):
        Sam2(copy, device=CPU)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_said(copy: Path, missing: str) -> None:
    (copy / missing).unlink()
    with pytest.raises(WeightsError, match=str(copy)) as caught:
        Sam2(copy, device=CPU)
    assert "model.safetensors" in caught.value.hint


def test_another_network_is_told_by_its_type(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text()) | {"model_type": "depth_anything"}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="of type depth_anything, not sam2_video"):
        Sam2(copy, device=CPU)


def drop(folder: Path, name: str) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors.pop(name, None)  # older versions of transformers leave some out themselves
    save_file(tensors | {"extra": torch.ones(1)}, folder / "model.safetensors", {"format": "pt"})


def test_a_missing_tensor_is_said_and_not_made_up(copy: Path) -> None:
    drop(copy, "no_memory_embedding")
    with pytest.raises(WeightsError, match="no_memory_embedding is missing"):
        Sam2(copy, device=CPU)


def test_tensors_that_masks_do_not_need_may_be_missing_or_too_many(
    copy: Path, network: Sam2, caplog: pytest.LogCaptureFixture
) -> None:
    drop(copy, "prompt_encoder.shared_embedding.positional_embedding")
    without = Sam2(copy, device=CPU)
    assert "extra is of no use" in caplog.text
    images, prompts = frames(3), {1: masks(3)[1]}
    for (k, one), (same, other) in zip(
        network(images, prompts), without(images, prompts), strict=True
    ):
        assert k == same
        np.testing.assert_array_equal(one, other)


def test_an_older_transformers_is_said(folder: Path) -> None:
    with pytest.raises(MissingExtraError, match="Sam99VideoModel") as caught:
        load_pretrained(folder, "Sam99VideoModel", device=CPU, dtype=torch.float32)
    assert "update transformers" in caught.value.hint
