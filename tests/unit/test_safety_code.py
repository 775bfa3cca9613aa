"""Nothing in a file is run, and what is damaged leaves nothing behind."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from align3r import load
from align3r.config import InputOptions, Options, OutputOptions
from align3r.errors import Align3rError, InputError, WeightsError
from align3r.evaluate import comparing
from align3r.io.arrays import read_npy, read_npz
from align3r.io.cache import StageCache
from align3r.io.png import write_jpg
from align3r.models.checkpoint import read_checkpoint
from align3r.models.pretrained import load_pretrained
from align3r.models.upstream import architecture_arguments
from align3r.pipeline import reconstruct
from align3r.reconstruction import Reconstruction
from align3r.shared_stages import SharedStages

MakeScene = Callable[..., Reconstruction]
SMALL = InputOptions(size=48)


class Harmful:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_pickles_in_arrays_are_not_opened(tmp_path: Path, make_scene: MakeScene) -> None:
    harm = tmp_path / "harm"
    evil = np.array([Harmful(harm)], dtype=object)
    np.save(tmp_path / "a.npy", evil)
    np.savez(tmp_path / "a.npz", depth=evil)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Harmful(harm)))
    for name, read in (("a.npy", read_npy), ("b.npy", read_npy)):
        with pytest.raises(ValueError, match=r"numbers|magic"):
            read(tmp_path / name)
    assert read_npz(tmp_path / "a.npz") == {}
    with pytest.raises(ValueError, match="it holds object, not numbers"):
        read_npz(tmp_path / "a.npz", ["depth"])
    out = tmp_path / "out"
    make_scene(1).save(out, options=OutputOptions(html=False, pictures=False))
    np.savez(
        out / "cameras.npz", **{name: evil for name in ("world_from_cam", "K", "time", "frame")}
    )
    with pytest.raises(InputError, match="not numbers"):
        load(out)
    assert not harm.exists()


def test_a_cache_with_pickles_is_computed_again(tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    cache = StageCache(tmp_path / "cache", "key")
    cache.put("stage", {"a": np.ones(1)}, {})
    np.savez(tmp_path / "cache" / "stage.npz", **{"array.a": np.array([Harmful(harm)], object)})
    assert cache.get("stage") is None
    assert not harm.exists()


@pytest.mark.parametrize("new", [True, False])
def test_weights_do_not_run(tmp_path: Path, new: bool) -> None:
    harm, path = tmp_path / "harm", tmp_path / "evil.pth"
    torch.save({"model": {"a": Harmful(harm)}}, path, _use_new_zipfile_serialization=new)
    with pytest.raises(WeightsError, match="when it is opened"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(Harmful(harm)))
    with pytest.raises(WeightsError, match=r"evil\.pth"):
        read_checkpoint(path)
    assert not harm.exists()


@pytest.mark.parametrize(
    "config",
    [
        {"conf_mode": ["exp", 10**400, 1]},
        {"mlp_ratio": 10**400},
        {"dec_depth": 10**30},
        {"enc_embed_dim": 10**9, "enc_num_heads": 1},
        {"pos_embed": "RoPE" + "9" * 400},
    ],
)
def test_sizes_of_a_network_that_cannot_be(config: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(config))):
        architecture_arguments(config)


def test_weights_that_grow_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(10_000)}, path)
    again = tmp_path / "b.pth"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(WeightsError, match="damaged"):
        read_checkpoint(again)
    torch.save({"a": torch.zeros(4).expand(10_000_000, 4)}, path)
    with pytest.raises(WeightsError, match=r"a tensor of 4e\+07 numbers in 16 bytes"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "wish",
    [
        {"auto_map": {"AutoModel": "code.Evil"}},
        {"attn_implementation": "someone/kernels"},
        {"backbone_config": {"_attn_implementation_internal": "someone/kernels@main:evil"}},
        {"quantization_config": {"quant_method": "other"}},
        {"backbone": "someone/weights", "use_pretrained_backbone": True},
    ],
)
def test_a_network_that_asks_for_code_or_files_of_others(
    wish: dict[str, object], tmp_path: Path
) -> None:
    config = {"model_type": "depth_anything", **wish}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="asks for") as caught:
        load_pretrained(
            tmp_path,
            "DepthAnythingForDepthEstimation",
            device=torch.device("cpu"),
            dtype=torch.float32,
        )
    assert "nothing else is fetched or run" in caught.value.hint


# Nothing is left behind


@pytest.mark.parametrize("content", [b"", b"no video", b"\x00\x00\x00\x18ftypmp42" + bytes(500)])
def test_an_input_that_is_broken_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(content)
    with pytest.raises(Align3rError):
        reconstruct(video, out=tmp_path / "results" / "out", options=Options())
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_scene_json_of_nonsense(make_scene: MakeScene, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_scene(2).save(out, options=OutputOptions(html=False, pictures=False))
    whole = json.loads((out / "scene.json").read_text())
    for key, value in {
        "n_frames": True,
        "size": [100_000, 100_000],
        "scale": ["relative"],
        "version": "A" * 100_000,
    }.items():
        (out / "scene.json").write_text(json.dumps({**whole, key: value}))
        with pytest.raises(InputError) as caught:
            load(out)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["scene.json", "cameras.npz", "depth/000001.exr"])
def test_a_finished_run_of_a_comparison_that_is_damaged_is_made_again(
    name: str,
    tmp_path: Path,
    make_clip: Callable[..., Path],
    make_scene: MakeScene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, clip = tmp_path / "work" / "depth", make_clip()
    options = Options(model="geometric", output=OutputOptions(html=False, pictures=False))
    made = []

    def quick(source: Path, *, out: Path, options: Options, **_: object) -> None:
        made.append(make_scene(2).save(out, options=options.output))

    monkeypatch.setattr(comparing.pipeline, "reconstruct", quick)
    shared = SharedStages(tmp_path / "shared")

    def run() -> Reconstruction:
        return comparing._reconstruct_once(
            clip, options, folder, shared=shared, report=lambda stage, done, total: None
        )

    run()
    run()
    assert len(made) == 1
    (folder / name).unlink()
    assert len(run()) == 2
    assert len(made) == 2
    (folder.parent / "depth.key").write_bytes(b"\xff\xfe")
    run()
    assert len(made) == 3


def test_images_of_a_result_have_one_size(make_scene: MakeScene, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_scene(3).save(out, options=OutputOptions(html=False, pictures=False))
    write_jpg(np.zeros((20, 30, 3), np.uint8), out / "images" / "000001.jpg")
    scene = load(out)
    scene.image(0)
    with pytest.raises(InputError, match=r"000001\.jpg is 30x20 pixels, other images .* 40x32"):
        scene.image(1)
    scene.image(2)
