"""Checkpoints become networks: exactly what is in the file, or words about what is not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import (
    KINDS,
    aliases,
    assert_holds,
    config_of,
    constructor,
    public_state,
    write_folder,
    write_pth,
)
from safetensors.torch import load_file
from torch import Tensor

from align3r.errors import WeightsError
from align3r.models.architecture import PairArchitecture
from align3r.models.loading import BRANCH, load_pair_network
from align3r.models.pair_network import PairNetwork
from align3r.models.upstream import architecture_arguments


def folder(place: Path, architecture: PairArchitecture, state: dict[str, Tensor] | None) -> Path:
    state = public_state(architecture) if state is None else state
    return write_folder(place / "weights", state, config_of(architecture))


def out(network: PairNetwork, point_maps: bool) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand((2, 1, 3, 32, 48), generator=generator) * 2 - 1
    maps = torch.rand((2, 1, 32, 48, 3), generator=generator)
    with torch.inference_mode():
        answer = network((images[0], images[1]), (maps[0], maps[1]) if point_maps else None)
    return torch.cat([*answer.points, *(c[..., None] for c in answer.confidence)], dim=-1)


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        load_pair_network(path, **options)
    assert caught.value.hint and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_hub_folders_load(kind: str, tmp_path: Path) -> None:
    architecture = KINDS[kind]
    state = public_state(architecture)
    network = load_pair_network(folder(tmp_path, architecture, state))
    assert network.architecture == architecture
    assert not network.training
    assert_holds(network, state)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("new", [True, False])
def test_pth_files_load(kind: str, new: bool, tmp_path: Path) -> None:
    architecture = KINDS[kind]
    state = public_state(architecture)
    config = config_of(architecture) | {
        "patch_embed_cls": "ManyAR_PatchEmbed",
        "landscape_only": True,
        "freeze": "encoder",
    }
    path = write_pth(tmp_path / "a.pth", state, constructor(config), new=new)
    network = load_pair_network(path)
    assert network.architecture == architecture
    assert_holds(network, state)


@pytest.mark.parametrize("keep", ["both", "first", "second"])
def test_aliases_may_be_there_or_not(keep: str, tmp_path: Path) -> None:
    state = public_state(KINDS["dust3r"])
    twice = aliases(state)
    firsts = {name for name in state if "_rn.weight" in name}
    away = {"both": set(), "first": set(twice), "second": firsts}[keep]
    kept = {name: tensor for name, tensor in state.items() if name not in away}
    path = write_pth(tmp_path / "a.pth", kept, constructor(config_of(KINDS["dust3r"])))
    assert_holds(load_pair_network(path), state)


def test_one_decoder_serves_both_streams_without_sharing(tmp_path: Path) -> None:
    state = public_state(KINDS["align3r"])
    one = {n: t for n, t in state.items() if not n.startswith("dec_blocks2.")}
    # What upstream makes of the branch's names when it looks for the bare prefix.
    one |= {
        n.replace("_pc", "2_pc", 1): t + 1 for n, t in one.items() if n.startswith("dec_blocks_pc")
    }
    network = load_pair_network(folder(tmp_path, KINDS["align3r"], one))
    for name, tensor in network.dec_blocks.state_dict().items():
        other = network.dec_blocks2.state_dict()[name]
        assert torch.equal(tensor, other)
        assert tensor.data_ptr() != other.data_ptr()


def test_leftovers_of_the_pre_training_are_passed_over(tmp_path: Path) -> None:
    state = public_state(KINDS["dust3r"])
    more = {"prediction_head.weight": torch.ones(3), "prediction_head.bias": torch.ones(3)}
    assert_holds(load_pair_network(folder(tmp_path, KINDS["dust3r"], state | more)), state)


def test_number_formats(tmp_path: Path) -> None:
    state = public_state(KINDS["dust3r"])
    half = {name: tensor.half() for name, tensor in state.items()}
    path = folder(tmp_path, KINDS["dust3r"], half)
    assert_holds(load_pair_network(path), {n: t.float() for n, t in half.items()})
    bf16 = load_pair_network(path, dtype=torch.bfloat16)
    assert {p.dtype for p in bf16.parameters()} == {torch.bfloat16}
    assert_holds(bf16, {n: t.to(torch.bfloat16) for n, t in half.items()})


def test_float32_weights_are_not_copied(tmp_path: Path) -> None:
    path = folder(tmp_path, KINDS["dust3r"], None)
    network = load_pair_network(path)
    stored = [p.untyped_storage().nbytes() for p in network.parameters()]
    # A tensor that is mapped lies in a storage that is its part of the file and no more.
    assert sum(stored) < 1.01 * (path / "model.safetensors").stat().st_size
    assert all(p.device.type == "cpu" for p in network.parameters())


@pytest.mark.parametrize("name", ["weights/model.safetensors", "a.pth"])
def test_what_is_done_to_the_network_is_not_done_to_the_file(name: str, tmp_path: Path) -> None:
    architecture = KINDS["dust3r"]
    folder(tmp_path, architecture, None)
    write_pth(tmp_path / "a.pth", public_state(architecture), constructor(config_of(architecture)))
    before = (tmp_path / name).read_bytes()
    network = load_pair_network(tmp_path / name)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert (tmp_path / name).read_bytes() == before


def test_dust3r_in_the_layout_of_align3r_answers_as_dust3r(tmp_path: Path) -> None:
    path = folder(tmp_path, KINDS["dust3r"], None)
    plain, extended = load_pair_network(path), load_pair_network(path, with_point_maps=True)
    assert extended.architecture.point_map_blocks == 8 // 2 - 2
    assert torch.equal(out(extended, True), out(plain, False))
    again = load_pair_network(path, with_point_maps=True).state_dict()
    drawn = {n: t for n, t in extended.state_dict().items() if n.startswith(BRANCH)}
    for name, tensor in drawn.items():
        assert torch.equal(again[name], tensor)  # the same on every machine
        assert not tensor.isnan().any()
        if tensor.ndim > 1 and not name.startswith("zero_convs"):
            assert tensor.std() > 0.01
    assert drawn["dec_blocks_pc.0.norm1.weight"].eq(1).all()
    assert not drawn["zero_convs.0.0.weight"].any()


def test_the_branch_can_be_left_out(tmp_path: Path) -> None:
    path = folder(tmp_path, KINDS["align3r"], None)
    assert load_pair_network(path, with_point_maps=True).takes_point_maps
    plain = load_pair_network(path, with_point_maps=False)
    assert not plain.takes_point_maps
    assert_holds(plain, public_state(KINDS["align3r"]))


def test_a_decoder_too_short_for_a_branch(tmp_path: Path) -> None:
    architecture = PairArchitecture(
        enc_embed_dim=24,
        enc_depth=1,
        enc_num_heads=3,
        dec_embed_dim=16,
        dec_depth=4,
        dec_num_heads=2,
        head_type="linear",
    )
    path = folder(tmp_path, architecture, None)
    assert "4 decoder layers, too few" in refused(path, with_point_maps=True)


def without(start: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {n: t for n, t in state.items() if not n.startswith(start)}


def flat(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: state | {name: state[name].flatten()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("enc_norm.bias"), "1 tensor missing (enc_norm.bias)"),
        (without("enc_blocks.1."), "12 tensors missing (enc_blocks.1.attn.proj.bias, "),
        (without("dec_blocks2.3.norm3"), "2 tensors missing (dec_blocks2.3.norm3.bias, "),
        (without("zero_convs.2.0"), "missing (zero_convs.2.0.bias, zero_convs.2.0.weight)"),
        (without("zero_convs.0.0"), "unknown (dec_blocks_pc.0.attn.proj.bias, "),
        (without("downstream_head1.dpt"), "missing (downstream_head1.dpt.act_postprocess.0.0.bias"),
        (lambda s: s | {"extra.weight": torch.ones(1)}, "1 tensor unknown (extra.weight)"),
        (flat("decoder_embed.weight"), "(decoder_embed.weight 384 in place of 16x24)"),
        (
            lambda s: s | {"enc_norm.bias": torch.ones(25)},
            "1 tensor of another shape (enc_norm.bias",
        ),
        (lambda s: s | {"enc_norm.bias": torch.tensor([math.nan] * 24)}, "enc_norm.bias holds nan"),
        (
            lambda s: s | {"enc_norm.bias": torch.ones(24).int()},
            "1 tensor not of real numbers (enc",
        ),
        (lambda s: {"x": torch.ones(1)}, "1 tensor unknown (x)"),
    ],
)
def test_what_does_not_fit_is_named(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], words: str, tmp_path: Path
) -> None:
    state = change(public_state(KINDS["align3r"]))
    path = folder(tmp_path, KINDS["align3r"], state)
    message = refused(path)
    assert words in message
    assert message.startswith(str(path / "model.safetensors"))
    assert len(message) < 700


def test_tiny_weights_without_a_config_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, KINDS["dust3r"], None)
    (path / "config.json").unlink()
    assert "of another shape" in refused(path / "model.safetensors")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"enc_depth": 0}, "enc_depth is 0"),
        ({"enc_depth": 2.0}, "enc_depth is 2.0"),
        ({"dec_depth": "12"}, "dec_depth is '12'"),
        ({"dec_num_heads": True}, "dec_num_heads is True"),
        ({"enc_num_heads": 5}, "enc_embed_dim 24 with enc_num_heads 5"),
        ({"pos_embed": "cosine"}, "pos_embed is 'cosine'"),
        ({"pos_embed": "RoPE-3"}, "pos_embed is '-3'"),
        ({"mlp_ratio": None}, "mlp_ratio is None"),
        ({"head_type": "catmlp+dpt"}, "head_type is 'catmlp+dpt', not dpt or linear"),
        ({"head_type": ["dpt"]}, "head_type is ['dpt']"),
        ({"depth_mode": ["exp", 0, 1]}, "points within bounds"),
        ({"depth_mode": ["log", -math.inf, math.inf]}, "depth_mode is 'log'"),
        ({"conf_mode": ["exp", 1]}, "conf_mode is ['exp', 1]"),
        ({"conf_mode": ["exp", 1, "much"]}, "conf_mode is ['exp', 1, 'much']"),
    ],
)
def test_configs_of_other_networks(changed: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = folder(tmp_path, KINDS["dust3r"], None)
    (path / "config.json").write_text(json.dumps(config_of(KINDS["dust3r"]) | changed))
    assert words in refused(path)


def test_an_empty_config_is_the_public_one() -> None:
    assert PairArchitecture(**architecture_arguments({})) == PairArchitecture()
    other = {"pos_embed": "RoPE50", "mlp_ratio": 3, "conf_mode": ["sigmoid", 0, 2]}
    given = architecture_arguments(other)
    assert given == {"rope_base": 50.0, "mlp_ratio": 3.0, "conf_mode": ("sigmoid", 0.0, 2.0)}


@pytest.mark.parametrize("name", ["dust3r_dpt", "dust3r_linear", "align3r_dpt"])
def test_tiny_networks_of_the_reference(name: str, data_root: Path, tmp_path: Path) -> None:
    """Files that upstream's own code wrote."""
    source = data_root.parent / "golden" / "networks" / f"{name}.safetensors"
    if not source.is_file():
        pytest.skip(f"no reference network at {source}")
    state = load_file(source)
    said = json.loads(source.with_suffix(".json").read_text())
    path = write_folder(tmp_path / "weights", state, said["model"])
    network = load_pair_network(path)
    assert_holds(network, state)
    counted = sum(p.numel() for p in network.parameters())
    unused = [n for n in state if n == "mask_token" or "refinenet4.resConfUnit1" in n]
    assert counted + sum(state[n].numel() for n in unused) == said["parameters"]
    branch = said["point_map_branch"]
    assert network.architecture.point_map_blocks == (branch["blocks"] if branch else 0)
    if said["dpt_head"]:
        assert network.architecture.hooks == tuple(said["dpt_head"]["hooks"])
