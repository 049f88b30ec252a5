"""Each large reconstructor's frame: an asymmetric object, seen as its model sees it, must come back as it was seen."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from foreign_model import asked, with_model
from lrm_scene import DISTANCE, Seen, drawn, iou, look_at, mug, seen_by, sphere
from scipy.spatial.transform import Rotation

from pipeline.adapters import SHIPPED, load_adapter
from pipeline.errors import BadMesh
from pipeline.geometry.watertight import is_watertight
from pipeline.reconstruct.foreign_mesh import ForeignMesh, Shot, object_mesh
from pipeline.reconstruct.frames import Frame
from pipeline.reconstruct.given_mesh import GivenMesh
from pipeline.reconstruct.hunyuan3d import Hunyuan3DReconstructor
from pipeline.reconstruct.instantmesh import InstantMeshReconstructor
from pipeline.reconstruct.sam3d_objects import Sam3DObjectsReconstructor
from pipeline.reconstruct.square import shown, square_of
from pipeline.reconstruct.trellis2 import Trellis2Reconstructor
from pipeline.reconstruct.tripo3d import Tripo3DReconstructor
from pipeline.reconstruct.triposr import TripoSRReconstructor
from pipeline.types import F64, ObjectMesh
from pipeline.worker_protocol import SCRIPTS, MissingEnvironment, WorkerFailed

MUG = mug()
VERTS, FACES = np.asarray(MUG.vertices, np.float64), np.asarray(MUG.faces, np.int64)
COLOURS = np.random.default_rng(0).integers(0, 255, (len(VERTS), 3)).astype(np.uint8)
Z_UP, Y_UP = np.array([0, 0, 1.0]), np.array([0, 1.0, 0])
PLACES = ((640.0, 480.0), (250.0, 700.0))


def y_up(verts: F64) -> F64:
    return np.stack([verts[:, 0], verts[:, 2], -verts[:, 1]], 1)


# adapter, up and front of its frame, azimuth, radius and field of view of the camera that saw the object
MODELS: dict[str, tuple[Any, str, str, float, float, float]] = {
    "instantmesh": (InstantMeshReconstructor, "z", "x", 0, 4.0, 30),  # METHOD 1.4
    "triposr": (TripoSRReconstructor, "z", "x", 0, 2.9, 40),
    "trellis2": (Trellis2Reconstructor, "y", "z", 100, 3.2, 20),  # it does not say: the photo's own
    "hunyuan3d": (Hunyuan3DReconstructor, "y", "z", -37, 3.2, 20),
    "tripo3d": (Tripo3DReconstructor, "y", "x", 20, 3.5, 30),
}


def model_view(name: str, elevation: float, place: tuple[float, float]) -> tuple[F64, F64, Seen]:
    """The mesh in the model's frame, object -> camera (OpenCV) of the view it was given, and the photo."""
    _, up, front, azimuth, radius, fov = MODELS[name]
    verts = VERTS if up == "z" else y_up(VERTS)
    c2w = look_at(sphere(azimuth, elevation, radius, up, front), Z_UP if up == "z" else Y_UP)
    rotation = np.diag([1.0, -1, -1]) @ c2w[:3, :3].T
    return verts, rotation, seen_by(verts, FACES, c2w, fov, place)


def turned_by(item: ObjectMesh, rotation: F64, seen: Seen) -> float:
    """Degrees between the prior's rotation and that of the view, both in a camera that looks straight at the object."""
    straight = square_of(seen.photo, seen.completion, seen.camera).to_camera
    between = Rotation.from_matrix(straight.T @ item.prior.rotation @ rotation.T)
    return float(np.rad2deg(between.magnitude()))


def reconstruct(adapter: Any, seen: Seen) -> ObjectMesh:
    mask = seen.completion.amodal_mask
    return adapter.reconstruct(seen.photo, seen.completion, mask, seen.camera, DISTANCE)


