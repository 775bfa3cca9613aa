"""`--adapter`: a pair network runs with an adapter, or words say why it does not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from adapters import make, saved_adapters
from golden_networks import hub_folder
from networks import config_of, tiny, write_folder
from safetensors.torch import load_file, save_file

from align3r.cli.main import main
from align3r.config import NetworkOptions, Options, OutputOptions
from align3r.errors import UsageError, WeightsError
from align3r.io.cache import fingerprint
from align3r.io.places import check_inputs_stay
from align3r.models.adapter_file import CONFIG, TENSORS
from align3r.models.lora import LoraSettings, Renorm
from align3r.pairwise.choice import unread_options
from align3r.pairwise.network.predictor import NetworkPredictor, RunOptions
from align3r.pairwise.predictor import PairPredictor
from align3r.pairwise.registry import check_network, make_predictor
from align3r.train.lora import add_adapters, save_adapters
from align3r.types import Frames, KnownCameras

EDGES = np.array([[0, 1], [1, 0], [2, 1]])
CLIP = str(Path(__file__).resolve().parents[2] / "examples" / "clip.mp4")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Renorm], Path]:
    return saved_adapters(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    return write_folder(folder, make().state_dict(), config_of(tiny()))


def options(weights: Path, adapter: Path | None = None) -> Options:
    named = None if adapter is None else str(adapter)
    network = NetworkOptions(weights=str(weights), adapter=named, precision="fp32")
    return Options(model="dust3r", device="cpu", network=network)


def answer(predictor: PairPredictor) -> torch.Tensor:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), dtype=np.uint8)
    frames = Frames(images, np.arange(3) / 10, np.arange(3), (48, 32), "noise")
    found = predictor.predict(frames, EDGES, known=KnownCameras())
    return torch.cat([torch.as_tensor(found.points), found.confidence[..., None]], dim=-1).float()


def test_without_an_adapter_nothing_is_adapted(weights: Path) -> None:
    plain = NetworkPredictor("tiny", make(), RunOptions(device=torch.device("cpu")))
    assert torch.equal(answer(make_predictor(options(weights))), answer(plain))


@pytest.mark.parametrize("renorm", ["none", "feature", "weight_row"])
def test_an_adapter_that_has_learned_nothing(weights: Path, renorm: Renorm, tmp_path: Path) -> None:
    network = make()
    add_adapters(network, LoraSettings(renorm=renorm))
    save_adapters(network, tmp_path / "new")
    plain = answer(make_predictor(options(weights)))
    adapted = answer(make_predictor(options(weights, tmp_path / "new")))
    torch.testing.assert_close(adapted, plain, rtol=2e-3, atol=2e-3)
    if renorm == "none":
        assert torch.equal(adapted, plain)


def test_an_adapter_gives_the_numbers_of_peft(
    weights: Path, saved: Callable[[Renorm], Path]
) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra [train]")
    merged = peft.PeftModel.from_pretrained(make(), str(saved("none"))).merge_and_unload()
    theirs = answer(NetworkPredictor("peft", merged, RunOptions(device=torch.device("cpu"))))
    own = answer(make_predictor(options(weights, saved("none"))))
    torch.testing.assert_close(own, theirs, rtol=2e-3, atol=2e-3)
    assert (own - answer(make_predictor(options(weights)))).abs().max() > 0.05


def test_another_network_is_named_before_the_work(
    weights: Path, saved: Callable[[Renorm], Path], tmp_path: Path
) -> None:
    check_network(options(weights, saved("feature")))
    larger = hub_folder("dust3r_dpt", tmp_path / "larger")
    with pytest.raises(UsageError, match=r"not for this network; layers: .* of another size"):
        check_network(options(larger, saved("feature")))
    with pytest.raises(WeightsError, match="does not exist"):
        check_network(options(weights, tmp_path / "nothing"))


def test_what_is_in_the_adapter_is_part_of_the_key(
    weights: Path, saved: Callable[[Renorm], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    for name in (CONFIG, TENSORS):
        (folder / name).write_bytes((saved("none") / name).read_bytes())
    keys = {fingerprint(CLIP, options(weights)), fingerprint(CLIP, options(weights, folder))}
    times = (folder / TENSORS).stat()
    changed = {name: tensor + 1 for name, tensor in load_file(folder / TENSORS).items()}
    save_file(changed, folder / TENSORS, {"format": "pt", "align3r_renorm": "none"})
    os.utime(folder / TENSORS, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (folder / TENSORS).stat().st_size == times.st_size
    keys.add(fingerprint(CLIP, options(weights, folder)))
    assert len(keys) == 3


def test_an_adapter_in_the_place_of_the_result_is_not_lost(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "out" / "adapter").mkdir(parents=True)
    given = Options(
        network=options(weights, tmp_path / "out" / "adapter").network,
        output=OutputOptions(overwrite=True),
    )
    with pytest.raises(UsageError, match="adapter lies in"):
        check_inputs_stay(tmp_path / "out", CLIP, given)


def test_a_model_that_takes_none_says_so() -> None:
    network = NetworkOptions(adapter="a")
    assert unread_options(Options(model="geometric", network=network)) == ["--network.adapter"]
    assert unread_options(Options(model="dust3r", network=network)) == []


def test_on_the_command_line(
    weights: Path,
    saved: Callable[[Renorm], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["reconstruct", CLIP, "-o", str(tmp_path / "out"), "--max-frames", "3"]
    words += ["--size", "96", "--model", "dust3r", "--device", "cpu", "--weights", str(weights)]
    words += ["--motion.no-enabled", "--output.no-html", "--output.no-pictures"]
    assert main([*words, "--adapter", str(tmp_path / "nothing")]) == 6
    assert "nothing does not exist" in capsys.readouterr().err
    assert main([*words, "--adapter", str(saved("feature"))]) == 0
    told = json.loads((tmp_path / "out" / "scene.json").read_text())["options"]["network"]
    assert told["adapter"] == str(saved("feature"))
