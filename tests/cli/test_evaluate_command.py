"""`align3r evaluate` on tiny data sets in the true formats: what it writes, keeps and refuses."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from networks import config_of, public_state, tiny, write_folder

from align3r import cluster
from align3r.cli.main import main
from align3r.cluster import Died, Needs, Work
from align3r.config import Options
from align3r.datasets.dataset import Dataset
from align3r.datasets.image_pair import ImagePair
from align3r.datasets.sequence import Sequence as Frames
from align3r.datasets.table import dataset
from align3r.errors import SolveError
from align3r.evaluate.one_sequence import Job, measure_here
from align3r.evaluate.protocol_table import PROTOCOLS
from align3r.evaluate.tasks import depth, pose, two_view, video, views
from align3r.io.maps import ArrayMaps
from align3r.progress import as_report
from align3r.reconstruction import Reconstruction

SETS = Path(__file__).resolve().parents[1] / "golden" / "evaluation" / "datasets"
Captured = pytest.CaptureFixture[str]
GEOMETRIC = ["--model", "geometric"]


def sequences_of(out: Path) -> dict[str, dict[str, str]]:
    with (out / "sequences.csv").open(encoding="utf-8", newline="") as file:
        return {row["sequence"]: row for row in csv.DictReader(file)}


def evaluate(task: str, name: str, out: Path, *more: str, root: Path | None = None) -> int:
    words = ["evaluate", task, "--dataset", name, "--root", str(root or SETS / name)]
    return main([*words, "-o", str(out), "-q", *GEOMETRIC, *more])


def perfect(sequence: Frames) -> Reconstruction:
    """What a reconstruction without any error would be, in a unit and a world of its own."""
    truth, n = sequence.truth, len(sequence)
    shape = truth.size[::-1]
    depth_of = truth.depth or (lambda i: np.full(shape, np.nan, np.float32))
    turn = np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.array([0.3, -0.2, 0.5]))[0]
    turn[:3, 3] = [4.0, -2.0, 1.0]
    poses = turn @ np.where(np.isfinite(truth.world_from_cam), truth.world_from_cam, np.eye(4))
    poses[:, :3, 3] *= 0.4
    k = np.where(np.isfinite(truth.intrinsics), truth.intrinsics, np.eye(3))
    return Reconstruction(
        world_from_cam=poses,
        intrinsics=k,
        times=np.arange(n, dtype=float),
        frame_index=np.arange(n),
        size=truth.size,
        maps=ArrayMaps(
            depth=0.4 * np.stack([depth_of(i) for i in range(n)]),
            confidence=np.ones((n, *shape), np.float32),
            moving=np.zeros((n, *shape), bool),
            images=np.stack([sequence.image(i) for i in range(n)]),
            source_size=truth.size,
        ),
    )


@pytest.fixture
def told_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (depth, pose, video, views):
        monkeypatch.setattr(module, "reconstruct_sequence", lambda s, _options, _report: perfect(s))


def measured(name: str, sequence: str, folder: Path, root: Path) -> dict[str, Any]:
    job = Job(name, root, sequence, Options(model="geometric"), folder)
    return dict(measure_here(job, as_report(False)))


@pytest.mark.parametrize(
    ("name", "sequence", "rules"),
    [
        ("align3r/depth/sintel", "alley_2", ""),
        ("monst3r/depth/sintel", "alley_2", "median."),
        ("cut3r/depth/sintel", "alley_2", "scale."),
        ("cut3r/depth/kitti", "2011_09_26_drive_0002_sync", "scale."),
    ],
)
@pytest.mark.usefixtures("told_the_truth")
def test_perfect_depth_has_no_error(name: str, sequence: str, rules: str, tmp_path: Path) -> None:
    root = SETS / PROTOCOLS[name].dataset
    entry = measured(name, sequence, tmp_path, root)
    assert entry["state"] == "measured", entry
    # Reweighting stops after ten steps.
    assert entry["row"][f"{rules}abs_rel"] < 1e-5
    assert entry["row"][f"{rules}delta1"] == 1
    assert entry["row"]["pixels"] > 0 and f"{rules}pixels" not in set(entry["row"]) - {"pixels"}
    assert cv2.imread(str(tmp_path / entry["pictures"]["depth"])).shape[2] == 3


@pytest.mark.usefixtures("told_the_truth")
def test_a_perfect_path_has_no_error(tmp_path: Path) -> None:
    entry = measured("align3r/pose/sintel", "alley_2", tmp_path, SETS / "sintel")
    assert entry["row"]["ate_m"] < 1e-9
    assert entry["row"]["rpe_trans_m"] < 1e-9
    assert entry["row"]["rpe_rot_deg"] < 1e-5
    assert entry["row"]["scale"] == pytest.approx(1 / 0.4)
    assert entry["frames"] == tuple(f"frame_{i:04d}" for i in range(1, 5))


@pytest.mark.usefixtures("told_the_truth")
def test_perfect_views_have_no_error(tmp_path: Path) -> None:
    root = SETS / "re10k"
    (name,) = dataset("re10k").names(root)
    entry = measured("vggt/multi-view/re10k", name, tmp_path, root)
    assert entry["row"]["pairs"] == 45
    assert {k: entry["row"][k] for k in ("rra@5", "rta@5", "auc@30")} == {
        "rra@5": 1.0,
        "rta@5": 1.0,
        "auc@30": 1.0,
    }


def test_views_that_cannot_be_solved_are_lost_pairs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*_: object) -> Reconstruction:
        raise SolveError("nothing overlaps")

    monkeypatch.setattr(views, "reconstruct_sequence", fails)
    root = SETS / "re10k"
    entry = measured("vggt/multi-view/re10k", dataset("re10k").names(root)[0], tmp_path, root)
    assert entry["state"] == "measured" and entry["row"]["auc@30"] == 0
    assert entry["about"]["not_solved"] == "nothing overlaps"


def in_ten_times_the_pixels(pair: ImagePair) -> ImagePair:
    """As large as the real ones: half a pixel of the sample's is half a degree."""
    k = pair.intrinsics * 10
    k[:, 2, 2] = 1
    return replace(pair, intrinsics=k, size=(10 * pair.size[0], 10 * pair.size[1]))


