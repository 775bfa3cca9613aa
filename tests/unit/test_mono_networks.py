"""Depth networks of `transformers`, tiny and with random weights, against its own processors."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import cv2
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from align3r.config import PriorName, PriorOptions
from align3r.errors import MissingExtraError, UsageError, WeightsError
from align3r.mono.depth_anything import DepthAnything, input_size, prepare
from align3r.mono.depth_pro import DepthPro, in_metres
from align3r.mono.registry import DEPTH_NETWORKS, make_depth_network

SIZE = (70, 96)
"""(height, width) of the images."""
FP32: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}


def images(n: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """Smooth images with noise, each another."""
    rng = np.random.default_rng(7)
    v, u = np.mgrid[: size[0], : size[1]]
    waves = [
        np.sin(u[..., None] / (9 + i) + np.arange(3)) * np.cos(v[..., None] / 11) for i in range(n)
    ]
    noise = rng.integers(-20, 21, (n, *size, 3))
    return [
        np.clip(127 + 100 * w + x, 0, 255).astype(np.uint8)
        for w, x in zip(waves, noise, strict=True)
    ]


def vivid(network: torch.nn.Module) -> torch.nn.Module:
    """Random weights large enough for an answer that depends on the image."""
    torch.manual_seed(3)
    for weight in network.parameters():
        if weight.ndim > 1:
            torch.nn.init.xavier_normal_(weight.reshape(len(weight), -1), gain=1.0)
    return network.eval()


def save_depth_anything(folder: Path, estimates: str) -> Path:
    backbone = transformers.Dinov2Config(
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=518,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=24,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
        depth_estimation_type=estimates,
        max_depth=20 if estimates == "metric" else 1,
    )
    network = vivid(transformers.DepthAnythingForDepthEstimation(config))
    network.head.conv3.bias.data.fill_(0.5)
    network.save_pretrained(folder)
    return folder


def save_depth_pro(folder: Path, *, use_fov_model: bool) -> Path:
    part = {
        "model_type": "dinov2",
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "mlp_ratio": 2,
        "image_size": 32,
        "patch_size": 4,
    }
    config = transformers.DepthProConfig(
        patch_size=32,
        fusion_hidden_size=16,
        intermediate_hook_ids=[2, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_feature_dims=[8, 8, 8],
        merge_padding_value=1,
        use_fov_model=use_fov_model,
        **{f"{name}_model_config": dict(part) for name in ("image", "patch", "fov")},
    )
    network = vivid(transformers.DepthProForDepthEstimation(config))
    network.head.layers[-2].bias.data.fill_(0.5)
    if use_fov_model:
        network.fov_model.head.layers[-1].bias.data.fill_(55)
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("networks")
    return {
        "relative": save_depth_anything(root / "relative", "relative"),
        "metric": save_depth_anything(root / "metric", "metric"),
        "pro": save_depth_pro(root / "pro", use_fov_model=True),
        "pro_without_fov": save_depth_pro(root / "pro_without_fov", use_fov_model=False),
    }


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A folder of weights to damage."""
    return Path(shutil.copytree(folders["relative"], tmp_path / "copied"))


def depth_anything_processor() -> Any:
    """As the hub's preprocessor_config.json says; on Pillow, whichever that is called."""
    name = "DPTImageProcessorPil"
    kind = getattr(transformers, name, None) or transformers.DPTImageProcessor
    return kind(
        size={"height": 518, "width": 518},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
        resample=3,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )


@pytest.mark.parametrize(
    ("source", "fed"),
    [
        ((1920, 1080), (924, 518)),
        ((1280, 720), (924, 518)),
        ((854, 480), (924, 518)),
        ((640, 360), (518, 294)),
        ((512, 288), (518, 294)),
        ((640, 480), (686, 518)),
        ((4000, 3000), (686, 518)),
        ((1024, 436), (1218, 518)),
        ((1080, 1920), (518, 924)),
        ((4000, 40), (518, 14)),
    ],
)
def test_input_sizes_of_depth_anything(source: tuple[int, int], fed: tuple[int, int]) -> None:
    assert input_size(source) == fed


@pytest.mark.parametrize("size", [(480, 640), (1080, 1920), (200, 90), (77, 131)])
def test_depth_anything_is_fed_what_its_processor_makes(size: tuple[int, int]) -> None:
    (image,) = images(1, size)
    made = depth_anything_processor()(Image.fromarray(image), return_tensors="np").pixel_values[0]
    np.testing.assert_allclose(prepare(image), made, atol=1e-5)


@pytest.mark.parametrize("estimates", ["relative", "metric"])
def test_depth_anything_answers_what_transformers_does(
    folders: dict[str, Path], estimates: str
) -> None:
    metric = estimates == "metric"
    network = DepthAnything(folders[estimates], name="da", metric=metric, **FP32)
    assert (network.name, network.is_metric) == ("da", metric)
    assert network.kind == ("depth" if metric else "disparity")
    theirs = transformers.DepthAnythingForDepthEstimation.from_pretrained(folders[estimates])
    processor = depth_anything_processor()
    for image, ours in zip(images(2), network(images(2)), strict=True):
        with torch.inference_mode():
            fed = processor(Image.fromarray(image), return_tensors="pt")
            answer = theirs.eval()(**fed)
        truth = processor.post_process_depth_estimation(answer, [SIZE])[0]["predicted_depth"]
        assert ours.focal is None
        assert ours.values.dtype == np.float32
        assert np.ptp(ours.values) > 0.1, "the answer depends on the image"
        np.testing.assert_allclose(ours.values, truth.numpy(), rtol=1e-4, atol=1e-4)


