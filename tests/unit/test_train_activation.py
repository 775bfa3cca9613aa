"""Networks that keep less for the backward pass compute the same, under the same names."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
import torch
from adapters import make
from networks import tiny
from tiny_multiview import TINY_CUT3R, TINY_VGGT
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from align3r.models.architecture import DptSizes
from align3r.models.cut3r.network import Cut3r
from align3r.models.lora import LoraSettings
from align3r.models.pair_network import PairNetwork
from align3r.models.transformer import EncoderBlock
from align3r.models.vggt.network import Vggt
from align3r.train.activation import HEADS, checkpointed, exact_heads
from align3r.train.lora import add_adapters
from align3r.train.wrapping import wrapped

DPT = DptSizes(feature_dim=8, last_dim=4, layer_dims=(3, 4, 5, 6))
Case = tuple[nn.Module, Callable[[], Tensor]]


def drawn(network: nn.Module, size: float = 0.2) -> nn.Module:
    generator = torch.Generator().manual_seed(2)
    for parameter in network.parameters():
        parameter.data = size * torch.randn(parameter.shape, generator=generator)
    return network


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def dust3r(*, branch: bool = False, head: str = "dpt") -> Case:
    network = make(branch=branch) if head == "dpt" else drawn(PairNetwork(tiny(head=head)))
    assert isinstance(network, PairNetwork)
    first, second = images(2, 2, 3, 32, 48) * 2 - 1
    maps = (images(2, 32, 48, 3), images(2, 32, 48, 3)) if branch else None

    def loss() -> Tensor:
        answer = network((first, second), maps)
        parts = [*answer.points, *answer.confidence]
        return torch.stack([part.tanh().square().mean() for part in parts]).sum()

    return network, loss


def cut3r() -> Case:
    network = Cut3r(TINY_CUT3R)
    drawn(network)
    views = (images(3, 1, 3, 32, 48) * 2 - 1).unbind()

    def loss() -> Tensor:
        state, total = network.start(), torch.zeros(())
        for view in views:
            state, output = network.step(state, network.encode(view))
            assert output.points is not None
            for part in (output.own_points, output.own_confidence, output.points, output.camera):
                total = total + part.tanh().square().mean()
        return total

    return network, loss


def vggt() -> Case:
    network = Vggt(TINY_VGGT)
    drawn(network, 0.1)
    views = images(1, 3, 3, 42, 56)

    def loss() -> Tensor:
        answer = network(views)
        parts = (answer.depth, answer.depth_confidence, answer.points, answer.pose_encoding)
        return torch.stack([part.tanh().square().mean() for part in parts]).sum()

    return network, loss


CASES: dict[str, Callable[[], Case]] = {
    "dust3r": dust3r,
    "dust3r-linear": lambda: dust3r(head="linear"),
    "align3r": lambda: dust3r(branch=True),
    "cut3r": cut3r,
    "vggt": vggt,
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


def gradients(network: nn.Module, loss: Callable[[], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    network.zero_grad()
    value = loss()
    value.backward()
    found = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    return value.detach(), found


@pytest.mark.parametrize("adapted", [False, True])
def test_losses_and_gradients_are_the_same(case: Case, adapted: bool) -> None:
    network, loss = case
    if adapted:
        add_adapters(network, LoraSettings())
    value, expected = gradients(network, loss)
    names, modules = list(network.state_dict()), [name for name, _ in network.named_modules()]
    with checkpointed(network):
        assert list(network.state_dict()) == names
        assert [name for name, _ in network.named_modules()] == modules
        again, found = gradients(network, loss)
    assert torch.equal(again, value) and value > 0
    assert found.keys() == expected.keys() and len(found) > 3
    assert all(".lora_" in name for name in found) is adapted
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert any(gradient.abs().max() > 0 for gradient in found.values())
    # Afterwards it is the network that it was.
    assert not any("forward" in vars(module) for module in network.modules())
    assert torch.equal(gradients(network, loss)[0], value)


def test_it_keeps_less(case: Case) -> None:
    network, loss = case
    add_adapters(network, LoraSettings())

    def kept() -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        parameters = {p.untyped_storage().data_ptr() for p in network.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            value = loss()  # held, so that no memory is used twice
        found = sum(size for where, size in sizes.items() if where not in parameters)
        assert value > 0
        return found

    before = kept()
    with checkpointed(network):
        assert kept() < 0.6 * before


def test_blocks_are_computed_twice_with_gradients_and_once_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, loss = dust3r()
    calls = count()
    forward = EncoderBlock.forward

    def counted(*args: object) -> Tensor:
        next(calls)
        return forward(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(EncoderBlock, "forward", counted)
    with checkpointed(network):
        loss().backward()
        assert next(calls) == 2 * 4  # two blocks, two images, once more in the backward pass
        with torch.no_grad():
            loss()
        assert next(calls) == 2 * 4 + 1 + 4


def test_it_is_the_same_in_half_precision(case: Case) -> None:
    network, loss = case

    def half() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return loss()

    with exact_heads(network):
        value, expected = gradients(network, half)
        with checkpointed(network):
            again, found = gradients(network, half)
    assert torch.equal(again, value)
    for name, gradient in expected.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=0, atol=1e-6 + 0.02 * gradient.abs().max().item()
        )
    assert not any("forward" in vars(module) for module in network.modules())


class HalfProducts(TorchDispatchMode):
    """Counts what is computed in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        self.count += isinstance(out, Tensor) and out.dtype is torch.bfloat16
        return out


def test_heads_stay_exact_under_autocast(case: Case) -> None:
    network, loss = case
    heads = [
        (module, name)
        for module in network.modules()
        for name in HEADS.get(type(module), ())
        if name == "forward"
    ]
    assert heads

    def products() -> tuple[int, int]:
        """How many there are in the heads, and in all."""
        inside, everywhere = HalfProducts(), HalfProducts()

        def watched(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
            def watch(*args: object) -> Tensor:
                with inside:
                    return method(*args)

            return watch

        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            with wrapped(heads, watched), everywhere:
                loss()
        return inside.count, everywhere.count

    loose = products()
    with exact_heads(network):
        exact = products()
    assert loose[0] > 0 and exact[0] == 0
    assert 0 < exact[1] <= loose[1] - loose[0]


def test_wrapping_in_wrapping_ends_in_order() -> None:
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(1), layer.bias.fill_(0)
    one = torch.ones(1)

    def plus(number: float):  # type: ignore[no-untyped-def]
        return lambda method: lambda x: method(x) + number

    with wrapped([(layer, "forward")], plus(1)):
        with wrapped([(layer, "forward")], plus(10)):
            assert layer(one) == 12
        assert layer(one) == 2
    assert layer(one) == 1 and "forward" not in vars(layer)
    with pytest.raises(ZeroDivisionError), wrapped([(layer, "forward")], plus(1)):
        _ = 1 / 0
    assert layer(one) == 1
