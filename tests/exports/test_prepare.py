"""What is done to records before they are written: mirrored, refitted to another hand model."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from synthetic_pairs import box_mesh, make_record

sys.path.insert(0, str(Path(__file__).parents[1]))
import fake_mano

from exports import manifest
from exports.base import ExportError, Record, UnsuitableRecord, get_format
from exports.mirror import MIRROR, mirrored
from exports.prepare import Preparation
from exports.verify import verify
from pipeline.geometry.camera import project
from pipeline.geometry.raster import depth_map
from pipeline.hand_model import load_hand, mano_file
from pipeline.hand_model.refit import refit
from pipeline.types import HandPose, ViewPrior


@pytest.fixture(scope="module")
def mano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a MANO in it that is no MANO."""
    folder = tmp_path_factory.mktemp("mano")
    for side in mano_file.SIDES:
        (folder / f"MANO_{side.upper()}.pkl").write_bytes(fake_mano.pickled(side))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOI_CACHE", str(folder / "cache"))
        mano_file.add_mano(folder)
    return folder / "cache"


@pytest.mark.parametrize("number", range(3))
def test_mirrored_is_what_a_mirror_shows(number: int) -> None:
    left = make_record(number, "left", mesh=box_mesh() if number else None, centre=(0.05, 0.02, 0.5))
    right = mirrored(left)
    before, after = left.reconstruction, right.reconstruction
    width = before.camera.width
    assert after.hand.side == "right"
    assert right.provenance["mirrored"] is True
    assert (right.photo.image == left.photo.image[:, ::-1]).all()
    assert (after.masks.hand == before.masks.hand[:, ::-1]).all()

    for was, now in (
        (before.hand_verts, after.hand_verts),
        (before.hand_joints, after.hand_joints),
        (before.object_pose.place(before.object.mesh.vertices), after.object_pose.place(after.object.mesh.vertices)),
    ):
        seen = project(was, before.camera.K)
        np.testing.assert_allclose(project(now, after.camera.K), [width, 0] + seen * [-1, 1], atol=1e-3)
    posed, joints = load_hand("right").posed(after.hand)
    np.testing.assert_allclose(posed, after.hand_verts, atol=2e-6)
    np.testing.assert_allclose(joints, after.hand_joints, atol=2e-6)
    assert np.linalg.det(after.object_pose.rotation) == pytest.approx(1)

    mesh = after.object.mesh
    z = depth_map(after.object_pose.place(mesh.vertices), mesh.faces, after.camera.K, after.camera.height, width)
    assert (np.isfinite(z) != after.completion.amodal_mask).mean() < 2e-4
    corners = mesh.vertices[mesh.faces]
    volume = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    was = before.object.mesh.vertices[before.object.mesh.faces]
    assert volume == pytest.approx(np.einsum("ij,ij->", was[:, 0], np.cross(was[:, 1], was[:, 2])) / 6)
    assert volume > 0


def test_right_hands_and_twice_mirrored_stay() -> None:
    right = make_record(1)
    assert mirrored(right) is right


@pytest.mark.parametrize("name", ["obman", "ho3d", "freihand", "gsdf"])
def test_mirror_left_writes_right_hands_only(name: str, records: list[Record], tmp_path: Path) -> None:
    summary = get_format(name).write(records, tmp_path / "out", mirror_left=True)
    assert (summary.count, summary.skipped) == (4, [])
    assert verify(tmp_path / "out") == []
    assert {sample["side"] for sample in manifest.read(tmp_path / "out")["samples"]} == {"right"}


def test_a_model_that_is_not_here_is_one_line_before_anything_is_written(
    records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ExportError, match="hoi-annotate models add-mano"):
        get_format("obman").write(records, tmp_path / "out", hand_model="mano")
    with pytest.raises(ExportError, match="unknown hand model 'nimble'; known: open-hand, mano"):
        get_format("obman").write(records, tmp_path / "out", hand_model="nimble")
    assert not (tmp_path / "out").exists()


