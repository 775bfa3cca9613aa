"""Trainings from the command line: tiny networks, rendered data, and results that are used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_networks import hub_folder
from safetensors.torch import load_file

from align3r.cli.main import main
from align3r.cli.train import SORTS, used
from align3r.io.priors import PriorMap
from align3r.io.result import load
from align3r.train import priors, running
from align3r.train.data import footage, rules
from align3r.train.filling import filled
from align3r.train.ingredients import gather
from align3r.train.options import Align3rOptions, DataOptions, Fin3rOptions, TrainedPriorOptions
from align3r.train.record import read_log

Captured = pytest.CaptureFixture[str]
CLIP = str(Path(__file__).resolve().parents[2] / "examples" / "clip.mp4")
LOOP = "--loop.device cpu --loop.workers 0 --loop.precision fp32 --loop.steps 3 "
LOOP += "--loop.effective-batch 2 --loop.warmup-epochs 0.25 --loop.log-every 1 --loop.save-every 1"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder: tiny weights, and a place for small renderings."""
    here = tmp_path_factory.mktemp("world")
    for name in ("dust3r_dpt", "align3r_dpt"):
        hub_folder(name, here / name)
    (here / "films").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        small = {"seeds": range(100), "size": (72, 54), "frames": 5}
        patch.setitem(rules.RULES, "rendered", replace(rules.rule("rendered"), settings=small))  # type: ignore[arg-type]
        patch.chdir(here)
        yield here


DATA = "--data.data 8@rendered=films:desk_orbit/1 --data.sizes 48x32 32x48"
FIN3R = f"train fin3r --weights dust3r_dpt --teacher.model truth {DATA} {LOOP}"
ALIGN3R = f"train align3r --weights dust3r_dpt --prior.model truth {DATA} {LOOP}"


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_log(out / "log.jsonl") if "loss" in line]


def reconstruct(words: Sequence[str], out: Path) -> int:
    """Do what the command told to do, with a small video."""
    words = [CLIP if word == "video.mp4" else word for word in words[1:]]
    small = "--max-frames 4 --size 64 --device cpu --align.solver none --quiet --output.no-pictures"
    return main([*words, "-o", str(out), *small.split(), "--output.no-html"])


def told(shown: str) -> list[str]:
    (line,) = [line for line in shown.splitlines() if line.startswith("use it: ")]
    return line.removeprefix("use it: ").split()


