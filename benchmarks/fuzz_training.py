"""What a training keeps and reads again, for the fuzzer to break."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

NAMES = "kept", "signed"


def write_frames(folder: Path) -> None:
    """A label of a teacher and a map of a depth network."""
    read_frames(folder, "")


def read_frames(folder: Path, name: str) -> None:
    """Take both from where they are kept; what is damaged there is made again."""
    import torch

    from align3r.train.data.values import SourceView
    from align3r.train.frame_cache import FrameCache
    from align3r.train.labels import Labels
    from align3r.train.priors import Priors
    from align3r.train.teacher import Label

    size, device = (9, 12), torch.device("cpu")
    depth = np.random.default_rng(0).uniform(1, 4, size).astype(np.float32)
    teacher = Label(depth, np.array([[50.0, 0, 5.5], [0, 50.0, 4], [0, 0, 1]]))
    network = SimpleNamespace(name="a network", values=depth)
    view = SourceView("frame", np.zeros((*size, 3), np.uint8), None, None, None)
    labels = Labels(FrameCache(folder, "teacher"), lambda: lambda image: teacher, device=device)
    priors = Priors(FrameCache(folder, "network"), lambda: lambda images: [network], device=device)
    seen = labels(priors(view))
    assert seen.label is not None and seen.prior is not None
    assert seen.label.shape == seen.prior.shape == size
    assert seen.label.dtype == seen.prior.dtype == np.float32


def write_checkpoints(folder: Path) -> None:
    """Two that are alike; the second stands for one of somebody who signs what he has changed."""
    import torch

    from align3r.train.checkpoints import Checkpoint, save_checkpoint

    tensors = {
        "model/a.weight": torch.arange(12.0).reshape(3, 4),
        "average/a.weight": torch.ones(3, 4, dtype=torch.bfloat16),
        "optimiser/step": torch.tensor(3),
    }
    state = {"epoch": 0.5, "scale": None, "random": [1, 2, 3], "best": {"loss": 0.25}}
    for name in NAMES:
        save_checkpoint(folder / name, Checkpoint(3, tensors, state), keep=1)


def read_checkpoint(folder: Path, name: str) -> None:
    """Read the checkpoint that a file belongs to."""
    from align3r.train import checkpoints

    broken = folder / name
    if name.startswith("signed/") and broken.suffix == ".safetensors":
        about = broken.with_name("checkpoint.json")
        content = json.loads(about.read_text())
        signed = json.dumps(content["state"], sort_keys=True).encode() + broken.read_bytes()
        content["sha256"] = hashlib.sha256(signed).hexdigest()
        about.write_text(json.dumps(content))
    found = checkpoints.read_checkpoint(folder / name.split("/")[0], 3)
    for tensor in found.tensors.values():
        tensor.clone()


def write_training_options(folder: Path) -> None:
    """options.json of a training, as it begins."""
    from align3r.train.options import Fin3rOptions
    from align3r.train.run_folder import open_folder

    open_folder(folder / "out", Fin3rOptions(), resume=False)


def read_training_options(folder: Path, name: str) -> None:
    """Its options, as --config takes them."""
    from align3r.cli.options_io import read_options
    from align3r.train.options import Fin3rOptions

    read_options(folder / name, Fin3rOptions)
