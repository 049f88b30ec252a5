"""What a reviewer did, read from annotations as a real Label Studio returned them.

`annotations/*.json` are the answers of Label Studio 1.23.2 to what a browser submitted in
tests/e2e/test_studio_labeling.py.
"""

from __future__ import annotations

import copy
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.reviewing import read_mask
from annotator.studio.labeling import JOINTS
from annotator.studio.masks import to_data_url
from annotator.studio.reviews import ForeignTask, ReadReview, digest, read_annotation
from pipeline.errors import HoiError

ORIGINAL = (800, 960)  # (H, W); the pictures have half of it
Json = dict[str, Any]


def kept(name: str) -> tuple[Json, Json]:
    """(annotation, data of its task)."""
    found = json.loads((Path(__file__).parent / "annotations" / f"{name}.json").read_text())
    return found["annotation"], found["data"]


def read(annotation: Json, data: Json) -> ReadReview:
    return read_annotation(annotation, data, ORIGINAL)


def mask(found: ReadReview, role: str) -> np.ndarray:
    return read_mask(found.change.masks[role], role, ORIGINAL)


def drawn(label: str, inside: np.ndarray, **more: Any) -> Json:
    """A region as the browser's brush makes one."""
    return {
        "id": f"new-{label}",
        "type": "bitmasklabels",
        "from_name": "mask",
        "to_name": "image",
        "origin": "manual",
        "original_width": inside.shape[1],
        "original_height": inside.shape[0],
        "value": {"imageDataURL": to_data_url(inside), "bitmasklabels": [label]},
        **more,
    }


def part_of(annotation: Json, name: str) -> Json:
    (region,) = (region for region in annotation["result"] if region["id"] == name)
    return region


def without(annotation: Json, *names: str) -> Json:
    return annotation | {"result": [region for region in annotation["result"] if region["id"] not in names]}


def block(rows: slice = slice(0, 9)) -> np.ndarray:
    inside = np.zeros((400, 480), dtype=np.bool_)
    inside[rows, 100:200] = True
    return inside


@pytest.mark.parametrize(
    ("name", "verdict", "changed"),
    [
        ("accepted", "accept", ()),
        ("object_painted", "fix", ("object_mask",)),
        ("thumb_off", "fix", ("touching",)),
        ("contact_deleted", "fix", ("hand_mask", "contact_front", "side")),
        ("joint_moved", "fix", ("keypoints",)),
        ("hand_box", "fix", ("box",)),
    ],
)
def test_an_edit_is_what_the_reviewer_touched(name, verdict, changed):
    found = read(*kept(name))
    assert (found.verdict, found.changed, found.problems, found.skipped) == (verdict, changed, (), False)
    masks = {role for role in changed if role in ("hand_mask", "object_mask", "contact_front")}
    assert found.change.masks.keys() == masks
    assert (found.change.keypoints is not None) == ("keypoints" in changed)
    assert (found.change.box is not None) == ("box" in changed)
    if changed:
        assert found.change.checked(ORIGINAL)


def test_the_values_of_the_edits():
    assert mask(read(*kept("object_painted")), "object_mask")[60, 70:130].all()
    thumb = read(*kept("thumb_off"))
    assert (thumb.change.not_touching, thumb.comment) == (("thumb",), "the thumb <b>hovers</b>")
    deleted = read(*kept("contact_deleted"))
    assert not mask(deleted, "contact_front").any()
    assert deleted.change.side == "left"
    moved, shown = (read(*kept("joint_moved")).change.keypoints, kept("accepted")[0])
    wrist = part_of(shown, "kp_00")["value"]
    assert np.abs(np.array(moved[0]) / 2 - (wrist["x"] * 4.8 + 20, wrist["y"] * 4.0 - 30)).max() < 2
    x0, y0, x1, y1 = read(*kept("hand_box")).change.box
    assert np.abs(np.array([x0, y0, x1, y1]) - (200, 100, 600, 500)).max() < 6


def test_several_regions_of_a_label_are_one_mask():
    annotation, data = kept("accepted")
    annotation["result"] += [drawn("object", block()), drawn("object", block(slice(300, 310)), id="another")]
    found = read(annotation, data)
    object_mask = mask(found, "object_mask")
    assert found.changed == ("object_mask",)
    assert object_mask[block()].all()
    assert object_mask[block(slice(300, 310))].all()
    assert object_mask.sum() > block().sum() + block(slice(300, 310)).sum()  # and ours, which was not touched


def test_run_lengths_of_a_brush_are_read():
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    annotation, data = kept("accepted")
    value = {"format": "rle", "rle": brush.mask2rle(block().astype(np.uint8) * 255), "brushlabels": ["contact_back"]}
    region = drawn("contact_back", block()) | {"type": "brushlabels", "value": value}
    found = read(without(annotation, "m_contact_back") | {"result": [region]}, data | {"shown": []})
    assert np.array_equal(mask(found, "contact_back"), block())


def test_a_deleted_hand_or_object_is_a_problem():
    annotation, data = kept("accepted")
    found = read(without(annotation, "m_hand", "m_object"), data)
    assert found.changed == ("hand_mask", "object_mask")
    assert found.change.masks == {}
    assert len(found.problems) == 2
    assert "the hand mask cannot be used: nothing is left of it" in found.problems[0]


def test_a_mask_that_was_never_shown_was_not_deleted():
    annotation, data = kept("accepted")
    found = read(without(annotation, "m_contact_back"), data | {"shown": ["hand_mask", "object_mask"]})
    assert found.changed == ()


