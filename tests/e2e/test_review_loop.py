"""The whole loop as a reviewer lives it: real pipeline, real Label Studio, real browser, real processes.

A photo is annotated and pushed; the reviewer paints on the object's mask, marks a finger and asks for a fix; the next
task in the stream is the second revision, in which both are respected; it is accepted, and the export contains it.
Screenshots are kept in $HOI_SCREENSHOTS, else under the test's folder.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import studio_page as reviewer
from PIL import Image
from ports import free_port

from annotator.studio.masks import from_data_url
from annotator.workspace import Workspace as Opened

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
SIZES = ((1280, 800), (1920, 1080))

pytest_plugins = ["studio_server"]
pytestmark = [
    pytest.mark.studio,
    pytest.mark.browser,
    pytest.mark.weights,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium (apt-get install chromium)"),
]


class Workspace:
    """A workspace that is used by its commands only."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.environment = os.environ | {"OMP_NUM_THREADS": "1", "HOI_PORT": str(port)}

    def hoi(self, *arguments: str, **more: str) -> str:
        """stdout of a command that must succeed."""
        done = subprocess.run(
            self._command(*arguments), cwd=self.folder, env=self.environment | more, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.hoi(*arguments, "--json"))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that runs until it is told to stop; its words go to a file."""
        with (self.folder / f"{arguments[0]}.log").open("w") as log:
            return subprocess.Popen(
                self._command(*arguments), cwd=self.folder, env=self.environment, stdout=log, stderr=log, text=True
            )

    def log(self, command: str) -> str:
        return (self.folder / f"{command}.log").read_text()

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", "from annotator.cli import main; main()", *arguments]


def until(condition: Callable[[], Any], what: str, seconds: float = 600) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.3)
    return found


@pytest.fixture(scope="module")
def workspace(studio: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One photo, annotated and pushed, with `serve` and `worker` running beside it."""
    made = Workspace(tmp_path_factory.mktemp("loop"), free_port())
    made.hoi("init", ".")
    made.hoi("ingest", str(ROOT / "demo" / "photo_can.jpg"))
    made.hoi("preannotate")
    made.hoi("studio", "connect", "--url", studio.url, HOI_STUDIO_TOKEN=studio.token)
    made.hoi("studio", "push", "--project", "the loop")
    running = [made.start("serve"), made.start("worker")]
    try:
        until(lambda: "gallery:" in made.log("serve") and "is ready" in made.log("worker"), "the start")
        yield made
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
            process.wait(240)


