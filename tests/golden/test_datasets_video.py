"""Readers of videos with depth and poses, against samples that the reference readers decoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align3r.datasets import bonn, pointodyssey, sceneflow, sintel, tum, vkitti2
from align3r.datasets.sequence import Sequence
from align3r.io.pfm import read_pfm

HERE = Path(__file__).parent / "evaluation" / "datasets"
WALKING = "rgbd_dataset_freiburg3_walking_xyz"
TENTH = (53.54, 53.92, 32.01, 24.76)


def expected(sample: str) -> Any:
    return json.loads((HERE / f"{sample}.expected.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Case:
    """A sequence, and what is known about it."""

    sample: str
    names: Callable[..., list[str]]
    read: Callable[..., Sequence]
    name: str
    root: str = ""
    """Of the paths in what is expected, from the sample's."""
    key: str = ""
    """Of its sequences; empty where it has one."""
    far: float = np.inf
    """Depth from which on nothing is expected."""
    settings: dict[str, Any] = field(default_factory=dict)

    def sequence(self) -> Sequence:
        return self.read(HERE / self.sample, self.name, **self.settings)

    def about(self) -> Any:
        about = expected(self.sample)
        return about["sequences"][self.key] if self.key else about

    def path(self, name: str) -> Path:
        return HERE / self.sample / self.root / name


CASES = {
    case.key or case.sample: case
    for case in [
        *(
            Case("sintel", sintel.names, sintel.read, name, key=name)
            for name in ("alley_2", "bandage_1")
        ),
        Case(
            "bonn",
            bonn.names,
            bonn.read,
            "rgbd_bonn_balloon2",
            root="rgbd_bonn_balloon2",
            settings={"intrinsics": (54.2822841, 54.257687, 31.559352, 23.7756098)},
        ),
        *(
            Case(
                "sceneflow",
                sceneflow.names,
                sceneflow.read,
                name,
                key=name,
                settings={"intrinsics": (70.0, 70.0, 479.5 * 64 / 960, 23.5)},
            )
            for name in ("TEST/A/0000/left", "TEST/A/0000/right")
        ),
        Case(
            "pointodyssey",
            pointodyssey.names,
            pointodyssey.read,
            "train/sample_r1",
            root="train/sample_r1",
        ),
        *(
            Case("vkitti", vkitti2.names, vkitti2.read, name, key=name, far=600.0)
            for name in ("Scene01/clone/Camera_0", "Scene01/clone/Camera_1")
        ),
    ]
}


@pytest.fixture(params=CASES, ids=[name.replace("/", "-") for name in CASES])
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def frames(case: Case) -> Iterator[tuple[int, Any, Sequence]]:
    sequence = case.sequence()
    about = case.about()["frames"]
    assert len(sequence) == len(about)
    yield from ((i, frame, sequence) for i, frame in enumerate(about))


def test_sequences_are_found(case: Case) -> None:
    about = expected(case.sample)
    found = case.names(HERE / case.sample, **case.settings)
    assert found == (sorted(about["sequences"]) if case.key else [case.name])


def test_frames_are_named_as_the_data_set_names_them(case: Case) -> None:
    for i, about, sequence in frames(case):
        assert sequence.frames[i] == about["id"]
        assert sequence.images[i] == case.path(about["rgb"])
    assert sequence.remarks == ()


def test_images(case: Case) -> None:
    for i, about, sequence in frames(case):
        image = sequence.image(i)
        assert image.shape[1::-1] == sequence.truth.size == tuple(about["size_wh"])
        most = 0 if about["rgb_lossless"] else 3
        for x, y, *rgb in about["rgb_probes_xy_rgb"]:
            assert np.abs(image[y, x].astype(int) - rgb).max() <= most
        assert image.mean(axis=(0, 1)) == pytest.approx(
            about["rgb_mean"], abs=1e-3 if about["rgb_lossless"] else 0.5
        )


def test_cameras(case: Case) -> None:
    for i, about, sequence in frames(case):
        np.testing.assert_allclose(sequence.truth.intrinsics[i], about["K"], rtol=1e-6)
        np.testing.assert_allclose(sequence.truth.world_from_cam[i], about["c2w"], atol=1e-5)