def test_refit_finds_the_hand(mano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake MANO has other numbers, proportions and joints; its skin must end on the given skin."""
    monkeypatch.setenv("HOI_CACHE", str(mano))
    for side in ("right", "left"):
        record = make_record(4, side)  # type: ignore[arg-type]
        made = Preparation(hand_model="mano")(record)
        note = made.provenance["refit"]
        assert (note["from"], note["to"]) == ("open-hand", "mano")
        assert note["median_mm"] < 1.0
        assert note["max_mm"] < 8.0
        assert note["joints_mm"] < 6.0
        again = Preparation(hand_model="mano")(record)
        assert (again.reconstruction.hand.hand_pose == made.reconstruction.hand.hand_pose).all()
        verts, joints = load_hand(side, "mano").posed(made.reconstruction.hand)  # type: ignore[arg-type]
        np.testing.assert_array_equal(verts, made.reconstruction.hand_verts)
        np.testing.assert_array_equal(joints, made.reconstruction.hand_joints)
        assert made.reconstruction.contacts.distance.shape == (778,)


def test_refit_of_its_own_hand_is_exact() -> None:
    rng = np.random.default_rng(1)
    model = load_hand("right")
    grasp = model.mean_pose + (rng.normal(size=45) * 0.5 * model.component_std) @ model.components
    pose = HandPose("right", rng.normal(size=3), grasp, rng.normal(size=10) * 0.5, np.array([0.1, 0, 0.6]))
    found, residuals = refit(*model.posed(pose), "right", model)
    assert residuals["max_mm"] < 1.0
    np.testing.assert_allclose(model.posed(found)[1], model.posed(pose)[1], atol=1e-3)


def test_export_in_mano(mano: Path, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOI_CACHE", str(mano))
    pairs = [records[0], records[2]]
    for name in ("obman", "canonical", "ho3d", "gsdf", "bop", "dexycb"):
        summary = get_format(name).write(pairs, tmp_path / name, hand_model="mano", mirror_left=True)
        assert (summary.count, summary.skipped) == (2, [])
        assert verify(tmp_path / name) == []
        assert {sample["hand_model"] for sample in manifest.read(tmp_path / name)["samples"]} == {"mano"}
        assert not list((tmp_path / name).rglob("*MANO*")), "MANO may not be passed on"


def test_a_record_in_a_model_that_is_not_here_is_left_out(
    records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    made = records[0].reconstruction
    elsewhere = replace(
        records[0], reconstruction=replace(made, estimate=replace(made.estimate, model="mano")), pair_id="elsewhere"
    )
    summary = get_format("obman").write([elsewhere, records[1]], tmp_path / "out")
    ((pair, reason),) = summary.skipped
    assert pair == "elsewhere"
    assert "made with hand model 'mano'" in reason
    assert "models add-mano" in reason


def test_everything_that_has_a_left_and_a_right_is_mirrored() -> None:
    """Off-centre camera with skew, visible contacts, a prior of its own: nothing may keep its handedness."""
    record = make_record(2, "left", mesh=box_mesh())
    made = record.reconstruction
    K = made.camera.K + np.array([[0, 3.0, 41.0], [0, 0, -17.0], [0, 0, 0]])
    rng = np.random.default_rng(0)
    marks = [rng.random(made.masks.hand.shape) < 0.5 for _ in range(3)]
    starts = Rotation.random(4, random_state=1).as_matrix()
    prior = ViewPrior(made.object_pose.rotation, np.array([0.3, 0.2, 9.0]), starts, 0.5)
    before = replace(
        made,
        camera=replace(made.camera, K=K),
        masks=replace(made.masks, arm=marks[0]),
        contacts=replace(made.contacts, front=marks[1], back=marks[2]),
        object=replace(made.object, prior=prior),
    )
    after = mirrored(replace(record, reconstruction=before)).reconstruction
    width = made.camera.width

    seen, shown = ((m.hand_joints / m.hand_joints[:, 2:]) @ m.camera.K.T for m in (before, after))
    np.testing.assert_allclose(shown[:, 0], width - seen[:, 0], atol=1e-9)
    np.testing.assert_allclose(shown[:, 1], seen[:, 1], atol=1e-9)
    np.testing.assert_allclose(after.estimate.keypoints[:, 0], width - before.estimate.keypoints[:, 0])
    np.testing.assert_allclose(after.estimate.keypoints[:, 1], before.estimate.keypoints[:, 1])
    assert after.estimate.pose.side == "right"
    pictures = ((after.masks.arm, marks[0]), (after.contacts.front, marks[1]), (after.contacts.back, marks[2]))
    for now, was in (*pictures, (after.completion.image, before.completion.image)):
        assert (now == was[:, ::-1]).all()
    for now, was in zip(
        (after.object.prior.rotation, *after.object.prior.starts), (prior.rotation, *starts), strict=True
    ):
        np.testing.assert_allclose(after.object.mesh.vertices @ now.T, before.object.mesh.vertices @ was.T * MIRROR)
        assert np.linalg.det(now) == pytest.approx(1)
    np.testing.assert_allclose(after.object.prior.transl, prior.transl * MIRROR)
    assert (after.object.mesh.uv == before.object.mesh.uv).all()
    assert (np.sort(after.object.mesh.faces, 1) == np.sort(before.object.mesh.faces, 1)).all()


def test_a_left_hand_in_mano_is_mirrored_to_mano(mano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MANO's two hands have their middle fingertip under different numbers."""
    monkeypatch.setenv("HOI_CACHE", str(mano))
    left = Preparation(hand_model="mano")(make_record(4, "left"))
    right = Preparation(mirror_left=True)(left)
    assert load_hand("left", "mano").tip_ids[2] != load_hand("right", "mano").tip_ids[2]
    verts, joints = load_hand("right", "mano").posed(right.reconstruction.hand)
    np.testing.assert_allclose(verts, right.reconstruction.hand_verts, atol=2e-6)
    np.testing.assert_allclose(joints, right.reconstruction.hand_joints, atol=2e-6)
    assert right.reconstruction.estimate.model == "mano"
    assert right.provenance["refit"] == left.provenance["refit"]


def test_two_hands_that_are_no_mirror_images_are_left_out() -> None:
    record = make_record(4, "left")
    made = replace(record.reconstruction, hand_verts=record.reconstruction.hand_verts + np.array([0, 0.002, 0]))
    with pytest.raises(UnsuitableRecord, match=r"2\.00 mm from its mirror image"):
        mirrored(replace(record, reconstruction=made))
