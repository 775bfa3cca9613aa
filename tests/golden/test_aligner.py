"""The aligner against the numbers of the paper's code, on a tiny problem of four frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from align3r.geometry.rigid import similarity_registration
from align3r.geometry.robust import weiszfeld_focal
from align3r.optim.depth_prior import depth_prior
from align3r.optim.initial import initialise
from align3r.optim.residuals import (
    WEIGHT_FROM,
    Problem,
    flow_term,
    objective,
    pair_term,
    prior_term,
    smooth_term,
)
from align3r.optim.sampling import (
    Grid,
    Samples,
    flow_observations,
    point_observations,
)
from align3r.optim.solve import Recipe, adam, cosine_rate
from align3r.optim.state import Fixed, Raw, State, decode, encode
from align3r.optim.surface import Surface
from align3r.types import PairFlows

FOLDER = Path(__file__).parent / "aligner"
HEIGHT, WIDTH, FRAMES = 32, 48, 4
STATES = ("A", "B", "C")
PAIR = np.load(FOLDER / "pairwise.npz")
FLOW = np.load(FOLDER / "flow_smooth.npz")
FLAT = Surface(torch.ones(FRAMES, HEIGHT * WIDTH))
FREE = Fixed(
    torch.full((FRAMES, 4, 4), torch.nan),
    torch.full((FRAMES,), torch.nan),
    torch.full((FRAMES, HEIGHT * WIDTH), torch.nan),
)


def centred() -> Tensor:
    """The golden problem's principal point is (W/2, H/2)."""
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return torch.from_numpy(np.stack([u - WIDTH / 2, v - HEIGHT / 2]).reshape(2, -1))


def samples_of(data: np.lib.npyio.NpzFile, prefix: str, edges: str) -> Samples:
    points = np.stack([data[f"{prefix}_X_i"], data[f"{prefix}_X_j"]], axis=1)
    sure = np.stack([data[f"{prefix}_C_i"], data[f"{prefix}_C_j"]], axis=1)
    return Samples(
        data[edges].astype(np.int64),
        torch.from_numpy(points).flatten(2, 3),
        torch.from_numpy(sure).flatten(2),
    )


def problem(conf: str = "log") -> Problem:
    grid = Grid(np.arange(HEIGHT * WIDTH), (HEIGHT, WIDTH), (HEIGHT, WIDTH))
    pixels = centred().expand(FRAMES, -1, -1)
    everywhere = np.ones((6, HEIGHT, WIDTH), bool)
    flows = PairFlows(
        PAIR["in_edges"].astype(np.int64),
        np.moveaxis(PAIR["in_flow_ij"], 1, -1),
        np.moveaxis(PAIR["in_flow_ji"], 1, -1),
        everywhere,
        everywhere,
    )
    return Problem(
        centred=pixels,
        aspect=1.0,
        pairs=point_observations(samples_of(PAIR, "in", "in_edges"), FRAMES, conf=conf),
        flow=flow_observations(flows, pixels, grid, ~PAIR["in_dynamic"]),
        surface=FLAT,
    )


def raw_of(state: str) -> Raw:
    stored = {
        "log_map": PAIR[f"{state}_log_depth"].reshape(FRAMES, -1),
        "pose": PAIR[f"{state}_im_poses_raw"],
        "focal": PAIR[f"{state}_im_focals_raw"][:, 0],
        "pair": PAIR[f"{state}_pw_poses_raw"],
        "log_unit": np.float32(0),
    }
    return {name: torch.tensor(value).requires_grad_() for name, value in stored.items()}


def decoded(raw: Raw) -> State:
    return decode(raw, FREE, FLAT)


def assert_near(found: Tensor, golden: np.ndarray, tolerance: float = 1e-4) -> None:
    """Largest difference relative to the largest golden value."""
    miss = np.abs(found.detach().numpy().reshape(golden.shape) - golden).max()
    assert miss <= tolerance * np.abs(golden).max()


@pytest.mark.parametrize("state", STATES)
def test_raw_parameters_mean_the_same(state: str) -> None:
    found = decoded(raw_of(state))
    assert_near(found.depth, PAIR[f"{state}_depth"])
    assert_near(found.focal, PAIR[f"{state}_focals"])
    assert_near(found.rotation, PAIR[f"{state}_im_poses"][:, :3, :3])
    assert_near(found.translation, PAIR[f"{state}_im_poses"][:, :3, 3])
    assert_near(found.pair_scale, PAIR[f"{state}_pw_scale"])
    scale = found.pair_scale[:, None]
    assert_near(scale[..., None] * found.pair_rotation, PAIR[f"{state}_pw_poses"][:, :3, :3])
    assert_near(scale * found.pair_translation, PAIR[f"{state}_pw_poses"][:, :3, 3])


@pytest.mark.parametrize("dist", ["l1", "l2"])
@pytest.mark.parametrize("conf", list(WEIGHT_FROM))
@pytest.mark.parametrize("state", STATES)
def test_pair_loss(state: str, conf: str, dist: str) -> None:
    value = pair_term(decoded(raw_of(state)), problem(conf), dist=dist)  # type: ignore[arg-type]
    golden = float(PAIR[f"{state}_pair_loss_{dist}_{conf}"])
    assert float(value.detach()) == pytest.approx(golden, rel=1e-6)