def test_depth(case: Case) -> None:
    for i, about, sequence in frames(case):
        assert sequence.truth.depth is not None
        depth = sequence.truth.depth(i)
        assert depth.dtype == np.float32
        for x, y, z in about["depth_probes_xy_z"]:
            if z is None:
                assert np.isnan(depth[y, x]) or depth[y, x] >= case.far
            else:
                assert depth[y, x] == pytest.approx(z, rel=1e-6)
        near = depth[depth < case.far]
        stats = about["depth_stats"]
        assert len(near) == stats["n_valid"]
        assert near.min() == pytest.approx(stats["min"], rel=1e-6)
        assert near.max() == pytest.approx(stats["max"], rel=1e-6)
        assert near.mean(dtype=np.float64) == pytest.approx(stats["mean"], rel=1e-6)


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.sample != "bonn"], ids=lambda case: case.name
)
def test_static_pixels_are_seen_again_where_they_are_expected(case: Case) -> None:
    """Catches poses the wrong way round, axes and intrinsics that are swapped."""
    truth = case.sequence().truth
    assert truth.depth is not None
    depth, k = truth.depth(0), truth.intrinsics
    second_from_first = np.linalg.inv(truth.world_from_cam[1]) @ truth.world_from_cam[0]
    for x, y, x1, y1, z1 in case.about()["reproject_0_to_1"]:
        point = depth[y, x] * (np.linalg.inv(k[0]) @ [x, y, 1.0])
        seen = k[1] @ (second_from_first[:3, :3] @ point + second_from_first[:3, 3])
        np.testing.assert_allclose(
            [*seen[:2] / seen[2], seen[2]], [x1, y1, z1], rtol=2e-5, atol=1e-4
        )


def test_sintel_has_flow_and_knows_what_moves() -> None:
    for name in ("alley_2", "bandage_1"):
        case = CASES[name]
        for i, about, sequence in frames(case):
            truth = sequence.truth
            assert truth.times[i] * sintel.FRAMES_A_SECOND == pytest.approx(about["timestamp"])
            assert truth.flow is not None
            assert truth.moving is not None
            if "flow" not in about:
                assert i == len(sequence) - 1
                continue
            flow = truth.flow(i)
            for x, y, u, v in about["flow_probes_xy_uv"]:
                assert flow[y, x].tolist() == [pytest.approx(u), pytest.approx(v)]
            assert truth.moving(i).sum() == about["motion_px_gt_0p1"]
            coarse = sintel.read(HERE / "sintel", name, moving_px=0.5).truth.moving
            assert coarse is not None
            assert coarse(i).sum() == about["motion_px_gt_0p5"]
            far = sintel.read(
                HERE / "sintel", name, moving_px=about["flow_minus_ego_max"] + 1e-3
            ).truth.moving
            assert far is not None
            assert not far(i).any()


def test_what_moves_in_sintels_last_frame_is_where_the_flow_led_it() -> None:
    truth = CASES["alley_2"].sequence().truth
    assert truth.moving is not None
    before, last = truth.moving(2), truth.moving(3)
    assert 0.9 * before.sum() < last.sum() <= before.sum()
    both = (before & last).sum() / (before | last).sum()
    assert 0.5 < both < 1.0


def test_sintels_final_pass_has_other_images_and_the_same_truth() -> None:
    final = sintel.read(HERE / "sintel", "alley_2", rendering="final")
    for i, about in enumerate(expected("sintel")["sequences"]["alley_2"]["frames"]):
        assert final.images[i] == HERE / "sintel" / about["final"]
        assert final.image(i).mean(axis=(0, 1)) == pytest.approx(about["final_mean"], abs=1e-3)


def stamps(pairs: list[list[float]]) -> list[float]:
    return [pair[0] for pair in pairs]


def test_tum_pairs_stamps_as_the_tools_of_the_benchmark() -> None:
    about = expected("tum")
    posed = tum.read(HERE / "tum", WALKING, need="pose", intrinsics=TENTH)
    assert posed.truth.times.tolist() == stamps(about["rgb_gt_matches"])
    for got, want in zip(posed.truth.world_from_cam, about["matched_c2w"], strict=True):
        np.testing.assert_allclose(got, want["c2w"], atol=1e-9)
    every_third = posed.select(range(len(posed))[::3][:90])
    assert every_third.truth.times.tolist() == stamps(about["protocol_every3_first90"])
    np.testing.assert_allclose(posed.truth.intrinsics[0], about["intrinsics"])


