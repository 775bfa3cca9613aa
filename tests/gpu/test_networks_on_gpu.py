"""Networks on a GPU: the reference's numbers, and the same answers as on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_networks import CASES, arrays, hub_folder, images, point_maps

from align3r.config import PairOptions
from align3r.device import exact_convolutions
from align3r.models.loading import load_pair_network
from align3r.pairing import build_pairs
from align3r.pairwise.network.predictor import NetworkPredictor, RunOptions, batch_for
from align3r.types import Frames, KnownCameras, MonoDepth

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

GPU = "cuda"


@pytest.mark.parametrize(("name", "case"), CASES)
def test_golden_cases(tmp_path: Path, name: str, case: str) -> None:
    network = load_pair_network(hub_folder(name, tmp_path / name)).to(GPU)
    golden = arrays(name, case)
    maps = point_maps(golden)
    first, second = (image.to(GPU) for image in images(golden))
    on_gpu = None if maps is None else (maps[0].to(GPU), maps[1].to(GPU))
    with torch.inference_mode(), exact_convolutions(torch.device(GPU)):
        output = network((first, second), on_gpu)
    for view in (0, 1):
        reference = golden[f"pts3d{view + 1}"]
        found = output.points[view].cpu().numpy()
        assert (np.abs(found - reference) / np.maximum(1, np.abs(reference))).max() < 2e-5


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("batch", [0, 3])
def test_same_answers_as_on_the_cpu(tmp_path: Path, precision: torch.dtype, batch: int) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (9, 48, 64, 3), dtype=np.uint8)
    frames = Frames(pictures, np.arange(9) / 10, np.arange(9), (64, 48), "noise")
    maps = rng.random((9, 48, 64, 3), np.float32)
    mono = MonoDepth(maps[..., 2] + 0.1, maps, None, is_metric=False, name="noise")
    edges = build_pairs(9, PairOptions(group=4))
    folder = hub_folder("align3r_dpt", tmp_path / "weights")
    found = []
    for device, dtype in (("cpu", torch.float32), (GPU, precision)):
        network = load_pair_network(folder).in_precision(blocks=dtype, heads=torch.float32)
        run = RunOptions(device=torch.device(device), batch=batch, cache_bytes=200_000)
        predictor = NetworkPredictor("tiny", network.to(device), run)
        found.append(predictor.predict(frames, edges, known=KnownCameras(), mono=mono))
    on_cpu, on_gpu = (f.points.float().numpy() for f in found)
    distance = np.linalg.norm(on_gpu - on_cpu, axis=-1) / np.linalg.norm(on_cpu, axis=-1)
    # float32: every pixel within what leaving as float16 costs; a wrong frame would be far off.
    quantile, limit = {
        torch.float32: (1.0, 2e-3),
        torch.bfloat16: (0.5, 0.1),
        torch.float16: (0.5, 0.02),
    }[precision]
    assert np.quantile(distance, quantile) < limit


def test_batches_fit_the_memory() -> None:
    assert 1 <= batch_for((512, 288), torch.device(GPU)) <= 32
