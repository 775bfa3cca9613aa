"""CUT3R's laws: memory that does not grow, batches whose items do not meet, files of trainings."""

from __future__ import annotations

import gc
import shutil
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tiny_multiview import TINY_CUT3R
from torch import Tensor

from align3r.errors import WeightsError
from align3r.geometry.rigid import inverse_rigid
from align3r.models.catalogue import CATALOGUE
from align3r.models.checkpoint import read_checkpoint
from align3r.models.constructor import parse_constructor
from align3r.models.cut3r.network import Cut3r
from align3r.models.cut3r.scene import anchored, camera_pose, see_view
from align3r.models.cut3r.values import Cut3rOutput
from align3r.models.verify import verify
from align3r.models.weights import is_available, locate

HERE = Path(__file__).parents[1] / "golden" / "multiview"
TINY = replace(TINY_CUT3R, enc_depth=1)


@pytest.fixture(scope="module")
def network() -> Cut3r:
    torch.manual_seed(0)
    network = Cut3r(TINY).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.2)
    return network


def pictures(n: int, *, batch: int = 1, size: tuple[int, int] = (32, 48)) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(n):
        yield torch.rand((batch, 3, *size), generator=generator) * 2 - 1


# Memory


def held_bytes() -> int:
    """Memory of all tensors that anything still knows."""
    gc.collect()
    storages = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
        for t in gc.get_objects()
        if type(t) is Tensor or type(t) is torch.nn.Parameter
    }
    return sum(storages.values())


def test_memory_does_not_grow(network: Cut3r) -> None:
    outputs = network.stream(pictures(40))
    # To look through everything that Python knows takes its time.
    held = [held_bytes() for k, _ in enumerate(outputs) if k in (2, 10, 39)]
    assert held[0] > 0 and held == [held[0]] * 3


def test_frames_are_taken_when_they_are_due_and_forgotten(network: Cut3r) -> None:
    alive: list[weakref.ref[Tensor]] = []

    def watched() -> Iterator[Tensor]:
        for image in pictures(6):
            fresh = image.clone()
            alive.append(weakref.ref(fresh))
            yield fresh
            del fresh

    outputs = network.stream(watched())
    assert not alive
    for k, output in enumerate(outputs, start=1):
        assert len(alive) == k
        del output
        assert sum(ref() is not None for ref in alive) <= 1


def test_a_stream_keeps_no_gradients_and_leaves_their_mode_alone(network: Cut3r) -> None:
    for output in network.stream(pictures(2)):
        assert not output.points.requires_grad
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_a_step_can_be_trained(network: Cut3r) -> None:
    first, second = (network.encode(image) for image in pictures(2))
    state, _ = network.step(network.start(), first)
    _, output = network.step(state, second)
    output.own_points.mean().backward()
    assert network.pose_token.grad is not None and network.pose_token.grad.any()
    network.zero_grad(set_to_none=True)


# The state


@torch.no_grad()
def test_the_size_of_the_state_does_not_depend_on_the_frames(network: Cut3r) -> None:
    state = network.start()
    shapes = state.tokens.shape, state.memory.shape
    for size in ((32, 48), (64, 16), (16, 16)):
        (image,) = pictures(1, size=size)
        state, output = network.step(state, network.encode(image))
        assert output.own_confidence.shape == (1, *size)
        assert (state.tokens.shape, state.memory.shape) == shapes