@pytest.mark.parametrize(("place", "elevation"), [(PLACES[0], 0.0), (PLACES[1], 27.0)])
@pytest.mark.parametrize("name", MODELS)
def test_the_prior_draws_the_silhouette_the_mesh_was_made_from(
    name: str, place: tuple[float, float], elevation: float
) -> None:
    verts, rotation, seen = model_view(name, elevation, place)
    shot = Shot.of(seen.photo, seen.completion, seen.camera, DISTANCE)
    item = object_mesh(name, ForeignMesh(verts, FACES), MODELS[name][0].frame, shot, 0.7)
    assert iou(drawn(item, seen.camera), seen.completion.amodal_mask) > 0.95
    assert turned_by(item, rotation, seen) < 6
    depths = item.mesh.vertices @ item.prior.rotation.T + item.prior.transl
    assert depths[:, 2].mean() == pytest.approx(DISTANCE)
    np.testing.assert_array_equal(item.prior.starts[0], item.prior.rotation)
    assert len(item.prior.starts) == len(MODELS[name][0].frame.views()) + 1


@pytest.mark.parametrize("wrong", [Frame("+z", "-x"), Frame("+z", "+y"), Frame("-z", "+x")])
def test_a_wrong_frame_would_be_noticed(wrong: Frame) -> None:
    verts, rotation, seen = model_view("instantmesh", 0, PLACES[0])
    shot = Shot.of(seen.photo, seen.completion, seen.camera, DISTANCE)
    item = object_mesh("instantmesh", ForeignMesh(verts, FACES), wrong, shot, 0.7)
    assert iou(drawn(item, seen.camera), seen.completion.amodal_mask) < 0.9
    assert turned_by(item, rotation, seen) > 80