def test_a_mask_of_another_picture_is_a_problem():
    annotation, data = kept("accepted")
    annotation["result"].append(drawn("object", np.ones((60, 60), dtype=np.bool_)))
    found = read(annotation, data)
    assert found.problems == ("the object mask cannot be used: it was drawn on a picture of another size",)
    bomb = drawn("object", block()) | {"original_width": 60_000, "original_height": 60_000}
    assert read(annotation | {"result": [bomb]}, data).change.masks.keys() <= {"contact_front", "contact_back"}


def test_parts_and_side_are_compared_with_what_was_shown():
    annotation, data = kept("accepted")
    part_of(annotation, "touching")["value"]["choices"] = ["thumb", "little", "nose"]
    found = read(annotation, data | {"touching": ["thumb", "palm"], "side": "left"})
    assert (found.change.touching, found.change.not_touching) == (("little",), ("palm",))
    assert found.change.side == "right"
    nothing = read(without(annotation, "touching", "side"), data | {"touching": ["thumb", "palm"]})
    assert (nothing.change.not_touching, nothing.change.side) == (("thumb", "palm"), None)


def test_joints_are_all_there_or_none():
    annotation, data = kept("joint_moved")
    found = read(without(annotation, "kp_08", "kp_20"), data)
    assert found.change.keypoints is None
    assert found.problems == ("2 of the 21 joints are missing (index 4, little 4): all are needed, or none",)
    untouched, data = kept("accepted")
    assert read(without(untouched, "kp_08"), data).changed == ()


def test_a_joint_set_again_by_hand_replaces_ours():
    annotation, data = kept("accepted")
    again = part_of(annotation, "kp_04") | {"id": "new", "origin": "manual"}
    again["value"] = again["value"] | {"x": 50.0, "y": 25.0}
    for result in ([again, *annotation["result"]], [*annotation["result"], again]):
        found = read(annotation | {"result": result}, data)
        assert found.change.keypoints[JOINTS.index("thumb 4")] == [480.0, 200.0]


def test_boxes_are_prompts_where_there_is_a_pair():
    box, photo = kept("hand_box")
    annotation, data = kept("accepted")
    (region,) = (region for region in box["result"] if region["type"] == "rectanglelabels")
    point = {"type": "keypointlabels", "from_name": "point", "origin": "manual", "id": "p"}
    point["value"] = {"x": 10, "y": 10, "keypointlabels": ["object"]}
    annotation["result"] += [region, point]
    assert read(annotation, data).changed == ()
    two = box | {"result": [region, region]}
    assert read(two, photo).problems == ("2 hand boxes: draw one, around the hand that holds the object",)
    outside = copy.deepcopy(region)
    outside["value"] |= {"x": -10.0, "width": 30.0}
    assert read(box | {"result": [outside]}, photo).change.box[0] == 0.0
    outside["value"] |= {"x": 120.0}
    assert read(box | {"result": [outside]}, photo).change.box is None


def test_a_skipped_task_has_no_verdict_and_no_edits():
    annotation, data = kept("object_painted")
    found = read(annotation | {"was_cancelled": True}, data)
    assert (found.verdict, found.changed, found.skipped) == (None, (), True)
    assert found.change.masks == {}


def test_a_foreign_task_is_named():
    annotation, data = kept("accepted")
    for wrong in ({}, data | {"width": "wide"}, data | {"touching": None}):
        with pytest.raises(ForeignTask, match="not made by hoi-annotate"):
            read(annotation, wrong)


def test_the_digest_knows_content_and_annotation():
    annotation, _ = kept("accepted")
    same = annotation | {"created_at": datetime.fromisoformat(annotation["created_at"]), "updated_at": "later"}
    assert digest(same) == digest(copy.deepcopy(annotation))
    others = (
        annotation | {"id": annotation["id"] + 1},
        annotation | {"created_at": "2020-01-01T00:00:00Z"},
        annotation | {"was_cancelled": True},
        without(annotation, "m_hand"),
    )
    assert len({digest(other) for other in (annotation, *others)}) == 5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        name: JSON | st.lists(st.sampled_from(["hand", "object", "wrist", "fix", "thumb", "left"]), max_size=2)
        for name in (
            "bitmasklabels", "brushlabels", "keypointlabels", "rectanglelabels", "choices", "text",
            "imageDataURL", "rle", "x", "y", "width", "height",
        )
    },
)  # fmt: skip
REGIONS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["bitmasklabels", "brushlabels", "keypointlabels", "rectanglelabels", "choices", "textarea", "relation"]
        )
        | JSON,
        "value": VALUES | JSON,
    },
    optional={
        "id": st.sampled_from(["m_hand", "kp_00"]) | JSON,
        "origin": st.sampled_from(["manual", "prediction", "prediction-changed"]) | JSON,
        "from_name": st.sampled_from(["verdict", "side", "touching", "comment"]) | JSON,
        "original_width": st.just(480) | JSON,
        "original_height": st.just(400) | JSON,
    },
)


@settings(max_examples=300, deadline=None)
@given(st.lists(REGIONS | JSON, max_size=5) | st.none(), st.booleans())
def test_nothing_a_browser_sends_breaks_the_reader(result, has_pair):
    data = {"width": 480, "height": 400, "revision": int(has_pair), "side": "left", "touching": ["palm"], "shown": []}
    found = read({"id": 1, "created_at": "x", "result": result}, data)
    assert found.verdict in (None, "accept", "reject", "fix")
    try:
        found.change.checked(ORIGINAL)
    except HoiError:
        assert not found.change.masks or found.problems