def test_tum_pairs_images_with_depth() -> None:
    about = expected("tum")
    every = tum.read(HERE / "tum", WALKING, need="none", intrinsics=TENTH)
    assert len(every) == about["n_rgb"]
    depth_of = dict(about["rgb_depth_matches"])
    stats = {frame["timestamp"]: frame for frame in about["depth_frames"]}
    assert every.truth.depth is not None
    for i, (stamp, frame) in enumerate(zip(every.truth.times, about["frames"], strict=True)):
        assert every.images[i] == HERE / "tum" / WALKING / frame["rgb"]
        assert every.image(i).mean(axis=(0, 1)) == pytest.approx(frame["rgb_mean"], abs=1e-3)
        depth = every.truth.depth(i)
        if stamp not in depth_of:
            assert np.isnan(depth).all()
            continue
        want = stats[depth_of[stamp]]
        assert np.isfinite(depth).sum() == want["depth_stats"]["n_valid"]
        assert np.nanmean(depth, dtype=np.float64) == pytest.approx(want["depth_stats"]["mean"])
        for x, y, z in want["depth_probes_xy_z"]:
            assert np.isnan(depth[y, x]) if z is None else depth[y, x] == pytest.approx(z)


def test_tum_leaves_out_what_has_no_pose_or_no_depth_and_says_so() -> None:
    about = expected("tum")
    both = tum.read(HERE / "tum", WALKING, intrinsics=TENTH)
    paired = set(stamps(about["rgb_gt_matches"])) & set(stamps(about["rgb_depth_matches"]))
    assert set(both.truth.times) == paired
    assert [remark.partition(":")[0] for remark in both.remarks] == [
        "1 of 12 images have no pose",
        "1 of 12 images have no depth",
    ]


def test_tum_by_rows_pairs_the_n_th_image_with_the_n_th_pose() -> None:
    rows = tum.read(HERE / "tum", WALKING, association="rows", need="none", intrinsics=TENTH)
    table = np.loadtxt(HERE / "tum" / WALKING / "groundtruth.txt")
    np.testing.assert_allclose(rows.truth.world_from_cam[:, :3, 3], table[:12, 1:4])
    assert "by row" in rows.remarks[-1]


def test_bonn_has_poses_of_the_camera_and_not_of_the_markers() -> None:
    about = expected("bonn")
    markers = np.array([frame["marker_pose"] for frame in about["frames"]])
    poses = bonn.camera_from_markers(markers)
    np.testing.assert_allclose(poses, [frame["c2w"] for frame in about["frames"]], atol=1e-9)
    sequence = CASES["bonn"].sequence()
    assert sequence.truth.times.tolist() == [frame["timestamp"] for frame in about["frames"]]
    turned = poses[:, :3, :3].transpose(0, 2, 1) @ poses[:, :3, :3]
    np.testing.assert_allclose(turned, np.tile(np.eye(3), (len(poses), 1, 1)), atol=1e-6)


def test_the_two_cameras_of_a_stereo_pair_are_as_far_apart_as_published() -> None:
    for one, two, baseline in (
        (
            "TEST/A/0000/left",
            "TEST/A/0000/right",
            expected("sceneflow")["left_right_baseline_check"],
        ),
        ("Scene01/clone/Camera_0", "Scene01/clone/Camera_1", 0.532725),
    ):
        left, right = (CASES[name].sequence().truth.world_from_cam for name in (one, two))
        shift = np.linalg.inv(left) @ right
        np.testing.assert_allclose(shift[:, :3, 3], [[baseline, 0, 0]] * len(left), atol=1e-5)


def test_virtual_kittis_sky_is_infinite() -> None:
    for name in ("Scene01/clone/Camera_0", "Scene01/clone/Camera_1"):
        for i, about, sequence in frames(CASES[name]):
            assert sequence.truth.depth is not None
            assert np.isinf(sequence.truth.depth(i)).sum() == about["n_sky_65535"]


def test_pointodysseys_tracks_agree_with_its_cameras() -> None:
    truth = CASES["pointodyssey"].sequence().truth
    track = expected("pointodyssey")["anno"]
    for i, (seen, point) in enumerate(zip(track["track0_2d"], track["track0_3d"], strict=True)):
        cam_from_world = np.linalg.inv(truth.world_from_cam[i])
        pixel = truth.intrinsics[i] @ (cam_from_world[:3, :3] @ point + cam_from_world[:3, 3])
        np.testing.assert_allclose(pixel[:2] / pixel[2], seen, atol=1e-3)


@pytest.mark.parametrize("name", ["big_endian_4x3.pfm", "color_4x3.pfm"])
def test_pfm_variants(name: str) -> None:
    values = read_pfm(HERE / "sceneflow" / "pfm_variants" / name)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected("sceneflow")["pfm_variants"][name])
