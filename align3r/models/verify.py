"""Whether weights are what they should be: whole, of the right network, and unaltered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from align3r.errors import WeightsError
from align3r.models.checkpoint import Checkpoint, read_checkpoint
from align3r.models.cut3r.loading import fit_cut3r
from align3r.models.hub import WANTED, has_right_hash
from align3r.models.loading import fit
from align3r.models.moge.loading import fit as fit_moge
from align3r.models.vggt.loading import fit_vggt

MARKS: dict[str, tuple[str, Callable[[Checkpoint], object]]] = {
    "register_tokens.weight": ("a CUT3R", fit_cut3r),
    "aggregator.camera_token": ("a VGGT", fit_vggt),
    "backbone.cls_token": ("a MoGe", fit_moge),
    "encoder.backbone.cls_token": ("a MoGe-2", fit_moge),
}
"""By a tensor that no other network has: what it is, and what knows whether it is whole."""

OTHERS = ("depth_anything", "depth_pro", "sam2_video")
"""What `model_type` says in the config of a network that is no pair network."""


def verify(path: str | Path) -> tuple[str, ...]:
    """Check weights; only hashes need to read the files as a whole.

    Args:
        path: File or folder.

    Returns:
        What was found to be right, in words.

    Raises:
        WeightsError: What is wrong.
    """
    path = Path(path).expanduser()
    checkpoint = read_checkpoint(path)
    return _verify_network(checkpoint), _verify_hashes(path)


def _verify_network(checkpoint: Checkpoint) -> str:
    n = len(checkpoint.state)
    kind = checkpoint.config.get("model_type")
    if kind is None:
        for mark, (name, fit_marked) in MARKS.items():
            if mark in checkpoint.state:
                fit_marked(checkpoint)
                return f"{n} tensors make {name} network"
        network, _ = fit(checkpoint)
        return (
            f"{n} tensors make {'an Align3R' if network.takes_point_maps else 'a DUSt3R'} network"
        )
    if kind not in OTHERS:
        raise WeightsError(
            f"{checkpoint.path} belongs to a network of the type {kind!r}",
            hint=f"known types are {', '.join(OTHERS)}",
        )
    total = sum(tensor.numel() for tensor in checkpoint.state.values())
    return f"{n} tensors of a {kind} network, {total / 1e6:.1f} M numbers"


def _verify_hashes(path: Path) -> str:
    files = [path] if path.is_file() else [path / name for name in WANTED]
    known = {file: has_right_hash(file) for file in files if file.is_file()}
    for file, is_right in known.items():
        if is_right is False:
            raise WeightsError(
                f"{file} does not have the content that was published",
                hint=f"delete {file.resolve()} and {file}, and download again",
            )
    if not any(known.values()):
        return "no published hash to compare with"
    return "the content is the published one"
