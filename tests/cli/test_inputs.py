"""What people know of their cameras, as they type it: lenses, COLMAP models, metres, cuts."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from lens_clips import (
    BENT,
    CLIP,
    FOCAL,
    SIZE,
    TRUTH,
    clip_frames,
    distorted,
    lens_camera,
    relative_miss,
    true_depth,
    write_clip,
    write_colmap,
)

from align3r.cli.main import main
from align3r.io.lenses import Undistorter, linear_part
from align3r.io.result import load
from align3r.io.video import source_images
from align3r.reconstruction import Reconstruction

SMALL = ["--max-frames", "8", "--size", "192", "--model", "geometric", "--device", "cpu"]
QUICK = ["--max-frames", "5", "--size", "160"]
FAST = ["--output.no-html", "--output.no-pictures", "-q"]
LENS = ["--intrinsics", f"{FOCAL},{FOCAL},191.5,143.5", "--distortion", *map(str, BENT)]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def bent(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The example, filmed through a lens."""
    return write_clip(distorted(clip_frames()), tmp_path_factory.mktemp("lens") / "bent.mkv")


def reconstructed(source: str, out: Path, *words: str) -> Reconstruction:
    assert main(["reconstruct", source, "-o", str(out), *SMALL, *FAST, *words]) == 0
    return load(out)


def depth_miss(scene: Reconstruction) -> float:
    """Median error of the depth after one scale."""
    ratio = [
        scene.depth(i) / true_depth(int(frame), scene.intrinsics[i])
        for i, frame in enumerate(scene.frame_index)
    ]
    ratio = np.concatenate([r[np.isfinite(r)] for r in ratio])
    return float(np.median(np.abs(ratio / np.median(ratio) - 1)))


