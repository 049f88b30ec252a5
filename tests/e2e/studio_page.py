"""What a reviewer does on the labeling page, with Playwright: log in, open, look, choose, paint, submit.

Points are pixels of the picture on the page (the photo at working size), whatever its size on the screen.
"""

from __future__ import annotations

import re
from typing import Any

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
READY = """() => {
  const annotation = window.Htx?.annotationStore?.selected;
  const picture = annotation?.names.get('image')?.imageEntities?.[0];
  const drawn = region => region.type !== 'bitmaskregion' || region.bbox;
  return Boolean(picture?.imageLoaded && annotation.regions.every(drawn));
}"""
Point = tuple[float, float]


def log_in(page: Any, base: str, user: str, password: str) -> None:
    page.goto(f"{base}/user/login/")
    page.fill("input[name=email]", user)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/user/login" not in url)


def open_task(page: Any, base: str, project: int, task: int) -> None:
    page.goto(f"{base}/projects/{project}/data?task={task}")
    wait_until_shown(page)


def open_stream(page: Any, base: str, project: int) -> None:
    """The next task that waits for a review."""
    page.goto(f"{base}/projects/{project}/data?labeling=1")
    wait_until_shown(page)


def wait_until_shown(page: Any) -> None:
    """Until the photo is there and the masks are drawn."""
    page.wait_for_selector(".konvajs-content canvas", timeout=240_000)
    page.wait_for_function(READY, timeout=240_000)


def task_data(page: Any) -> dict[str, Any]:
    """The data of the task on the page: pair_id, revision, ..."""
    return dict(page.evaluate("() => JSON.parse(JSON.stringify(window.Htx.task.dataObj))"))


def choose(page: Any, word: str) -> None:
    """A verdict (accept, reject, fix), a side (left, right), or a finger or the palm, on or off."""
    page.locator(f".hoi .lsf-choice input[name={word}]").click()


def chosen(page: Any, word: str) -> bool:
    return bool(page.locator(f".hoi .lsf-choice input[name={word}]").is_checked())


def comment(page: Any, text: str) -> None:
    field = page.locator(".hoi input[name=comment], .hoi textarea[name=comment]")
    field.fill(text)
    field.press("Enter")


def regions(page: Any) -> list[str]:
    """Labels in the list of regions, from the top; there is one at least."""
    titles = page.locator(".lsf-outliner-item__title")
    titles.first.wait_for()
    return list(titles.all_inner_texts())


def select_region(page: Any, label: str) -> None:
    page.locator(".lsf-outliner-item__title").get_by_text(label, exact=True).first.click()
    selected = "label => window.Htx.annotationStore.selected.selectedRegions.some(r => r.labelName === label)"
    page.wait_for_function(selected, arg=label)


def paint(page: Any, label: str, stroke: list[Point]) -> None:
    """A brush stroke that adds to the mask of that label, which the page shows already."""
    select_region(page, label)
    page.locator("button[aria-label=bitmask-tool]").click()
    draw(page, stroke)


def paint_new(page: Any, label: str, stroke: list[Point]) -> None:
    """A brush stroke that begins a new mask of that label ('contact front', as the page writes it)."""
    page.locator(".hoi-tools .lsf-label").get_by_text(label, exact=True).click()
    page.locator("button[aria-label=bitmask-tool]").click()
    draw(page, stroke)


def draw_box(page: Any, label: str, corner: Point, opposite: Point) -> None:
    """A rectangle: 'hand box' or 'object box'."""
    page.locator(".hoi-tools .lsf-label").get_by_text(label, exact=True).click()
    draw(page, [corner, opposite])


def delete_region(page: Any, label: str) -> None:
    select_region(page, label)
    page.keyboard.press("Backspace")
    page.wait_for_function(
        "label => !window.Htx.annotationStore.selected.regions.some(region => region.labelName === label)", arg=label
    )


def move_joint(page: Any, label: str, start: Point, end: Point) -> None:
    """Drags a joint, which the page shows at `start`."""
    select_region(page, label)
    page.locator("button[aria-label=move-tool]").click()
    draw(page, [start, end])


def draw(page: Any, points: list[Point]) -> None:
    """Drags the mouse along points of the picture."""
    places = [_on_screen(page, point) for point in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=12)
    page.mouse.up()
    page.wait_for_function("() => !window.Htx.annotationStore.selected.isDrawing")


def submit(page: Any) -> dict[str, Any]:
    """Submits (or updates) and returns the annotation as the server answered it."""
    button = page.locator("button").filter(has_text=re.compile("^(Submit|Update)$"))
    with page.expect_response(_is_save, timeout=240_000) as answer:
        button.first.click()
    assert answer.value.status in (200, 201), answer.value.text()
    return dict(answer.value.json())


def viewer_frame(page: Any) -> Any:
    """The embedded 3D page, once its model is loaded."""
    page.wait_for_selector(".hoi-viewer object")
    while True:
        frames = [frame for frame in page.frames if frame.url.endswith("/viewer")]
        if frames:
            frames[0].wait_for_function("() => document.querySelector('model-viewer')?.loaded", timeout=240_000)
            return frames[0]
        page.wait_for_timeout(100)


def _is_save(response: Any) -> bool:
    is_draft = "/drafts" in response.url
    return "/annotations" in response.url and response.request.method in ("POST", "PATCH") and not is_draft


def _on_screen(page: Any, point: Point) -> Point:
    """The canvas may be wider than the picture in it, which begins at its corner."""
    box = page.locator(".konvajs-content").first.bounding_box()
    width, height, shown_width, shown_height = page.evaluate(
        "() => { const image = window.Htx.annotationStore.selected.names.get('image'), p = image.imageEntities[0];"
        " return [p.naturalWidth, p.naturalHeight, image.stageWidth, image.stageHeight] }"
    )
    return box["x"] + point[0] / width * shown_width, box["y"] + point[1] / height * shown_height