@pytest.fixture(scope="module")
def page(studio: Any) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the dev extra (pip install -e .[dev])")
    with playwright.sync_playwright() as session:
        started = session.chromium.launch(executable_path=str(CHROMIUM), args=reviewer.FLAGS, timeout=240_000)
        made = started.new_page(viewport={"width": SIZES[0][0], "height": SIZES[0][1]})
        made.set_default_timeout(240_000)
        reviewer.log_in(made, studio.url, studio.user, studio.password)
        yield made
        started.close()


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("HOI_SCREENSHOTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def shoot(page: Any, folder: Path, name: str) -> None:
    """One picture for every size of window, in the end at the first."""
    for width, height in (*SIZES[1:], SIZES[0]):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(1500)  # the canvas follows the window
        page.screenshot(path=folder / f"{name}_{width}.jpg", type="jpeg", quality=85)


def shown_mask(page: Any, client: Any, label: str) -> np.ndarray:
    """The mask of the task on the page, as it was sent."""
    task = page.evaluate("() => window.Htx.task.id")
    (sent,) = client.predictions.list(task=task)
    data = reviewer.task_data(page)
    (region,) = [r for r in sent.result if r["id"] == f"m_{label}"]
    return from_data_url(region["value"]["imageDataURL"], (data["height"], data["width"]))


def stroke_beside(mask: np.ndarray) -> list[tuple[float, float]]:
    """A short stroke just right of a mask, where it is widest."""
    row = int(np.argmax(mask.sum(1)))
    right = int(np.flatnonzero(mask[row]).max())
    return [(right + 4.0, row - 20.0), (right + 4.0, row + 20.0)]


def test_the_whole_loop(studio: Any, workspace: Workspace, page: Any, shots: Path, tmp_path: Path) -> None:
    (pair,) = workspace.json("list")
    assert (pair["status"], pair["revision"]) == ("in_review", 1)
    (project,) = workspace.json("studio", "status")["projects"]
    number = int(project["url"].rsplit("/", 1)[1])

    reviewer.open_stream(page, studio.url, number)
    first = reviewer.task_data(page)
    assert (first["pair_id"], first["revision"]) == (pair["pair"], 1)
    assert {"hand", "object"} <= set(reviewer.regions(page))
    frame = reviewer.viewer_frame(page)
    orbit = "() => document.querySelector('model-viewer').getCameraOrbit().toString()"
    before = frame.evaluate(orbit)
    box = page.locator(".hoi-viewer object").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 120)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 80, box["y"] + 140, steps=8)
    page.mouse.up()
    until(lambda: frame.evaluate(orbit) != before, "turning the 3D view")
    shoot(page, shots, "1_first_revision")

    reviewer.open_stream(page, studio.url, number)  # the canvas does not follow a window that shrinks
    held = shown_mask(page, studio.client(), "object")
    reviewer.paint(page, "object", stroke_beside(held))
    finger = next(part for part in ("ring", "little", "middle", "index") if not reviewer.chosen(page, part))
    reviewer.choose(page, finger)
    reviewer.choose(page, "fix")
    shoot(page, shots, "2_fixed")
    saved = reviewer.submit(page)
    submitted = time.monotonic()
    (region,) = [r for r in saved["result"] if r["id"] == "m_object"]
    painted = from_data_url(region["value"]["imageDataURL"], held.shape)
    stroke = painted & ~held
    assert stroke.sum() > 100

    until(lambda: workspace.json("list")[0]["revision"] == 2, "the second revision")
    until(lambda: workspace.json("list")[0]["status"] == "in_review", "its task")
    print(f"from Submit to the task of the new revision: {time.monotonic() - submitted:.1f} s")
    reviewer.open_stream(page, studio.url, number)
    second = reviewer.task_data(page)
    assert (second["pair_id"], second["revision"]) == (pair["pair"], 2)
    now = shown_mask(page, studio.client(), "object")
    assert now[stroke].all()
    assert (now & held).sum() > 0.98 * held.sum()
    assert finger in second["touching"] or f"asked: touching {finger}" in page.locator(".hoi-figures").inner_text()
    shoot(page, shots, "3_second_revision")

    reviewer.choose(page, "accept")
    reviewer.submit(page)
    until(lambda: workspace.json("list")[0]["status"] == "accepted", "the acceptance")
    workspace.hoi("export", "--format", "obman", "-o", str(tmp_path / "dataset"))
    manifest = json.loads((tmp_path / "dataset" / "manifest.json").read_text())
    assert pair["pair"] in json.dumps(manifest)

    history = workspace.json("show", pair["pair"])["history"]
    assert [entry["trigger"] for entry in history] == ["preannotate", "review"]
    (fix,) = history[0]["reviews"]
    assert set(fix["edits"]) == {"object_mask", "touching"}
    assert fix["reviewer"] == studio.user
    kept = Opened(workspace.folder).blobs.get(fix["edits"]["object_mask"])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(kept))) > 0, painted)
    assert [review["verdict"] for review in history[1]["reviews"]] == ["accept"]
    for word in (studio.token, studio.password):
        assert word not in workspace.log("serve") + workspace.log("worker")


def test_the_gallery_leads_to_the_task(studio: Any, workspace: Workspace, page: Any, shots: Path) -> None:
    address = workspace.log("serve").split("gallery: ")[1].split()[0]
    page.goto(address)
    assert page.locator("img").first.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") > 0
    shoot(page, shots, "4_gallery")
    link = page.locator("a", has_text="Review").first
    assert link.get_attribute("href").startswith(f"{studio.url}/projects/")