# In state A the depths of the tree equal their predictions: a residual of nothing but rounding
# has no direction to compare. State C has one such pixel.
@pytest.mark.parametrize(("state", "map_tolerance"), [("B", 1e-5), ("C", 1e-3)])
def test_pair_gradient(state: str, map_tolerance: float) -> None:
    raw = raw_of(state)
    pair_term(decoded(raw), problem()).backward()
    assert_near(raw["log_map"].grad, PAIR[f"{state}_grad_log_depth"], map_tolerance)
    assert_near(raw["pose"].grad, PAIR[f"{state}_grad_im_poses_raw"])
    assert_near(raw["pair"].grad, PAIR[f"{state}_grad_pw_poses_raw"])
    assert_near(raw["focal"].grad, PAIR[f"{state}_grad_im_focals_raw"])


def test_scale_map_loss() -> None:
    raw = raw_of("A")
    # The reference adds one number a frame to the depth; ours is the ratio alone.
    raw["log_map"] = torch.from_numpy(np.log(PAIR["scale_depth"] / PAIR["in_mono"])).flatten(1)
    prior = torch.from_numpy(PAIR["in_mono"]).flatten(1)
    state = decode(raw, FREE, Surface(prior))
    assert_near(state.depth, PAIR["scale_depth"], 1e-6)
    value = float(pair_term(state, problem()).detach())
    assert value == pytest.approx(float(PAIR["scale_pair_loss_l1_log"]), rel=1e-6)


@pytest.mark.parametrize("threshold", [50, 5, 0])
@pytest.mark.parametrize("state", STATES)
def test_flow_loss(state: str, threshold: int) -> None:
    value = flow_term(decoded(raw_of(state)), problem(), pixel_threshold=threshold, switch_off=1e9)
    golden = float(FLOW[f"{state}_flow_loss_i_thre{threshold}"])
    golden += float(FLOW[f"{state}_flow_loss_j_thre{threshold}"])
    if threshold == 0:
        golden /= 2  # the reference counts pixels there, not components, and so doubles
    assert float(value.detach()) == pytest.approx(golden, rel=5e-5)


