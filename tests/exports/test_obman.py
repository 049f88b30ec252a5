"""What is written is read back by the rules of the public loaders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from loader_view import LoaderSample, load, project
from scipy.ndimage import distance_transform_edt
from synthetic_pairs import GROUND_RGB, HAND_RGB, OBJECT_RGB, box_mesh, make_record

from exports.base import ExportError, Record, get_format
from exports.verify import verify
from pipeline.geometry.raster import depth_map
from pipeline.hand_model import load_hand
from pipeline.types import Mesh

REQUIRED = {
    "coords_2d": (21, 2),
    "coords_3d": (21, 3),
    "verts_3d": (778, 3),
    "hand_pose": (45,),
    "pca_pose": (45,),
    "affine_transform": (4, 4),
}


def _pairs(root: Path, records: list[Record]) -> Iterator[tuple[LoaderSample, Record]]:
    by_id = {record.pair_id: record for record in records}
    samples = load(root)
    assert len(samples) == len(records)
    for sample in samples:
        yield sample, by_id[sample.meta["hoi_annotate"]["pair_id"]]


def _in_photo(record: Record) -> np.ndarray:
    pose, mesh = record.reconstruction.object_pose, record.reconstruction.object.mesh
    return pose.scale * mesh.vertices @ pose.rotation.T + pose.transl


def test_required_keys_have_shape_and_dtype(root: Path, records: list[Record]) -> None:
    for sample, record in _pairs(root, records):
        for key, shape in REQUIRED.items():
            assert sample.meta[key].shape == shape
            assert sample.meta[key].dtype == np.float32
        for prefix in ("", "hand_", "obj_"):
            far, near = sample.meta[f"{prefix}depth_min"], sample.meta[f"{prefix}depth_max"]
            assert type(far) is float
            assert far > near > 0
        assert type(sample.meta["obj_scale"]) is float
        assert sample.meta["side"] == record.reconstruction.hand.side
        assert type(sample.meta["class_id"]) is type(sample.meta["sample_id"]) is str


def test_joints_and_vertices_reproject_within_a_pixel(root: Path, records: list[Record]) -> None:
    for sample, _ in _pairs(root, records):
        assert np.abs(project(sample.joints()) - sample.meta["coords_2d"]).max() < 0.01
        assert sample.joints()[:, 2].min() > 0
        tips = load_hand(sample.meta["side"]).tip_ids
        np.testing.assert_allclose(sample.joints()[[4, 8, 12, 16, 20]], sample.hand_verts()[tips], atol=1e-6)


def test_pose_in_components_gives_the_absolute_pose(root: Path, records: list[Record]) -> None:
    for sample, record in _pairs(root, records):
        components = load_hand(sample.meta["side"]).components
        np.testing.assert_allclose(
            sample.meta["pca_pose"] @ components, record.reconstruction.hand.hand_pose, atol=1e-5
        )
        np.testing.assert_array_equal(sample.meta["pca_pose"], sample.meta["hand_pose"])


def test_hand_and_object_move_together_and_keep_their_size(root: Path, records: list[Record]) -> None:
    """Every distance between hand and object is what it was, so contact and penetration are too."""
    for sample, record in _pairs(root, records):
        mesh = sample.mesh()
        hand, corners = sample.hand_verts(), sample.to_camera(mesh["vertices"])
        before = np.linalg.norm(record.reconstruction.hand_verts[:, None] - _in_photo(record)[None], axis=-1)
        after = np.linalg.norm(hand[:, None] - corners[None], axis=-1)
        np.testing.assert_allclose(after.min(1), before.min(1), atol=2e-6)
        np.testing.assert_allclose(after.max(1), before.max(1), atol=2e-6)


def test_scale_is_in_the_affine(root: Path, records: list[Record]) -> None:
    for sample, _ in _pairs(root, records):
        linear = sample.meta["affine_transform"][:3, :3]
        assert np.cbrt(np.linalg.det(linear)) == pytest.approx(sample.meta["obj_scale"], rel=1e-5)
        extent = np.ptp(sample.mesh()["vertices"], 0)
        assert np.linalg.norm(extent) == pytest.approx(1, abs=1e-5)
        assert sample.meta["obj_scale"] == pytest.approx(0.09, rel=1e-5)


def test_depth_shows_hand_and_object_where_the_meta_says(root: Path, records: list[Record]) -> None:
    K = np.array([[480, 0, 128], [0, 480, 128], [0, 0, 1]], float)
    for sample, _ in _pairs(root, records):
        mesh = sample.mesh()
        expected = {
            (1, "hand_"): depth_map(sample.hand_verts(), load_hand(sample.meta["side"]).faces, K, 256, 256),
            (2, "obj_"): depth_map(sample.to_camera(mesh["vertices"]), mesh["faces"], K, 256, 256),
        }
        expected[0, ""] = np.minimum(*expected.values())
        for (channel, prefix), z in expected.items():
            seen = np.isfinite(z)
            depth = sample.depth(channel, prefix)
            assert (seen != (depth > 0)).mean() < 1e-3
            step = (z[seen].max() - z[seen].min()) / 254
            both = seen & (depth > 0)
            assert np.quantile(np.abs(depth - z)[both], 0.999) <= 0.6 * step


def test_surface_points_lie_on_the_object(root: Path, records: list[Record]) -> None:
    for sample, record in _pairs(root, records):
        points = sample.surface_points()
        assert points.shape == (10_000, 3)
        mesh = record.reconstruction.object.mesh
        corners = sample.to_camera(sample.mesh()["vertices"])
        assert points.min(0) == pytest.approx(corners.min(0), abs=5e-3)
        assert points.max(0) == pytest.approx(corners.max(0), abs=5e-3)
        if len(mesh.vertices) == 24:  # the box: each side gets points in proportion to its area
            local = (points - corners.mean(0)) @ np.linalg.svd(corners - corners.mean(0))[2].T
            half = np.abs(local).max(0)
            on_largest = (np.abs(np.abs(local[:, 2]) - half[2]) < 1e-4).mean()
            assert on_largest == pytest.approx(12 / (12 + 8 + 6), abs=0.03)


def test_segmentation_agrees_with_the_photograph(root: Path, records: list[Record]) -> None:
    """The photo was drawn in flat colours, so rgb and segm can be compared: outlines are off by the residual and a
    pixel at most, but for a few slivers that are thinner than a pixel of one of the two pictures."""
    palette = np.array([HAND_RGB, OBJECT_RGB, GROUND_RGB, (0, 0, 0)])
    for sample, _ in _pairs(root, records):
        rgb = sample.image()[..., ::-1].astype(int)
        colour = np.abs(rgb[:, :, None] - palette).sum(-1).argmin(-1)
        residual = sample.meta["hoi_annotate"]["residual_px"]
        for index, (mask, part) in enumerate(zip(sample.segm(), ("hand", "object"), strict=True)):
            drawn = colour == index
            for one, other in ((mask, drawn), (drawn, mask)):
                distance = distance_transform_edt(~other)[one]
                assert (distance > residual[f"{part}_max"] + 1.01).mean() < 0.01


def test_segmentation_channels(root: Path, records: list[Record]) -> None:
    for sample, record in _pairs(root, records):
        picture = sample.image("segm", "png")
        hand_ids = {"right": {22, 24}, "left": {21, 23}}[record.reconstruction.hand.side]
        assert set(np.unique(picture[..., 0])) == {0, 100} | hand_ids
        assert set(np.unique(picture[..., 1])) == {0} | hand_ids
        assert set(np.unique(picture[..., 2])) == {0, 100}
        assert sample.image("rgb_hand").shape == sample.image("rgb_obj").shape == (256, 256, 3)


def test_own_truth_reproduces_the_hand_in_both_cameras(root: Path, records: list[Record]) -> None:
    for sample, record in _pairs(root, records):
        own = sample.meta["hoi_annotate"]
        assert own["hand_model"] == record.reconstruction.estimate.model
        assert own["verdict"] == "accept"
        assert own["provenance"]["licence"] == "CC0-1.0"
        assert own["photo"]["sha256"] == record.photo.sha256
        np.testing.assert_array_equal(own["K"], record.reconstruction.camera.K)
        hand = replace(record.reconstruction.hand, **own["hand"])
        verts, joints = load_hand(hand.side).posed(hand)
        np.testing.assert_allclose(verts, sample.hand_verts(), atol=1e-5)
        np.testing.assert_allclose(joints, sample.joints(), atol=1e-5)
        hand = replace(record.reconstruction.hand, **own["hand_in_photo"])
        np.testing.assert_allclose(load_hand(hand.side).posed(hand)[0], record.reconstruction.hand_verts, atol=1e-6)
        moved = record.reconstruction.hand_verts @ own["rotation"].T + own["transl"]
        np.testing.assert_allclose(moved, sample.hand_verts(), atol=1e-6)


def test_obj_is_what_strict_readers_want(root: Path, records: list[Record]) -> None:
    for sample, record in _pairs(root, records):
        mesh = record.reconstruction.object.mesh
        lines = [line.split() for line in (sample.models / "model_normalized.obj").read_text().splitlines()]
        rows = {key: [line[1:] for line in lines if line[0] == key] for key in ("o", "usemtl", "v", "vt", "vn", "f")}
        assert len(rows["o"]) == len(rows["usemtl"]) == 1
        assert len(rows["v"]) == len(rows["vn"])
        corners = np.array([[corner.split("/") for corner in face] for face in rows["f"]], int)
        np.testing.assert_array_equal(corners[..., 0], corners[..., 2])
        vertices, uv = np.array(rows["v"], float), np.array(rows["vt"], float)
        shape = sample.mesh()
        np.testing.assert_allclose(vertices, shape["vertices"], atol=1e-6)
        np.testing.assert_array_equal(corners[..., 0] - 1, shape["faces"])
        # The same corner of the same face has the same place and the same spot on the texture as in the record.
        centre, extent = (mesh.vertices.min(0) + mesh.vertices.max(0)) / 2, np.linalg.norm(np.ptp(mesh.vertices, 0))
        np.testing.assert_allclose(
            vertices[corners[..., 0] - 1], ((mesh.vertices - centre) / extent)[mesh.faces], atol=1e-6
        )
        np.testing.assert_allclose(uv[corners[..., 1] - 1], mesh.uv[mesh.faces] * [1, -1] + [0, 1], atol=1e-6)
        normals = np.array(rows["vn"], float)
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
        texture = cv2.imread(str(sample.models / "texture.png"))
        np.testing.assert_array_equal(texture[..., ::-1], mesh.texture)


def test_welding_closes_the_uv_seams(root: Path, records: list[Record]) -> None:
    for sample, _ in _pairs(root, records):
        faces = sample.mesh()["faces"]
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
        assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}


def test_equal_records_give_equal_bytes(records: list[Record], tmp_path: Path) -> None:
    obman = get_format("obman")
    first = obman.write(records, tmp_path / "a")
    second = obman.write(reversed(records), tmp_path / "b")
    other = obman.write(records, tmp_path / "c", seed=1)
    assert first.digest == second.digest != other.digest
    for path in sorted((tmp_path / "a").rglob("*")):
        twin = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.is_dir() or path.read_bytes() == twin.read_bytes()


def test_numbers_stay_when_data_is_added(records: list[Record], tmp_path: Path) -> None:
    get_format("obman").write(records[:2], tmp_path / "a")
    get_format("obman").write(records, tmp_path / "b")
    before = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("meta/*.pkl")}
    after = {path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("meta/*.pkl")}
    assert before < after


def test_zero_records(tmp_path: Path) -> None:
    summary = get_format("obman").write(iter(()), tmp_path / "out")
    assert summary.count == 0
    assert verify(tmp_path / "out") == []
    assert load(tmp_path / "out") == []


@pytest.mark.parametrize("word", ["rgb", "jpg"])
def test_root_that_loaders_rewrite_is_refused(word: str, records: list[Record], tmp_path: Path) -> None:
    out = tmp_path / f"my{word}set" / "out"
    with pytest.raises(ExportError, match=word):
        get_format("obman").write(records, out)
    assert not out.parent.exists()
    get_format("obman").refuse(out / ".." / ".." / "out")  # which is not where that word is


@pytest.mark.parametrize(
    "options",
    [{"camera": "magic"}, {"split": "train=0.5,val=0.2"}, {"split": "train=1,dev=0"}, {"split": "train"}],
)
def test_bad_options_are_refused(options: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ExportError):
        get_format("obman").write([], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_names_in_any_script(tmp_path: Path) -> None:
    record = make_record(
        7,
        photo_name="чашка 手 \udcff.jpg",
        pair_id="пара/7 ä",
        provenance={"source": "Юлия | фото\nархив", "subject": "Zoë", "object_id": "чашка"},
    )
    out = tmp_path / "выгрузка 1"
    assert get_format("obman").write([record], out).count == 1
    assert verify(out) == []
    (sample,) = load(out)
    assert sample.meta["hoi_annotate"]["photo"]["name"] == "чашка 手 \udcff.jpg"
    assert "Юлия \\| фото архив 1" in (out / "README.md").read_text(encoding="utf-8")


def _large_mesh() -> Mesh:
    box = box_mesh()
    count = 32_768
    angle = np.linspace(0, 6, count)
    ring = np.stack([np.cos(angle), np.sin(angle), 0.1 * np.sin(5 * angle)], 1)
    faces = np.stack([np.arange(count - 2), np.arange(1, count - 1), np.arange(2, count)], 1)
    return Mesh(ring, faces, np.zeros((count, 2)), box.texture)


def test_unsuitable_records_are_skipped_with_a_reason(records: list[Record], tmp_path: Path) -> None:
    good, other = records[0], records[1]
    bad_model = replace(
        other,
        pair_id="model",
        reconstruction=replace(
            other.reconstruction, estimate=replace(other.reconstruction.estimate, model="someone's hand")
        ),
    )
    broken = replace(
        other,
        pair_id="verts",
        reconstruction=replace(other.reconstruction, hand_verts=other.reconstruction.hand_verts + 0.01),
    )
    behind = replace(
        other,
        pair_id="behind",
        reconstruction=replace(other.reconstruction, hand_verts=other.reconstruction.hand_verts - [0, 0, 1]),
    )
    large = make_record(3, mesh=_large_mesh(), pair_id="large")
    odd_class = make_record(3, provenance={"class_id": "../rgb"}, pair_id="class")
    odd_provenance = make_record(3, provenance={"when": object()}, pair_id="provenance")
    twice = replace(good, revision=3)
    given = [good, bad_model, broken, behind, large, odd_class, odd_provenance, twice]
    summary = get_format("obman").write(given, tmp_path / "out")
    reasons = dict(summary.skipped)
    assert summary.count == 1
    assert len(summary.skipped) == 7
    assert "someone's hand" in reasons["model"]
    assert "mm" in reasons["verts"]
    assert "behind" in reasons["behind"]
    assert "32768 vertices" in reasons["large"]
    assert "class_id" in reasons["class"]
    assert "JSON" in reasons["provenance"]
    assert "another revision" in reasons[good.pair_id]
    assert verify(tmp_path / "out") == []
    listed = json.loads((tmp_path / "out" / "manifest.json").read_text())["skipped"]
    assert {pair for pair, _ in listed} == set(reasons)


def test_pairs_that_share_an_object_share_its_files(tmp_path: Path) -> None:
    pairs = [make_record(i, mesh=box_mesh(), provenance={"class_id": "03797390"}) for i in (1, 3)]
    get_format("obman").write(pairs, tmp_path / "out")
    assert len(list((tmp_path / "out" / "ShapeNetCore.v2" / "03797390").iterdir())) == 1
    assert verify(tmp_path / "out") == []
