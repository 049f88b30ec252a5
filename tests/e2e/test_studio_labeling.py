"""The labeling page in a real Label Studio and a real browser: what a reviewer does is what we read.

With HOI_SAVE_ANNOTATIONS=tests/annotator/annotations the answers of the server are kept there, for the quick tests.
"""

from __future__ import annotations

import functools
import http.server
import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "annotator"))
import studio_page as reviewer
from report_scene import pair_view

from annotator.reviewing import read_mask
from annotator.studio.labeling import JOINTS, labeling_config
from annotator.studio.masks import from_data_url
from annotator.studio.prediction import MODEL_VERSION, photo_task_data, prediction, task_data
from annotator.studio.reviews import ReadReview, read_annotation
from db.models import Pair, Photo, Revision

CHROMIUM = Path("/usr/bin/chromium")
SAVE = os.environ.get("HOI_SAVE_ANNOTATIONS")
ORIGINAL = (800, 960)  # (H, W): the photo is shown at half its size

pytest_plugins = ["studio_server"]
pytestmark = [
    pytest.mark.studio,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium (apt-get install chromium)"),
]


class Folder(http.server.SimpleHTTPRequestHandler):
    """Files that other origins may load."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {"": "text/html"}

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Links:
    """The same few files for every revision and photo."""

    def __init__(self, base: str) -> None:
        self.base = base

    def revision(self, pair: str, number: int, name: str) -> str:
        return f"{self.base}/{name}"

    def photo(self, sha256: str, name: str) -> str:
        return f"{self.base}/{name}"


@pytest.fixture(scope="module")
def links(tmp_path_factory) -> Iterator[Links]:
    folder = tmp_path_factory.mktemp("pictures")
    picture = io.BytesIO()
    Image.fromarray(pair_view().photo.image).save(picture, "JPEG", quality=90)
    for name in ("photo.jpg", "overlay.jpg", *(f"turntable-{frame}.jpg" for frame in range(8))):
        (folder / name).write_bytes(picture.getvalue())
    (folder / "viewer").write_text("<!doctype html><title>3D</title>")
    handler = functools.partial(Folder, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Links(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


@pytest.fixture(scope="module")
def project(studio, links) -> Any:
    """A project with our config, which the server must accept."""
    return studio.client().projects.create(
        title="labeling", label_config=labeling_config(), show_collab_predictions=True, model_version=MODEL_VERSION
    )


@pytest.fixture(scope="module")
def browser(studio) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the dev extra (pip install -e .[dev])")
    with playwright.sync_playwright() as session:
        started = session.chromium.launch(executable_path=str(CHROMIUM), args=reviewer.FLAGS, timeout=240_000)
        page = started.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(240_000)
        reviewer.log_in(page, studio.url, studio.user, studio.password)
        yield page
        started.close()


def revision() -> Revision:
    view = pair_view()
    photo = Photo(name=view.photo_name, sha256=view.photo.sha256, width=ORIGINAL[1], height=ORIGINAL[0])
    figures = {"constraints": {"touching_thumb_mm": {"before": 9.0, "after": 1.5}}}
    return Revision(
        pair=Pair(public_id="000000000000-0", photo=photo, index=0),
        number=view.revision,
        recipe="cpu",
        confidence=view.confidence,
        diagnostics=figures,
    )


class Task:
    """One task of the project, open in the browser."""

    def __init__(self, studio: Any, project: Any, page: Any, body: dict[str, Any]) -> None:
        self.client, self.page = studio.client(), page
        answer = self.client.projects.import_tasks(id=project.id, request=[body], return_task_ids=True)
        (self.id,) = answer.task_ids
        reviewer.open_task(page, studio.url, project.id, self.id)

    def submit(self, name: str) -> tuple[dict[str, Any], ReadReview]:
        """The annotation the server keeps, and what we read in it."""
        reviewer.submit(self.page)
        (kept,) = self.client.annotations.list(id=self.id)
        annotation = json.loads(kept.json())
        data = self.client.tasks.get(id=self.id).data
        if SAVE:
            small = {key: value for key, value in data.items() if not key.endswith("_html")}
            Path(SAVE, f"{name}.json").write_text(json.dumps({"data": small, "annotation": annotation}) + "\n")
        return annotation, read_annotation(annotation, data, ORIGINAL)


@pytest.fixture
def pair_task(studio, project, browser, links) -> Task:
    made = pair_view().reconstruction
    return Task(
        studio, project, browser, {"data": task_data(revision(), made, links), "predictions": [prediction(made)]}
    )


@pytest.fixture
def photo_task(studio, project, browser, links) -> Task:
    photo = Photo(name="p.jpg", sha256="1" * 64, width=ORIGINAL[1], height=ORIGINAL[0], reason="no <hand>", notes=[])
    return Task(studio, project, browser, {"data": photo_task_data(photo, links, 480)})


def masks_of(annotation: dict[str, Any]) -> dict[str, np.ndarray]:
    size = pair_view().photo.size
    regions = [region for region in annotation["result"] if region["type"] == "bitmasklabels"]
    return {region["id"]: from_data_url(region["value"]["imageDataURL"], size) for region in regions}


def sent() -> dict[str, np.ndarray]:
    made = pair_view().reconstruction
    shown = {"m_hand": made.masks.hand, "m_object": made.masks.object}
    shown |= {"m_contact_front": made.contacts.front, "m_contact_back": made.contacts.back}
    return {name: mask for name, mask in shown.items() if mask.any()}


def assert_same(annotation: dict[str, Any], *but: str) -> None:
    """Every mask that was not touched came back pixel by pixel."""
    came = masks_of(annotation)
    for name, mask in sent().items():
        if name not in but:
            assert np.array_equal(came[name], mask), name


def test_accepting_without_a_touch_is_no_edit(pair_task):
    assert reviewer.regions(pair_task.page)[:3] == ["hand", "object", "contact_front"]
    assert reviewer.chosen(pair_task.page, "right")
    assert not reviewer.chosen(pair_task.page, "accept")
    reviewer.choose(pair_task.page, "accept")
    annotation, read = pair_task.submit("accepted")
    assert_same(annotation)
    assert (read.verdict, read.changed, read.problems, read.skipped) == ("accept", (), (), False)


def test_a_stroke_on_the_object_changes_the_object_alone(pair_task):
    reviewer.paint(pair_task.page, "object", [(60, 60), (140, 60)])
    reviewer.choose(pair_task.page, "fix")
    annotation, read = pair_task.submit("object_painted")
    assert_same(annotation, "m_object")
    assert (read.verdict, read.changed, read.problems) == ("fix", ("object_mask",), ())
    painted = read_mask(read.change.masks["object_mask"], "object_mask", ORIGINAL)
    before = sent()["m_object"]
    assert (painted & before).sum() == before.sum()
    rows, columns = np.nonzero(painted & ~before)
    assert painted[60, 70:130].all()
    assert abs(rows.mean() - 60) < 2
    assert 95 < columns.mean() < 105


def test_a_finger_and_a_comment(pair_task):
    touching = pair_view().reconstruction.contacts.touching
    assert "thumb" in touching
    assert all(reviewer.chosen(pair_task.page, part) for part in touching)
    reviewer.choose(pair_task.page, "thumb")
    reviewer.choose(pair_task.page, "fix")
    reviewer.comment(pair_task.page, "the thumb <b>hovers</b>")
    annotation, read = pair_task.submit("thumb_off")
    assert_same(annotation)
    assert (read.verdict, read.changed) == ("fix", ("touching",))
    assert (read.change.touching, read.change.not_touching) == ((), ("thumb",))
    assert read.comment == "the thumb <b>hovers</b>"


def test_a_deleted_contact_mask_and_a_second_region(pair_task):
    reviewer.delete_region(pair_task.page, "contact_front")
    reviewer.paint_new(pair_task.page, "hand", [(40, 350), (80, 350)])
    reviewer.choose(pair_task.page, "fix")
    reviewer.choose(pair_task.page, "left")
    annotation, read = pair_task.submit("contact_deleted")
    assert_same(annotation, "m_contact_front")
    assert read.changed == ("hand_mask", "contact_front", "side")
    assert not read_mask(read.change.masks["contact_front"], "contact_front", ORIGINAL).any()
    hand = read_mask(read.change.masks["hand_mask"], "hand_mask", ORIGINAL)
    assert hand[350, 45:75].all()
    assert hand[sent()["m_hand"]].all()
    assert read.change.side == "left"


def test_a_joint_that_was_moved(pair_task):
    shown = pair_view().reconstruction.estimate.keypoints
    index = JOINTS.index("wrist")
    start = tuple(shown[index])
    reviewer.move_joint(pair_task.page, "wrist", start, (start[0] + 20, start[1] - 30))
    reviewer.choose(pair_task.page, "fix")
    _, read = pair_task.submit("joint_moved")
    assert read.changed == ("keypoints",)
    moved = np.array(read.change.keypoints) / 2 - shown
    assert np.abs(moved[index] - (20, -30)).max() < 2
    assert np.abs(np.delete(moved, index, 0)).max() < 1e-6


def test_a_hand_box_on_a_photo_without_a_pair(photo_task):
    assert "no <hand>" in photo_task.page.locator(".hoi-warning").inner_text()
    reviewer.draw_box(photo_task.page, "hand box", (100, 50), (300, 250))
    reviewer.choose(photo_task.page, "fix")
    _, read = photo_task.submit("hand_box")
    assert (read.verdict, read.changed) == ("fix", ("box",))
    assert np.abs(np.array(read.change.box) - (200, 100, 600, 500)).max() < 6


def test_what_stands_beside_the_photo(pair_task):
    page = pair_task.page
    words = page.locator(".hoi-side").inner_text()
    assert "the wrist leaves the picture" in words
    assert "9.0 → 1.5 mm" in words
    assert page.locator(".hoi-frames img").count() == 8
    while not any(frame.url.endswith("/viewer") for frame in page.frames):
        page.wait_for_timeout(100)