def sphere_maps(pair: ImagePair, size: tuple[int, int]) -> np.ndarray:
    """(2, h, w, 3) what both cameras see of a ball of 3 m that the first is in the middle of."""
    step = pair.size[0] / size[0]
    v, u = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([(u + 0.5) * step - 0.5, (v + 0.5) * step - 0.5, np.ones_like(u)], -1)
    maps = []
    for k, a_from_cam in zip(
        pair.intrinsics, (np.eye(4), np.linalg.inv(pair.b_from_a)), strict=True
    ):
        rays = pixels @ np.linalg.inv(k).T @ a_from_cam[:3, :3].T
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        origin = a_from_cam[:3, 3]
        along = rays @ origin
        reach = -along + np.sqrt(along**2 - origin @ origin + 9.0)
        maps.append(origin + reach[..., None] * rays)
    return np.stack(maps).astype(np.float32)


def test_true_points_give_the_true_pose_of_two_views(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = SETS / "scannet1500"
    scene = dataset("scannet1500").names(root)[0]
    pairs = [in_ten_times_the_pixels(p) for p in dataset("scannet1500").read_pairs(root, scene)]

    def maps(_images: Sequence[Path], _edges: np.ndarray, *_: object) -> np.ndarray:
        return np.stack([sphere_maps(pair, (640, 480)) for pair in pairs])

    monkeypatch.setattr(two_view, "point_maps", maps)
    monkeypatch.setattr(Dataset, "read_pairs", lambda *_: pairs)
    for name, repeats in (("loftr", 1), ("roma", 5)):
        entry = measured(f"{name}/two-view/scannet1500", scene, tmp_path / name, root)
        assert len(entry["about"]["rotation_deg"]) == repeats * len(pairs)
        assert max(entry["about"]["rotation_deg"]) < 3, name
        assert max(entry["about"]["translation_deg"]) < 10, name
        assert entry["row"]["auc@20"] > 0.7, name


def test_the_embedded_model_on_a_mini_set(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    assert evaluate("depth", "sintel", out) == 0
    assert capsys.readouterr().out == ""
    rows = sequences_of(out)
    assert list(rows) == ["alley_2", "bandage_1", "mean"]
    pixels, errors = (
        np.array([float(rows[name][key]) for name in ("alley_2", "bandage_1")])
        for key in ("pixels", "abs_rel")
    )
    assert 0 < errors.min() and errors.max() < 1
    assert float(rows["mean"]["abs_rel"]) == pytest.approx(pixels @ errors / pixels.sum())
    about = json.loads((out / "evaluation.json").read_text())
    assert about["protocol"] == "align3r/depth/sintel" and len(about["missing"]) == 21
    assert about["options"]["model"] == "geometric"
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    for picture in (out / "sequences").glob("*.png"):
        assert f"sequences/{picture.name}" in page and f"sequences/{picture.name}" in text
    assert "| DUSt3R | 0.422 |" in text
    words = ["evaluate", "depth", "--dataset", "sintel", "--root", str(SETS / "sintel")]
    assert main([*words, "-o", str(out), *GEOMETRIC]) == 0
    assert "measured here" in capsys.readouterr().out


def test_what_is_measured_is_not_measured_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert evaluate("pose", "sintel", out) == 0
    file = out / "sequences" / "alley_2.json"
    before = file.stat().st_mtime_ns
    assert evaluate("pose", "sintel", out) == 0
    assert file.stat().st_mtime_ns == before
    for damaged in ('{"state": "measured"}', '{"state": [1]}', '{"sta', "[]"):
        file.write_text(damaged)
        assert evaluate("pose", "sintel", out) == 0
        assert float(sequences_of(out)["alley_2"]["ate_m"]) > 0, damaged


def test_a_broken_sequence_leaves_the_others_alone(tmp_path: Path, capsys: Captured) -> None:
    root, out = tmp_path / "sintel", tmp_path / "out"
    shutil.copytree(SETS / "sintel", root)
    broken = root / "training" / "depth" / "bandage_1" / "frame_0002.dpt"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    assert evaluate("depth", "sintel", out, root=root) == 7
    assert "frame_0002.dpt" in capsys.readouterr().err
    rows = sequences_of(out)
    assert rows["bandage_1"]["state"] == "failed" and rows["alley_2"]["state"] == "measured"
    assert rows["mean"]["abs_rel"] == rows["alley_2"]["abs_rel"]
    assert "Failed: bandage_1" in (out / "report.md").read_text()
    kept = (out / "sequences" / "alley_2.json").stat().st_mtime_ns
    broken.write_bytes(whole)
    assert evaluate("depth", "sintel", out, root=root) == 0
    assert sequences_of(out)["bandage_1"]["state"] == "measured"
    assert (out / "sequences" / "alley_2.json").stat().st_mtime_ns == kept


@pytest.mark.parametrize("damage", ["missing", "nan pose", "size"])
def test_every_kind_of_damage_is_named(damage: str, tmp_path: Path, capsys: Captured) -> None:
    root = tmp_path / "sintel"
    shutil.copytree(SETS / "sintel", root)
    if damage == "missing":
        (root / "training/depth/bandage_1/frame_0001.dpt").unlink()
    elif damage == "nan pose":
        file = root / "training/camdata_left/bandage_1/frame_0001.cam"
        data = bytearray(file.read_bytes())
        data[-8:] = np.float64(np.nan).tobytes()
        file.write_bytes(data)
    else:
        cv2.imwrite(
            str(root / "training/clean/bandage_1/frame_0002.png"), np.zeros((20, 30, 3), np.uint8)
        )
    assert evaluate("depth", "sintel", tmp_path / "out", root=root) == 7
    words = capsys.readouterr().err
    assert "bandage_1" in words and "Traceback" not in words
    assert sequences_of(tmp_path / "out")["alley_2"]["state"] == "measured"


def test_processes_measure_what_one_measures(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert evaluate("depth", "sintel", one) == 0
    assert evaluate("depth", "sintel", two, "--jobs", "2") == 0
    rows = [sequences_of(out) for out in (one, two)]
    assert rows[0].keys() == rows[1].keys()
    for name in rows[0]:
        for key in ("abs_rel", "rmse", "delta1"):
            assert float(rows[0][name][key]) == pytest.approx(float(rows[1][name][key]), rel=1e-6)


class OneProcess:
    """Stands for a Ray cluster: a task is done when it is sent, but for one whose worker dies."""

    has_gpu = False

    def __init__(self, dies: str = "") -> None:
        self.dies = dies
        self.answers: dict[int, Any] = {}
        self.ended: list[int] = []

    @contextmanager
    def connected(self, address: str | None) -> Iterator[OneProcess]:
        assert address == "there:6379"
        yield self

    def needs(self, n_tasks: int, *, cpus: int | None, gpus: float | None) -> Needs:
        return Needs(1, gpus or 0.0)

    def describe(self, needs: Needs) -> str:
        return "one process"

    def send(self, work: Work, task: Job, needs: Needs) -> int:
        died = Died("the worker died", 1)
        answer = died if task.sequence == self.dies else work(task, threads=1, share=1.0)
        self.answers[len(self.answers)] = answer
        return len(self.answers) - 1

    def wait(self, sent: Sequence[int], *, timeout_s: float) -> list[int]:
        return [min(sent)]

    def answer(self, sent: int) -> Any:
        return self.answers[sent]

    def end(self, sent: Sequence[int]) -> None:
        self.ended += sent


def test_a_cluster_measures_and_may_lose_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    out, address = tmp_path / "out", ["--address", "there:6379"]
    monkeypatch.setattr(cluster, "connected", OneProcess("alley_2").connected)
    assert evaluate("depth", "sintel", out, *address) == 7
    assert "alley_2: the worker died" in capsys.readouterr().err
    said = json.loads((out / "evaluation.json").read_text())["sequences"][0]
    assert said["state"] == "failed" and said["error"] == "the worker died"
    rows = sequences_of(out)
    assert rows["alley_2"]["state"] == "failed" and rows["bandage_1"]["state"] == "measured"
    monkeypatch.setattr(cluster, "connected", OneProcess().connected)
    assert evaluate("depth", "sintel", out, *address) == 0
    alone = tmp_path / "alone"
    assert evaluate("depth", "sintel", alone) == 0
    for name, row in sequences_of(out).items():
        assert row["abs_rel"] == sequences_of(alone)[name]["abs_rel"]


def test_another_configuration_is_not_mixed_in(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    assert evaluate("pose", "sintel", out) == 0
    assert evaluate("pose", "sintel", out, "--size", "256") == 2
    assert "evaluation of another protocol, data, version or options" in capsys.readouterr().err
    assert evaluate("pose", "sintel", out, "--size", "256", "--overwrite") == 0
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    assert evaluate("pose", "sintel", mine, "--overwrite") == 2
    assert (mine / "letter.txt").read_text() == "dear"
    (mine / "config.json").write_text('{"model": "of somebody else"}')
    assert evaluate("pose", "sintel", mine, "--overwrite") == 2
    assert (mine / "letter.txt").read_text() == "dear"
    (out / "letter.txt").write_text("dear")
    assert evaluate("pose", "sintel", out, "--overwrite") == 2
    assert "1 other thing (letter.txt)" in capsys.readouterr().err
    assert (out / "letter.txt").read_text() == "dear"


def test_an_evaluation_that_replaced_another_is_resumed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert evaluate("pose", "sintel", out, "--size", "256", "--overwrite") == 0
    file = out / "sequences" / "alley_2.json"
    before = file.stat().st_mtime_ns
    assert evaluate("pose", "sintel", out, "--size", "256") == 0
    assert file.stat().st_mtime_ns == before


def test_an_error_nobody_thought_of_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*_: object) -> Reconstruction:
        raise ZeroDivisionError("1/0")

    monkeypatch.setattr(pose, "reconstruct_sequence", fails)
    entry = measured("align3r/pose/sintel", "alley_2", tmp_path / "sequences", SETS / "sintel")
    assert entry["state"] == "failed" and entry["error"] == "ZeroDivisionError: 1/0"
    assert entry["hint"] == "the traceback is in sequences/alley_2.json"
    stored = json.loads((tmp_path / "sequences" / "alley_2.json").read_text())
    assert "in fails" in stored["traceback"]


def test_a_scene_with_unknown_poses_is_left_out_where_the_paper_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = dataset("sintel").read(SETS / "sintel", "alley_2")
    poses = whole.truth.world_from_cam.copy()
    poses[3] = np.nan
    lost = replace(whole, truth=replace(whole.truth, world_from_cam=poses))
    monkeypatch.setattr(Dataset, "read", lambda *_: lost)
    entry = measured("monst3r/pose/scannet", "alley_2", tmp_path, SETS)
    assert entry["state"] == "left out"
    assert entry["error"].startswith("1 of 2 frames have no pose")


def test_a_sequence_that_is_too_short_is_left_out(tmp_path: Path) -> None:
    entry = measured("align3r/depth/bonn", "rgbd_bonn_balloon2", tmp_path, SETS / "bonn")
    assert entry["state"] == "left out"
    assert entry["error"].endswith("and the protocol asks for 32 or more")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["depth"], 2, "no data set is given"),
        (["depth", "--dataset", "sintel"], 2, "no folder of sintel is given"),
        (["depth", "--dataset", "sintel", "--root", "nowhere"], 3, "no folder"),
        (["depth", "--dataset", "mars", "--root", "."], 2, "no protocol for depth on 'mars'"),
        (["pose", "--dataset", "sintel", "--root", str(SETS / "bonn")], 3, "MPI-Sintel"),
        (["ablation", "--dataset", "nyuv2", "--root", "."], 2, "no videos in 'nyuv2'"),
        (
            ["depth", "--dataset", "sintel", "--root", str(SETS / "sintel"), "--jobs", "0"],
            2,
            "--jobs",
        ),
        (["ablation", "--dataset", "sintel", "--root", ".", "--jobs", "2"], 2, "--jobs says"),
        (["depth", "--dataset", "sintel", "--root", ".", "--vary", "flow"], 2, "--vary says"),
        (
            ["ablation", "--dataset", "sintel", "--root", str(SETS / "sintel"), "--vary", "rain"],
            2,
            "no 'rain' to vary",
        ),
    ],
)
def test_mistakes_have_a_sentence_and_a_hint(
    words: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *words, *GEOMETRIC]) == code
    shown = capsys.readouterr().err
    assert said in shown and "hint:" in shown and "Traceback" not in shown
    assert not list(tmp_path.iterdir())


