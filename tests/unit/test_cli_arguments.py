"""Short names of options, and the two meanings of --masks."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest

from align3r.cli.arguments import SHORT, SHORT_HELP, Common, parse, spell_out
from align3r.cli.compare import Compare
from align3r.cli.doctor import Doctor
from align3r.cli.export import Export
from align3r.cli.reconstruct import Reconstruct, parse_solve
from align3r.cli.view import View
from align3r.config import CameraOptions, Options, OutputOptions

Captured = pytest.CaptureFixture[str]
REFINED = ["--camera.masks", "None", "--motion.refine", "sam2"]


def options(*words: str) -> Options:
    return parse_solve(
        Reconstruct, ["a.mp4", *words], command="reconstruct", description=""
    ).options


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        ("--masks sam2", REFINED),
        ("--masks=sam2", REFINED),
        ("--camera.masks sam2", REFINED),
        ("--camera.masks=sam2", REFINED),
        ("a.mp4 --masks sam2 --stop 3", ["a.mp4", *REFINED, "--input.stop", "3"]),
        ("--masks ./sam2", ["--camera.masks", "./sam2"]),
        ("--masks=./sam2", ["--camera.masks=./sam2"]),
        ("--masks sam2/", ["--camera.masks", "sam2/"]),
        ("--masks mine", ["--camera.masks", "mine"]),
        ("--masks=a=b", ["--camera.masks=a=b"]),
        ("--masks", ["--camera.masks"]),
        ("--masks=", ["--camera.masks="]),
        ("--masks= sam2", ["--camera.masks=", "sam2"]),
        ("sam2 --poses sam2", ["sam2", "--camera.poses", "sam2"]),
        ("", []),
    ],
)
def test_masks_is_a_folder_or_a_wish(words: str, spelled: list[str]) -> None:
    assert spell_out(words.split()) == spelled


def test_what_is_spelled_out_is_understood() -> None:
    plain = options()
    assert (plain.camera.masks, plain.motion.refine) == (None, "none")
    refined = options("--masks", "sam2")
    assert (refined.camera.masks, refined.motion.refine) == (None, "sam2")
    own = options("--masks", "./sam2")
    assert (own.camera.masks, own.motion.refine) == ("./sam2", "none")


def test_the_command_line_wins_over_masks_of_a_config(tmp_path: Path) -> None:
    given = asdict(Options(camera=CameraOptions(masks="mine")))
    scene = tmp_path / "scene.json"
    scene.write_text(json.dumps(given))
    assert options("--config", str(scene)).camera.masks == "mine"
    refined = options("--config", str(scene), "--masks", "sam2")
    assert (refined.camera.masks, refined.motion.refine) == (None, "sam2")


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("--weights w.pth", lambda o: o.network.weights == "w.pth"),
        ("--prior depthpro", lambda o: o.prior.model == "depthpro"),
        ("--prior-dir maps", lambda o: o.prior.dir == "maps"),
        ("--prior_dir=maps", lambda o: o.prior.dir == "maps"),
        ("--flow raft", lambda o: o.motion.flow == "raft"),
        ("--prior.model none --prior.kind disparity", lambda o: o.prior.kind == "disparity"),
    ],
)
def test_short_names_reach_their_options(words: str, seen: object) -> None:
    assert callable(seen) and seen(options(*words.split()))


@pytest.mark.parametrize("command", [Reconstruct, Compare, Doctor, Export, View])
@pytest.mark.parametrize("width", [80, 120])
def test_a_line_of_the_help_ends_where_the_next_word_has_no_room(
    command: type[Common], width: int, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit):
        parse(command, ["--help"], command="x", description="")
    lines = [line.strip("│").rstrip() for line in capsys.readouterr().out.splitlines()]
    words = " " * 7
    for line, following in pairwise(lines):
        if line.startswith(words) and following.startswith(words):
            assert len(line) + 1 + len(following.split()[0]) > width - 3, line


def test_all_short_names_are_in_the_help() -> None:
    assert max(map(len, SHORT_HELP.splitlines())) <= 80
    assert all(f"{short} = {full}" in SHORT_HELP for short, full in SHORT.items())


def test_a_switch_of_a_config_can_be_turned_both_ways(tmp_path: Path) -> None:
    scene = tmp_path / "scene.json"
    scene.write_text(json.dumps(asdict(Options(output=OutputOptions(html=False, overwrite=True)))))
    config = ["--config", str(scene)]
    assert not options(*config, "--output.no-html").output.html
    assert options(*config, "--output.html").output.html
    assert not options(*config, "--output.no-overwrite").output.overwrite
