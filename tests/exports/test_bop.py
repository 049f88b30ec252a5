"""BOP: what is written is read back by the rules of thodan/bop_toolkit; every way to break it is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from synthetic_pairs import make_record

from exports import manifest
from exports.base import Entry, ExportError, Place, Record
from exports.bop import numbers
from exports.bop.format import BopFormat
from pipeline.hand_model import load_hand
from pipeline.types import Mesh, ObjectPose

SPLIT = "train=0.5,test=0.5"
CENTRES = [(0.06, -0.03, 0.5), (-0.1, 0.02, 0.45), (0.0, 0.05, 0.6), (0.12, 0.06, 0.7), (0.0, 0.0, 0.4)]


def moved_object(record: Record, shift: Any, scale: float = 1.0) -> Record:
    """The object elsewhere (metres) or of another size about the middle of its box; its hand stays."""
    made = record.reconstruction
    placed, mesh = made.object_pose, made.object.mesh
    middle = (mesh.vertices.min(0) + mesh.vertices.max(0)) / 2
    spot = placed.place(middle[None])[0] + shift
    transl = spot - scale * placed.scale * placed.rotation @ middle
    return replace(
        record, reconstruction=replace(made, object_pose=ObjectPose(placed.rotation, transl, scale * placed.scale))
    )


def cut_photo(record: Record, width: int, height: int) -> Record:
    """The same pair in the top left part of its photo."""
    made = record.reconstruction
    camera = replace(made.camera, width=width, height=height)
    masks = replace(made.masks, **{k: getattr(made.masks, k)[:height, :width] for k in ("hand", "object", "arm")})
    photo = replace(record.photo, image=record.photo.image[:height, :width])
    return replace(record, photo=photo, reconstruction=replace(made, camera=camera, masks=masks))


@pytest.fixture(scope="module")
def pairs() -> list[Record]:
    """Both sides, a box and a cylinder in two pairs each, a larger box, one photo of another size."""
    records = [make_record(i, "left" if i == 3 else "right", centre=centre) for i, centre in enumerate(CENTRES[:4])]
    larger = moved_object(make_record(5, centre=CENTRES[4], provenance={"object_id": "чашка ä"}), 0.0, 1.25)
    return [*records[:3], cut_photo(records[3], 620, 470), larger]


@pytest.fixture(scope="module")
def root(pairs: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bop") / "out"
    summary = BopFormat().write(pairs, out, split=SPLIT)
    assert (summary.count, summary.skipped) == (5, [])
    return out


@dataclass
class Image:
    """One image as the toolkit's inout reads it, with nothing of ours."""

    root: Path
    scene: Path
    number: int

    def entry(self, name: str) -> Any:
        content = json.loads((self.scene / f"{name}.json").read_text())
        entry = content[str(self.number)]
        if isinstance(entry, list):
            (entry,) = entry
        return entry

    def picture(self, kind: str) -> np.ndarray:
        name = f"{self.number:06d}" + ("_000000" if "mask" in kind else "")
        picture = cv2.imread(str(self.scene / kind / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        return picture

    @property
    def K(self) -> np.ndarray:
        return np.array(self.entry("scene_camera")["cam_K"]).reshape(3, 3)

    def depth_mm(self) -> np.ndarray:
        return self.picture("depth") * float(self.entry("scene_camera")["depth_scale"])

    def model(self) -> trimesh.Trimesh:
        path = self.root / "models" / f"obj_{self.entry('scene_gt')['obj_id']:06d}.ply"
        return trimesh.load(path, process=False, force="mesh")

    def placed(self) -> np.ndarray:
        """(V, 3) vertices of the model, mm, camera."""
        gt = self.entry("scene_gt")
        return self.model().vertices @ np.array(gt["cam_R_m2c"]).reshape(3, 3).T + np.array(gt["cam_t_m2c"])


def images(root: Path) -> Iterator[Image]:
    for split in ("train", "test"):
        for scene in sorted((root / split).iterdir()):
            for number in json.loads((scene / "scene_gt.json").read_text()):
                yield Image(root, scene, int(number))


def both(root: Path, records: list[Record]) -> list[tuple[Image, Record]]:
    by_id = {record.pair_id: record for record in records}
    found = [(image, by_id[image.entry("scene_hoi_annotate")["pair_id"]]) for image in images(root)]
    assert len(found) == len(records)
    return found


def ray_depth(vertices: np.ndarray, faces: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """(N,) nearest z of rays (N, 3) with z = 1 from the origin, inf for none: Moeller and Trumbore's test."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    ab, ac = b - a, c - a
    across = np.cross(rays[:, None], ac[None])
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / np.einsum("nfk,fk->nf", across, ab)
        u = -np.einsum("nfk,fk->nf", across, a) * inverse
        q = np.cross(-a, ab)
        v = rays @ q.T * inverse
        t = np.einsum("fk,fk->f", ac, q) * inverse
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    return np.where(hit, t, np.inf).min(1)


def test_pose_places_the_model_where_the_object_is(root: Path, pairs: list[Record]) -> None:
    for image, record in both(root, pairs):
        made, model = record.reconstruction, image.model()
        expected = made.object_pose.place(made.object.mesh.vertices)[made.object.mesh.faces] * 1000
        np.testing.assert_allclose(image.placed()[model.faces], expected, atol=1e-3)
        rotation = np.array(image.entry("scene_gt")["cam_R_m2c"]).reshape(3, 3)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-8)
        assert np.linalg.det(rotation) > 0
        np.testing.assert_array_equal(image.K, made.camera.K)


def test_photograph_is_the_photograph(root: Path, pairs: list[Record]) -> None:
    for image, record in both(root, pairs):
        np.testing.assert_array_equal(image.picture("rgb")[..., ::-1], record.photo.image)


def test_depth_is_that_of_the_nearer_surface(root: Path, pairs: list[Record]) -> None:
    rng = np.random.default_rng(0)
    for image, record in both(root, pairs):
        depth, mask, visible = image.depth_mm(), image.picture("mask"), image.picture("mask_visib")
        assert image.picture("depth").dtype == np.uint16
        inner = cv2.erode((depth > 0).astype(np.uint8), np.ones((3, 3)))
        ys, xs = rng.permutation(np.argwhere(inner))[:150].T
        rays = np.stack([xs + 0.5, ys + 0.5, np.ones(150)], 1) @ np.linalg.inv(image.K).T
        obj = ray_depth(image.placed(), image.model().faces, rays)
        made = record.reconstruction
        hand = ray_depth(made.hand_verts * 1000, load_hand(made.hand.side).faces, rays)
        np.testing.assert_allclose(depth[ys, xs], np.minimum(obj, hand), atol=0.0501)
        np.testing.assert_array_equal(mask[ys, xs] > 0, np.isfinite(obj))
        np.testing.assert_array_equal(visible[ys, xs] > 0, np.isfinite(obj) & (obj <= hand))


def test_masks_against_the_drawn_photo(root: Path, pairs: list[Record]) -> None:
    for image, record in both(root, pairs):
        mask, visible = image.picture("mask"), image.picture("mask_visib")
        assert mask.dtype == visible.dtype == np.uint8
        assert set(np.unique(mask)) == set(np.unique(visible)) == {0, 255}
        assert not (visible & ~mask).any()
        if "object_id" not in record.provenance:  # the larger box is not in its photo
            assert ((visible > 0) != record.reconstruction.masks.object).sum() < 20
        filled = np.zeros_like(mask)
        spots = image.placed() @ image.K.T
        pixels = np.rint((spots[:, :2] / spots[:, 2:] - 0.5) * 16).astype(np.int32)
        for face in image.model().faces:
            cv2.fillConvexPoly(filled, pixels[face], 255, shift=4)
        assert ((filled > 0) != (mask > 0)).sum() < 0.06 * (mask > 0).sum()  # it also fills what it only touches
        assert not ((mask > 0) & (filled == 0)).any()


def test_info_counts_the_pixels_of_the_masks(root: Path, pairs: list[Record]) -> None:
    for image, _ in both(root, pairs):
        info = image.entry("scene_gt_info")
        mask, visible = image.picture("mask") > 0, image.picture("mask_visib") > 0
        assert info["px_count_all"] == info["px_count_valid"] == mask.sum()
        assert info["px_count_visib"] == visible.sum()
        assert info["visib_fract"] == pytest.approx(visible.sum() / mask.sum(), abs=1e-7)
        for key, shown in (("bbox_obj", mask), ("bbox_visib", visible)):
            ys, xs = np.nonzero(shown)
            assert info[key] == [xs.min(), ys.min(), np.ptp(xs), np.ptp(ys)]


def test_models_info(root: Path, pairs: list[Record]) -> None:
    entries = json.loads((root / "models" / "models_info.json").read_text())
    assert list(entries) == ["1", "2", "3"]  # two boxes of one size are one model, a larger one is another
    for number, entry in entries.items():
        vertices = trimesh.load(root / "models" / f"obj_{int(number):06d}.ply", process=False, force="mesh").vertices
        np.testing.assert_allclose([entry[f"min_{a}"] for a in "xyz"], vertices.min(0), atol=1e-4)
        np.testing.assert_allclose([entry[f"size_{a}"] for a in "xyz"], np.ptp(vertices, axis=0), atol=1e-4)
        assert entry["diameter"] == pytest.approx(pdist(vertices).max(), abs=1e-4)
        np.testing.assert_allclose(vertices.min(0), -vertices.max(0), atol=1e-4)
    used = {image.entry("scene_gt")["obj_id"] for image in images(root)}
    assert used == {1, 2, 3}


def test_model_has_normals_and_texture(root: Path, pairs: list[Record]) -> None:
    for image, record in both(root, pairs):
        model, mesh = image.model(), record.reconstruction.object.mesh
        np.testing.assert_allclose(model.visual.uv[model.faces], (mesh.uv * [1, -1] + [0, 1])[mesh.faces], atol=1e-6)
        np.testing.assert_array_equal(np.asarray(model.visual.material.image)[..., :3], mesh.texture)
        outward = np.einsum("fk,fk->f", model.vertex_normals[model.faces].mean(1), model.face_normals)
        assert outward.min() > 0.5
        welded = trimesh.Trimesh(model.vertices, model.faces, process=True, merge_norm=True, merge_tex=True)
        assert welded.is_watertight
        assert welded.volume > 0


def test_scenes_hold_one_size_and_list_the_targets(root: Path) -> None:
    sizes: dict[Path, set[tuple[int, ...]]] = {}
    for image in images(root):
        sizes.setdefault(image.scene, set()).add(image.picture("rgb").shape)
    assert all(len(shapes) == 1 for shapes in sizes.values())
    targets = json.loads((root / "test_targets_bop19.json").read_text())
    expected = [
        {"im_id": i.number, "inst_count": 1, "obj_id": i.entry("scene_gt")["obj_id"], "scene_id": int(i.scene.name)}
        for i in images(root)
        if i.scene.parent.name == "test" and i.entry("scene_gt_info")["visib_fract"] >= 0.1
    ]
    assert targets == expected
    assert targets
    camera, first = json.loads((root / "camera.json").read_text()), next(images(root))
    assert [camera[k] for k in ("fx", "fy", "cx", "cy")] == [first.K[i] for i in ((0, 0), (1, 1), (0, 2), (1, 2))]
    assert (camera["height"], camera["width"]) == first.picture("rgb").shape[:2]
    assert not (root / "incoming").exists()


def test_own_truth_gives_the_hand(root: Path, pairs: list[Record]) -> None:
    for image, record in both(root, pairs):
        own, made = image.entry("scene_hoi_annotate"), record.reconstruction
        assert own["provenance"] == record.provenance
        assert own["object"]["name"] == record.provenance.get("object_id", "")
        hand = dict(own["hand"])
        assert hand.pop("model") == made.estimate.model
        side = hand.pop("side")
        pose = replace(made.hand, **{name: np.array(value) for name, value in hand.items()})
        assert side == made.hand.side
        np.testing.assert_allclose(load_hand(side).posed(pose)[0], made.hand_verts, atol=1e-7)


def test_equal_records_give_equal_bytes_and_numbers(root: Path, pairs: list[Record], tmp_path: Path) -> None:
    BopFormat().write(reversed(pairs), tmp_path / "out", split=SPLIT)
    paths = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    assert paths == sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*") if p.is_file())
    for path in paths:
        assert (root / path).read_bytes() == (tmp_path / "out" / path).read_bytes(), path


@pytest.mark.parametrize("stop", ["_write_models", "_move", "_camera"])
def test_numbering_that_was_cut_off_is_done_again(
    stop: str, root: Path, pairs: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [replace(Entry.of(record), digest=record.pair_id) for record in pairs]
    with monkeypatch.context() as patch:
        whole = getattr(numbers, stop)

        def cut_off(*given: Any) -> None:
            whole(*given)
            raise KeyboardInterrupt

        patch.setattr(numbers, stop, cut_off)
        with pytest.raises(KeyboardInterrupt):
            BopFormat().write(entries, tmp_path / "out", split=SPLIT)
    assert not (tmp_path / "out").exists()
    BopFormat().write(entries, tmp_path / "out", split=SPLIT)
    assert manifest.read(tmp_path / "out")["digest"] == manifest.read(root)["digest"]
    assert BopFormat().check(tmp_path / "out", manifest.read(tmp_path / "out")) == []


def test_zero_records(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert BopFormat().write([], out).count == 0
    assert json.loads((out / "models" / "models_info.json").read_text()) == {}
    assert json.loads((out / "test_targets_bop19.json").read_text()) == []
    assert all((out / split).is_dir() for split in ("train", "val", "test"))
    assert BopFormat().check(out, manifest.read(out)) == []


def test_photo_as_jpg_and_names_in_any_script(tmp_path: Path) -> None:
    provenance = {"source": "Юлия | фото\nархив", "object_id": "чашка"}
    record = make_record(7, photo_name="手 \udcff.jpg", pair_id="пара/7 ä", provenance=provenance)
    out = tmp_path / "выгрузка"
    assert BopFormat().write([record], out, photo="jpg", split="train=1").count == 1
    assert BopFormat().check(out, manifest.read(out)) == []
    photo = cv2.imdecode(np.fromfile(out / "train/000000/rgb/000000.jpg", np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(photo[..., ::-1].astype(int) - record.photo.image).mean() < 2
    own = Image(out, out / "train/000000", 0).entry("scene_hoi_annotate")
    assert (own["pair_id"], own["photo"]["name"]) == ("пара/7 ä", "手 \udcff.jpg")
    with pytest.raises(ExportError, match="photo"):
        BopFormat().write([record], tmp_path / "b", photo="bmp")
    with pytest.raises(ExportError, match="split"):
        BopFormat().write([record], tmp_path / "b", split="dev=1")


def test_unsuitable_records_are_left_out_with_a_reason(tmp_path: Path) -> None:
    good = make_record(0)
    made = good.reconstruction
    flat = Mesh(
        made.object.mesh.vertices * np.nan, made.object.mesh.faces, made.object.mesh.uv, made.object.mesh.texture
    )
    given = {
        "model": replace(made, estimate=replace(made.estimate, model="someone's hand")),
        "behind": replace(made, hand_verts=made.hand_verts - [0, 0, 1]),
        "far": replace(made, hand_verts=made.hand_verts + np.array([0, 0, 80])),
        "outside": moved_object(good, [2.0, 0, 0]).reconstruction,
        "mesh": replace(made, object=replace(made.object, mesh=flat)),
    }
    records = [replace(good, pair_id=name, reconstruction=changed) for name, changed in given.items()]
    records.append(make_record(3, provenance={"when": object()}, pair_id="provenance"))
    summary = BopFormat().write([good, *records], tmp_path / "out")
    reasons = dict(summary.skipped)
    assert (summary.count, len(reasons)) == (1, 6)
    expected = {
        "model": "someone's hand",
        "behind": "behind",
        "far": "65 m",
        "outside": "outside the picture",
        "mesh": "finite",
        "provenance": "JSON",
    }
    assert {name: text in reasons[name] for name, text in expected.items()} == dict.fromkeys(expected, True)
    assert BopFormat().check(tmp_path / "out", manifest.read(tmp_path / "out")) == []


def test_object_that_leaves_the_picture_far_away_or_hidden(tmp_path: Path) -> None:
    leaving = make_record(1, centre=(-0.33, 0.0, 0.7))
    far = make_record(2, centre=(0.0, 0.0, 8.0), focal=6000.0)
    base = make_record(4)
    middle = base.reconstruction.object_pose.place(base.reconstruction.object.mesh.vertices).mean(0)
    palm = base.reconstruction.hand_verts[load_hand("right").zone == 6].mean(0)
    hidden = moved_object(base, palm * 1.1 - middle, 0.05)
    BopFormat().write([leaving, far, hidden], tmp_path / "out", split="test=1")
    assert BopFormat().check(tmp_path / "out", manifest.read(tmp_path / "out")) == []
    of = {i.entry("scene_hoi_annotate")["pair_id"]: i for i in images_of(tmp_path / "out" / "test" / "000000")}
    info = of["pair-1"].entry("scene_gt_info")
    assert info["px_count_all"] > info["px_count_valid"] == (of["pair-1"].picture("mask") > 0).sum()
    assert info["bbox_obj"][0] < 0 <= info["bbox_visib"][0]
    spots = of["pair-1"].placed() @ of["pair-1"].K.T
    pixels = spots[:, :2] / spots[:, 2:]
    np.testing.assert_allclose(info["bbox_obj"], [*pixels.min(0), *np.ptp(pixels, axis=0)], atol=2.5)
    assert of["pair-2"].entry("scene_camera")["depth_scale"] == 1.0
    depth = of["pair-2"].depth_mm()
    assert 7800 < depth[depth > 0].min() < depth.max() < 8200
    info = of["pair-4"].entry("scene_gt_info")
    assert (info["px_count_visib"], info["visib_fract"], info["bbox_obj"]) == (0, 0.0, [-1, -1, -1, -1])
    targets = json.loads((tmp_path / "out" / "test_targets_bop19.json").read_text())
    seen = {i.number for i in of.values() if i.entry("scene_gt_info")["visib_fract"] >= 0.1}
    assert seen
    assert of["pair-4"].number not in seen
    assert {target["im_id"] for target in targets} == seen


def images_of(scene: Path) -> Iterator[Image]:
    for number in json.loads((scene / "scene_gt.json").read_text()):
        yield Image(scene.parent.parent, scene, int(number))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    number=st.integers(0, 99),
    side=st.sampled_from(["left", "right"]),
    x=st.floats(-0.15, 0.15),
    z=st.floats(0.35, 3.0),
    focal=st.floats(400, 1500),
)
def test_any_pair(number: int, side: Any, x: float, z: float, focal: float) -> None:
    record = make_record(number, side, centre=(x * z, 0.0, z), focal=focal)
    bop = BopFormat()
    sample = bop.sample(record, Place("00000001", "train"), bop.parse({}))
    made, row = record.reconstruction, sample.row
    ply = next(data for path, data in sample.files.items() if path.endswith(".ply")).decode()
    body = ply.split("end_header\n")[1].splitlines()[: len(made.object.mesh.vertices)]
    vertices = np.array([line.split()[:3] for line in body], float)
    rotation, transl = np.array(row["gt"]["cam_R_m2c"]).reshape(3, 3), np.array(row["gt"]["cam_t_m2c"])
    expected = made.object_pose.place(made.object.mesh.vertices) * 1000
    np.testing.assert_allclose(vertices @ rotation.T + transl, expected, atol=1e-3)
    info = row["info"]
    assert info["px_count_all"] >= info["px_count_valid"] >= info["px_count_visib"] >= 0
    again = bop.sample(record, Place("00000001", "train"), bop.parse({}))
    assert again == sample


# Every way to break an export is found, and the broken file named.


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bop-check") / "out"
    small = [cut_photo(make_record(i, centre=(0.0, 0.0, 0.7)), 440, 340) for i in range(3)]
    assert BopFormat().write(small, out, split=SPLIT).count == 3
    return out


@pytest.fixture
def export(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "out"))


def check(export: Path) -> list[str]:
    return BopFormat().check(export, manifest.read(export))


def test_pristine(pristine: Path) -> None:
    assert check(pristine) == []


KEYS = [
    *(("scene_camera", key) for key in ("cam_K", "depth_scale")),
    *(("scene_gt", key) for key in ("cam_R_m2c", "cam_t_m2c", "obj_id")),
    *(
        ("scene_gt_info", key)
        for key in ("bbox_obj", "bbox_visib", "px_count_all", "px_count_valid", "px_count_visib", "visib_fract")
    ),
    *(("scene_hoi_annotate", key) for key in ("id", "pair_id", "revision", "hand")),
]


def other(key: str, value: Any) -> Any:
    """A wrong value of the right kind."""
    if key == "obj_id":
        return 3 - value
    if key == "cam_R_m2c":
        return [value[3], value[4], value[5], *(-v for v in value[:3]), *value[6:]]
    if key == "cam_K":
        return [v + 20 * (i in (0, 2, 4, 5)) for i, v in enumerate(value)]
    if isinstance(value, str):
        return value + "0"
    if isinstance(value, dict):
        return {**value, "transl": [0.0, 0.0, 0.4]}
    return [v + 40 for v in value] if isinstance(value, list) else value + type(value)(9000)


@pytest.mark.parametrize("change", ["missing", "type", "none", "length", "nan", "huge", "value"])
@pytest.mark.parametrize(("name", "key"), KEYS)
def test_each_key_of_an_image(name: str, key: str, change: str, export: Path) -> None:
    path = export / "train" / "000000" / f"{name}.json"
    content = json.loads(path.read_text())
    entry = content["0"] if name == "scene_camera" else content["0"][0]
    value = entry[key]
    if change == "missing":
        del entry[key]
    elif change == "length":
        entry[key] = value[:-1] if isinstance(value, list) else [value]
    elif change == "huge":
        entry[key] = [10**400] * len(value) if isinstance(value, list) else 10**400
    elif change == "nan":
        entry[key] = [float("nan")] * len(value) if isinstance(value, list) else float("nan")
    else:
        entry[key] = {"type": "word", "none": None, "value": other(key, value)}[change]
    path.write_text(json.dumps(content))
    found = check(export)
    # A wrong camera or pose shows in the pictures of that image, as does a hand that is not in the way.
    shown = change == "value" and (name in ("scene_camera", "scene_gt") or key == "hand")
    beginnings = [
        f"train/000000/{name}.json: ",
        *(["train/000000/mask/000000", "train/000000/depth"] * shown),
    ]
    assert any(line.startswith(tuple(beginnings)) for line in found), found


@pytest.mark.parametrize("key", ["min_x", "min_y", "min_z", "size_x", "size_y", "size_z", "diameter"])
@pytest.mark.parametrize("change", ["missing", "type", "value"])
def test_each_key_of_models_info(key: str, change: str, export: Path) -> None:
    path = export / "models" / "models_info.json"
    content = json.loads(path.read_text())
    content["2"][key] = {"missing": None, "type": "12", "value": content["2"][key] + 1}[change]
    if change == "missing":
        del content["2"][key]
    path.write_text(json.dumps(content))
    assert any(line.startswith(f"models/models_info.json: object 2: '{key}'") for line in check(export))


@pytest.mark.parametrize("key", ["cx", "cy", "fx", "fy", "depth_scale", "height", "width"])
def test_each_key_of_camera(key: str, export: Path) -> None:
    path = export / "camera.json"
    good = json.loads(path.read_text())
    content = {name: value for name, value in good.items() if name != key}
    for broken in (content, *({**good, key: value} for value in ("7", True, -1, float("nan")))):
        path.write_text(json.dumps(broken))
        assert f"camera.json: '{key}' is missing or not a positive number" in check(export)


@pytest.mark.parametrize("kind", ["rgb", "depth", "mask", "mask_visib"])
def test_each_picture(kind: str, export: Path) -> None:
    path = sorted(export.glob(f"test/000000/{kind}/*"))[0]
    name = path.relative_to(export).as_posix()
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    wrong = [picture[..., 0] if kind == "rgb" else picture[:, ::-1], picture[:100]]
    if kind != "rgb":
        wrong += [picture.astype(np.uint8) // 2, cv2.merge([picture] * 3)]
    for broken in wrong:
        cv2.imwrite(str(path), np.ascontiguousarray(broken))
        image = path.stem.partition("_")[0]
        # Pictures of different sizes are all named, for none of them says which one is right.
        assert any(line.startswith("test/000000/") and f"/{image}" in line for line in check(export))
    path.write_bytes(b"no picture")
    assert f"{name}: cannot be read as an image" in check(export)
    path.unlink()
    assert f"{name}: cannot be read as an image" in check(export)


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("format ascii 1.0", "format binary_little_endian 1.0", "not ASCII"),
        ("property float nx\n", "", "lacks"),
        ("comment TextureFile obj_000001.png\n", "", "lacks"),
        ("obj_000001.png", "obj_000002.png", "names the texture"),
        ("element vertex 24", "element vertex 23", "as many lines"),
        ("end_header\n", "end_header\n0 0 0 0 0 1 0 0\n", "as many lines"),
        ("\n3 0 ", "\n3 99 ", "name no vertex"),
        ("\n3 0 ", "\n4 0 ", "no triangles"),
        ("end_header\n-", "end_header\nnan -", "cannot be read"),
    ],
)
def test_each_line_of_a_model(old: str, new: str, finding: str, export: Path) -> None:
    path = next(p for p in sorted(export.glob("models/*.ply")) if old in p.read_text() or "obj_000001" in old)
    path = export / "models" / "obj_000001.ply" if "obj_000001" in old else path
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    name = path.relative_to(export).as_posix()
    assert any(line.startswith(f"{name}: ") and finding in line for line in check(export)), check(export)


def test_each_file(export: Path) -> None:
    listed = [path for path in sorted(export.rglob("*.json")) if path.name not in ("manifest.json", "croissant.json")]
    wrong = dict.fromkeys(listed, (b"[]x", b"{}", b'{"0": 3}', b"\xff\xfe"))
    wrong |= dict.fromkeys(sorted((export / "models").glob("obj_*")), (b"[1]",))
    for path, contents in (wrong | {export / "dataset_info.md": ()}).items():
        name, good = path.relative_to(export).as_posix(), path.read_bytes()
        for content in contents:
            path.write_bytes(content)
            assert any(line.startswith(f"{name}: ") for line in check(export)), (name, content)
        path.unlink()
        assert any(line.startswith(f"{name}: ") for line in check(export)), name
        path.write_bytes(good)
    assert check(export) == []


def test_scenes_and_splits_that_are_not_there(export: Path) -> None:
    (export / "train" / "notes").mkdir()
    assert any(line.startswith("train/notes: ") for line in check(export))
    shutil.rmtree(export / "train")
    found = check(export)
    assert "train: folder is missing" in found
    assert sum("is in no scene" in line for line in found) == 2


def test_manifest_that_says_something_else(export: Path) -> None:
    content = manifest.read(export)
    assert BopFormat().check(export, {**content, "options": None}) == []
    samples = [{**sample, "revision": 9} for sample in content["samples"]]
    found = BopFormat().check(export, {**content, "samples": samples})
    assert sum("'revision' is not what the manifest says" in line for line in found) == 3
    found = BopFormat().check(export, {**content, "samples": content["samples"][1:]})
    assert any("is no sample of the manifest" in line for line in found)


@pytest.mark.parametrize("key", ["model", "side", "global_orient", "hand_pose", "betas", "transl"])
def test_each_key_of_the_hand(key: str, export: Path) -> None:
    path = export / "train" / "000000" / "scene_hoi_annotate.json"
    content = json.loads(path.read_text())
    for junk in ([[]], None, {}, [1.0]):
        content["0"][0]["hand"][key] = junk
        path.write_text(json.dumps(content))
        found = check(export)
        assert any(line.startswith("train/000000/scene_hoi_annotate.json: ") for line in found)


def test_image_that_is_there_twice(export: Path) -> None:
    scene = export / "train" / "000000"
    path = scene / "scene_hoi_annotate.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict.fromkeys(content, content["0"])))
    assert any(line.endswith("is in several images") for line in check(export))
