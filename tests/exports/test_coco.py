"""A COCO export is what pycocotools reads and scores, and every way to break it is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_mano import pickled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from json_mutations import ODD, changed, key_paths, replaced
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from synthetic_pairs import HAND_RGB, OBJECT_RGB, make_record

from exports import manifest
from exports.base import Record
from exports.coco.format import CocoFormat
from exports.verify import verify
from pipeline.geometry.raster import depth_map
from pipeline.hand_model import load_hand
from pipeline.hand_model.mano_file import add_mano

SPLITS = ("train", "val", "test")
INSTANCES, KEYPOINTS = "annotations/instances_train.json", "annotations/hand_keypoints_train.json"


@pytest.fixture(scope="module")
def pairs(records: list[Record]) -> list[Record]:
    """Both sides, one hand half outside of its photo, and two pairs on one photo."""
    aside = make_record(4, centre=(0.22, 0.0, 0.5), pair_id="aside")
    twin = replace(make_record(5, pair_id="päir 双"), photo=records[0].photo)
    return [*records, aside, twin]


@pytest.fixture(scope="module")
def root(pairs: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("coco") / "out"
    assert CocoFormat().write(pairs, out, split="train=0.4,val=0.3,test=0.3").count == len(pairs)
    return out


@pytest.fixture(scope="module")
def pristine(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("coco") / "two"
    thing = {"class_id": "mug", "object_id": "Täßchen 碗"}
    given = [records[0], replace(records[2], provenance={**records[2].provenance, **thing})]
    assert CocoFormat().write(given, out, split="train=1,val=0").count == 2
    return out


@pytest.fixture
def export(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "out"))


def check(export: Path) -> list[str]:
    return CocoFormat().check(export, manifest.read(export))


def opened(root: Path, kind: str = "instances") -> Iterator[tuple[str, COCO]]:
    for split in SPLITS:
        yield split, COCO(str(root / "annotations" / f"{kind}_{split}.json"))


def hands(root: Path, pairs: list[Record]) -> Iterator[tuple[COCO, dict[str, Any], Record]]:
    by_id = {record.pair_id: record for record in pairs}
    for _, coco in opened(root):
        for annotation in coco.loadAnns(coco.getAnnIds(catIds=coco.getCatIds(catNms=["hand"]))):
            yield coco, annotation, by_id[annotation["pair_id"]]


def test_nothing_is_wrong(root: Path, pristine: Path) -> None:
    assert verify(root) == verify(pristine) == []


def test_masks_are_bit_exact_and_boxes_are_theirs(root: Path, pairs: list[Record]) -> None:
    seen = 0
    for coco, hand, record in hands(root, pairs):
        held = coco.anns[hand["partner_id"]]
        assert held["partner_id"] == hand["id"]
        assert held["pair_id"] == hand["pair_id"]
        assert coco.loadCats(held["category_id"])[0]["name"] == "object"
        masks = record.reconstruction.masks
        amodal = {**held, "segmentation": held["amodal_segmentation"]}
        for annotation, mask in (
            (hand, masks.hand),
            (held, masks.object),
            (amodal, record.reconstruction.completion.amodal_mask),
        ):
            np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), mask)
        for annotation, mask in ((hand, masks.hand), (held, masks.object)):
            rows, columns = np.nonzero(mask)
            left, top = columns.min(), rows.min()
            assert annotation["bbox"] == [left, top, columns.max() + 1 - left, rows.max() + 1 - top]
            assert annotation["area"] == mask.sum()
            assert annotation["iscrowd"] == 0
        seen += 1
    assert seen == len(pairs)


def test_photos_are_the_records_and_two_pairs_share_one(root: Path, pairs: list[Record]) -> None:
    images: dict[str, set[tuple[str, int]]] = {}
    for split, coco in opened(root):
        for image in coco.loadImgs(coco.getImgIds()):
            picture = cv2.imread(str(root / "images" / split / image["file_name"]))[..., ::-1]
            assert picture.shape == (image["height"], image["width"], 3)
            for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
                record = next(record for record in pairs if record.pair_id == annotation["pair_id"])
                images.setdefault(record.photo.sha256, set()).add((split, image["id"]))
                assert np.abs(picture.astype(int) - record.photo.image).mean() < 2
                assert coco.dataset["licenses"][image["license"] - 1]["name"] == "CC0-1.0"
    assert len(images) == len(pairs) - 1
    assert all(len(places) == 1 for places in images.values())


def test_keypoints_are_where_the_joints_project_to(root: Path, pairs: list[Record]) -> None:
    outside = 0
    for _, hand, record in hands(root, pairs):
        made = record.reconstruction
        points = np.array(hand["keypoints"]).reshape(21, 3)
        pixels = made.hand_joints @ made.camera.K.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        inside = ((pixels >= 0) & (pixels < [640, 480])).all(1)
        np.testing.assert_array_equal(points[:, 2] > 0, inside)
        assert np.abs(points[inside, :2] - pixels[inside]).max() <= 0.0051
        assert not points[~inside].any()
        assert hand["num_keypoints"] == inside.sum()
        assert hand["side"] == made.hand.side
        outside += int((~inside).sum())
    assert outside > 3  # the pair at the border


def test_visibility_follows_masks_and_depth(root: Path, pairs: list[Record]) -> None:
    """A joint in the middle of the object's mask is hidden, one with much of the hand before it is; one just below the
    skin of the visible hand is seen."""
    hidden_by_object, hidden_by_hand, seen = 0, 0, 0
    for _, hand, record in hands(root, pairs):
        made = record.reconstruction
        surface = depth_map(made.hand_verts, load_hand(hand["side"]).faces, made.camera.K, 480, 640)
        deep_in_object = cv2.erode(made.masks.object.astype(np.uint8), np.ones((25, 25))) > 0
        for (x, y, v), joint in zip(np.array(hand["keypoints"]).reshape(21, 3), made.hand_joints, strict=True):
            if v == 0:
                continue
            at = int(y), int(x)
            if deep_in_object[at]:
                hidden_by_object += 1
                assert v == 1
            elif joint[2] - surface[at] > 0.04:
                hidden_by_hand += 1
                assert v == 1
            elif made.masks.hand[at] and joint[2] - surface[at] < 0.008:
                seen += 1
                assert v == 2
    assert min(hidden_by_object, hidden_by_hand, seen) > 0


def test_names_and_skeleton_follow_the_fingers(root: Path) -> None:
    for kind in ("instances", "hand_keypoints"):
        for _, coco in opened(root, kind):
            (category,) = coco.loadCats(coco.getCatIds(catNms=["hand"]))
            names = category["keypoints"]
            assert names[0] == "wrist"
            assert [names[i] for i in (4, 8, 12, 16, 20)] == [
                f"{finger}_tip" for finger in ("thumb", "index", "middle", "ring", "little")
            ]
            bones = [(names[a - 1], names[b - 1]) for a, b in category["skeleton"]]
            assert len(bones) == 20
            assert all(a == "wrist" or a.split("_")[0] == b.split("_")[0] for a, b in bones)


@pytest.mark.parametrize("kind", ["segm", "bbox", "keypoints"])
def test_truth_scores_one_in_cocoeval(kind: str, pristine: Path) -> None:
    coco = COCO(str(pristine / (KEYPOINTS if kind == "keypoints" else INSTANCES)))
    keys = ("image_id", "category_id", "segmentation" if kind == "segm" else kind)
    answers = [{key: annotation[key] for key in keys} | {"score": 0.9} for annotation in coco.dataset["annotations"]]
    scored = COCOeval(coco, coco.loadRes(answers), kind)
    if kind == "keypoints":
        scored.params.kpt_oks_sigmas = np.full(21, 0.05)
    scored.evaluate()
    scored.accumulate()
    scored.summarize()
    assert scored.stats[0] == pytest.approx(1)


def test_our_own_key_gives_the_hand_back(root: Path, pairs: list[Record]) -> None:
    for _, hand, record in hands(root, pairs):
        own, made = hand["hoi_annotate"], record.reconstruction
        np.testing.assert_allclose(own["joints_3d"], made.hand_joints, atol=1e-6)
        np.testing.assert_allclose(own["K"], made.camera.K, atol=1e-6)
        np.testing.assert_allclose(made.hand_verts[own["tip_ids"]], made.hand_joints[[4, 8, 12, 16, 20]], atol=1e-6)
        assert own["hand_model"] == "open-hand"
        assert own["provenance"]["licence"] == "CC0-1.0"


def test_equal_records_give_equal_bytes(pairs: list[Record], root: Path, tmp_path: Path) -> None:
    CocoFormat().write(list(reversed(pairs)), tmp_path / "b", split="train=0.4,val=0.3,test=0.3")
    for path in manifest.files(root):
        assert (root / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path


def test_ids_of_annotations_stay_when_data_is_added(pairs: list[Record], root: Path, tmp_path: Path) -> None:
    CocoFormat().write(pairs[:2], tmp_path / "few", split="train=1,val=0")
    few = {hand["pair_id"]: hand["id"] for _, hand, _ in hands(tmp_path / "few", pairs)}
    many = {hand["pair_id"]: hand["id"] for _, hand, _ in hands(root, pairs)}
    assert len(few) == 2
    assert few.items() <= many.items()


def test_zero_records(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert CocoFormat().write([], out).count == 0
    assert verify(out) == []
    for kind in ("instances", "hand_keypoints"):
        assert [coco.getAnnIds() for _, coco in opened(out, kind)] == [[], [], []]


def test_records_that_do_not_fit_say_why(records: list[Record], tmp_path: Path) -> None:
    def with_made(name: str, **values: Any) -> Record:
        return replace(records[0], pair_id=name, reconstruction=replace(records[0].reconstruction, **values))

    made = records[0].reconstruction
    nothing = np.zeros_like(made.masks.hand)
    bad = [
        with_made("hand", masks=replace(made.masks, hand=nothing)),
        with_made("object", masks=replace(made.masks, object=nothing)),
        with_made("amodal", completion=replace(made.completion, amodal_mask=nothing)),
        with_made("model", estimate=replace(made.estimate, model="someone's hand")),
        with_made("verts", hand_verts=made.hand_verts + 0.01),
        replace(records[0], pair_id="provenance", provenance={"when": object()}),
    ]
    summary = CocoFormat().write(bad, tmp_path / "out")
    reasons = dict(summary.skipped)
    assert summary.count == 0
    assert reasons["hand"] == "the mask of the hand is empty"
    assert reasons["object"] == "the mask of the object is empty"
    assert reasons["amodal"] == "the mask of the completed object is empty"
    assert "someone's hand" in reasons["model"]
    assert "mm" in reasons["verts"]
    assert "JSON" in reasons["provenance"]
    assert verify(tmp_path / "out") == []


def test_left_hands_can_be_mirrored(records: list[Record], tmp_path: Path) -> None:
    CocoFormat().write(records, tmp_path / "out", mirror_left=True, split="train=1,val=0")
    assert verify(tmp_path / "out") == []
    for coco, hand, record in hands(tmp_path / "out", records):
        assert hand["side"] == "right"
        mask = record.reconstruction.masks.hand
        expected = mask[:, ::-1] if record.reconstruction.hand.side == "left" else mask
        np.testing.assert_array_equal(coco.annToMask(hand).astype(bool), expected)


def test_hands_of_the_users_mano(records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickled("right"))
    add_mano(tmp_path / "MANO_RIGHT.pkl")
    made = records[0].reconstruction
    verts, joints = load_hand("right", "mano").posed(made.hand)
    mano = replace(made, estimate=replace(made.estimate, model="mano"), hand_verts=verts, hand_joints=joints)
    assert CocoFormat().write([replace(records[0], reconstruction=mano)], tmp_path / "out").skipped == []
    assert verify(tmp_path / "out") == []


def test_names_in_any_script(tmp_path: Path) -> None:
    thing = {"class_id": "чашка", "object_id": "Täßchen 碗", "source": "\udcff.jpg"}
    record = make_record(1, photo_name="手 \udcff.jpg", pair_id="пара/7", provenance=thing)
    out = tmp_path / "выгрузка"
    assert CocoFormat().write([record], out, split="train=1,val=0").skipped == []
    assert verify(out) == []
    coco = COCO(str(out / INSTANCES))
    (held,) = coco.loadAnns(coco.getAnnIds(catIds=[2]))
    assert (held["pair_id"], held["class_id"], held["object_id"]) == ("пара/7", "чашка", "Täßchen 碗")
    assert coco.dataset["images"][0]["photo"]["name"] == "手 \udcff.jpg"


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    number=st.integers(0, 10_000),
    side=st.sampled_from(["right", "left"]),
    centre=st.tuples(st.floats(-0.2, 0.2), st.floats(-0.15, 0.15), st.floats(0.3, 1.5)),
    focal=st.floats(400, 1200),
)
def test_any_record(number: int, side: Any, centre: Any, focal: float, tmp_path: Path) -> None:
    record = make_record(number, side, centre=centre, focal=focal)
    out = tmp_path / "out"
    summary = CocoFormat().write([record], out, split="train=1,val=0")
    masks = record.reconstruction.masks
    assert summary.count == (masks.hand.any() and masks.object.any())
    assert verify(out) == []


# -- broken exports


def spoiled(export: Path, document: dict[str, Any]) -> None:
    """Write a changed document, and the hands of it beside it, so that only its own content gives a change away."""
    (export / INSTANCES).write_text(json.dumps(document))
    alone = json.loads((export / KEYPOINTS).read_bytes())
    for key in ("images", "licenses"):
        if key in document:
            alone[key] = document[key]
    given = document.get("annotations")
    given = [a for a in given if isinstance(a, dict)] if isinstance(given, list) else []
    alone["annotations"] = [a for a in given if a.get("category_id") == 1]
    (export / KEYPOINTS).write_text(json.dumps(alone))


def documents(export: Path) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Every key that a reader or user needs, with hand and object first in turn."""
    document = json.loads((export / INSTANCES).read_bytes())
    free = {("info", "description"), ("info", "contributor"), ("licenses", 0, "url")}
    for order in (document["annotations"], document["annotations"][::-1]):
        turned = {**document, "annotations": order}
        for path in key_paths(turned):
            if path not in free and "provenance" not in path[:-1]:
                yield path, turned


