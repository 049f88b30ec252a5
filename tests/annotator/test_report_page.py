"""The HTML report: self-contained, escaped, in order, bounded."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import io
import re
from html.parser import HTMLParser

import pytest
import trimesh
from report_scene import pair_view

from annotator.report import viewer_glb, write_report
from annotator.report.page import figure_rows
from annotator.report.templates import model_viewer_script

NASTY = "<img src=x onerror=alert(1)>'\"&.jpg"


class Page(HTMLParser):
    """Tags with their attributes, the text outside scripts, and the scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text, self.scripts = "", []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        self._inside = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif not self._inside:
            self.text += data

    def all(self, tag: str, cls: str = "") -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag and cls in ("", *attrs.get("class", "").split())]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    right, left = pair_view("right"), pair_view("left", name=NASTY, pair_id="p2")
    sure = dataclasses.replace(
        right, pair_id="p3", photo_name="sure.jpg", confidence=0.99, status="accepted", verdict="accept"
    )
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report(iter([sure, right, left]), out, "Kitchen & <bath>", [(NASTY, "no hand <found>")])
    return out


@pytest.fixture(scope="module")
def page(written):
    return Page(written.read_text(encoding="utf-8"))


def test_nothing_is_loaded_from_elsewhere(page):
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "poster", "data", "action"):
            assert attrs.get(name, "data:").startswith(("data:", "#")), (tag, name)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert not re.search(r"url\(\s*['\"]?http", page.text)


def test_names_are_text_never_markup(page):
    assert not [attrs for _, attrs in page.tags if any(key.startswith("on") for key in attrs)]
    assert not [attrs for attrs in page.all("img") if attrs.get("src") == "x"]
    assert page.text.count(NASTY) == 2  # the pair's title and the failed photo
    assert "no hand <found>" in page.text
    assert "thumb <b>" in page.text  # a reviewer's comment
    assert "Kitchen & <bath>" in page.text


def test_the_most_doubtful_pair_comes_first(page):
    assert [attrs["data-name"] for attrs in page.all("article")] == [NASTY, "carton.jpg", "sure.jpg"]


def test_a_pair_shows_its_pictures_figures_and_history(page):
    assert len(page.all("figure")) == 6 * 3
    assert len(page.all("div", "stage")) == 3
    for words in ("0.42 cm³", "not measured", "1.8 mm", "the wrist leaves the picture", "refinement", "anna", "accept"):
        assert words in page.text


def test_the_model_in_the_page_is_the_viewers_glb(page):
    packed = next(
        text
        for (_, attrs), text in zip([t for t in page.tags if t[0] == "script"], page.scripts, strict=True)
        if attrs.get("id") == "glb-1"
    )
    data = gzip.decompress(base64.b64decode(packed))
    assert data == viewer_glb(pair_view("right").reconstruction)
    assert set(trimesh.load_scene(io.BytesIO(data), file_type="glb").geometry) == {"hand", "object"}


def test_the_viewer_is_inlined_once_and_cannot_end_its_script(page):
    assert sum("customElements.define" in script for script in page.scripts) == 1
    assert "</script" not in model_viewer_script()
    assert "<!--" not in model_viewer_script()


def test_a_pair_costs_no_more_than_300_kb(written, tmp_path):
    write_report([], tmp_path / "empty.html", "none")
    assert (written.stat().st_size - (tmp_path / "empty.html").stat().st_size) / 3 < 300_000
    assert "No pairs yet" in (tmp_path / "empty.html").read_text(encoding="utf-8")


def test_the_same_pairs_give_the_same_page(written, tmp_path):
    again = tmp_path / "again.html"
    right = pair_view("right")
    write_report([right], again, "one")
    first = again.read_bytes()
    write_report([right], again, "one")
    assert again.read_bytes() == first


def test_a_report_that_fails_leaves_the_old_one(tmp_path):
    out = tmp_path / "report.html"
    out.write_text("old")

    def broken():
        yield pair_view("right")
        raise RuntimeError("the database went away")

    with pytest.raises(RuntimeError, match="went away"):
        write_report(broken(), out, "new")
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_figures_are_graded_in_their_own_direction():
    rows = {
        label: (text, grade)
        for label, text, grade in figure_rows(
            {"hand_iou": 0.5, "penetration_mm": 2.0, "displacement_cm": 3.0, "odd_thing": 1.23456}
        )
    }
    assert rows["Hand IoU"] == ("0.500", "poor")
    assert rows["Penetration"] == ("2.0 mm", "good")
    assert rows["Displacement in simulation"] == ("3.00 cm", "fair")
    assert rows["odd thing"] == ("1.235", "")
