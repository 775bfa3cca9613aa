"""Files of adapters: those of Fin3R's authors, and words about what is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import NAMES, make, out, released, saved_adapters, teach
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from align3r.errors import Align3rError, InputError, UsageError, WeightsError
from align3r.models.adapter_file import CONFIG, RENORM, TENSORS, apply_adapter, read_adapter
from align3r.models.lora import LoraSettings, Renorm, encoder_layers
from align3r.train.lora import add_adapters, resume_adapters, save_adapters


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Renorm], Path]:
    return saved_adapters(tmp_path_factory.mktemp("adapters"))


def refused(path: Path, network: nn.Module | None = None) -> Align3rError:
    with pytest.raises(Align3rError) as caught:
        apply_adapter(network or make(), path)
    assert caught.value.hint and "\n" not in str(caught.value)
    return caught.value


def edited(place: Path, source: Path, **config: Any) -> Path:
    place.mkdir()
    (place / TENSORS).write_bytes((source / TENSORS).read_bytes())
    read = json.loads((source / CONFIG).read_text())
    (place / CONFIG).write_text(json.dumps(read | config))
    return place


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"use_dora": True}, "asks for use_dora"),
        ({"rank_pattern": {"a": 2}, "use_rslora": True}, "asks for rank_pattern, use_rslora"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights pissa_niter_4"),
        ({"peft_type": "IA3"}, "of the type IA3"),
        ({"bias": "all"}, "bias all"),
        ({"r": 8}, "of rank 8, and enc_blocks.0.attn.qkv of 4 and 4"),
        ({"r": "4"}, "the rank '4'"),
        ({"r": True}, "the rank True"),
        ({"lora_alpha": None}, "lora_alpha None"),
        ({"lora_alpha": -1}, "alpha -1"),
        ({"lora_alpha": 10**400}, "alpha 10000000000000000000"),
        ({"r": 10**400}, "rank 10000000000000000000 with"),
    ],
)
def test_a_config_of_something_else(
    config: dict[str, Any], said: str, saved: Callable[[Renorm], Path], tmp_path: Path
) -> None:
    error = refused(edited(tmp_path / "edited", saved("none"), **config))
    assert said in str(error) and isinstance(error, WeightsError)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {k: t for k, t in s.items() if "1.attn.qkv.lora_B" not in k}, "half an adapter"),
        (lambda s: {k: t * torch.nan for k, t in s.items()}, "no matrices of finite numbers"),
        (lambda s: {k: t[0].clone() for k, t in s.items()}, "no matrices of finite numbers"),
        (lambda s: {k: t.long() for k, t in s.items()}, "no matrices of finite numbers"),
        (lambda s: s | {"base_model.model.head.weight": torch.ones(1)}, "more than attn.qkv"),
        (lambda s: {"a": torch.ones(1)}, "holds no lora_A and lora_B of attn.qkv: a"),
        (
            lambda s: {k.replace("enc_blocks", "dec_blocks"): t for k, t in s.items()},
            "not for this network; layers: 2 not in its encoder (dec_blocks.0.attn.qkv, ",
        ),
        (
            lambda s: {k: t[:, :16].clone() if "_A" in k else t for k, t in s.items()},
            "enc_blocks.0.attn.qkv is 72x16 in place of 72x24",
        ),
    ],
)
def test_tensors_of_something_else(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    said: str,
    saved: Callable[[Renorm], Path],
    tmp_path: Path,
) -> None:
    place = edited(tmp_path / "edited", saved("none"))
    save_file(change(load_file(place / TENSORS)), place / TENSORS, {"format": "pt"})
    error = refused(place)
    assert said in str(error)
    assert isinstance(
        error, UsageError if "in its encoder" in said or " is " in said else Exception
    )


def test_files_that_are_no_adapters(saved: Callable[[Renorm], Path], tmp_path: Path) -> None:
    assert "does not exist" in str(refused(tmp_path / "nothing"))
    assert "has no adapter_config.json" in str(refused(tmp_path))
    place = edited(tmp_path / "a", saved("none"))
    (place / TENSORS).write_bytes((place / TENSORS).read_bytes()[:-10])
    assert "is cut off" in str(refused(place))
    (place / CONFIG).write_text("{")
    (place / TENSORS).write_bytes((saved("none") / TENSORS).read_bytes())
    assert "is broken" in str(refused(place))
    place = edited(tmp_path / "b", saved("none"))
    save_file(load_file(place / TENSORS), place / TENSORS, {RENORM: "weight_max"})
    assert "no re-normalisation 'weight_max'" in str(refused(place))


def test_a_network_without_such_an_encoder(saved: Callable[[Renorm], Path]) -> None:
    error = refused(saved("none"), nn.Linear(3, 3))
    assert isinstance(error, UsageError) and "a Linear has no encoder" in str(error)


def test_a_network_has_one_adapter(saved: Callable[[Renorm], Path]) -> None:
    network = make()
    add_adapters(network, LoraSettings())
    for again in (
        lambda: add_adapters(network, LoraSettings()),
        lambda: resume_adapters(network, saved("none")),
    ):
        with pytest.raises(UsageError, match="has adapters already"):
            again()


@pytest.mark.parametrize(
    "odd", [{"rank": 0}, {"alpha": 0.0}, {"alpha": float("nan")}, {"renorm": ""}]
)
def test_settings_that_make_no_sense(odd: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        LoraSettings(**odd)


def test_nothing_but_an_adapter_is_replaced(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no adapters"):
        save_adapters(make(), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    network = make()
    add_adapters(network, LoraSettings())
    save_adapters(network, tmp_path / "a")
    first = read_adapter(tmp_path / "a").factors
    teach(network)
    save_adapters(network, tmp_path / "a")
    assert not torch.equal(read_adapter(tmp_path / "a").factors[NAMES[0]][1], first[NAMES[0]][1])
    (tmp_path / "a" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else than an adapter"):
        save_adapters(network, tmp_path / "a")
    (tmp_path / "file").write_text("mine")
    with pytest.raises((UsageError, InputError)):
        save_adapters(network, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


# The files of Fin3R's authors.


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_files_of_the_authors(
    ending: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = make()
    add_adapters(network, LoraSettings())
    teach(network)
    save_adapters(network, tmp_path / "own")
    state = released(load_file(tmp_path / "own" / TENSORS))
    assert "enc_blocks.0.attn.base_model.model.qkv.lora_A.default.weight" in state
    path = tmp_path / f"mast3r_lora.{ending}"

    def write(state: dict[str, Tensor]) -> Path:
        torch.save(state, path) if ending == "pth" else save_file(state, path)
        return path

    used = make()
    apply_adapter(used, write(state))
    assert torch.equal(out(used), out(network)) and not caplog.records
    base = "enc_blocks.0.attn.base_model.model.qkv.base_layer.weight"
    apply_adapter(make(), write(state | {base: torch.ones(3)}))
    assert f"more than an adapter, left alone: {base}" in caplog.text
    part = {name: tensor for name, tensor in state.items() if ".0." not in name}
    assert "layers: 1 left out (enc_blocks.0.attn.qkv)" in str(refused(write(part)))
    assert "holds no lora_A" in str(refused(write({base: torch.ones(3)})))
    empty = {name: torch.ones(0, 24) if "_A" in name else torch.ones(72, 0) for name in state}
    assert f"{path}: an adapter of rank 0" in str(refused(write(empty)))


def test_the_layers_that_take_adapters() -> None:
    assert list(encoder_layers(make(branch=True))) == NAMES