UNKNOWN = {"info", "photo.name", "hoi_annotate.tip_ids"}  # another one of these may be right, too


@pytest.mark.parametrize("change", ["missing", "type", "value"])
def test_each_key(change: str, export: Path) -> None:
    tried = set()
    for path, document in documents(export):
        name = ".".join(str(key) for key in path[2:]) or str(path[0])
        if change == "value" and name in UNKNOWN:
            continue
        spoiled(export, changed(document, path, change))
        found = check(export)
        assert found, path
        assert all(line.startswith(("annotations/", "images/")) for line in found)
        tried.add(name)
    needed = {"id", "image_id", "category_id", "segmentation.counts", "segmentation.size", "area", "bbox", "iscrowd"}
    needed |= {"keypoints", "num_keypoints", "file_name", "width", "height", "license", "hoi_annotate.K", "class_id"}
    assert needed <= tried


def test_check_never_fails(export: Path) -> None:
    for number, (path, document) in enumerate(documents(export)):
        for value in (ODD[number % len(ODD)], ODD[(3 * number + 1) % len(ODD)]):
            spoiled(export, replaced(document, path, value))
            assert isinstance(check(export), list)
    for text in (b"", b"[]", b"null", b"{", b'{"images": 3}', b"\xff"):
        (export / INSTANCES).write_bytes(text)
        assert any(line.startswith(f"{INSTANCES}: ") for line in check(export))