@pytest.mark.parametrize("name", [name for name in MODELS if name != "tripo3d"])
def test_an_adapter_shows_the_square_and_takes_the_mesh(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verts, _, seen = model_view(name, 20, PLACES[1])
    answer = {"vertices": verts.astype(np.float32), "faces": FACES.astype(np.int32), "colours": COLOURS}
    adapter = with_model(MODELS[name][0], answer, tmp_path / "model", monkeypatch, seed=5)
    item = reconstruct(adapter, seen)
    assert item.kind == name
    assert iou(drawn(item, seen.camera), seen.completion.amodal_mask) > 0.95
    assert is_watertight(item.mesh.vertices, item.mesh.faces)
    assert item.mesh.uv.shape == (len(item.mesh.vertices), 2)
    picture = asked(tmp_path / "model")["picture"]
    ys, xs = np.nonzero(picture[..., 3] > 127)
    extent = np.array([np.ptp(xs) + 1, np.ptp(ys) + 1])
    assert extent.max() / len(picture) == pytest.approx(0.85, abs=0.01)
    middle = np.array([xs.min() + xs.max() + 1, ys.min() + ys.max() + 1]) / 2
    np.testing.assert_allclose(middle, len(picture) / 2, atol=3)
    inside = picture[picture[..., 3] == 255][:, :3]
    assert np.abs(inside.mean(0) - (200, 120, 40)).max() < 3
    assert len(adapter.weights_digest) == 64


def test_vertex_colours_become_a_texture_that_shows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verts, _, seen = model_view("instantmesh", 0, PLACES[0])
    answer = {"vertices": verts, "faces": FACES, "colours": COLOURS}
    mesh = reconstruct(with_model(InstantMeshReconstructor, answer, tmp_path, monkeypatch), seen).mesh
    height, width = mesh.texture.shape[:2]
    texels = np.floor(mesh.uv * [width, height]).astype(int)
    corners = mesh.faces.ravel()  # face by face, as they were
    np.testing.assert_array_equal(mesh.texture[texels[corners, 1], texels[corners, 0]], COLOURS[FACES.ravel()])


def test_a_square_in_the_photos_corner_is_no_skewed_cut() -> None:
    _, _, seen = model_view("instantmesh", 0, PLACES[1])
    square = square_of(seen.photo, seen.completion, seen.camera)
    picture = shown(seen.completion, square, seen.camera)
    ys, xs = np.nonzero(picture[..., 3] > 127)
    back = square.to_photo(np.stack([xs + 0.5, ys + 0.5], 1), seen.camera)
    rows, columns = np.floor(back[:, 1]).astype(int), np.floor(back[:, 0]).astype(int)
    assert seen.completion.amodal_mask[rows, columns].mean() > 0.995
    turn = np.rad2deg(Rotation.from_matrix(square.to_camera).magnitude())
    assert 20 < turn < 25


# SAM 3 D Objects: the pose is known.


def sam3d_answer(rotation: F64, transl: F64, scale: float) -> dict[str, Any]:
    """Rotation and translation (OpenCV) of the z-up mesh, as its pipeline answers them."""
    flip = np.diag([-1.0, -1, 1])
    x, y, z, w = Rotation.from_matrix((flip @ rotation).T).as_quat()  # it turns rows
    return {
        "vertices": np.stack([VERTS[:, 0], VERTS[:, 2], -VERTS[:, 1]], 1),  # y-up, as its glb
        "faces": FACES,
        "rotation": np.array([w, x, y, z]),
        "translation": flip @ transl,
        "scale": np.full(3, scale),
    }


@pytest.mark.parametrize("place", PLACES)
def test_sam3ds_pose_is_taken_over_whatever_its_focal_length(
    place: tuple[float, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = Rotation.from_euler("xyz", [25, -130, 14], degrees=True).as_matrix() @ [
        [0, 1, 0],
        [0, 0, -1],
        [-1, 0, 0],
    ]
    c2w = np.eye(4)
    c2w[:3, :3] = (np.diag([1.0, -1, -1]) @ straight).T
    c2w[:3, 3] = -c2w[:3, :3] @ [0, 0, -3.2]
    seen = seen_by(VERTS, FACES, c2w, 20, place)
    ahead = np.array([(place[0] - 640) / 700, (place[1] - 480) / 700, 1.0])  # its own camera: focal length 700
    own = Rotation.align_vectors(ahead[None], [[0, 0, 1.0]])[0].as_matrix()
    answer = sam3d_answer(own @ straight, ahead * 0.4, 0.13)
    item = reconstruct(with_model(Sam3DObjectsReconstructor, answer, tmp_path, monkeypatch), seen)
    assert iou(drawn(item, seen.camera), seen.completion.amodal_mask) > 0.95
    assert turned_by(item, straight, seen) < 1
    assert not len(item.prior.starts)
    np.testing.assert_array_equal(asked(tmp_path)["mask"] > 0, seen.completion.amodal_mask)


def test_a_pose_behind_the_camera_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = model_view("instantmesh", 0, PLACES[0])[2]
    answer = sam3d_answer(np.eye(3), np.array([0, 0, -1.0]), 0.1)
    with pytest.raises(BadMesh, match="behind the camera"):
        reconstruct(with_model(Sam3DObjectsReconstructor, answer, tmp_path, monkeypatch), seen)


# What can be wrong.


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"vertices": np.full((8, 3), np.nan)}, WorkerFailed, "not finite in 'vertices'"),
        ({"vertices": np.zeros((8, 2))}, WorkerFailed, "'vertices' as 8 x 2, not n x 3"),
        ({"vertices": np.zeros((0, 3)), "faces": np.zeros((0, 3), int)}, BadMesh, "empty"),
        ({"faces": np.array([[0, 1, 99999]])}, BadMesh, "names vertex 99999"),
        ({"colours": COLOURS[:5]}, WorkerFailed, "'colours' as 5 x 3"),
    ],
)
def test_bad_meshes_are_one_line(
    change: dict[str, Any], error: type[Exception], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = model_view("triposr", 0, PLACES[0])[2]
    answer = {"vertices": VERTS, "faces": FACES} | change
    with pytest.raises(error, match=reason) as caught:
        reconstruct(with_model(TripoSRReconstructor, answer, tmp_path, monkeypatch), seen)
    assert "\n" not in str(caught.value)


def test_an_open_mesh_is_mended_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verts, _, seen = model_view("triposr", 10, PLACES[0])
    answer = {"vertices": verts, "faces": FACES[40:], "colours": COLOURS}
    item = reconstruct(with_model(TripoSRReconstructor, answer, tmp_path, monkeypatch), seen)
    assert is_watertight(item.mesh.vertices, item.mesh.faces)
    assert any("was not closed" in note for note in item.notes)
    assert iou(drawn(item, seen.camera), seen.completion.amodal_mask) > 0.9


def test_without_an_environment_the_adapter_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path))
    for name in ("PYTHON", "REPO"):
        monkeypatch.delenv(f"HOI_INSTANTMESH_{name}", raising=False)
    lines = load_adapter("reconstruct", "instantmesh", {}).needs()
    assert [line.split(";")[0] for line in lines] == [
        "instantmesh: it has no Python environment of its own and there is no clone of its code",
        "instantmesh: no weights of TencentARC/InstantMesh",
    ]
    assert lines[0].count("git clone https://github.com/TencentARC/InstantMesh") == 1
    assert "then set HOI_INSTANTMESH_PYTHON and HOI_INSTANTMESH_REPO, or 'python' and 'repo' in its" in lines[0]
    with pytest.raises(MissingEnvironment, match="no Python environment"):
        reconstruct(InstantMeshReconstructor({}), model_view("instantmesh", 0, PLACES[0])[2])
    monkeypatch.setenv("HOI_INSTANTMESH_PYTHON", "/nowhere/python")
    assert "/nowhere/python is no program" in InstantMeshReconstructor({"repo": "/"}).needs()[0]


