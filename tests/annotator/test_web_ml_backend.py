"""The ML backend as Label Studio calls it, and as nobody should."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from ports import free_port
from report_scene import pair_view
from web_server import Answered, Client, add_pair, running

from annotator.studio.masks import from_data_url
from annotator.web import ml_backend
from annotator.web.app import create_app
from annotator.web.links import Links
from annotator.workspace import Workspace
from db.repositories import Pairs
from pipeline.types import Mask

SIZE = (400, 480)  # (H, W) of the picture
CREATOR = "0123456789abcdef0123456789abcdef01234567"  # the token Label Studio sends along


@dataclass
class Backend:
    send: Client
    path: str
    task: dict[str, Any]

    def post(self, name: str, body: Any, path: str | None = None) -> Answered:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(f"{path or self.path}/{name}", "POST", data, Content_Type="application/json")

    def predict(self, *prompts: Any, tasks: list[Any] | None = None) -> Answered:
        context = {"params": {"context": {"result": list(prompts)}}}
        return self.post("predict", {"tasks": [self.task] if tasks is None else tasks} | context)

    def masks(self, *prompts: Any) -> dict[str, Mask]:
        """By label."""
        (answer,) = self.predict(*prompts).json["results"]
        return {
            label: from_data_url(region["value"]["imageDataURL"], SIZE)
            for region in answer["result"]
            for label in region["value"]["bitmasklabels"]
        }


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    port = free_port()
    workspace = Workspace.create(tmp_path_factory.mktemp("ml") / "workspace", port=port)
    links, pair = Links.of(workspace), add_pair(workspace)
    with workspace.database.read() as session:
        sha256 = Pairs(session).find(pair).photo.sha256
    task = {"id": 9, "data": {"photo_sha256": sha256, "width": SIZE[1], "height": SIZE[0]}}
    with running(create_app(workspace, routers=[ml_backend.router(workspace, links)]), port) as send:
        yield Backend(send, urlsplit(links.ml()).path, task)
    workspace.close()


def pair_mask() -> Mask:
    """Hand and object together: they stand before a plain wall."""
    masks = pair_view().reconstruction.masks
    return masks.hand | masks.object


def box(label: str = "object", around: float = 10, **value: Any) -> dict[str, Any]:
    """Around hand and object, as the page sends it."""
    rows, columns = np.nonzero(pair_mask())
    x, y = columns.min() - around, rows.min() - around
    width, height = columns.max() + around - x, rows.max() + around - y
    percent = {"x": x / SIZE[1], "y": y / SIZE[0], "width": width / SIZE[1], "height": height / SIZE[0]}
    return {
        "type": "rectanglelabels",
        "value": {k: 100 * float(v) for k, v in percent.items()} | {"rectanglelabels": [label]} | value,
    }


def point(x: float, y: float, label: str = "object", **region: Any) -> dict[str, Any]:
    """At pixels of the picture."""
    value = {"x": 100 * x / SIZE[1], "y": 100 * y / SIZE[0], "width": 0.5, "keypointlabels": [label]}
    return {"type": "keypointlabels", "value": value} | region


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_it_is_up_and_says_what_it_is(backend: Backend) -> None:
    assert backend.send(f"{backend.path}/health").json["status"] == "UP"
    setup = backend.post("setup", {"project": "3.1", "schema": "<View/>", "hostname": "", "access_token": CREATOR})
    assert (setup.status, setup.json) == (200, {"model_version": "grabcut"})


def test_the_creators_token_is_not_kept(
    backend: Backend, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    for body in ({"access_token": CREATOR}, [CREATOR], b"{" + CREATOR.encode()):
        said = backend.post("setup", body)
        assert CREATOR not in said.text
    assert CREATOR not in caplog.text + "".join(capfd.readouterr())


def test_nothing_without_the_secret(backend: Backend) -> None:
    wrong = backend.path[:-1] + ("0" if backend.path[-1] != "0" else "1")
    for path in (wrong, "/ml/", "/ml", "/ml/%00", "/ml/%ff", backend.path[:-1]):
        assert backend.send(f"{path}/health").status == 404, path
        for name in ("setup", "predict"):
            answer = backend.post(name, {"tasks": [backend.task]}, path)
            assert (answer.status, answer.json) == (404, {"detail": "Not Found"}), path
    assert backend.path not in backend.send("/openapi.json").text
    assert backend.send(f"{backend.path}/webhook", "POST", b"{}").status == 404  # Label Studio would call that


def test_a_box_becomes_a_mask(backend: Backend) -> None:
    answer = backend.predict(box())
    assert answer.status == 200
    (result,) = answer.json["results"]
    (region,) = result["result"]
    assert (region["type"], region["from_name"], region["to_name"]) == ("bitmasklabels", "mask", "image")
    assert (region["original_height"], region["original_width"]) == SIZE
    assert region["value"]["bitmasklabels"] == ["object"]
    assert iou(from_data_url(region["value"]["imageDataURL"], SIZE), pair_mask()) > 0.9
    assert backend.predict(box()).body == answer.body


def test_every_label_has_one_mask(backend: Backend) -> None:
    masks = backend.masks(box("hand"), point(240, 160), point(250, 150), box("object", 30))
    assert list(masks) == ["hand", "object"]
    assert np.array_equal(masks["hand"], backend.masks(box("hand"))["hand"])
    apart = backend.masks(point(240, 160), point(250, 150))["object"] | backend.masks(box("object", 30))["object"]
    assert np.array_equal(masks["object"], apart)


def test_points_and_points_that_are_not(backend: Backend) -> None:
    rows, columns = np.nonzero(pair_view().reconstruction.masks.object)
    on = (float(np.median(columns)), float(rows[columns == int(np.median(columns))].min() + 12))
    assert backend.masks(point(*on))["object"][int(on[1]), int(on[0])]
    assert backend.masks(point(*on, is_positive=False)) == {}  # alone it says nothing
    for away in (point(150, 200, is_positive=False), point(150, 200) | {"value": point(150, 200)["value"]}):
        assert backend.predict(point(*on), away).status == 200
    without = backend.masks(point(*on), point(150, 200, is_positive=False))["object"]
    assert not without[198:203, 148:153].any()


def test_every_task_has_an_answer(backend: Backend) -> None:
    assert [len(r["result"]) for r in backend.predict(box(), tasks=[backend.task] * 2).json["results"]] == [1, 1]
    assert backend.predict(box(), tasks=[]).json["results"] == []
    (result,) = backend.predict().json["results"]
    assert result["result"] == []  # nothing was drawn yet


@pytest.mark.parametrize("more", [{}, {"params": {}}, {"params": {"context": None}}])
def test_predictions_to_keep_are_not_made(backend: Backend, more: dict[str, Any]) -> None:
    for tasks in ([backend.task], [{"id": 3}, backend.task]):
        answer = backend.post("predict", {"tasks": tasks} | more)
        assert (answer.status, answer.json["results"]) == (200, [[] for _ in tasks])


@pytest.mark.parametrize(
    "junk",
    [
        None,
        "box",
        7,
        [],
        {},
        {"type": "rectanglelabels"},
        {"type": "rectanglelabels", "value": []},
        {"type": ["rectanglelabels"], "value": {"rectanglelabels": ["object"]}},
        {"type": {}, "value": {}},
        box("side"),
        box(rectanglelabels=[]),
        box(rectanglelabels="object"),
        box(rectanglelabels=[{"a": 1}, None, ["object"]]),
        box(x="12"),
        box(x=None),
        box(y=float("nan")),
        box(width=float("inf")),
        box(width=10**400),
        box(height=1e300),
        box(x=120),  # beside the photo
        box(width=0),
        box(x=0, y=0, width=100, height=100),  # nothing to stand out from
        point(-9, 9),
        point(9, 9, "wrist"),
        {"type": "brushlabels", "value": {"rle": [1], "brushlabels": ["object"]}},
        {"type": "polygonlabels", "value": {"points": [[1, 1]], "polygonlabels": ["object"]}},
    ],
)
def test_what_is_no_prompt_gives_no_mask(backend: Backend, junk: Any) -> None:
    answer = backend.predict(junk)
    assert answer.status == 200
    assert [result["result"] for result in answer.json["results"]] == [[]]


def test_junk_does_not_hide_a_prompt(backend: Backend) -> None:
    assert list(backend.masks({"type": 3}, box(x="12"), box(), None)) == ["object"]


@pytest.mark.parametrize("body", [[], "x", None, b"{", b"", b"\xff", b"[" * 9000])
def test_what_is_no_question(backend: Backend, body: Any) -> None:
    assert backend.post("predict", body).status in (400, 422)


@pytest.mark.parametrize("shape", [{"params": []}, {"params": {"context": 7}}, {"tasks": {}}, {"tasks": 7}])
def test_questions_of_another_shape(backend: Backend, shape: dict[str, Any]) -> None:
    assert backend.post("predict", {"tasks": [backend.task]} | shape).status == 200


def test_tasks_of_others(backend: Backend) -> None:
    data = backend.task["data"]
    for other in (
        None,
        {},
        [],
        data | {"photo_sha256": "0" * 64},
        data | {"photo_sha256": "../.secret"},
        data | {"photo_sha256": {"$ne": 1}},
        data | {"photo_sha256": "\ud800"},
        data | {"photo_sha256": "a\0b"},
        data | {"width": 10**9},
        data | {"width": -1, "height": -1},
        data | {"width": "480"},
        data | {"height": None},
    ):
        answer = backend.predict(box(), tasks=[{"id": 9, "data": other}])
        assert (answer.status, answer.json) == (400, {"detail": "not a task of this workspace"}), other
