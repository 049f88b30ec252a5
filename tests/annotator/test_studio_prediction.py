"""What Label Studio is given: regions that match the config and the reconstruction, HTML without holes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from report_scene import pair_view

from annotator.studio.labeling import JOINTS, ROLES, labeling_config
from annotator.studio.masks import from_data_url
from annotator.studio.prediction import photo_task_data, prediction, task_data
from db.models import Pair, Photo, Revision
from pipeline.types import PARTS

NASTY = "<img src=x onerror=alert(1)><meta http-equiv=refresh content='0;url=http://evil'>\"'&"


class Links:
    def revision(self, pair: str, number: int, name: str) -> str:
        return f"http://127.0.0.1:1/r/{pair}/{number}/token/{name}"

    def photo(self, sha256: str, name: str) -> str:
        return f"http://127.0.0.1:1/p/{sha256}/token/{name}"


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]


def a_revision(name: str = "carton.jpg", **diagnostics: Any) -> Revision:
    photo = Photo(name=name, sha256="0" * 64, width=960, height=800)
    return Revision(
        pair=Pair(public_id="0" * 12 + "-0", photo=photo),
        number=2,
        recipe="cpu",
        confidence=0.71,
        diagnostics=diagnostics,
    )


@pytest.fixture(scope="module")
def config() -> ElementTree.Element:
    return ElementTree.fromstring(labeling_config())


def test_the_prediction_speaks_the_words_of_the_config(config):
    controls = {
        tag.get("name"): (tag.tag.lower(), {child.get("value") for child in tag if child.get("value")})
        for tag in config.iter()
        if tag.get("toName") == "image"
    }
    for region in prediction(pair_view().reconstruction)["result"]:
        kind, words = controls[region["from_name"]]
        assert region["type"] == kind
        assert region["to_name"] == "image"
        assert set(region["value"][kind]) <= words
    assert controls["verdict"][1] == {"accept", "reject", "fix"}
    assert controls["touching"][1] == set(PARTS)
    assert controls["mask"][1] == set(ROLES)
    assert controls["joint"][1] == set(JOINTS)


def test_everything_that_can_be_chosen_has_a_hotkey_of_its_own(config):
    """Label Studio would give a joint the key of the brush."""
    keys = [tag.get("hotkey") for tag in config.iter() if tag.tag in ("Label", "Choice")]
    assert None not in keys
    assert not set(keys) & set("bekrvhz")
    assert len(keys) == len(set(keys))


def test_the_config_asks_for_what_the_data_has(config):
    wanted = {tag.get("value")[1:] for tag in config.iter() if (tag.get("value") or "").startswith("$")}
    pair = task_data(a_revision(), pair_view().reconstruction, Links())
    photo = Photo(name="p.jpg", sha256="1" * 64, width=960, height=800, notes=[])
    assert wanted <= pair.keys()
    assert pair.keys() == photo_task_data(photo, Links(), 480).keys()


def test_masks_joints_and_choices_are_those_of_the_reconstruction():
    made = pair_view().reconstruction
    regions = {region["id"]: region for region in prediction(made)["result"]}
    for name, mask in (("m_hand", made.masks.hand), ("m_contact_front", made.contacts.front)):
        url = regions[name]["value"]["imageDataURL"]
        assert np.array_equal(from_data_url(url, mask.shape), mask)
        assert (regions[name]["original_width"], regions[name]["original_height"]) == (480, 400)
    for index in range(21):
        value = regions[f"kp_{index:02d}"]["value"]
        assert (value["x"] * 4.8, value["y"] * 4.0) == pytest.approx(tuple(made.estimate.keypoints[index]))
    assert regions["side"]["value"]["choices"] == ["right"]
    assert regions["touching"]["value"]["choices"] == list(made.contacts.touching)
    assert "verdict" not in regions


def test_an_empty_mask_is_not_shown():
    made = pair_view().reconstruction
    none = np.zeros_like(made.contacts.back)
    made = replace(made, contacts=replace(made.contacts, back=none, touching=()))
    ids = {region["id"] for region in prediction(made)["result"]}
    assert not ids & {"m_contact_back", "touching"}
    assert task_data(a_revision(), made, Links())["shown"] == ["hand_mask", "object_mask", "contact_front"]


def test_the_data_is_json_and_names_the_revision():
    data = task_data(a_revision(), pair_view().reconstruction, Links())
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert (data["pair_id"], data["revision"]) == ("000000000000-0", 2)
    assert (data["width"], data["height"]) == (480, 400)
    assert data["image"].endswith("/photo.jpg")
    assert data["turntable_html"].count("turntable-") == 16  # picture and link
    assert "the wrist leaves the picture" in data["figures_html"]


def test_before_and_after_of_what_was_asked_for():
    asked = {
        "hand_mask_iou": {"before": 0.8, "after": 0.9},
        "touching_thumb_mm": {"before": 2.0, "after": 5.0},
        "not_touching_ring_mm": {"before": 1.0, "after": 4.0},
        "contact_front_gap_mm": {"before": None, "after": 4.0},
    }
    html = task_data(a_revision(constraints=asked), pair_view().reconstruction, Links())["figures_html"]
    rows = re.findall(r'<th>asked: (.*?)</th><td><i class="hoi-(\w+)"></i>(.*?)</td>', html)
    assert rows == [
        ("hand mask", "good", "0.800 → 0.900 IoU"),
        ("touching thumb", "poor", "2.0 → 5.0 mm"),
        ("not touching ring", "good", "1.0 → 4.0 mm"),
        ("contact front gap", "unknown", "? → 4.0 mm"),
    ]


def test_names_and_reasons_cannot_become_html():
    made = pair_view().reconstruction
    made = replace(made, diagnostics={"warnings": [NASTY]}, object=replace(made.object, kind=NASTY))
    data = task_data(a_revision(NASTY), made, Links())
    photo = Photo(name=NASTY, sha256="1" * 64, width=96, height=64, reason=NASTY, notes=[{"hand": 1, "reason": NASTY}])
    for html in (data["figures_html"], photo_task_data(photo, Links(), 480)["figures_html"]):
        assert NASTY not in html
        assert not Tags(html).seen & {"img", "meta", "script"}
        assert "&lt;img" in html


@pytest.mark.parametrize(
    ("size", "shown"), [((4000, 3000), (1280, 960)), ((3000, 4000), (960, 1280)), ((96, 64), (96, 64))]
)
def test_a_photo_without_a_pair_is_shown_at_the_working_size(size, shown):
    photo = Photo(name="p.jpg", sha256="1" * 64, width=size[0], height=size[1], reason="no hand found", notes=[])
    data = photo_task_data(photo, Links(), 1280)
    assert (data["width"], data["height"]) == shown
    assert (data["pair_id"], data["revision"]) == (None, 0)
    assert "no hand found" in data["figures_html"]


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("no hand found; give a box with --hand-box x0,y0,x1,y1 or in the sidecar p.jpg.hoi.json", "no hand found"),
        ("hand 0: too small; hand 1: it holds nothing", "hand 0: too small; hand 1: it holds nothing"),
        ("give --hand-mask", "give --hand-mask"),
    ],
)
def test_a_reviewer_is_not_told_the_flags_of_a_command(reason, shown):
    photo = Photo(name="p.jpg", sha256="1" * 64, width=96, height=64, reason=reason, notes=[])
    assert f">{shown}<" in photo_task_data(photo, Links(), 1280)["figures_html"]
