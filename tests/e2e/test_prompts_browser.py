"""Prompts in a real Label Studio and a real browser: a box drawn with the magic wand becomes a mask.

Screenshots are kept in the folder HOI_SCREENSHOTS names, else in pytest's own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "annotator"))
import studio_page as reviewer
from ports import free_port
from report_scene import pair_view
from review_bench import until
from web_server import add_pair, running

from annotator.progress import Silent
from annotator.studio import projects, tasks
from annotator.studio.connection import Connection, open_connection
from annotator.studio.masks import from_data_url
from annotator.studio.prediction import MODEL_VERSION
from annotator.studio.reviews import ReadReview, read_annotation
from annotator.web import hooks, ml_backend
from annotator.web.app import create_app
from annotator.web.links import Links
from annotator.workspace import Workspace
from db.models import StudioEvent, StudioProject, StudioTask
from db.repositories import Studio
from pipeline.types import Mask

CHROMIUM = Path("/usr/bin/chromium")
SIZE = (400, 480)  # (H, W) of the picture, which is shown as it is

pytest_plugins = ["studio_server"]
pytestmark = [
    pytest.mark.studio,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium (apt-get install chromium)"),
]


@dataclass
class Scene:
    """A workspace that is served, the Label Studio it is reviewed in, and a browser."""

    workspace: Workspace
    connection: Connection
    project: StudioProject
    page: Any
    screenshots: Path
    added: bool  # the backend, at the first call
    woken: list[None] = field(default_factory=list)

    def keep(self, name: str) -> None:
        self.page.screenshot(path=self.screenshots / f"{name}.png")

    def events(self, count: int) -> list[StudioEvent]:
        """All that came, once there are so many: Label Studio does not wait for a call that takes long."""
        until(lambda: len(self._events()) >= count, "a call did not come")
        return self._events()

    def _events(self) -> list[StudioEvent]:
        with self.workspace.database.read() as session:
            return list(Studio(session).events())

    def open_new(self) -> StudioTask:
        """A pair of its own, on the page."""
        add_pair(self.workspace, name=f"carton {len(self._tasks())}.jpg")
        tasks.push(self.workspace, self.connection, self.project, progress=Silent())
        task = self._tasks()[-1]
        reviewer.open_task(self.page, self.connection.url, self.project.external_id, task.external_id)
        return task

    def _tasks(self) -> list[StudioTask]:
        with self.workspace.database.read() as session:
            return list(Studio(session).tasks(self.project))

    def submit(self, task: StudioTask) -> tuple[list[dict[str, Any]], ReadReview]:
        """The regions the server keeps, and what we read in them."""
        reviewer.submit(self.page)
        (kept,) = self.connection.api.annotations.list(id=task.external_id)
        annotation = json.loads(kept.json())
        data = self.connection.api.tasks.get(id=task.external_id).data
        return annotation["result"], read_annotation(annotation, data, SIZE)


@pytest.fixture(scope="module")
def scene(studio: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the dev extra (pip install -e .[dev])")
    port, folder = free_port(), tmp_path_factory.mktemp("prompts")
    workspace = Workspace.create(folder / "workspace", port=port)
    links, connection = Links.of(workspace), open_connection(studio.url, studio.token)
    woken: list[None] = []
    routers = [hooks.router(workspace, lambda: woken.append(None)), ml_backend.router(workspace, links)]
    with running(create_app(workspace, routers=routers), port), playwright.sync_playwright() as session:
        project = projects.ensure(workspace, connection, "prompts")
        projects.hook(workspace, connection, project, links.base_url)
        added = projects.prompts(connection, project, links.ml())
        browser = session.chromium.launch(executable_path=str(CHROMIUM), args=reviewer.FLAGS, timeout=240_000)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(240_000)
        reviewer.log_in(page, studio.url, studio.user, studio.password)
        screenshots = Path(os.environ.get("HOI_SCREENSHOTS") or folder)
        yield Scene(workspace, connection, project, page, screenshots, added, woken)
        browser.close()
    workspace.close()


SUGGESTED = "() => window.Htx.annotationStore.selected.suggestions.size > 0"
PROMPTS = "() => window.Htx.annotationStore.selected.regions.filter(region => region.dynamic).length"


def auto_annotation(page: Any) -> None:
    """On, as the browser may remember from the task before."""
    if not page.get_by_test_id("bottombar-auto-annotation-toggle").is_checked():
        page.get_by_text("Auto-Annotation", exact=True).click()
    page.wait_for_selector(".lsf-tool_smart")


def choose_wand(page: Any, label: str, tool: str) -> None:
    """A label whose prompts are sent, and a tool of the magic wand (Auto-Detect)."""
    page.locator(".hoi .lsf-label").get_by_text(label, exact=True).click()
    page.locator(".lsf-tool_smart").first.hover()
    page.locator(f".lsf-toolbar__smart button[aria-label={tool}]").last.dispatch_event("click")
    page.locator(".hoi-verdict").scroll_into_view_if_needed()
    page.mouse.move(5, 5)


def draw_prompt(page: Any) -> None:
    """An object box with the magic wand, around hand and object, until there is an answer."""
    auto_annotation(page)
    choose_wand(page, "object box", "rectangle-tool")
    rows, columns = np.nonzero(pair_mask())
    reviewer.draw(page, [(columns.min() - 12, rows.min() - 12), (columns.max() + 12, rows.max() + 12)])
    page.wait_for_function(SUGGESTED)


def pair_mask() -> Mask:
    """Hand and object together: they stand before a plain wall."""
    masks = pair_view().reconstruction.masks
    return masks.hand | masks.object


def new_masks(result: list[dict[str, Any]]) -> list[Mask]:
    """Those that were not in the prediction."""
    regions = [region for region in result if region["type"] == "bitmasklabels" and not region["id"].startswith("m_")]
    return [from_data_url(region["value"]["imageDataURL"], SIZE) for region in regions]


def test_the_project_sends_prompts_and_nothing_else(scene: Scene) -> None:
    api, links = scene.connection.api, Links.of(scene.workspace)
    (backend,) = api.ml.list(project=scene.project.external_id)
    assert (backend.url, backend.is_interactive, backend.state) == (links.ml(), True, "CO")  # connected
    assert scene.added
    assert not projects.prompts(scene.connection, scene.project, links.ml())  # a second time there is nothing to do
    (hook,) = api.webhooks.list(project=scene.project.external_id)  # the one made for the backend is gone
    assert hook.url == links.base_url + projects.HOOK_PATH
    assert api.projects.get(id=scene.project.external_id).model_version == MODEL_VERSION  # predictions still show


def test_a_box_becomes_a_mask_and_the_webhook_tells(scene: Scene) -> None:
    task, page = scene.open_new(), scene.page
    before = len(scene.events(0))
    draw_prompt(page)
    scene.keep("prompt-suggested")
    assert len(scene.events(before)) == before  # a suggestion is nobody's annotation
    page.get_by_test_id("bottombar-accept-suggestions-button").click()
    page.wait_for_function(f"() => !({PROMPTS})()")
    scene.keep("prompt-accepted")
    reviewer.choose(page, "fix")
    result, read = scene.submit(task)
    (mask,) = new_masks(result)
    assert (mask & pair_mask()).sum() / (mask | pair_mask()).sum() > 0.9
    assert (read.verdict, read.changed, read.problems) == ("fix", ("object_mask",), ())
    assert not [region for region in result if region["type"] == "rectanglelabels"]

    (event,) = scene.events(before + 1)[before:]
    assert (event.action, event.project, event.task) == (
        "ANNOTATION_CREATED",
        scene.project.external_id,
        task.external_id,
    )
    (kept,) = scene.connection.api.annotations.list(id=task.external_id)
    scene.connection.api.annotations.update(id=kept.id, was_cancelled=False)
    (updated,) = scene.events(before + 2)[before + 1 :]
    scene.connection.api.annotations.delete(id=kept.id)
    (deleted,) = scene.events(before + 3)[before + 2 :]
    assert (updated.action, updated.task) == ("ANNOTATION_UPDATED", task.external_id)
    assert (deleted.action, deleted.project, deleted.task) == ("ANNOTATIONS_DELETED", scene.project.external_id, None)
    until(lambda: len(scene.woken) == before + 3, "a call did not wake the loop")


def test_prompts_left_behind_are_no_edits(scene: Scene) -> None:
    task, page = scene.open_new(), scene.page
    draw_prompt(page)
    reviewer.choose(page, "accept")
    result, read = scene.submit(task)
    assert [region["type"] for region in result if region["type"] == "rectanglelabels"] == ["rectanglelabels"]
    assert new_masks(result) == []  # nobody accepted it
    assert (read.verdict, read.changed, read.problems) == ("accept", (), ())


def test_a_rejected_suggestion_leaves_nothing(scene: Scene) -> None:
    task, page = scene.open_new(), scene.page
    draw_prompt(page)
    page.get_by_test_id("bottombar-reject-suggestions-button").click()
    page.wait_for_function(f"() => !({PROMPTS})()")
    reviewer.choose(page, "accept")
    result, read = scene.submit(task)
    assert (new_masks(result), read.changed) == ([], ())
    assert not [region for region in result if region["type"] == "rectanglelabels"]


def test_points_become_a_mask(scene: Scene) -> None:
    """Beside the masks: on one of them Label Studio takes a click for choosing it."""
    task, page = scene.open_new(), scene.page
    sent: list[dict[str, Any]] = []
    page.on("request", lambda request: "interactive" in request.url and sent.append(request.post_data_json))
    auto_annotation(page)
    page.get_by_text("Points that prompt auto-annotation").click()
    for count, (point, key) in enumerate([((60, 60), None), ((60, 150), None), ((60, 100), "Alt")], 1):
        choose_wand(page, "object point", "key-point-tool")
        if key:
            page.keyboard.down(key)
        with page.expect_response(lambda answer: "interactive" in answer.url) as answer:
            reviewer.draw(page, [point])
        if key:
            page.keyboard.up(key)
        assert answer.value.ok
        assert len(sent[-1]["context"]["result"]) == count  # all of them, every time
    page.wait_for_function("() => !window.Htx.awaitingSuggestions")
    page.wait_for_function(SUGGESTED)
    scene.keep("prompt-points")
    page.get_by_test_id("bottombar-accept-suggestions-button").click()
    page.wait_for_function(f"() => !({PROMPTS})()")
    scene.keep("prompt-points-accepted")
    reviewer.choose(page, "fix")
    result, read = scene.submit(task)
    (mask,) = new_masks(result)
    assert mask[60, 60]
    assert mask[150, 60]
    assert not mask[98:103, 58:63].any()  # Alt says: not here
    assert read.changed == ("object_mask",)


def test_all_buttons_of_the_viewer_are_there_beside_the_photo(scene: Scene) -> None:
    scene.open_new()
    frame = reviewer.viewer_frame(scene.page)
    width = frame.evaluate("() => innerWidth")
    assert width < 300
    scene.keep("viewer-beside")
    boxes = [place.bounding_box() for place in frame.locator("footer :is(button, a):visible").all()]
    left = scene.page.locator(".hoi-viewer object").bounding_box()["x"]
    assert len(boxes) == 7  # saving has room in a wide viewer only
    assert all(left <= box["x"] and box["x"] + box["width"] <= left + width + 2 for box in boxes)
    assert len({box["y"] for box in boxes}) == 1  # in one row