def test_help_names_every_training(capsys: Captured) -> None:
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"align3r train {sort}" in shown for sort in SORTS)
    for sort in SORTS:
        assert main(["train", sort, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "--loop.learning-rate" in shown and "--dry-run" in shown


def test_fin3r_is_trained_and_its_adapter_used(world: Path, capsys: Captured) -> None:
    held_out = "--data.validation rendered=films:desk_orbit/1 --data.validation-samples 1"
    assert main([*FIN3R.split(), *held_out.split(), "-o", "fin3r"]) == 0
    shown = capsys.readouterr().out
    assert "rendered/abs_rel" in shown
    assert len(losses(world / "fin3r")) == 3
    tensors = load_file(world / "fin3r" / "result" / "adapter_model.safetensors")
    assert any(tensor.any() for name, tensor in tensors.items() if ".lora_B." in name)
    assert reconstruct(told(shown), world / "with_adapter") == 0
    assert len(load(world / "with_adapter")) == 4


def test_an_interrupted_training_goes_on_as_if_nothing_had_been(
    world: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*ALIGN3R.split(), "-o", "whole"]) == 0
    capsys.readouterr()
    true_loader = running.loader

    def interrupted(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for step, batches in true_loader(*args, **kwargs):
            if step == 1:
                os.kill(os.getpid(), signal.SIGINT)
            yield step, batches

    with monkeypatch.context() as patch:
        patch.setattr(running, "loader", interrupted)
        assert main([*ALIGN3R.split(), "-o", "parts"]) == 130
    assert "run the same command again to resume" in capsys.readouterr().err
    assert len(losses(world / "parts")) == 2
    assert not (world / "parts" / "result").exists()
    assert main([*ALIGN3R.split(), "-o", "parts", "--dry-run"]) == 0
    assert "to go on after step 2" in capsys.readouterr().out
    assert main([*ALIGN3R.split(), "-o", "parts"]) == 0
    assert losses(world / "parts") == losses(world / "whole")
    for name in ("config.json", "model.safetensors"):
        parts, whole = (world / out / "result" / name for out in ("parts", "whole"))
        assert parts.read_bytes() == whole.read_bytes()


def test_a_trained_align3r_is_a_model(world: Path, capsys: Captured) -> None:
    assert main([*ALIGN3R.split(), "-o", "model", "--loop.steps", "2"]) == 0
    words = told(capsys.readouterr().out)
    assert words[:5] == ["align3r", "reconstruct", "video.mp4", "--model", "align3r-depthpro"]
    maps = world / "maps"
    maps.mkdir()
    for k in range(4):
        np.save(maps / f"{k}.npy", np.linspace(1, 3, 24 * 32, dtype=np.float32).reshape(24, 32))
    words = [str(maps) if word == "DEPTH" else word for word in words]
    assert reconstruct(words, world / "with_model") == 0
    before, after = (
        load_file(world / folder / "model.safetensors") for folder in ("dust3r_dpt", "model/result")
    )
    assert all(after[n].equal(t) for n, t in before.items() if n.startswith("enc_blocks"))
    assert after["zero_convs.0.0.weight"].any()


def test_readers_of_their_own_change_nothing(world: Path) -> None:
    assert main([*FIN3R.split(), "-o", "one", "-q"]) == 0
    assert main([*FIN3R.split(), "-o", "more", "-q", "--loop.workers", "1"]) == 0
    assert losses(world / "one") == losses(world / "more")


def test_a_training_goes_on_with_what_changes_nothing(world: Path, capsys: Captured) -> None:
    words = [*FIN3R.split(), "-o", "freely", "-q"]
    assert main(words) == 0
    free = "--loop.workers 1 --loop.keep 2 --loop.save-every 7 --loop.image-every 5 "
    free += "--loop.validate-every 9 --teacher.labels elsewhere --loop.learning-rate 2e-4"
    assert main([*words, *free.split()]) == 0
    kept = json.loads((world / "freely" / "options.json").read_text())["options"]["loop"]
    assert kept["workers"] == 1 and kept["keep"] == 2
    assert main([*words, "--loop.effective-batch", "4"]) == 2
    assert "--loop.effective-batch 2, not 4" in capsys.readouterr().err


class Guess:
    """A depth network that says how bright an image is."""

    name, kind, is_metric, batch = "guess", "disparity", False, 1
    asked = 0

    def __call__(self, images: Sequence[np.ndarray]) -> list[PriorMap]:
        Guess.asked += len(images)
        return [PriorMap(image.mean(-1).astype(np.float32) + 1, None) for image in images]


def test_what_other_networks_say_is_prepared_once(
    world: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(priors, "make_depth_network", lambda *_args, **_more: Guess())
    monkeypatch.setattr(Guess, "asked", 0)
    words = ALIGN3R.replace("truth", "depthanything-small").split()
    words += ["--prior.weights", "dust3r_dpt", "--prior.maps", "kept"]
    assert main([*words, "-o", "guessed", "--prepare"]) == 0
    made = Guess.asked
    assert 0 < made <= 5 and f"computed for {made} images" in capsys.readouterr().out
    assert not (world / "guessed").exists()
    assert main([*words, "-o", "guessed", "--prepare"]) == 0
    assert "computed for 0 images" in capsys.readouterr().out
    assert main([*words, "-o", "guessed"]) == 0
    assert Guess.asked == made
    assert "--model align3r-depthanything" in capsys.readouterr().out


class OnGpu:
    """The one process, which says that it has a GPU."""

    device, is_first, rank, world = torch.device("cuda"), True, 0, 1

    def __init__(self, wanted: str) -> None:
        pass

    def wait(self) -> None:
        pass

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return values


@pytest.mark.filterwarnings("ignore:'pin_memory'")
def test_beside_a_gpu_all_frames_are_seen_before_the_first_step(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(priors, "make_depth_network", lambda *_args, **_more: Guess())
    monkeypatch.setattr(Guess, "asked", 0)
    monkeypatch.setattr(running, "Processes", OnGpu)
    words = ALIGN3R.replace("truth", "depthanything-small").split()
    words += ["--prior.weights", "dust3r_dpt", "--loop.workers", "1", "-q"]
    # Processes that read have no such network: they find what was seen ahead, or fail.
    assert main([*words, "-o", "ahead"]) == 0
    made = Guess.asked
    assert made > 0 and len(losses(world / "ahead")) == 3
    (note,) = (world / "ahead" / "priors").glob("seen_*.json")
    assert json.loads(note.read_text())["steps"] == 3
    monkeypatch.setattr(running, "see_ahead", None)
    assert main([*words, "-o", "ahead"]) == 0
    assert Guess.asked == made


def test_a_student_that_looks_at_depth_is_given_it(world: Path, capsys: Captured) -> None:
    words = FIN3R.replace("dust3r_dpt", "align3r_dpt").split()
    words += ["--student", "align3r-depthpro", "--prior.model", "truth", "-o", "deep"]
    words += ["--data.validation", "rendered=films:desk_orbit/1", "--data.validation-samples", "1"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "rendered/delta1" in shown
    assert (
        told(shown)[3:]
        == (
            "--model align3r-depthpro --weights align3r_dpt --adapter deep/result --prior-dir DEPTH"
        ).split()
    )


def test_a_dry_run_says_what_would_be_done(world: Path, capsys: Captured) -> None:
    there = sorted(path.name for path in world.iterdir())
    assert main([*FIN3R.split(), "-o", "never", "--dry-run", "-q"]) == 0
    rows = dict(
        line.split("  ", 1) for line in capsys.readouterr().out.splitlines() if line[0] > " "
    )
    assert rows["trained"].strip().startswith("8,192 of ")
    assert rows["an epoch"].strip() == "8 samples"
    assert rows["steps"].strip() == "3, which are 0.75 epochs; the first 1 warm up"
    assert "true depth" in rows["teacher"] and "dust3r_dpt" in rows["starts from"]
    words = FIN3R.replace("dust3r_dpt", "nobody/nothing").split()
    assert main([*words, "--dry-run", "--student", "vggt", *"--data.lengths 2 5".split()]) == 2
    assert "vggt takes no images of 48x32" in capsys.readouterr().err
    words = [{"48x32": "56x42", "32x48": "42x56"}.get(word, word) for word in words]
    assert main([*words, "--dry-run", "--student", "vggt", *"--data.lengths 2 5".split()]) == 0
    shown = capsys.readouterr().out
    assert "nobody/nothing, to be downloaded" in shown and "of 56x42, 42x56; 2, 5 views" in shown
    assert sorted(path.name for path in world.iterdir()) == there


def test_a_file_of_options_repeats_a_training(world: Path, capsys: Captured) -> None:
    assert main([*FIN3R.split(), "-o", "first", "-q", "--lora.rank", "4"]) == 0
    config = ["--config", "first/options.json"]
    assert main(["train", "fin3r", *config, "-o", "again", "-q"]) == 0
    assert losses(world / "first") == losses(world / "again")
    assert main(["train", "fin3r", *config, "-o", "again", "--lora.rank", "8"]) == 2
    assert "has --lora.rank 4, not 8" in capsys.readouterr().err
    assert main(["train", "align3r", *config]) == 2
    assert "no options of this command" in capsys.readouterr().err


TAKEN = "notes"
WRONG: list[tuple[str, int, str]] = [
    ("train", 2, "it is not said what to train"),
    ("train fin", 2, "there is no training 'fin'"),
    ("train fin3r", 2, "there is nothing to train on"),
    ("train fin3r --data.data 3@vkitti=films", 2, "there is no data set 'vkitti'"),
    ("train fin3r --data.data rendered=films", 2, "says not how many"),
    ("train fin3r --data.data 3@rendered", 2, "no data set with its folder"),
    ("train fin3r --data.data 3@rendered=films --data.sizes 50x50", 2, "takes no images of 50x50"),
    ("train fin3r --data.data 3@rendered=films --data.lengths 3", 2, "takes pairs"),
    ("train fin3r --data.data 3@rendered=films --prior.model depthpro", 2, "at images alone"),
    ("train fin3r --data.data 3@rendered=films --loop.keep 0", 2, "--loop.keep is 0"),
    ("train fin3r --config none.json", 3, "none.json"),
    (f"{FIN3R} -o {TAKEN}", 2, "holds no training"),
    (f"{FIN3R} -o {TAKEN} --dry-run", 2, "holds no training"),
    (f"{FIN3R} -o dust3r_dpt/config.json", 2, "holds no training"),
]
LATER: list[tuple[str, int, str]] = [
    (FIN3R.replace("dust3r_dpt", "none.pth"), 6, "none.pth"),
    (FIN3R.replace("=films", "=none"), 3, "there is no folder none"),
    (FIN3R.replace("desk_orbit/1", "nobody*"), 2, "nobody*"),
    (f"{FIN3R} --data.validation tum=none", 3, "none"),
    (f"{FIN3R} --prepare", 2, "nothing to prepare"),
    (f"{FIN3R} --data.strides tum=1-2", 2, "which is not trained on"),
    (f"{FIN3R} --student cut3r --data.lengths 2", 6, "dust3r_dpt"),
    (f"{FIN3R} --student cut3r", 2, "has 8 frames"),
    (FIN3R.replace("model truth", "model moge --teacher.weights none"), 6, "none"),
    (ALIGN3R.replace("model truth", "model depthpro --prior.weights none"), 6, "none"),
    (f"{FIN3R} --adapter none", 6, "none"),
    (
        ALIGN3R.replace("model truth", "model depthpro --prior.weights dust3r_dpt")
        + " --prior.maps dust3r_dpt/config.json",
        3,
        "dust3r_dpt/config.json is a file, not a folder",
    ),
]


@pytest.mark.parametrize(("words", "code", "says"), [*WRONG, *LATER])
def test_what_is_wrong_is_said(
    words: str, code: int, says: str, world: Path, capsys: Captured
) -> None:
    (world / TAKEN).mkdir(exist_ok=True)
    (world / TAKEN / "mine.txt").write_text("mine")
    there = {path.name for path in world.iterdir()}
    assert main(words.split()) == code
    shown = capsys.readouterr()
    error, *hint = shown.err.splitlines()[-2:]
    assert says in error and error.startswith("error: ")
    assert hint and hint[0].startswith("hint: ") and "Traceback" not in shown.err
    assert {path.name for path in world.iterdir()} == there
    assert [path.name for path in (world / TAKEN).iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("sort", ["fin3r --teacher.model truth", "align3r"])
def test_single_images_are_not_for_everybody(sort: str, tmp_path: Path, capsys: Captured) -> None:
    import cv2

    folder = tmp_path / "sa_000000"
    folder.mkdir()
    cv2.imwrite(str(folder / "sa_1.jpg"), np.zeros((30, 40, 3), np.uint8))
    assert main(["train", *sort.split(), "--data.data", f"3@sa1b={tmp_path}", "--dry-run"]) == 2
    assert "SA-1B h" in capsys.readouterr().err


def test_videos_without_depth_are_not_for_everybody(
    world: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_view = footage._checked
    monkeypatch.setattr(footage, "_checked", lambda view: replace(true_view(view), depth=None))
    for words in (FIN3R, ALIGN3R, ALIGN3R.replace("truth", "moge")):
        assert main([*words.split(), "--dry-run"]) == 2
        assert "has no true depth to be learned from" in capsys.readouterr().err


def test_videos_without_cameras_are_not_for_align3r(
    world: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_view = footage._checked
    for part in ("intrinsics", "world_from_cam"):
        for unknown in (None, np.full((4, 4), np.nan)):
            monkeypatch.setattr(
                footage,
                "_checked",
                lambda view, part=part, unknown=unknown: replace(
                    true_view(view), **{part: unknown}
                ),
            )
            assert main([*ALIGN3R.split(), "--dry-run"]) == 2
            assert "has no camera poses, or no intrinsics" in capsys.readouterr().err
            assert main([*FIN3R.split(), "--dry-run"]) == 0


def test_other_weights_in_the_same_place_look_again(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = filled(
        Align3rOptions(
            data=DataOptions(data=("3@rendered=films:desk_orbit/1",)),
            prior=TrainedPriorOptions(model="depthanything-small", weights="guess.bin"),
        )
    )
    notes = []
    for content in ("one", "two", "one"):
        (world / "guess.bin").write_text(content)
        found = gather(given, world / "noted", device=torch.device("cpu"))
        notes.append(running._note(found, world / "noted"))
    first, second, again = notes
    first.write()
    assert again.is_there() and not second.is_there()


def test_what_can_be_refused_at_once_needs_no_torch(world: Path) -> None:
    (world / TAKEN).mkdir(exist_ok=True)
    (world / TAKEN / "mine.txt").write_text("mine")
    program = (
        "import json, sys\nfrom align3r.cli.main import main\n"
        "codes = [main(words.split()) for words in json.loads(sys.argv[1])]\n"
        "print(json.dumps(codes), 'torch' in sys.modules)"
    )
    lines = [words for words, _, _ in WRONG]
    command = [sys.executable, "-c", program, json.dumps([*lines, "train fin3r --help"])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=world)
    codes = [code for _, code, _ in WRONG]
    assert done.stdout.splitlines()[-1] == f"{json.dumps([*codes, 0])} False", done.stderr


def test_accelerate_is_asked_for(
    world: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert main([*FIN3R.split(), "-o", "without"]) == 2
    assert "hint: pip install 'align3r[train]'" in capsys.readouterr().err
    assert not (world / "without").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (Fin3rOptions(student="vggt"), "--model vggt --adapter r"),
        (Fin3rOptions(weights="a b"), "--model dust3r --weights 'a b' --adapter r"),
        (
            Fin3rOptions(student="align3r-depthpro"),
            "--model align3r-depthpro --adapter r --prior depthpro",
        ),
        (Align3rOptions(), "--model align3r-depthanything --weights r --prior depthanything-large"),
        (
            Align3rOptions(prior=TrainedPriorOptions(model="moge", weights="w")),
            "--model align3r-depthpro --weights r --prior moge --prior.weights w",
        ),
    ],
)
def test_the_command_that_uses_a_result(options: Any, says: str) -> None:
    given = filled(replace(options, data=DataOptions(data=("3@tum=x",))))
    assert used(given, Path("r")) == f"align3r reconstruct video.mp4 {says}"