def test_what_the_environment_lacks_is_known_before_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = with_model(TripoSRReconstructor, {"vertices": VERTS, "faces": FACES}, tmp_path / "model", monkeypatch)
    assert whole.needs() == []
    monkeypatch.setattr(TripoSRReconstructor, "foreign", replace(whole.foreign, script="triposr_worker.py"))
    (line,) = TripoSRReconstructor({"python": sys.executable, "repo": str(tmp_path)}).needs()
    assert line.startswith("triposr: needs tsr, not installed in ")
    assert "run: git clone https://github.com/VAST-AI-Research/TripoSR" in line


@pytest.mark.parametrize("script", sorted(p.name for p in SCRIPTS.glob("*_worker.py")))
def test_every_worker_declares_what_its_adapter_expects(script: str) -> None:
    described = subprocess.run(
        [sys.executable, str(SCRIPTS / script), "--describe"], capture_output=True, text=True, check=True
    )
    hello = json.loads(described.stdout)
    named = {name: target for stage in SHIPPED.values() for name, target in stage.items()}
    module, _, attribute = named[hello["hello"]].partition(":")
    foreign = getattr(__import__(module, fromlist=[attribute]), attribute).foreign
    assert (foreign.name, foreign.script) == (hello["hello"], script)
    assert dict(foreign.conventions) == hello["conventions"]


# A mesh of the user's own.


def textured() -> trimesh.Trimesh:
    from PIL import Image

    uv = np.stack([(VERTS[:, 0] + 0.5), (VERTS[:, 2] + 0.5)], 1)
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.new("RGB", (64, 32), (10, 200, 30)))
    visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    return trimesh.Trimesh(y_up(VERTS), FACES, visual=visual, process=False)


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_a_given_file_in_any_format(suffix: str, tmp_path: Path) -> None:
    verts, rotation, seen = model_view("hunyuan3d", 15, PLACES[0])
    mesh = textured() if suffix == "glb" else trimesh.Trimesh(verts, FACES, process=False)
    mesh.export(tmp_path / f"mug.{suffix}")
    given = load_adapter("reconstruct", "mesh", {"path": str(tmp_path), "frame": "hunyuan3d"})
    item = reconstruct(given, seen)
    assert iou(drawn(item, seen.camera), seen.completion.amodal_mask) > 0.95
    assert turned_by(item, rotation, seen) < 6
    if suffix == "glb":
        np.testing.assert_allclose(item.mesh.texture.reshape(-1, 3).mean(0), (10, 200, 30), atol=2)