@pytest.fixture(scope="module")
def undone(bent: str, tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    return reconstructed(bent, tmp_path_factory.mktemp("undone") / "out", *LENS)


def test_distortion_is_undone_and_that_makes_the_result_right(
    bent: str, undone: Reconstruction, tmp_path: Path
) -> None:
    left = reconstructed(bent, tmp_path / "left", *LENS[:2])
    miss = relative_miss(undone.world_from_cam, undone.frame_index)
    worse = relative_miss(left.world_from_cam, left.frame_index)
    # The clip without any lens, and with its focal length given: 0.038 m and 3.2 %.
    assert miss < 0.5 * worse and miss < 0.04, (miss, worse)
    assert depth_miss(undone) < 0.035


def test_the_result_remembers_the_lens(bent: str, undone: Reconstruction) -> None:
    scene = undone
    lens = scene.lenses[0]
    assert (lens.model, lens.size) == ("OPENCV", SIZE) and lens.params[4:] == BENT
    assert linear_part(lens)[0].tolist() == [FOCAL, 0, 191.5] and set(scene.lenses) == {lens}
    assert scene.size == SIZE and scene.intrinsics[0, 0, 0] < FOCAL
    # The frames of the source can be brought to the result, by two ways.
    as_it_was = next(iter(source_images(bent, [0])))
    first = next(iter(source_images(bent, scene.frame_index, lenses=scene.lenses)))
    np.testing.assert_array_equal(first, Undistorter().apply(as_it_was, lens))
    kept = scene.image(0).astype(int)
    # What is kept is a JPEG: that alone is a miss of 4 grey levels.
    undone_miss, left_miss = (
        np.abs(cv2.resize(i, kept.shape[1::-1], interpolation=cv2.INTER_AREA) - kept).mean()
        for i in (first, as_it_was)
    )
    assert undone_miss < 0.5 * left_miss, (undone_miss, left_miss)
    # Undone exactly, a pixel of the result is a pixel of the true pinhole at the same place.
    k, true_k, (w, h) = scene.intrinsics[0], TRUTH["K"][0], SIZE
    rows, columns = np.mgrid[0:h, 0:w].astype(np.float32)
    u = (columns - k[0, 2]) / k[0, 0] * true_k[0, 0] + true_k[0, 2]
    v = (rows - k[1, 2]) / k[1, 1] * true_k[1, 1] + true_k[1, 2]
    want = cv2.remap(clip_frames()[0], np.float32(u), np.float32(v), cv2.INTER_CUBIC)[..., ::-1]
    assert np.abs(first.astype(int) - want).mean() < 4


def test_masks_and_depth_maps_are_undone_with_their_frames(bent: str, tmp_path: Path) -> None:
    masks, maps = tmp_path / "masks", tmp_path / "maps"
    masks.mkdir()
    maps.mkdir()
    w, h = SIZE
    moving = np.unpackbits(TRUTH["moving"]).reshape(-1, h, w)
    seen = distorted([255 * mask for mask in moving])
    rows, columns = np.mgrid[0:h, 0:w] + 0.5
    rays = np.asarray(lens_camera().cam_from_img(np.stack([columns.ravel(), rows.ravel()], 1)))
    for i, mask in enumerate(seen):
        cv2.imwrite(str(masks / f"{i:06d}.png"), mask)
        k = TRUTH["K"][0]
        u, v = (rays * k[[0, 1], [0, 1]] + k[:2, 2]).T.reshape(2, h, w).astype(np.float32) / 3
        depth = TRUTH["depth"][i].astype(np.float32)
        np.save(maps / f"{i:06d}.npy", cv2.remap(depth, u, v, cv2.INTER_NEAREST))
    words = ["--masks", str(masks), "--prior-dir", str(maps), "--prior.metric", "--scale", "metric"]
    scene = reconstructed(bent, tmp_path / "out", *LENS, *words, *QUICK)
    assert scene.scale == "prior-metric" and scene.info["scale_to_metres"] == 1
    for i in (0, 4):
        frame, k = int(scene.frame_index[i]), scene.intrinsics[i]
        u = ((np.mgrid[0:h, 0:w][1] - k[0, 2]) / k[0, 0] * 339.84 + 191.5).astype(np.float32)
        v = ((np.mgrid[0:h, 0:w][0] - k[1, 2]) / k[1, 1] * 339.84 + 143.5).astype(np.float32)
        want = cv2.remap(moving[frame], u, v, cv2.INTER_NEAREST) > 0
        both, either = (want & scene.moving(i)).sum(), (want | scene.moving(i)).sum()
        assert both > 0.85 * either
        ratio = scene.depth(i) / true_depth(frame, k)
        assert np.nanmedian(ratio) == pytest.approx(1, abs=0.03)


def test_a_colmap_model_gives_lens_poses_and_unit(bent: str, tmp_path: Path) -> None:
    poses = TRUTH["world_from_cam"].copy()
    poses[:, :3, 3] *= 7.0
    poses[:, :3, 3] += [100.0, -20.0, 3.0]
    names = [f"cam/frame_{i + 1:05d}.png" for i in range(len(poses))]
    model = write_colmap(tmp_path / "w" / "sparse" / "0", names, lens_camera(), poses=poses)
    words = ["--colmap", str(tmp_path / "w")]
    rough = reconstructed(bent, tmp_path / "rough", *words, *QUICK)
    report = rough.info["residuals"]["poses"]
    assert rough.scale == "known-camera" and len(rough.lenses) == 5
    assert report["given"] == 5 and not report["exact"] and report["sigma"][0] == 0.5
    assert 0 < max(report["position"]) < 5 * report["sigma"][1] and max(report["degrees"]) < 1
    exact = reconstructed(bent, tmp_path / "exact", *words, *QUICK, "--camera.poses-are", "exact")
    np.testing.assert_allclose(exact.world_from_cam, poses[exact.frame_index], atol=1e-4)
    report = exact.info["residuals"]["poses"]
    assert report["exact"] and max(report["position"]) < 1e-4 and max(report["degrees"]) < 1e-3
    ratio = exact.depth(3) / true_depth(int(exact.frame_index[3]), exact.intrinsics[3])
    assert np.nanmedian(ratio) == pytest.approx(7, rel=0.05)
    assert model.is_dir()


def test_frames_that_a_model_misses_are_free(tmp_path: Path) -> None:
    folder, poses = tmp_path / "frames", TRUTH["world_from_cam"]
    folder.mkdir()
    for i, image in enumerate(clip_frames()):
        cv2.imwrite(str(folder / f"a_{i}.png"), image)
    some = [i for i in range(36) if i % 4 != 0]
    names = [f"a_{i}.jpg" for i in some]
    camera = lens_camera()
    camera.model, camera.params = "PINHOLE", [339.84, 339.84, 192, 144]
    write_colmap(tmp_path / "m", names, camera, poses=poses[some], text=True)
    words = ["--colmap", str(tmp_path / "m"), "--camera.poses-are", "exact"]
    scene = reconstructed(str(folder), tmp_path / "out", *words)
    report, missing = scene.info["residuals"]["poses"], scene.frame_index % 4 == 0
    assert report["given"] == (~missing).sum() < 8 and not scene.lenses
    assert [value is None for value in report["degrees"]] == missing.tolist()
    apart = np.linalg.norm((scene.world_from_cam - poses[scene.frame_index])[:, :3, 3], axis=1)
    assert apart[~missing].max() < 1e-4 and apart[missing].max() < 0.03
    np.testing.assert_allclose(scene.intrinsics[0], TRUTH["K"][0], atol=1e-6)


@pytest.fixture(scope="module")
def two_shots(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Half of the example, then its other half upside down and mirrored: another room."""
    frames = clip_frames()
    other = [cv2.rotate(255 - image, cv2.ROTATE_180) for image in frames[18:]]
    path = tmp_path_factory.mktemp("shots") / "two.mkv"
    return write_clip([*frames[:18], *other], path)


def test_cuts_are_told(two_shots: str, tmp_path: Path, capsys: Captured) -> None:
    words = ["reconstruct", two_shots, "-o", str(tmp_path / "out"), *SMALL]
    assert main([*words, *QUICK, *FAST[:2]]) == 0
    shown = capsys.readouterr()
    assert "the video is cut before frame 2 (1.50 s): its 2 parts" in shown.err
    assert "--split-shots" in shown.err and shown.err.count("is cut") == 1
    (one, two) = load(tmp_path / "out").info["shots"]
    assert one["source_last"] < 18 <= two["source_first"] and two["last"] == 4


def test_shots_are_split(two_shots: str, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    words = ["reconstruct", two_shots, "-o", str(out), *SMALL, *FAST[:-1], "--split-shots"]
    words += QUICK
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "shot_001  1.50 to 2.92 s, 5 frames" in shown.out and "is cut" not in shown.err
    index = json.loads((out / "shots.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == ["shot_000", "shot_001", "shots.json"]
    assert not list(tmp_path.glob(".*")), "nothing else is left"
    for entry, (first, last) in zip(index["shots"], [(0, 17), (18, 35)], strict=True):
        scene = load(out / entry["folder"])
        assert (entry["source_first"], entry["source_last"]) == (first, last)
        assert scene.frame_index[[0, -1]].tolist() == [first, last] and len(scene) == 5
        assert entry["error"] is None and relative_miss(scene.world_from_cam, scene.frame_index)
    miss = relative_miss(load(out / "shot_000").world_from_cam, load(out / "shot_000").frame_index)
    assert miss < 0.05
    assert main(words) == 2 and "exists already" in capsys.readouterr().err


def test_an_interrupted_split_goes_on(
    two_shots: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from align3r import splitting

    once, calls = splitting.reconstruct, []

    def dies_in_the_second(*given: object, out: Path, **words: object) -> Reconstruction:
        calls.append(out.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return once(*given, out=out, **words)  # type: ignore[arg-type]

    monkeypatch.setattr(splitting, "reconstruct", dies_in_the_second)
    words = ["reconstruct", two_shots, "-o", str(tmp_path / "out"), *SMALL, *FAST, "--split-shots"]
    words += ["--max-frames", "3", "--size", "96"]
    assert main(words) == 130
    assert not (tmp_path / "out").exists()
    assert main(words) == 0
    assert calls == ["shot_000", "shot_001", "shot_001"]
    assert (tmp_path / "out" / "shots.json").is_file()


def test_relative_takes_no_unit_from_anywhere(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    for i, depth in enumerate(TRUTH["depth"]):
        np.save(maps / f"{i}.npy", depth.astype(np.float32))
    words = ["--prior-dir", str(maps), "--prior.metric", "--scale", "relative"]
    scene = reconstructed(str(CLIP), tmp_path / "out", *words, "--max-frames", "3", "--size", "96")
    assert scene.scale == "relative" and scene.info["scale_to_metres"] is None


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--scale", "metric"], 2, "nothing that is given says what a metre is"),
        (["--scale", "metric", "--colmap", "{model}"], 2, "a unit of its own"),
        (["--intrinsics", "1", "2", "3"], 2, ""),
        (["--intrinsics", "300,300,nan,3"], 2, "not finite"),
        (["--intrinsics", "{tmp}/none.json"], 3, "no such file or folder"),
        (["--intrinsics", "{tmp}"], 3, "holds no COLMAP model"),
        (["--distortion", "0.1", "0.2"], 2, "without the focal length"),
        (["--focal", "300", "--distortion", "0.1", "0.2", "0.3"], 2, "3 coefficients"),
        (["--focal", "3", "--distortion", "-2"], 3, "folds its image over"),
        (["--focal", "300", "--intrinsics", "{tmp}/none.json"], 2, "given twice"),
        (["--colmap", "{tmp}"], 3, "holds no COLMAP model"),
        (["--colmap", "{model}", "--poses", "{tmp}/p.txt"], 2, "both --poses and --colmap"),
        (["--colmap", "{others}"], 3, "none of the 36 images of"),
        (["--colmap", "{odd}"], 3, "has no number"),
        (["--colmap", "{late}"], 2, "--camera.first-number 0, or 1"),
        (["--camera.poses-are", "rough"], 2, "no poses"),
        (
            ["--colmap", "{model}", "--camera.poses-are", "exact", "--camera.pose-sigma", "1", "1"],
            2,
            "exact, and to have standard deviations",
        ),
    ],
)
def test_what_makes_no_sense_is_said(
    tmp_path: Path, capsys: Captured, words: list[str], code: int, says: str
) -> None:
    places = {"tmp": str(tmp_path / "empty")}
    (tmp_path / "empty").mkdir()
    names = {
        "model": [f"{i:03d}.png" for i in range(36)],
        "others": [f"{i + 500:03d}.png" for i in range(35)] + ["0.png"],
        "odd": [f"{i:03d}.png" for i in range(35)] + ["door.png"],
        "late": [f"{i + 7:03d}.png" for i in range(36)],
    }
    for name, images in names.items():
        if f"{{{name}}}" in words:
            places[name] = str(tmp_path / name)
            poses = TRUTH["world_from_cam"]
            write_colmap(tmp_path / name, images, lens_camera(), poses=poses)
    if "{others}" in words:
        words = [*words, "--start", "0.1"]
    given = [word.format(**places) for word in words]
    out = tmp_path / "out"
    assert main(["reconstruct", str(CLIP), "-o", str(out), *SMALL, *FAST, *given]) == code
    shown = capsys.readouterr().err
    assert says in shown and "Traceback" not in shown
    assert not out.exists() and not list(tmp_path.glob(".out*"))
