"""scene.html and the live viewer as a browser shows them, by their controls and their pictures."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from devtools import HEIGHT, WIDTH, Browser

from align3r.io.maps import ArrayMaps
from align3r.io.result import load, save_result
from align3r.reconstruction import Reconstruction
from align3r.view.html import write_html
from align3r.view.packing import confidence_level
from align3r.view.server import Viewer, serve

pytestmark = pytest.mark.browser
PANEL, LEFT, TOP = 720, 270, 590
"""The panel of controls begins here, the small picture ends, and the timeline begins."""


@pytest.fixture(scope="module")
def served(room: Reconstruction) -> Iterator[Viewer]:
    viewer = serve(room, names=("room", ""), port=0, block=False)
    yield viewer
    viewer.close()


@pytest.fixture(scope="module")
def written(room: Reconstruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "scene.html"
    write_html(room, path)
    return path


@pytest.fixture(params=["served", "written"])
def page(
    request: pytest.FixtureRequest, browser: Browser, served: Viewer, written: Path
) -> Browser:
    """The room, loaded and standing still at its first moment; errors fail the test later."""
    show(browser, served.url if request.param == "served" else written.as_uri())
    return browser


def show(browser: Browser, address: str) -> None:
    browser.open(address)
    browser.wait_for("window.align3r && align3r.results.every((r) => r.loading === '')")
    browser.run("align3r.play(false); align3r.show(0)")
    settle(browser)


def settle(browser: Browser) -> None:
    """Until the current moment is there and drawn."""
    browser.wait_for(
        "align3r.results.every((r) => r.moments.has('moving/' + Math.min(align3r.state.moment, "
        "r.steps - 1)) && r.pictures.has('image/' + Math.min(align3r.state.moment, r.steps - 1)))"
    )
    browser.run("new Promise((f) => requestAnimationFrame(() => requestAnimationFrame(f)))")


def slide(browser: Browser, control: str, value: float) -> None:
    browser.run(
        f"{{ const c = document.getElementById('{control}'); c.value = {value};"
        " c.dispatchEvent(new Event('input')); }"
    )
    settle(browser)


def click(browser: Browser, selector: str) -> None:
    browser.run(f"document.querySelector('{selector}').click()")
    settle(browser)


def only(browser: Browser, *shown: str) -> None:
    """Switch on these and nothing else."""
    for name in ("static", "moving", "trails", "cameras", "path", "images"):
        if browser.run(f"document.getElementById('{name}').checked") != (name in shown):
            click(browser, f"#{name}")


def stage(browser: Browser) -> np.ndarray:
    """(h, w, 3) int RGB of the scene without what lies over it."""
    return browser.picture()[:TOP, LEFT:PANEL].astype(int)


def count(picture: np.ndarray, colour: str) -> int:
    """Pixels where one channel is twice as strong as both others."""
    channel = "rgb".index(colour)
    others = np.delete(picture, channel, axis=-1).max(axis=-1)
    return int(
        np.count_nonzero((picture[..., channel] > 90) & (picture[..., channel] > 2 * others))
    )


def numbers(browser: Browser) -> list[int]:
    """Static and moving points as the page counts them."""
    text = browser.run("document.getElementById('count').textContent")
    return [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", text)]


def test_the_scene_is_there_and_nothing_complains(page: Browser) -> None:
    picture = stage(page)
    assert count(picture, "g") > 8_000, "the floor is missing"
    assert count(picture, "b") > 8_000, "the wall is missing"
    assert count(picture, "r") > 300, "the moving disc is missing"
    assert page.run("document.getElementById('message').hidden")
    assert page.errors == []


def test_play_advances_with_the_time_of_the_video(page: Browser) -> None:
    started = time.monotonic()
    click(page, "#play")
    page.wait_for("align3r.state.moment >= 3")
    # A quarter of a second a frame: never faster, and a slow machine may be slower.
    assert time.monotonic() - started > 0.7
    assert re.match(
        r"frame [3-7] · \d\.\d\d s of 1\.75 s",
        page.run("document.getElementById('when').textContent"),
    )
    page.wait_for("align3r.state.moment < 3")  # it begins again
    click(page, "#play")
    stopped = page.run("align3r.state.moment")
    time.sleep(0.6)
    assert page.run("align3r.state.moment") == stopped
    assert page.errors == []


def test_what_moves_moves_with_the_timeline(page: Browser) -> None:
    where = []
    for moment in (0, 7):
        slide(page, "time", moment)
        only(page, "moving")
        picture = stage(page)
        rows, columns = np.nonzero((picture[..., 0] > 100) & (picture[..., 1:].max(axis=-1) < 80))
        assert len(rows) > 200
        where.append(columns.mean())
    assert where[1] > where[0] + 30


def test_the_confidence_slider_takes_points_away(page: Browser) -> None:
    only(page, "static")
    slide(page, "confidence", 0)
    everything, all_pixels = numbers(page)[0], count(stage(page), "b")
    slide(page, "confidence", int(confidence_level(3.0)))
    sure, sure_pixels = numbers(page)[0], count(stage(page), "b")
    assert 0.3 * everything < sure < 0.7 * everything
    assert sure_pixels < 0.9 * all_pixels
    slide(page, "confidence", int(confidence_level(7.0)))
    assert numbers(page)[0] == 0 and count(stage(page), "b") == 0
    assert page.run("document.getElementById('confidenceValue').textContent") == "6.87"


def test_the_range_slider_takes_far_points_away(page: Browser) -> None:
    only(page, "static")
    before = count(stage(page), "b"), count(stage(page), "g"), numbers(page)[0]
    near = page.run(
        "Math.floor(128 + align3r.results[0].about.range_steps * "
        "Math.log2(3.5 / align3r.results[0].about.depth_units))"
    )
    slide(page, "range", near)
    after = count(stage(page), "b"), count(stage(page), "g"), numbers(page)[0]
    assert after[0] < 0.02 * before[0], "the wall at 4 is still there"
    assert after[1] > 0.5 * before[1], "the floor before it is gone"
    assert 0 < after[2] < before[2]


def test_points_are_drawn_larger(page: Browser) -> None:
    only(page, "static")
    slide(page, "size", 0.3)
    small = count(stage(page), "b")
    slide(page, "size", 2)
    assert count(stage(page), "b") > 1.2 * small


@pytest.mark.parametrize(("name", "colour"), [("static", "g"), ("moving", "r")])
def test_points_are_switched_on_and_off(page: Browser, name: str, colour: str) -> None:
    only(page, name)
    shown = count(stage(page), colour)
    click(page, f"#{name}")
    assert shown > 300 and count(stage(page), colour) == 0


@pytest.mark.parametrize("name", ["trails", "cameras", "path"])
def test_lines_are_switched_on_and_off(page: Browser, name: str) -> None:
    slide(page, "time", 7)
    only(page)
    empty = stage(page)
    assert len(np.unique(empty.reshape(-1, 3), axis=0)) == 1, "something is left"
    only(page, name)
    assert np.count_nonzero((stage(page) != empty).any(axis=-1)) > 60


def test_trails_are_as_long_as_asked(page: Browser) -> None:
    slide(page, "time", 7)
    only(page)
    empty, drawn = stage(page), []
    only(page, "trails")
    for span in (2, 7):
        slide(page, "span", span)
        drawn.append(np.count_nonzero((stage(page) != empty).any(axis=-1)))
    assert drawn[1] > 1.5 * drawn[0] > 0


def test_the_image_stands_in_the_camera(page: Browser) -> None:
    only(page, "cameras")
    without = stage(page)
    only(page, "cameras", "images")
    assert count(stage(page), "b") > count(without, "b") + 200


def test_following_looks_through_the_camera(page: Browser) -> None:
    only(page, "moving")
    click(page, "#follow")
    for moment in (0, 5):
        slide(page, "time", moment)
        picture = page.picture().astype(int)[:TOP]
        # The small picture has the disc, too.
        picture[:, :260] = 0
        rows, columns = np.nonzero((picture[..., 0] > 100) & (picture[..., 1:].max(axis=-1) < 80))
        scale = min(960 / WIDTH, 640 / HEIGHT)
        wanted = 480 + (40 + 8 * moment + 0.5 - WIDTH / 2) * scale
        if wanted > 330:
            assert abs((columns.min() + columns.max()) / 2 - wanted) < 8
        assert abs((rows.min() + rows.max()) / 2 - (50.5 * scale + 320 - HEIGHT / 2 * scale)) < 8
    drag(page, (500, 300), (520, 300))
    assert page.run("align3r.state.follow") is False


def test_the_small_picture_shows_image_depth_and_what_moves(page: Browser) -> None:
    pictures = []
    for kind in ("image", "depth", "mask"):
        click(page, f"[data-kind={kind}]")
        page.wait_for(f"document.querySelector('#frames canvas').dataset.shows === '{kind}/0'")
        size = page.run("[document.querySelector('#frames canvas').width, 0]")[0]
        assert size == WIDTH
        script = (
            "Array.from(document.querySelector('#frames canvas').getContext('2d')"
            f".getImageData(0, 0, {WIDTH}, {HEIGHT}).data)"
        )
        pictures.append(np.reshape(page.run(script), (HEIGHT, WIDTH, 4))[..., :3])
    image, depth, mask = pictures
    assert image[50, 40, 0] > 100 > image[50, 40, 2] and image[20, 120, 2] > 180
    assert depth[50, 40, 0] > depth[50, 40, 2] and depth[20, 120, 2] > depth[20, 120, 0]
    assert mask[50, 40, 0] > mask[50, 40, 1] + 50 and np.ptp(mask[20, 120]) < 20


def test_the_screenshot_is_saved(page: Browser, tmp_path: Path) -> None:
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    slide(page, "time", 3)
    click(page, "#shot")
    deadline = time.monotonic() + 20
    while not list(tmp_path.glob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    (path,) = tmp_path.glob("*.png")
    assert path.name in ("room_000003.png", "scene_000003.png")
    saved = cv2.imread(str(path))
    assert saved is not None and saved.shape == (640, 960, 3)
    same = np.abs(saved[:TOP, LEFT:PANEL, ::-1].astype(int) - stage(page)).mean()
    assert same < 2


def drag(browser: Browser, start: tuple[int, int], end: tuple[int, int]) -> None:
    about = {"button": "left", "buttons": 1, "clickCount": 1}
    for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **about)
    settle(browser)


def test_the_mouse_turns_and_zooms_and_reset_goes_back(page: Browser) -> None:
    first = page.run("align3r.eye.eye")
    drag(page, (480, 300), (600, 320))
    turned = page.run("align3r.eye.eye")
    target = page.run("align3r.eye.target")
    far = np.linalg.norm(np.subtract(first, target))
    assert np.linalg.norm(np.subtract(turned, first)) > 0.1
    assert np.linalg.norm(np.subtract(turned, target)) == pytest.approx(far, rel=1e-6)
    page.call("Input.dispatchMouseEvent", type="mouseWheel", x=480, y=300, deltaX=0, deltaY=-300)
    page.wait_for(f"Math.abs(align3r.eye.eye[2] - {turned[2]}) > 1e-6")
    assert np.linalg.norm(np.subtract(page.run("align3r.eye.eye"), target)) < 0.9 * far
    click(page, "#reset")
    assert page.run("align3r.eye.eye") == first


def test_keys_do_what_the_buttons_do(page: Browser) -> None:
    for key, text in (("ArrowRight", ""), ("ArrowRight", ""), ("ArrowLeft", ""), ("f", "f")):
        page.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
    page.wait_for("align3r.state.moment === 1 && align3r.state.follow")
    page.call("Input.dispatchKeyEvent", type="keyDown", key=" ", text=" ")
    page.wait_for("align3r.state.playing")


def test_dark_becomes_light(page: Browser) -> None:
    dark = page.picture()[5, 400].mean()
    click(page, "#light")
    assert dark < 60 and page.picture()[5, 400].mean() > 200
    assert count(stage(page), "g") > 8_000


def test_served_and_written_look_alike(browser: Browser, served: Viewer, written: Path) -> None:
    small = []
    for address in (served.url, written.as_uri()):
        show(browser, address)
        small.append(
            cv2.resize(stage(browser).astype(np.float32), (45, 59), interpolation=cv2.INTER_AREA)
        )
    assert np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1] > 0.97


def test_this_frame_only(browser: Browser, served: Viewer) -> None:
    show(browser, served.url)
    whole = numbers(browser)[0]
    click(browser, "#only")
    browser.wait_for("align3r.state.static > 0 && align3r.results[0].moments.has('frame/0')")
    settle(browser)
    assert 1000 < numbers(browser)[0] < whole
    assert browser.errors == []


def test_two_results_side_by_side(browser: Browser, room: Reconstruction) -> None:
    viewer = serve(room, room, names=("one", "two"), port=0, block=False)
    try:
        show(browser, viewer.url)
        picture = browser.picture().astype(int)[:TOP]
        middle = (960 - 220 - 24) // 2
        halves = [
            count(picture[:360, :middle], "b"),
            count(picture[:360, middle : 2 * middle], "b"),
        ]
        assert min(halves) > 3_000 and max(halves) < 1.2 * min(halves)
        names = browser.run(
            "[...document.querySelectorAll('#names span')].map((s) => s.textContent)"
        )
        assert names == ["one", "two"]
        assert browser.run("document.querySelectorAll('#frames canvas').length") == 2
        both = numbers(browser)[0]
        slide(browser, "layout", "'1'")
        assert numbers(browser)[0] == both // 2
        slide(browser, "layout", "'over'")
        assert numbers(browser)[0] == both
        click(browser, "#play")
        browser.wait_for("align3r.state.moment >= 2")
        assert browser.errors == []
    finally:
        viewer.close()


def test_a_damaged_frame_is_told_and_the_rest_is_shown(
    browser: Browser, room: Reconstruction, tmp_path: Path
) -> None:
    save_result(room, tmp_path / "out", max_points=1000, min_confidence=1.5)
    viewer = serve(load(tmp_path / "out"), port=0, block=False)
    (tmp_path / "out" / "depth" / "000002.exr").write_bytes(b"no picture")
    try:
        browser.open(viewer.url)
        browser.wait_for("window.align3r && align3r.results[0].loading === ''")
        told = browser.wait_for("document.getElementById('message').textContent")
        assert "000002.exr" in told
        assert numbers(browser)[0] > 1000
    finally:
        viewer.close()


def test_one_frame_without_anything_known(
    browser: Browser, room: Reconstruction, tmp_path: Path
) -> None:
    shape = (1, HEIGHT, WIDTH)
    maps = ArrayMaps(
        depth=np.full(shape, np.nan, np.float32),
        confidence=np.ones(shape, np.float32),
        moving=np.zeros(shape, bool),
        images=np.full((*shape, 3), 90, np.uint8),
        source_size=(WIDTH, HEIGHT),
    )
    one = replace(
        room,
        world_from_cam=room.world_from_cam[:1],
        intrinsics=room.intrinsics[:1],
        times=room.times[:1],
        frame_index=room.frame_index[:1],
        maps=maps,
    )
    write_html(one, tmp_path / "scene.html")
    show(browser, (tmp_path / "scene.html").as_uri())
    assert numbers(browser) == [0, 0] and browser.errors == []
    assert browser.run("document.getElementById('play').disabled")


def test_scene_html_needs_nothing_from_elsewhere(written: Path) -> None:
    page = written.read_text(encoding="utf-8")
    assert re.findall(r"(?:https?:)?//[a-z][\w-]*\.[\w.-]+", page) == []
    tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=[\"']([^\"']*)", page)
    assert all(address.startswith("data:") for address in tags)
    assert "connect-src 'self'" in page and "default-src 'none'" in page
