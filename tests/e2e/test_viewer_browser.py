"""The 3D page and the gallery in a real browser; the page also as Label Studio shows it, inside another origin's.

Screenshots are kept in the folder HOI_SCREENSHOTS names, else in pytest's own.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "annotator"))
from ports import free_port
from test_report_browser import CHROMIUM, FLAGS
from web_server import add_pair, running

from annotator.web.app import create_app
from annotator.web.links import Links
from annotator.workspace import Workspace

PAPER = (243, 242, 239)
NASTY = "<img src=x onerror=alert(1)>.jpg"
TASK = "http://127.0.0.1:8080/projects/1/data?task=7"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium (apt-get install chromium)"),
]


@dataclass
class Scene:
    """A browser, and what it was shown."""

    page: Any
    links: Links
    pairs: list[str]
    screenshots: Path
    elsewhere: str  # another origin, with a page that embeds the viewer
    requested: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def open(self, address: str, width: int = 1280, height: int = 800) -> None:
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.goto(address)

    def keep(self, name: str) -> None:
        self.page.screenshot(path=self.screenshots / f"{name}.png")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the dev extra (pip install -e .[dev])")
    port, folder = free_port(), tmp_path_factory.mktemp("viewer")
    workspace = Workspace.create(folder / "workspace", port=port)
    pairs = [add_pair(workspace, "right"), add_pair(workspace, "left", NASTY, confidence=0.3, review_priority=0.9)]
    links = Links.of(workspace)
    screenshots = Path(os.environ.get("HOI_SCREENSHOTS") or folder)
    (folder / "embedding").mkdir()
    (folder / "embedding" / "task.html").write_text(
        f'''<link rel="icon" href="data:,"><object type="text/html" width="420" height="320"
        data="{links.revision(pairs[0], 1, "viewer")}"></object>'''
    )
    handler = partial(SimpleHTTPRequestHandler, directory=folder / "embedding")
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as other,
        running(create_app(workspace, task_url={pairs[0]: TASK}.get), port),
        playwright.sync_playwright() as session,
    ):
        threading.Thread(target=other.serve_forever, daemon=True).start()
        browser = session.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS, timeout=240_000)
        page = browser.new_page()
        page.context.set_default_timeout(240_000)
        shown = Scene(page, links, pairs, screenshots, f"http://localhost:{other.server_port}/")
        page.on("request", lambda request: shown.requested.append(request.url))
        page.on("pageerror", lambda error: shown.broken.append(str(error)))
        page.on("console", lambda said: said.type == "error" and shown.broken.append(said.text))
        page.on("dialog", lambda dialog: (shown.broken.append(dialog.message), dialog.dismiss()))
        yield shown
        browser.close()
        other.shutdown()
    workspace.close()


def wait_for_model(frame: Any) -> None:
    frame.wait_for_function("() => document.querySelector('model-viewer')?.modelIsVisible")


def orbit(frame: Any) -> tuple[float, float]:
    """Azimuth and angle from the top of the 3D view, radians."""
    theta, phi = frame.evaluate(
        "() => (({theta, phi}) => [theta, phi])(document.querySelector('model-viewer').getCameraOrbit())"
    )
    return theta, phi


def arrive(frame: Any, azimuth: float) -> None:
    """Waits until the camera has glided to an azimuth."""
    there = "a => Math.abs(document.querySelector('model-viewer').getCameraOrbit().theta - a) < 0.01"
    frame.wait_for_function(there, arg=azimuth)


def at_rest(frame: Any) -> tuple[float, float]:
    """As `orbit`, once the camera has come to rest: it has not moved for some frames, however long these take."""
    frame.evaluate(
        """() => new Promise(done => {
          const view = document.querySelector('model-viewer'), where = () => view.getCameraOrbit().toString();
          let last = where(), still = 0;
          const look = () => {
            still = where() === last ? still + 1 : 0;
            last = where();
            still < 10 ? requestAnimationFrame(look) : done();
          };
          requestAnimationFrame(look);
        })"""
    )
    return orbit(frame)


def drag(page: Any, box: dict[str, float], by: int) -> None:
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=8)
    page.mouse.up()


def drawn(page: Any) -> float:
    """The share of the 3D view that is not paper."""
    picture = np.asarray(Image.open(io.BytesIO(page.locator("model-viewer").screenshot())).convert("RGB"), dtype=int)
    return float((np.abs(picture[60:] - PAPER).max(axis=2) > 12).mean())  # below the title


def settle(page: Any, wanted: Any) -> float:
    """Waits until as much is drawn as wanted, and no more changes: a frame may take this renderer a while."""
    before = -1.0
    for _ in range(300):
        share = drawn(page)
        if share == before and wanted(share):
            return share
        before = share
        page.wait_for_timeout(100)
    pytest.fail(f"{share:.3f} of the view is drawn")


def test_hand_and_object_come_and_go(scene: Scene) -> None:
    page = scene.page
    scene.open(scene.links.revision(scene.pairs[0], 1, "viewer"))
    wait_for_model(page)
    both = settle(page, lambda share: share > 0.05)
    scene.keep("viewer-1280")
    page.click("[data-part=object]")
    hand = settle(page, lambda share: 0.02 < share < 0.9 * both)
    page.click("[data-part=hand]")
    settle(page, lambda share: share == 0)
    page.click("[data-part=object]")
    settle(page, lambda share: 0.02 < share < 0.95 * both and abs(share - hand) > 0.005)
    page.click("[data-part=hand]")
    settle(page, lambda share: abs(share - both) < 0.01)


def test_heat_changes_the_hand_and_not_the_view(scene: Scene) -> None:
    page = scene.page
    scene.open(scene.links.revision(scene.pairs[0], 1, "viewer"))
    wait_for_model(page)
    start = orbit(page)[0]
    drag(page, page.locator("model-viewer").bounding_box(), 120)
    turned = "a => Math.abs(document.querySelector('model-viewer').getCameraOrbit().theta - a) > 0.3"
    page.wait_for_function(turned, arg=start)
    before = at_rest(page)  # it glides on a little
    both = settle(page, lambda share: share > 0.05)
    assert page.locator("#legend").is_visible()
    with page.expect_response(lambda answer: answer.url.endswith("scene-plain.glb")):
        page.click("#heat")
    page.wait_for_function("() => document.getElementById('legend').hidden")
    wait_for_model(page)
    assert at_rest(page) == pytest.approx(before, abs=0.02)

    page.click("[data-part=object]")  # and what was hidden stays hidden in the other model
    alone = settle(page, lambda share: 0.02 < share < 0.9 * both)
    page.click("#heat")
    page.wait_for_function("() => !document.getElementById('legend').hidden")
    settle(page, lambda share: abs(share - alone) < 0.02)


def test_looking_from_camera_side_and_top(scene: Scene) -> None:
    page = scene.page
    scene.open(scene.links.revision(scene.pairs[0], 1, "viewer"), 1920, 1080)
    wait_for_model(page)
    camera = orbit(page)
    assert camera == pytest.approx((0.0, np.pi / 2), abs=0.15)  # as the photo looks at it
    scene.keep("viewer-1920")
    page.click("button:text-is('Side')")
    arrive(page, camera[0] + np.radians(75))
    page.click("button:text-is('Top')")
    arrive(page, camera[0])
    page.wait_for_function("() => document.querySelector('model-viewer').getCameraOrbit().phi < 0.1")
    page.click("button:text-is('Camera')")
    arrive(page, camera[0])
    drag(page, page.locator("model-viewer").bounding_box(), 150)
    page.wait_for_function("() => Math.abs(document.querySelector('model-viewer').getCameraOrbit().theta) > 0.3")
    page.click("button:text-is('Camera')")  # the same button again, after a drag
    arrive(page, camera[0])
    still = at_rest(page)
    page.wait_for_timeout(1000)
    assert orbit(page) == pytest.approx(still, abs=0.01)  # nothing turns by itself


def test_inside_another_page_it_turns_too(scene: Scene) -> None:
    page = scene.page
    scene.open(f"{scene.elsewhere}task.html", 470, 370)
    while not (embedded := [frame for frame in page.frames if frame.url.endswith("/viewer")]):
        page.wait_for_timeout(50)
    (frame,) = embedded
    wait_for_model(frame)
    start = at_rest(frame)[0]
    scene.keep("viewer-embedded")
    drag(page, page.locator("object").bounding_box(), 90)
    turned = "a => Math.abs(document.querySelector('model-viewer').getCameraOrbit().theta - a) > 0.2"
    frame.wait_for_function(turned, arg=start)
    for label in ("Hand", "Object", "Heat", "Camera", "Side", "Top"):
        box = frame.locator(f"button:text-is('{label}')").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 470 - 40  # none is cut off
    with page.context.expect_page() as opened:
        frame.click("#alone")
    assert opened.value.url == scene.links.revision(scene.pairs[0], 1, "viewer")
    opened.value.close()

    photo = scene.links.revision(scene.pairs[0], 1, "photo.jpg")
    fetched = page.evaluate("url => fetch(url).then((answer) => answer.status)", photo)
    assert fetched == 200  # the way Label Studio loads pictures


def test_the_gallery_filters_and_leads_on(scene: Scene) -> None:
    page = scene.page
    for width, height in ((1920, 1080), (1280, 800)):
        scene.open(scene.links.gallery(), width, height)
        page.wait_for_function("() => [...document.images].every((image) => image.complete && image.naturalWidth)")
        scene.keep(f"gallery-{width}")
        assert "key=" not in page.url
        wide = page.evaluate("() => document.documentElement.scrollWidth")
        assert wide <= width

    assert page.locator(".card h2").all_inner_texts() == [NASTY, "carton.jpg"]
    page.select_option("[name=side]", "right")
    page.wait_for_url("**/gallery?side=right*")
    assert page.locator(".card h2").all_inner_texts() == ["carton.jpg"]
    assert page.locator("nav output").inner_text() == "1 pair"
    assert page.get_by_text("Review").get_attribute("href") == TASK
    with page.context.expect_page() as opened:
        page.locator(".card .picture").click()
    wait_for_model(opened.value)
    assert "carton.jpg" in opened.value.locator("header").inner_text()
    opened.value.close()


def test_nothing_was_asked_of_others_and_nothing_broke(scene: Scene) -> None:
    own = (scene.links.base_url, scene.elsewhere, "blob:", "data:")
    assert [url for url in scene.requested if not url.startswith(own)] == []
    assert scene.broken == []