def test_each_annotation_file(export: Path) -> None:
    for kind in ("instances", "hand_keypoints"):
        for split in SPLITS:
            name = f"annotations/{kind}_{split}.json"
            good = (export / name).read_bytes()
            (export / name).unlink()
            assert any(line.startswith(f"{name}: cannot be read") for line in check(export))
            (export / name).write_bytes(good)
    assert check(export) == []


def test_keypoint_file_that_says_something_else(export: Path) -> None:
    document = json.loads((export / KEYPOINTS).read_bytes())
    document["annotations"][0]["keypoints"][0] += 1
    (export / KEYPOINTS).write_text(json.dumps(document))
    assert check(export) == [f"{KEYPOINTS}: differs from the hands of {INSTANCES}"]


def elsewhere(there: bool) -> dict[str, Any]:
    """A mask of 5 x 5 pixels in the photo's corner, or of none."""
    mask = np.zeros((480, 640), np.uint8, order="F")
    mask[:5, :5] = there
    encoded = rle.encode(mask)
    return {"segmentation": {"size": [480, 640], "counts": encoded["counts"].decode("ascii")}}


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "'keypoints' call a joint visible": lambda hand: hand.update(elsewhere(True), area=25.0, bbox=[0.0, 0.0, 5.0, 5.0]),
    "visibility that is not": lambda hand: hand["keypoints"].__setitem__(2, 3),
    "'keypoints' are not where": lambda hand: hand["keypoints"].__setitem__(0, hand["keypoints"][0] + 1),
    "'keypoints' are not 21": lambda hand: hand["keypoints"].pop(),
    "'num_keypoints'": lambda hand: hand.update(num_keypoints=20),
    "no finite 'joints_3d'": lambda hand: hand["hoi_annotate"].update(joints_3d=[[float("nan")] * 3] * 21),
    "not compressed RLE": lambda hand: hand.update(segmentation=[[0, 0, 5, 0, 5, 5]]),
    "'segmentation' is empty": lambda hand: hand.update(elsewhere(False)),
}