def test_instantmeshs_own_obj_files_are_mirrored_back(tmp_path: Path) -> None:
    verts, rotation, seen = model_view("instantmesh", 20, PLACES[0])
    saved = trimesh.Trimesh(verts * [1, 1, -1], FACES[:, ::-1], process=False)  # as its save_obj writes them
    (tmp_path / "mug").mkdir()
    saved.export(tmp_path / "mug" / "full.obj")
    item = reconstruct(GivenMesh({"path": str(tmp_path), "frame": "instantmesh-obj"}), seen)
    assert iou(drawn(item, seen.camera), seen.completion.amodal_mask) > 0.95
    assert turned_by(item, rotation, seen) < 6


def test_a_given_mesh_in_no_known_frame_is_searched_for(tmp_path: Path) -> None:
    verts, _, seen = model_view("tripo3d", 35, PLACES[0])
    trimesh.Trimesh(verts, FACES, process=False).export(tmp_path / "mug.ply")
    item = reconstruct(GivenMesh({"path": str(tmp_path / "mug.ply")}), seen)
    assert iou(drawn(item, seen.camera), seen.completion.amodal_mask) > 0.95


def test_given_files_that_cannot_be_used_are_one_line_with_their_name(tmp_path: Path) -> None:
    seen = model_view("instantmesh", 0, PLACES[0])[2]
    (tmp_path / "bad.obj").write_text("this is a letter\n")
    (tmp_path / "nan.obj").write_text("v nan 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 3 4\nf 1 4 2\nf 2 4 3\n")
    (tmp_path / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    for name in ("bad", "nan", "flat"):
        with pytest.raises(BadMesh, match=rf"{name}\.obj: ") as caught:
            reconstruct(GivenMesh({"path": str(tmp_path / f"{name}.obj")}), seen)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadMesh, match=r"mug\.jpg: no mesh in .*expected mug\.glb"):
        reconstruct(GivenMesh({"path": str(tmp_path)}), seen)
    with pytest.raises(BadMesh, match="is none of any, instantmesh"):
        GivenMesh({"path": str(tmp_path), "frame": "blender"})
    with pytest.raises(BadMesh, match="are not two of"):
        GivenMesh({"path": str(tmp_path), "up": "+z", "viewer": "-z"})


def test_another_file_is_another_cache_key(tmp_path: Path) -> None:
    given = GivenMesh({"path": str(tmp_path)})
    before = given.weights_digest
    MUG.export(tmp_path / "mug.ply")
    assert given.weights_digest != before
    assert given.needs() == []
    assert "there is no" in GivenMesh({"path": str(tmp_path / "away")}).needs()[0]


def test_a_huge_mesh_is_made_smaller() -> None:
    _, _, seen = model_view("instantmesh", 0, PLACES[0])
    fine = MUG.copy()
    while len(fine.faces) < 70_000:
        fine = fine.subdivide()
    shot = Shot.of(seen.photo, seen.completion, seen.camera, DISTANCE)
    frame = replace(InstantMeshReconstructor.frame, elevations=(0.0,))
    item = object_mesh("instantmesh", ForeignMesh(np.asarray(fine.vertices), np.asarray(fine.faces)), frame, shot, 0.7)
    assert len(item.mesh.faces) <= 60_000
    assert iou(drawn(item, seen.camera), seen.completion.amodal_mask) > 0.95