def test_all_protocols_are_listed(capsys: Captured) -> None:
    assert main(["evaluate", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= len(PROTOCOLS) + 1


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    architecture = tiny()
    return write_folder(tmp_path / "tiny", public_state(architecture), config_of(architecture))


def moge_root(folder: Path) -> Path:
    shutil.copytree(SETS / "moge_eval", folder)
    return folder


def test_single_images_with_a_network(tmp_path: Path, weights: Path, capsys: Captured) -> None:
    root, out = moge_root(tmp_path / "nyu"), tmp_path / "out"
    words = ["evaluate", "mono", "--dataset", "nyuv2", "--root", str(root), "-o", str(out)]
    assert main([*words, "--model", "dust3r", "--weights", str(weights)]) == 0
    assert "scale-inv. Rel" in capsys.readouterr().out
    row = sequences_of(out)["scene_a"]
    assert 0 < float(row["depth_scale_invariant_rel"]) < 5
    assert float(row["points_scale_invariant_rel"]) > 0
    about = json.loads((out / "config.json").read_text())
    assert about["weights"] == {str(weights): str(weights)}


def test_the_embedded_model_sees_no_depth_in_one_image(tmp_path: Path, capsys: Captured) -> None:
    root = moge_root(tmp_path / "nyu")
    assert evaluate("mono", "nyuv2", tmp_path / "out", root=root) == 2
    assert "sees no depth in a single image" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_views_with_a_network(tmp_path: Path, weights: Path) -> None:
    out = tmp_path / "out"
    words = ["evaluate", "two-view", "--dataset", "scannet1500", "-q", "-o", str(out)]
    words += ["--root", str(SETS / "scannet1500"), "--model", "dust3r", "--weights", str(weights)]
    assert main([*words, "--size", "64"]) == 0
    rows = sequences_of(out)
    assert all(0 <= float(row["auc@20"]) <= 1 for row in rows.values())


def test_an_ablation_keeps_tables_and_pictures(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--vary", "flow", "method", "--sequences", "alley_2"]
    assert evaluate("ablation", "sintel", out, *words) == 0
    about = json.loads((out / "ablation.json").read_text())
    runs = {row["run"]: row for row in about["mean"]}
    assert set(runs) >= {"base", "flow-off", "pairs-monst3r"}
    assert runs["pairs-monst3r"]["pairs"] > 0
    assert runs["base"]["Abs Rel"] < 2, "without the sky"
    text = (out / "ablation.md").read_text()
    assert "Table 3" in text and "Table 2 (depth map instead" in text
    left = {path.name for path in (out / "sequences" / "alley_2").iterdir()}
    assert left == {"compare.json", "compare.md", "compare.png"}
    before = (out / "sequences" / "alley_2" / "compare.json").stat().st_mtime_ns
    assert evaluate("ablation", "sintel", out, *words) == 0
    assert (out / "sequences" / "alley_2" / "compare.json").stat().st_mtime_ns == before
