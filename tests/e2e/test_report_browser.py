"""The report in a real browser: the 3D model loads and turns, filters work, nothing asks for the network."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "annotator"))
from report_scene import pair_view

from annotator.report import write_report

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
]
NASTY = "<img src=x onerror=alert(1)>.jpg"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the dev extra (pip install -e .[dev])")
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report([pair_view("right"), pair_view("left", name=NASTY, pair_id="p2")], out, "Browser test")
    with playwright.sync_playwright() as session:
        browser = session.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS, timeout=240_000)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(240_000)
        page.requested, page.broken = [], []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("pageerror", lambda error: page.broken.append(str(error)))
        page.on("dialog", lambda dialog: (page.broken.append(dialog.message), dialog.dismiss()))
        page.goto(out.as_uri())
        yield page
        browser.close()


def orbit(page) -> tuple[float, float]:
    """Azimuth and inclination of the first 3D view, radians."""
    theta, phi = page.evaluate(
        "() => (({theta, phi}) => [theta, phi])(document.querySelector('model-viewer').getCameraOrbit())"
    )
    return theta, phi


def test_the_model_loads_and_turns_when_dragged(page):
    page.locator(".stage button").first.click()
    page.wait_for_function("() => document.querySelector('model-viewer')?.loaded")
    page.wait_for_function("() => document.querySelector('model-viewer').modelIsVisible")
    before = orbit(page)
    assert before == pytest.approx((0.0, 1.5708), abs=0.01)  # as the photo looks at it

    box = page.locator("model-viewer").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 70, y + 20, steps=8)
    page.mouse.up()
    turned = "start => Math.abs(document.querySelector('model-viewer').getCameraOrbit().theta - start) > 0.2"
    page.wait_for_function(turned, arg=before[0])  # the camera glides to where it was dragged

    size = page.evaluate("() => document.querySelector('model-viewer').getDimensions()")
    assert 0.05 < max(size["x"], size["y"], size["z"]) < 0.4  # metres


def test_comparing_turning_and_zooming(page):
    page.locator(".compare input").first.fill("30")
    assert page.locator(".compare .frame").first.evaluate("f => f.style.getPropertyValue('--cut')") == "30%"
    table = page.locator(".turntable").first
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + 50)
    page.wait_for_function("() => document.querySelector('.turntable').dataset.frame === '6'")
    page.locator("img.zoom").first.click()
    assert page.locator("#zoom").evaluate("d => d.open")
    page.locator("#zoom").click()
    assert not page.locator("#zoom").evaluate("d => d.open")


def test_filters_and_order(page):
    def names() -> list[str]:
        return page.locator(".pair:visible h2").all_text_contents()  # drawn yet or not: far pairs are drawn late

    assert names() == [NASTY, "carton.jpg"]
    page.select_option("#order", "trusted")
    assert names() == ["carton.jpg", NASTY]
    page.select_option("#side", "left")
    assert names() == [NASTY]
    assert page.locator("#shown").inner_text() == "1 of 2"
    page.select_option("#side", "")
    page.fill("#search", "CARTON")
    assert names() == ["carton.jpg"]
    page.fill("#search", "")


def test_nothing_left_the_page_and_nothing_broke(page):
    assert [url for url in page.requested if not url.startswith(("file:", "blob:", "data:"))] == []
    assert page.broken == []