@torch.no_grad()
def test_items_of_a_batch_have_flags_of_their_own(network: Cut3r) -> None:
    """One video learns from its second frame, one does not, one begins anew after it."""
    update, reset = torch.tensor([True, False, True]), torch.tensor([False, False, True])
    views = list(pictures(3, batch=3))
    state = network.start(3)
    for k, image in enumerate(views):
        flags = {"update": update, "reset": reset} if k == 1 else {}
        state, together = network.step(state, network.encode(image), **flags)
    for item in range(3):
        alone = network.start()
        for k, image in enumerate(views):
            flags = {"update": update[item : item + 1], "reset": reset[item : item + 1]}
            view = network.encode(image[item : item + 1])
            alone, output = network.step(alone, view, **(flags if k == 1 else {}))
        for name in ("own_points", "own_confidence", "points", "confidence", "camera"):
            torch.testing.assert_close(
                getattr(together, name)[item], getattr(output, name)[0], rtol=1e-4, atol=1e-5
            )
        torch.testing.assert_close(state.tokens[item], alone.tokens[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_step_changes_no_state_but_its_own(network: Cut3r) -> None:
    before = network.start()
    kept = before.tokens.clone(), before.memory.clone()
    (image,) = pictures(1)
    after, _ = network.step(before, network.encode(image))
    assert torch.equal(before.tokens, kept[0]) and torch.equal(before.memory, kept[1])
    assert not torch.equal(after.tokens, kept[0]) and not torch.equal(after.memory, kept[1])


@torch.no_grad()
def test_what_is_not_asked_for_is_not_computed(network: Cut3r) -> None:
    (image,) = pictures(1)
    (short,), (whole,) = (network.stream([image], with_points=asked) for asked in (False, True))
    assert torch.equal(short.own_points, whole.own_points)
    assert torch.equal(short.camera, whole.camera)
    assert short.points is None and short.confidence is None and whole.colours is None
    assert see_view(short).points.shape == (1, 32, 48, 3)
    with pytest.raises(ValueError, match="without points in the first camera"):
        see_view(short, points_from="head")


def test_views_that_cannot_be(network: Cut3r) -> None:
    (image,) = pictures(1)
    with pytest.raises(ValueError, match="an image, a ray map, or both"):
        network.encode()
    with pytest.raises(ValueError, match="of the same size"):
        network.encode(image, torch.zeros(1, 48, 32, 6))
    with pytest.raises(ValueError, match="48x40 has no whole patches of 16"):
        network.encode(torch.zeros(1, 3, 40, 48))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_half_precision_stays_near(dtype: torch.dtype, bound: float) -> None:
    torch.manual_seed(0)
    network = Cut3r(TINY).eval()
    wanted = list(network.stream(pictures(3)))
    network.in_precision(blocks=dtype, heads=dtype)
    assert network.enc_blocks[0].mlp.fc1.weight.dtype is dtype  # type: ignore[union-attr]
    for output, exact in zip(network.stream(pictures(3)), wanted, strict=True):
        for name in ("own_points", "points", "camera"):
            found, reference = getattr(output, name), getattr(exact, name)
            assert found.dtype is torch.float32
            assert 0 < (found - reference).norm() < bound * reference.norm()


# Our conventions


def an_output(camera: list[float]) -> Cut3rOutput:
    """A plane at depth 4 seen by a camera of focal length 40."""
    v, u = torch.meshgrid(torch.arange(24.0) - 12, torch.arange(32.0) - 16, indexing="ij")
    own = torch.stack([u / 10, v / 10, torch.full_like(u, 4)], -1)[None]
    ones = torch.ones(1, 24, 32)
    return Cut3rOutput(own, ones * 2, own + 1, ones * 3, torch.tensor([camera]).float(), None)


def test_the_first_camera_may_be_the_identity() -> None:
    half = 0.5**0.5
    first = an_output([1, 2, 3, half, 0, half, 0])
    world_from_first = anchored(first)
    torch.testing.assert_close(see_view(first, world_from_first).world_from_cam[0], torch.eye(4))
    second = an_output([0, 0, 1, 1, 0, 0, 0])
    seen, as_it_is = see_view(second, world_from_first), see_view(second)
    torch.testing.assert_close(
        seen.world_from_cam, inverse_rigid(camera_pose(first.camera)) @ as_it_is.world_from_cam
    )


def test_points_lie_where_camera_and_depth_say() -> None:
    half = 0.5**0.5
    output = an_output([1, 2, 3, half, 0, half, 0])
    seen = see_view(output, anchored(an_output([0, -1, 0, half, half, 0, 0])))
    torch.testing.assert_close(seen.k[0, 0, 0], torch.tensor(40.0))
    v, u = torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")
    rays = torch.stack([u, v, torch.ones_like(u)], -1) @ seen.k[0].inverse().T
    own = rays * seen.depth[0, ..., None]
    pose = seen.world_from_cam[0]
    torch.testing.assert_close(seen.points[0], own @ pose[:3, :3].T + pose[:3, 3])
    assert seen.confidence.eq(2).all()


def test_the_other_head_speaks_of_the_first_camera() -> None:
    half = 0.5**0.5
    output = an_output([1, 2, 3, half, 0, half, 0])
    seen = see_view(output, points_from="head")
    torch.testing.assert_close(seen.points, output.points)
    assert seen.confidence.eq(3).all()
    assert output.points is not None
    first = an_output([0, 0, 5, 1, 0, 0, 0])
    moved = see_view(output, anchored(first), points_from="head")
    torch.testing.assert_close(moved.points, output.points - torch.tensor([0, 0, 5.0]))


def test_a_quarter_turn_to_the_right_looks_along_x() -> None:
    """Quaternions are w x y z here: about y, which points down, by 90 degrees."""
    half = 0.5**0.5
    pose = camera_pose(torch.tensor([7.0, 8, 9, half, 0, half, 0]))
    torch.testing.assert_close(pose[:3, 2], torch.tensor([1.0, 0, 0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(pose[:3, 3], torch.tensor([7.0, 8, 9]))


# Files


def test_weights_are_fetched_by_hand() -> None:
    with pytest.raises(WeightsError, match="cut3r is not on the hub") as caught:
        locate("cut3r")
    assert CATALOGUE["cut3r"].by_hand in caught.value.hint
    assert not is_available("cut3r")


def test_networks_are_told_apart_by_their_tensors(tmp_path: Path) -> None:
    """Each is asked what it makes of the file; sizes that are not known are its own complaint."""
    place = tmp_path / "model.safetensors"
    shutil.copy(HERE / "cut3r_tiny.config.json", tmp_path / "config.json")
    shutil.copy(HERE / "cut3r_tiny.safetensors", place)
    assert verify(tmp_path)[0] == "588 tensors make a CUT3R network"
    (tmp_path / "config.json").unlink()
    for name, words in (
        ("moge_v1", "holds no MoGe"),
        ("moge_v2", "holds no MoGe"),
        ("vggt", "aggregator.camera_token"),
    ):
        shutil.copy(HERE / f"{name}_tiny.safetensors", place)
        with pytest.raises(WeightsError, match=words):
            verify(place)


def test_a_config_of_omegaconf_is_read_without_it() -> None:
    """A file that torch.save and OmegaConf 2.3 wrote."""
    checkpoint = read_checkpoint(HERE / "omegaconf.pth")
    assert checkpoint.config == {
        "freeze": "encoder",
        "state_size": 768,
        "depth_mode": ("exp", -float("inf"), float("inf")),
    }
    assert torch.equal(checkpoint.state["a"], torch.ones(2))


class Hidden:
    """Asks for a call of a name that a config of OmegaConf has no use for."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1",)


def test_beside_a_config_nothing_else_is_let_in(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"model": {"a": torch.ones(1)}, "args": Hidden()}, path)
    with pytest.raises(WeightsError, match=r"asks for \S*eval when it is opened"):
        read_checkpoint(path)


@pytest.mark.parametrize("state", [{"x": 1}, {"_content": 3}, {"_content": {1: 2}}, [1], "text"])
def test_stand_ins_take_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: object
) -> None:
    """The name of a class of OmegaConf, with a state that it never has."""
    module = ModuleType("omegaconf.dictconfig")
    config = type("DictConfig", (), {"__getstate__": lambda self: state})
    config.__module__ = module.__name__
    module.DictConfig = config  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "omegaconf", ModuleType("omegaconf"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.save({"model": {"a": torch.ones(1)}, "args": config()}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth").config == {}


def test_a_constructor_may_be_given_a_config() -> None:
    assert parse_constructor("Net(NetConfig(depth=12))") == {"depth": 12}
    for text in ("Net(NetConfig(3))", "Net(A(a=1), B(b=2))", "Net(A(a=1), b=2)", "Net(A(B(a=1)))"):
        with pytest.raises(ValueError):
            parse_constructor(text)