@pytest.mark.parametrize("weight", [0.1, 1.0])
@pytest.mark.parametrize("state", STATES)
def test_smoothness(state: str, weight: float) -> None:
    value = smooth_term(decoded(raw_of(state)), translation_weight=weight)
    assert float(value.detach()) == pytest.approx(
        float(FLOW[f"{state}_smooth_sum_tw{weight}"]), rel=1e-5
    )


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("state", STATES)
def test_depth_regulariser(state: str, masked: bool) -> None:
    """Against the depths of state A; the gradient by differences."""
    still = ~PAIR["in_dynamic"].reshape(FRAMES, -1) if masked else None
    start = torch.from_numpy(PAIR["A_log_depth"]).reshape(FRAMES, -1)
    near = depth_prior(start.double(), still)
    bare = replace(problem(), near=near)
    raw = raw_of(state)
    found = decoded(raw)
    value = prior_term(found, bare)
    golden = float(FLOW[f"{state}_depth_reg_vs_A" + ("" if masked else "_unmasked")])
    assert float(value.detach()) == pytest.approx(golden, rel=1e-5, abs=1e-12)
    value.backward()
    along = torch.randn(start.shape, generator=torch.Generator().manual_seed(0)).double()
    log_depth, h = raw["log_map"].detach().double(), 1e-4
    ends = [near.distance((log_depth + side * h * along).exp()) for side in (1, -1)]
    slope = float((raw["log_map"].grad.double() * along).sum())
    assert slope == pytest.approx(float(ends[0] - ends[1]) / (2 * h), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(("state", "map_tolerance"), [("B", 1e-5), ("C", 1e-3)])
def test_whole_objective(state: str, map_tolerance: float) -> None:
    raw = raw_of(state)
    weights = {"pair": 1.0, "flow": 0.01, "smooth": 0.01}
    total, _ = objective(decoded(raw), problem(), weights)
    total.backward()
    assert float(total.detach()) == pytest.approx(
        float(FLOW[f"{state}_total_pair_smooth_flow"]), rel=1e-6
    )
    assert_near(raw["log_map"].grad, FLOW[f"{state}_total_grad_log_depth"], map_tolerance)
    assert_near(raw["pose"].grad, FLOW[f"{state}_total_grad_im_poses_raw"])
    assert_near(raw["focal"].grad, FLOW[f"{state}_total_grad_im_focals_raw"])


@pytest.mark.parametrize("state", STATES)
def test_flow_that_is_off_adds_nothing(state: str) -> None:
    raw = raw_of(state)
    found = decoded(raw)
    value = flow_term(found, problem(), switch_off=1e-3)
    total = pair_term(found, problem()) + 0.01 * value + 0.01 * smooth_term(found)
    golden = float(FLOW[f"{state}_total_flow_above_threshold"])
    assert float(total.detach()) == pytest.approx(golden, rel=1e-6)
    value.backward()
    assert not raw["pose"].grad.any()


def test_adam_takes_the_reference_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty steps from state A to state C.

    At A the depths of the tree equal their predictions, so the signs of their first gradient are
    rounding, and Adam makes a full step of each: the first step is taken from the golden
    gradient, by hand, and the other 49 by the solver.
    """
    names = {
        "log_map": "log_depth",
        "pose": "im_poses_raw",
        "focal": "im_focals_raw",
        "pair": "pw_poses_raw",
    }
    arrays = {"step": np.array(1)}
    for name, value in raw_of("A").items():
        start = value.detach().numpy()
        slope = (
            PAIR[f"A_grad_{names[name]}"].reshape(start.shape)
            if name in names
            else np.zeros_like(start)
        )
        arrays[f"value/{name}"] = np.asarray(
            start - np.float32(0.05) * slope / (np.abs(slope) + 1e-8)
        )
        arrays[f"mean/{name}"] = np.asarray(np.float32(0.1) * slope)
        arrays[f"square/{name}"] = np.asarray(np.float32(0.1) * slope * slope)
    rates = [cosine_rate(step, 300, 0.05) for step in range(50)]
    assert_close(np.array(rates), PAIR["adam_trace_lr_A_to_C"], rtol=1e-6, atol=0)
    trace: list[float] = []

    def watched(*arguments: Any) -> Any:
        total, parts = objective(*arguments)
        trace.append(float(total.detach()))
        return total, parts

    monkeypatch.setattr("align3r.optim.solve.objective", watched)
    reached: dict[str, np.ndarray] = {}

    def keep(now: dict[str, np.ndarray]) -> None:
        if int(now["step"]) == 50:
            reached.update(now)

    recipe = Recipe(300, 0.05, 1.0, {"pair": 1.0})
    adam(raw_of("A"), problem(), FREE, recipe, resume=arrays, save=keep)
    assert_close(np.array(trace[:49]), PAIR["adam_trace_loss_A_to_C"][1:], rtol=1e-4, atol=0)
    assert_near(torch.from_numpy(reached["value/focal"]), PAIR["C_im_focals_raw"])
    assert_near(torch.from_numpy(reached["value/pose"]), PAIR["C_im_poses_raw"])
    assert_near(torch.from_numpy(reached["value/pair"]), PAIR["C_pw_poses_raw"])
    assert_near(torch.from_numpy(reached["value/log_map"]), PAIR["C_log_depth"], 1e-3)


def test_start_of_a_clean_problem() -> None:
    data = np.load(FOLDER / "init_mst.npz")
    samples = samples_of(data, "clean_sym", "clean_sym_edges")
    pixels = centred().expand(FRAMES, -1, -1)
    bare = Problem(pixels, 1.0, point_observations(samples, FRAMES), None, FLAT)
    start = initialise(samples, bare, FREE, shared_focal=False)
    raw = encode(start.estimate, FLAT, shared_focal=False)
    found = decoded(raw)
    assert_near(found.focal, data["clean_sym_focals"])
    assert_near(found.depth, data["clean_sym_depth"])
    assert_near(found.pair_scale, data["clean_sym_pw_scale"])
    golden = data["clean_sym_im_poses"].astype(np.float64)
    golden = np.linalg.inv(golden[0]) @ golden  # the reference starts from another camera
    assert_near(start.estimate.world_from_cam, golden)
    assert float(pair_term(found, bare)) < 1e-4


def test_registration() -> None:
    data = {k: torch.from_numpy(v) for k, v in np.load(FOLDER / "registration.npz").items()}
    source, target = data["pts1"].reshape(-1, 3), data["pts2"].reshape(-1, 3)
    weights = data["weights"].reshape(-1)
    for found, names in (
        (similarity_registration(source, target, weights), ("s", "R", "T")),
        (
            similarity_registration(source, target),
            ("unweighted_s", "unweighted_R", "unweighted_T"),
        ),
        (
            similarity_registration(source, data["mirror_pts2"].reshape(-1, 3), weights),
            ("mirror_s", "mirror_R", "mirror_T"),
        ),
    ):
        for value, name in zip(found, names, strict=True):
            assert_close(value, data[name], rtol=1e-4, atol=1e-5)
        assert float(torch.linalg.det(found[1])) == pytest.approx(1.0, abs=1e-5)


def test_focal() -> None:
    data = np.load(FOLDER / "focal.npz")
    points = torch.from_numpy(data["pts3d"]).reshape(4, -1, 3)
    assert_near(weiszfeld_focal(points, centred().T), data["weiszfeld"], 1e-5)
    for frame, shift in enumerate(data["pp_shifted"] - data["pp"]):
        moved = centred().T - torch.from_numpy(shift).float()
        found = weiszfeld_focal(points[frame], moved)
        assert float(found) == pytest.approx(float(data["weiszfeld_pp_shifted"][frame]), rel=1e-5)
