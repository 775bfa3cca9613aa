"""The networks at full size against the tensors of the public checkpoints, in manifests.json.

`enc_blocks.{0-23}.norm1.weight` stands for 24 tensors of one shape. The public MonST3R has the
tensors of `dust3r_512_dpt`.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from align3r.errors import WeightsError
from align3r.models.architecture import PairArchitecture
from align3r.models.catalogue import CATALOGUE
from align3r.models.checkpoint import Checkpoint
from align3r.models.loading import fit

MANIFESTS = json.loads((Path(__file__).parent / "manifests.json").read_text())
NAMES = sorted(MANIFESTS)


def tensors(name: str) -> dict[str, Tensor]:
    """Every tensor of a public checkpoint, without numbers."""
    found = {}
    for pattern, shape in MANIFESTS[name]["tensors"].items():
        start, _, rest = pattern.partition("{")
        numbers, _, end = rest.partition("}")
        first, _, last = numbers.partition("-")
        whole = range(int(first), int(last) + 1) if rest else [""]
        found |= {f"{start}{i}{end}": torch.empty(shape, device="meta") for i in whole}
    return found


def checkpoint(name: str, **config: Any) -> Checkpoint:
    given = {**MANIFESTS[name]["config"], **config}
    return Checkpoint(Path("model.safetensors"), given, tensors(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_is_whole(name: str) -> None:
    manifest = MANIFESTS[name]
    found = tensors(name)
    assert len(found) == manifest["n_keys"]
    own = (t.numel() for key, t in found.items() if key not in manifest["aliases"])
    assert sum(own) == manifest["n_parameters"]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("dust3r_512_dpt", 571_171_208),
        ("align3r_512_dpt", 603_066_248),
        ("dust3r_224_linear", 532_342_784),
    ],
)
def test_the_network_has_exactly_these_tensors(name: str, parameters: int) -> None:
    network, state = fit(checkpoint(name))
    own = {key: t.shape for key, t in network.state_dict().items()}
    assert own == {key: t.shape for key, t in state.items()}
    unused = [
        key for key in tensors(name).keys() - own.keys() if key not in MANIFESTS[name]["aliases"]
    ]
    assert all(re.search(r"^mask_token$|\.refinenet4\.resConfUnit1\.", key) for key in unused)
    left_out = sum(tensors(name)[key].numel() for key in unused)
    assert sum(p.numel() for p in network.parameters()) + left_out == parameters
    assert MANIFESTS[name]["n_parameters"] == parameters


@pytest.mark.parametrize("name", NAMES)
def test_the_sizes_are_the_defaults(name: str) -> None:
    architecture = fit(checkpoint(name))[0].architecture
    assert architecture == PairArchitecture(
        head_type="linear" if "linear" in name else "dpt",
        point_map_blocks=4 if "align3r" in name else 0,
        depth_mode=("exp", -math.inf, math.inf),
    )


@pytest.mark.parametrize("name", NAMES)
def test_without_a_config_they_are_recognised(name: str) -> None:
    nameless = Checkpoint(Path("model.safetensors"), {}, tensors(name))
    assert fit(nameless)[0].architecture == fit(checkpoint(name))[0].architecture


def test_the_catalogue_counts_the_same() -> None:
    counted = {name: MANIFESTS[name]["n_parameters"] for name in NAMES}
    assert CATALOGUE["dust3r"].parameters == counted["dust3r_512_dpt"]
    assert CATALOGUE["monst3r"].parameters == counted["dust3r_512_dpt"]
    assert CATALOGUE["align3r-depthpro"].parameters == counted["align3r_512_dpt"]
    assert CATALOGUE["align3r-depthanything"].parameters == counted["align3r_512_dpt"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("without", ["enc_norm.bias", "dec_blocks2.11.norm_y.weight"])
def test_one_tensor_less_is_noticed(name: str, without: str) -> None:
    full = checkpoint(name)
    del full.state[without]
    with pytest.raises(WeightsError, match=rf"1 tensor missing \({re.escape(without)}\)"):
        fit(full)


def test_dust3r_becomes_align3r_by_exactly_the_tensors_of_the_branch() -> None:
    network, _ = fit(checkpoint("dust3r_512_dpt"), with_point_maps=True)
    added = network.state_dict().keys() - fit(checkpoint("dust3r_512_dpt"))[1].keys()
    assert added == tensors("align3r_512_dpt").keys() - tensors("dust3r_512_dpt").keys()
    assert len(added) == 60
    assert sum(network.state_dict()[key].numel() for key in added) == 31_895_040