@pytest.mark.parametrize("finding", CHANGES)
def test_hand_that_is_wrong(finding: str, export: Path) -> None:
    document = json.loads((export / INSTANCES).read_bytes())
    CHANGES[finding](next(a for a in document["annotations"] if a["category_id"] == 1))
    spoiled(export, document)
    found = check(export)
    assert any(line.startswith(f"{INSTANCES}: annotation ") and finding in line for line in found), found


def test_annotations_that_are_gone_or_too_many(export: Path) -> None:
    document = json.loads((export / INSTANCES).read_bytes())
    first = document["annotations"][0]
    spoiled(export, {**document, "annotations": document["annotations"][1:]})
    assert any(f"annotation {first['id']} of sample" in line and "is missing" in line for line in check(export))
    more = {**document, "annotations": [*document["annotations"], {**first, "id": 3}]}
    spoiled(export, more)
    assert any("annotation 3 belongs to no sample" in line for line in check(export))
    image = {**document["images"][0], "id": 99}
    spoiled(export, {**document, "images": [*document["images"], image]})
    assert any("image 99 has no annotation" in line for line in check(export))


def test_each_photo(export: Path) -> None:
    path = sorted((export / "images/train").iterdir())[0]
    name = f"images/train/{path.name}"
    cv2.imwrite(str(path), cv2.imread(str(path))[:100])
    assert check(export) == [f"{name}: is 640x100, not 640x480"]
    path.write_bytes(b"no picture")
    assert check(export) == [f"{name}: cannot be read as an image"]
    path.unlink()
    assert check(export) == [f"{name}: cannot be read as an image"]


def test_masks_lie_on_the_photograph(root: Path, pairs: list[Record]) -> None:
    """The photo was drawn in flat colours: under a mask, deep inside, there is that colour."""
    for split, coco in opened(root):
        for annotation in coco.dataset["annotations"]:
            if annotation["pair_id"] == "päir 双":  # its photo is that of another pair
                continue
            image = coco.imgs[annotation["image_id"]]
            picture = cv2.imread(str(root / "images" / split / image["file_name"]))[..., ::-1]
            inner = cv2.erode(coco.annToMask(annotation), np.ones((3, 3))) > 0
            colour = HAND_RGB if annotation["category_id"] == 1 else OBJECT_RGB
            assert np.abs(picture[inner].astype(int) - colour).mean() < 3
