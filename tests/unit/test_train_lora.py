"""Adapters change what they should and nothing else, and peft and this project read each other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import NAMES, RENORMS, images, make, out, saved_adapters, teach, trained
from torch import Tensor, nn

from align3r.errors import UsageError
from align3r.models.adapter_file import TENSORS, apply_adapter, read_adapter
from align3r.models.architecture import Cut3rArchitecture, PairArchitecture
from align3r.models.cut3r.network import Cut3r
from align3r.models.lora import (
    ENCODER_QKV,
    LoraSettings,
    Renorm,
    adapted_layers,
    keep_feature_norms,
    keep_weight_norm,
    merge,
)
from align3r.models.pair_network import PairNetwork
from align3r.models.vggt.architecture import VggtArchitecture
from align3r.models.vggt.network import Vggt
from align3r.train.lora import (
    add_adapters,
    frozen_digest,
    resume_adapters,
    save_adapters,
    trained_parameters,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Renorm], Path]:
    return saved_adapters(tmp_path_factory.mktemp("adapters"))


@pytest.mark.parametrize("branch", [False, True])
def test_only_the_encoders_attention_is_adapted_and_trained(branch: bool) -> None:
    network = make(branch=branch)
    before = dict(network.state_dict())
    add_adapters(network, LoraSettings())
    assert [name for name, _ in adapted_layers(network)] == NAMES
    trained = trained_parameters(network)
    assert list(trained) == [f"{n}.lora_{f}.weight" for n in NAMES for f in "AB"]
    assert sum(value.numel() for value in trained.values()) == 2 * (8 * 24 + 72 * 8)
    after = network.state_dict()
    assert set(after) - set(before) == set(trained)
    assert all(after[name].data_ptr() == tensor.data_ptr() for name, tensor in before.items())


@pytest.mark.parametrize(
    ("make_network", "prefix"),
    [
        (lambda: PairNetwork(PairArchitecture()), "enc_blocks"),
        (lambda: PairNetwork(PairArchitecture(point_map_blocks=4)), "enc_blocks"),
        (lambda: Cut3r(Cut3rArchitecture()), "enc_blocks"),
        (lambda: Vggt(VggtArchitecture()), "aggregator.patch_embed.blocks"),
    ],
    ids=["dust3r", "align3r", "cut3r", "vggt"],
)
def test_the_published_networks_get_as_many_numbers_as_the_paper_says(
    make_network: Callable[[], nn.Module], prefix: str
) -> None:
    with torch.device("meta"):
        network = make_network()
    add_adapters(network, LoraSettings())
    names = [name for name, _ in adapted_layers(network)]
    assert names == [f"{prefix}.{k}.attn.qkv" for k in range(24)]
    assert sum(value.numel() for value in trained_parameters(network).values()) == 786_432


@pytest.mark.parametrize("renorm", RENORMS)
def test_a_new_adapter_changes_nothing(renorm: Renorm) -> None:
    network, plain = make(), out(make())
    add_adapters(network, LoraSettings(renorm=renorm))
    torch.testing.assert_close(out(network), plain, rtol=1e-4, atol=1e-5)
    if renorm == "none":
        assert torch.equal(out(network), plain)


@pytest.mark.parametrize("renorm", RENORMS)
def test_training_leaves_the_rest_as_it_was_bit_for_bit(renorm: Renorm) -> None:
    network = make()
    whole = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    digest = frozen_digest(network)
    add_adapters(network, LoraSettings(renorm=renorm))
    assert frozen_digest(network) == digest
    teach(network)
    assert frozen_digest(network) == digest
    state = network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in whole.items())
    assert all(value.abs().max() > 0.01 for value in trained_parameters(network).values())
    assert not torch.allclose(out(network), out(make()), rtol=1e-3)
    with torch.no_grad():
        network.dec_norm.bias[0] += 1e-6
    assert frozen_digest(network) != digest


def test_the_same_seed_draws_the_same_numbers() -> None:
    def drawn(seed: int) -> Tensor:
        network = make()
        add_adapters(network, LoraSettings(), seed=seed)
        return trained_parameters(network)[f"{NAMES[1]}.lora_A.weight"].detach()

    assert torch.equal(drawn(3), drawn(3)) and not torch.equal(drawn(3), drawn(4))
    # Kaiming-uniform with a = sqrt(5): within 1 / sqrt(in).
    assert 0.9 < drawn(3).abs().max() * 24**0.5 <= 1


def test_adapted_features_keep_the_norms_of_queries_keys_and_values() -> None:
    base, adapted = torch.randn((2, 5, 7, 12), generator=torch.Generator().manual_seed(0))
    kept = keep_feature_norms(adapted, base)
    for third in (slice(0, 4), slice(4, 8), slice(8, 12)):
        torch.testing.assert_close(kept[..., third].norm(dim=-1), base[..., third].norm(dim=-1))
        # In the direction of the adapted ones.
        torch.testing.assert_close(
            torch.cosine_similarity(kept[..., third], adapted[..., third], dim=-1),
            torch.ones(5, 7),
        )


def test_gradients_pass_both_norms() -> None:
    generator = torch.Generator().manual_seed(0)
    y0, y1 = torch.randn((2, 2, 3, 6), generator=generator, dtype=torch.float64)
    y0, y1 = y0.requires_grad_(), y1.requires_grad_()
    assert torch.autograd.gradcheck(keep_feature_norms, (y1, y0))


def test_a_weight_of_zeros_stays_one() -> None:
    for renorm in RENORMS[1:]:
        kept = keep_weight_norm(torch.zeros(6, 4), torch.zeros(6, 4), renorm)
        assert torch.equal(kept, torch.zeros(6, 4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_adapters_in_half_precision_stay_near(dtype: torch.dtype) -> None:
    layer = dict(adapted_layers(trained()))[NAMES[0]]
    x = torch.randn((1, 6, 24), generator=torch.Generator().manual_seed(0))
    exact = layer(x)
    halved = layer.to(dtype)(x)
    assert halved.dtype is dtype
    error = (halved.float() - exact).norm() / exact.norm()
    assert error < (0.02 if dtype is torch.bfloat16 else 0.003)


def test_adapters_are_halved_with_their_network(saved: Callable[[Renorm], Path]) -> None:
    network = make()
    apply_adapter(network, saved("feature"))
    network.in_precision(blocks=torch.bfloat16, heads=torch.float32)
    assert {p.dtype for p in network.enc_blocks[0].attn.parameters()} == {torch.bfloat16}
    network(images())


@pytest.mark.parametrize("renorm", [r for r in RENORMS if r != "feature"])
def test_merged_adapters_compute_the_same(renorm: Renorm) -> None:
    network = trained(renorm)
    adapted = out(network)
    merge(network)
    assert not list(adapted_layers(network))
    assert set(network.state_dict()) == set(make().state_dict())
    torch.testing.assert_close(out(network), adapted, rtol=1e-4, atol=1e-5)


def test_what_depends_on_the_input_is_not_merged() -> None:
    network = trained("feature")
    before = out(network)
    with pytest.raises(UsageError, match="cannot be merged"):
        merge(network)
    assert torch.equal(out(network), before)


@pytest.mark.parametrize("renorm", RENORMS)
def test_what_is_written_is_read(renorm: Renorm, saved: Callable[[Renorm], Path]) -> None:
    expected = out(trained(renorm))
    used = make()
    apply_adapter(used, saved(renorm))
    torch.testing.assert_close(out(used), expected, rtol=1e-4, atol=1e-5)
    assert bool(list(adapted_layers(used))) == (renorm == "feature")
    resumed = make()
    assert resume_adapters(resumed, saved(renorm)) == LoraSettings(rank=4, alpha=6.0, renorm=renorm)
    assert torch.equal(out(resumed), expected)
    assert len(trained_parameters(resumed)) == 4


def test_training_goes_on_where_it_was(saved: Callable[[Renorm], Path], tmp_path: Path) -> None:
    network = make()
    resume_adapters(network, saved("feature"))
    digest = frozen_digest(network)
    teach(network)
    assert frozen_digest(network) == digest == frozen_digest(make())
    save_adapters(network, tmp_path / "more")
    old, new = (read_adapter(place).factors for place in (saved("feature"), tmp_path / "more"))
    assert list(old) == list(new) == NAMES
    assert not torch.equal(old[NAMES[0]][0], new[NAMES[0]][0])


# What peft makes of the same numbers.


def test_peft_reads_what_is_written(saved: Callable[[Renorm], Path]) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra [train]")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of entries that peft does not know
        wrapped = peft.PeftModel.from_pretrained(make(), str(saved("none")))
    own = make()
    apply_adapter(own, saved("none"))
    assert (out(own) - out(make())).abs().max() > 0.01
    torch.testing.assert_close(out(own), out(wrapped), rtol=1e-4, atol=1e-5)
    # Which passes over a re-normalisation that it does not know.
    over = peft.PeftModel.from_pretrained(make(), str(saved("feature")))
    own = make()
    apply_adapter(own, saved("feature"))
    assert not torch.allclose(out(own), out(over), rtol=1e-3)


def peft_network(**more: Any) -> Any:
    peft = pytest.importorskip("peft", reason="needs the extra [train]")
    config = peft.LoraConfig(**({"r": 4, "lora_alpha": 6, "target_modules": ENCODER_QKV} | more))
    torch.manual_seed(5)
    wrapped = peft.get_peft_model(make(), config)
    for name, value in wrapped.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(value, std=0.1)
    return wrapped.eval()


def test_what_peft_writes_is_read(tmp_path: Path) -> None:
    wrapped = peft_network(lora_dropout=0.1)
    wrapped.save_pretrained(tmp_path / "peft")
    own = make()
    apply_adapter(own, tmp_path / "peft")
    assert (out(own) - out(make())).abs().max() > 0.01
    torch.testing.assert_close(out(own), out(wrapped), rtol=1e-4, atol=1e-5)
    resumed = make()
    resume_adapters(resumed, tmp_path / "peft" / TENSORS)
    torch.testing.assert_close(out(resumed), out(wrapped), rtol=1e-6, atol=1e-6)
    assert set(trained_parameters(resumed)) == {
        name.removeprefix("base_model.model.").replace(".default", "")
        for name, value in wrapped.named_parameters()
        if value.requires_grad
    }


def test_rows_that_keep_their_norms_are_peft_dora_with_frozen_magnitudes() -> None:
    wrapped = peft_network(use_dora=True)
    own = make()
    add_adapters(own, LoraSettings(rank=4, alpha=6.0, renorm="weight_row"))
    state = wrapped.state_dict()
    with torch.no_grad():
        for name, value in trained_parameters(own).items():
            value.copy_(state[f"base_model.model.{name.removesuffix('.weight')}.default.weight"])
    torch.testing.assert_close(out(own), out(wrapped), rtol=1e-4, atol=1e-5)