def interpolated(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear without antialiasing, pixel centres at halves: what OpenCV calls linear."""
    return cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)


def test_depth_pro_answers_what_its_formulas_say(folders: dict[str, Path]) -> None:
    network = DepthPro(folders["pro"], name="depthpro", **FP32)
    assert (network.kind, network.is_metric, network.name) == ("depth", True, "depthpro")
    theirs = transformers.DepthProForDepthEstimation.from_pretrained(folders["pro"]).eval()
    for image, ours in zip(images(2), network(images(2)), strict=True):
        fed = interpolated((image / np.float32(255) - 0.5) / 0.5, (128, 128)).transpose(2, 0, 1)
        with torch.inference_mode():
            answer = theirs(pixel_values=torch.from_numpy(fed.copy())[None])
        fov = np.radians(float(answer.field_of_view[0]))
        focal = 0.5 * SIZE[1] / np.tan(0.5 * fov)
        inverse = interpolated(answer.predicted_depth[0].numpy() * SIZE[1] / focal, SIZE)
        assert 20 < focal < 200
        assert ours.focal == pytest.approx(focal, rel=1e-5)
        assert ours.values.dtype == np.float32
        assert np.ptp(inverse) > 0.1, "the answer depends on the image"
        np.testing.assert_allclose(1 / ours.values, inverse.clip(1e-4, 1e4), rtol=1e-4, atol=1e-4)


def test_depth_pro_answers_what_its_processor_does(folders: dict[str, Path]) -> None:
    pytest.importorskip("torchvision", reason="the processor of Depth Pro needs torchvision")
    processor = transformers.DepthProImageProcessor(size={"height": 128, "width": 128})
    theirs = transformers.DepthProForDepthEstimation.from_pretrained(folders["pro"]).eval()
    network = DepthPro(folders["pro"], name="depthpro", **FP32)
    for image, ours in zip(images(2), network(images(2)), strict=True):
        with torch.inference_mode():
            answer = theirs(**processor(Image.fromarray(image), return_tensors="pt"))
        (truth,) = processor.post_process_depth_estimation(answer, [SIZE])
        assert ours.focal == pytest.approx(float(truth["focal_length"]), rel=1e-5)
        inverse = 1 / truth["predicted_depth"].numpy()
        np.testing.assert_allclose(1 / ours.values, inverse, rtol=1e-4, atol=1e-4)


def test_depth_pro_in_metres() -> None:
    canonical = torch.tensor([0.0, 0.5, 1e6]).reshape(3, 1, 1).expand(3, 4, 4)
    depth, focal = in_metres(canonical, torch.tensor([90.0, 90.0, 60.0]), (10, 20))
    assert focal is not None
    np.testing.assert_allclose(focal, [10, 10, 10 * 3**0.5], rtol=1e-6)
    assert depth.shape == (3, 10, 20)
    np.testing.assert_allclose(depth[:, 5, 5], [1e4, 1, 1e-4], rtol=1e-6)


@pytest.mark.parametrize("fov", [-3.0, 0.0, 180.0, 300.0])
def test_absurd_fields_of_view_of_depth_pro(fov: float) -> None:
    depth, focal = in_metres(torch.ones(1, 4, 4), torch.tensor([fov]), (10, 20))
    assert focal is not None
    assert 0 < focal[0] < 2000
    assert (torch.isfinite(depth) & (depth > 0)).all()


def test_depth_pro_without_focal_length_has_no_unit(folders: dict[str, Path]) -> None:
    network = DepthPro(folders["pro_without_fov"], name="depthpro", **FP32)
    (answer,) = network(images(1))
    assert not network.is_metric
    assert answer.focal is None
    assert (answer.values > 0).all()


@pytest.mark.parametrize("name", ["depthanything-small", "depthpro"])
def test_a_batch_is_its_images(folders: dict[str, Path], name: str) -> None:
    weights = folders["pro" if name == "depthpro" else "relative"]
    network = make_depth_network(PriorOptions(weights=str(weights)), name, **FP32)
    together = network(images(3))
    for image, answer in zip(images(3), together, strict=True):
        (alone,) = network([image])
        # In what the network itself answers: depth is its inverse, which far away is rounding.
        found, wanted = (
            1 / one.values if network.kind == "depth" else one.values for one in (answer, alone)
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        assert answer.focal == pytest.approx(alone.focal)


@pytest.mark.parametrize("name", ["depthanything-small", "depthpro"])
def test_half_precision_answers_in_float32(folders: dict[str, Path], name: str) -> None:
    weights = PriorOptions(weights=str(folders["pro" if name == "depthpro" else "relative"]))
    half = {"device": torch.device("cpu"), "dtype": torch.bfloat16}
    (exact,) = make_depth_network(weights, name, **FP32)(images(1))
    (answer,) = make_depth_network(weights, name, **half)(images(1))
    assert answer.values.dtype == np.float32
    assert np.corrcoef(answer.values.ravel(), exact.values.ravel())[0, 1] > 0.9


def test_every_prior_name_has_a_network() -> None:
    assert set(DEPTH_NETWORKS) == set(get_args(PriorName)) - {"auto", "none"}
    with pytest.raises(UsageError, match="midas is no depth network"):
        make_depth_network(PriorOptions(), "midas", **FP32)


@pytest.mark.parametrize(
    ("name", "kept", "message"),
    [
        ("depthpro", "relative", "holds a network of type depth_anything, not depth_pro"),
        ("depthanything-base", "pro", "holds a network of type depth_pro, not depth_anything"),
        (
            "depthanything-metric-indoor-base",
            "relative",
            "holds a relative Depth Anything, depthanything-metric-indoor-base is metric",
        ),
        ("depthanything-large", "metric", "a metric Depth Anything, .*-large is relative"),
    ],
)
def test_folders_of_another_network(
    folders: dict[str, Path], name: str, kept: str, message: str
) -> None:
    options = PriorOptions(weights=str(folders[kept]))
    with pytest.raises(WeightsError, match=message) as caught:
        make_depth_network(options, name, **FP32)
    assert str(folders[kept]) in str(caught.value)
    assert caught.value.exit_code == 6


def replace(weights: Path, tensors: dict[str, torch.Tensor]) -> None:
    """A new file: the tensors may still be mapped to the old one."""
    weights.unlink(missing_ok=True)
    save_file(tensors, weights, {"format": "pt"})


def load(folder: Path) -> DepthAnything:
    return DepthAnything(folder, name="depthanything-small", metric=False, **FP32)


def test_damaged_folders(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights, config = copied / "model.safetensors", copied / "config.json"
    whole, said = weights.read_bytes(), config.read_text()
    tensors = load_file(weights)

    def refused(message: str) -> None:
        with pytest.raises(WeightsError, match=message) as caught:
            load(copied)
        assert str(copied) in str(caught.value)

    weights.unlink()
    weights.write_bytes(whole[: len(whole) // 2])
    refused("is damaged: Error while deserializing")
    lacking = {key: value for key, value in tensors.items() if "conv1" not in key}
    replace(weights, lacking)
    refused(r"the weights in .* 2 tensors, such as head\.conv1\.bias, are missing")
    reshaped = tensors | {"head.conv1.bias": torch.zeros(77)}
    replace(weights, reshaped)
    refused("is damaged")
    weights.unlink()
    refused(r"is damaged: .*no file named model.safetensors")
    replace(weights, tensors | {"spare": torch.zeros(2)})
    with caplog.at_level(logging.WARNING):
        load(copied)
    assert "spare is of no use" in caplog.text
    config.write_text(said[:40])
    refused(r"no network with a config\.json")
    config.write_text(json.dumps({"layers": 3}))
    refused(r"no network with a config\.json")
    config.unlink()
    refused(r"no network with a config\.json")


def test_a_file_is_no_folder(copied: Path) -> None:
    with pytest.raises(WeightsError, match="holds no network") as caught:
        load(copied / "model.safetensors")
    assert "a folder with config.json and model.safetensors" in caught.value.hint


def test_weights_without_the_parameter_that_only_training_uses(copied: Path) -> None:
    tensors = load_file(copied / "model.safetensors")
    kept = {key: value for key, value in tensors.items() if not key.endswith("mask_token")}
    assert len(kept) == len(tensors) - 1
    replace(copied / "model.safetensors", kept)
    assert load(copied)(images(1))[0].values.shape == SIZE


def test_relative_networks_whose_greatest_depth_is_null(copied: Path) -> None:
    (truth,) = load(copied)(images(1))
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"max_depth": None}))
    np.testing.assert_array_equal(load(copied)(images(1))[0].values, truth.values)


def test_loading_prints_nothing(copied: Path, capfd: pytest.CaptureFixture[str]) -> None:
    chatter = transformers.utils.logging
    before = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    load(copied)
    assert capfd.readouterr() == ("", "")
    assert (chatter.get_verbosity(), chatter.is_progress_bar_enabled()) == before


def test_a_torchvision_that_does_not_fit(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one, `transformers` fails when a class is looked up."""

    class Broken(ModuleType):
        def __getattr__(self, name: str) -> Any:
            try:
                raise RuntimeError("operator torchvision::nms does not exist\nand more")
            except RuntimeError as error:
                raise ModuleNotFoundError(f"could not import module {name}") from error

    monkeypatch.setitem(sys.modules, "transformers", Broken("transformers"))
    with pytest.raises(MissingExtraError, match=r"torchvision::nms does not exist$") as caught:
        load(folders["relative"])
    assert "torchvision" in caught.value.hint
