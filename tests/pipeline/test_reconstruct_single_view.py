"""Known solids, rendered and reconstructed from their silhouette and shading."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
import trimesh

from pipeline.errors import EmptyMask
from pipeline.geometry.camera import from_focal, project
from pipeline.geometry.raster import coverage, depth_layers
from pipeline.geometry.watertight import is_watertight
from pipeline.reconstruct.single_view import SingleViewReconstructor
from pipeline.reconstruct.stack import Stack, even, hollowed, mesh
from pipeline.reconstruct.view import signed_distance
from pipeline.types import F64, I64, Camera, Completion, ObjectMesh, Photo

SIZE, DISTANCE = 360, 0.5
LIGHT = np.array([-0.5, -0.7, -0.5]) / np.linalg.norm([-0.5, -0.7, -0.5])
Scene = tuple[Photo, Completion, Camera, F64]


def turn(axis: str, degrees: float) -> F64:
    direction = {"x": [1, 0, 0], "y": [0, 1, 0], "z": [0, 0, 1]}[axis]
    return trimesh.transformations.rotation_matrix(np.deg2rad(degrees), direction)[:3, :3]


def render(mesh: trimesh.Trimesh, rotation: F64, shift: tuple[float, float] = (0.02, -0.03)) -> Scene:
    """The mesh at DISTANCE, lit from the upper left, before a dark background."""
    verts = np.asarray(mesh.vertices) @ rotation.T + [*shift, DISTANCE]
    camera = from_focal(SIZE * 1.1, SIZE, SIZE, "given")
    face = depth_layers(verts, np.asarray(mesh.faces), camera.K, SIZE, SIZE, k=1).face[..., 0]
    normals = np.asarray(mesh.face_normals) @ rotation.T
    grey = 0.35 + 0.6 * np.clip(normals @ LIGHT, 0, 1)
    image = np.full((SIZE, SIZE, 3), 30, np.uint8)
    image[face >= 0] = (grey[face[face >= 0]][:, None] * [230, 180, 120]).astype(np.uint8)
    return Photo("drawn.png", "", image), Completion(face >= 0, image), camera, verts


def cylinder(radius: float = 0.033, height: float = 0.115) -> trimesh.Trimesh:
    mesh = trimesh.creation.cylinder(radius, height, sections=96)
    mesh.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    return mesh


def bent() -> trimesh.Trimesh:
    """A banana: a tube along three quarters of a right angle, thinner towards its ends."""
    along = np.linspace(-1, 1, 40)
    bend = along * np.deg2rad(50)
    middle = 0.09 * np.stack([np.sin(bend), 1 - np.cos(bend), 0 * bend], 1)
    spokes = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    outward = np.stack([-np.sin(bend), np.cos(bend), 0 * bend], 1)
    radius = 0.018 * (1 - 0.85 * along**4)[:, None, None]
    sides = np.cos(spokes)[None, :, None] * outward[:, None] + np.sin(spokes)[None, :, None] * np.array([0, 0, 1.0])
    points = (middle[:, None] + radius * sides).reshape(-1, 3)
    faces = []
    for i in range(39):
        for j in range(24):
            a, b = i * 24 + j, i * 24 + (j + 1) % 24
            faces += [[a, b, a + 24], [b, b + 24, a + 24]]
    points = np.concatenate([points, middle[[0, -1]]])
    for j in range(24):
        faces += [[(j + 1) % 24, j, 960], [936 + j, 936 + (j + 1) % 24, 961]]
    mesh = trimesh.Trimesh(points, faces)
    mesh.fix_normals()
    return mesh


SOLIDS = {
    "can": (cylinder, turn("z", 20), "revolution"),
    "can-tilted": (cylinder, turn("z", -35) @ turn("x", 30), "revolution"),
    "can-steep": (cylinder, turn("z", 10) @ turn("x", -50), "revolution"),
    "ball": (lambda: trimesh.creation.icosphere(4, 0.04), np.eye(3), "revolution"),
    "box-yaw-20": (lambda: trimesh.creation.box([0.07, 0.19, 0.05]), turn("x", 20) @ turn("y", 20), "cuboid"),
    "box-yaw-45": (lambda: trimesh.creation.box([0.07, 0.15, 0.07]), turn("x", 25) @ turn("y", 45), "cuboid"),
    "box-yaw-65": (lambda: trimesh.creation.box([0.16, 0.2, 0.06]), turn("z", 15) @ turn("y", 65), "cuboid"),
    "banana": (bent, turn("z", 25), "inflation"),
}


@cache
def solved(name: str) -> tuple[Scene, ObjectMesh]:
    make, rotation, _ = SOLIDS[name]
    scene = render(make(), rotation)
    photo, completion, camera, _ = scene
    return scene, SingleViewReconstructor({}).reconstruct(photo, completion, completion.amodal_mask, camera, DISTANCE)


def placed(found: ObjectMesh) -> F64:
    return found.mesh.vertices @ found.prior.rotation.T + found.prior.transl


def silhouette_iou(found: ObjectMesh, completion: Completion, camera: Camera) -> float:
    drawn = coverage(project(placed(found), camera.K), found.mesh.faces, SIZE, SIZE) > 0.5
    return float((drawn & completion.amodal_mask).sum() / (drawn | completion.amodal_mask).sum())


def volume(vertices: F64, faces: I64) -> float:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


@pytest.mark.parametrize("name", SOLIDS)
def test_the_right_kind_is_chosen_and_projects_back_onto_the_mask(name: str) -> None:
    (_, completion, camera, _), found = solved(name)
    assert found.kind == SOLIDS[name][2]
    assert set(found.scores) == {"revolution", "cuboid", "inflation"}
    assert found.scores[found.kind] == max(found.scores.values())
    assert silhouette_iou(found, completion, camera) > 0.95


@pytest.mark.parametrize("name", SOLIDS)
def test_every_mesh_is_closed_outward_small_and_textured(name: str) -> None:
    _, found = solved(name)
    mesh = found.mesh
    assert is_watertight(mesh.vertices, mesh.faces)
    assert volume(mesh.vertices, mesh.faces) > 0
    assert len(mesh.faces) <= 6000
    assert np.isfinite(mesh.vertices).all()
    assert mesh.uv.shape == (len(mesh.vertices), 2)
    assert mesh.uv.min() >= 0
    assert mesh.uv.max() <= 1
    assert max(mesh.texture.shape[:2]) <= 512
    assert mesh.texture.min() > 40, "the background (30) must not leak into the texture"


@pytest.mark.parametrize("name", SOLIDS)
def test_the_prior_is_metric_and_rigid(name: str) -> None:
    _, found = solved(name)
    rotations = np.concatenate([found.prior.rotation[None], found.prior.starts])
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (len(rotations), 1, 1)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-9)
    assert len(found.prior.starts) <= 6
    assert found.prior.transl[2] == pytest.approx(DISTANCE)
    solid = trimesh.Trimesh(found.mesh.vertices, found.mesh.faces, process=False)
    np.testing.assert_allclose(solid.center_mass, 0, atol=1e-6)


@pytest.mark.parametrize("name", ["can", "can-tilted", "can-steep", "ball", "box-yaw-20", "box-yaw-45", "box-yaw-65"])
def test_solids_come_back_at_their_true_size_and_depth(name: str) -> None:
    (_, _, _, truth), found = solved(name)
    error = np.abs(np.ptp(placed(found), axis=0) - np.ptp(truth, axis=0)) / np.ptp(truth, axis=0)
    assert error.max() < 0.12


def test_the_axis_of_a_can_is_its_y() -> None:
    _, found = solved("can-tilted")
    true_axis = SOLIDS["can-tilted"][1] @ [0, 1, 0]
    assert abs(found.prior.rotation[:, 1] @ true_axis) > np.cos(np.deg2rad(6))
    radii = np.hypot(found.mesh.vertices[:, 0], found.mesh.vertices[:, 2])
    assert radii.max() == pytest.approx(0.033, rel=0.06)


def test_a_banana_is_no_deeper_than_its_width() -> None:
    _, found = solved("banana")
    assert np.ptp(placed(found)[:, 2]) < 1.15 * 0.036


def test_distance_scales_the_object_and_keeps_its_picture() -> None:
    photo, completion, camera, _ = solved("can")[0]
    near = solved("can")[1]
    far = SingleViewReconstructor({}).reconstruct(photo, completion, completion.amodal_mask, camera, 2 * DISTANCE)
    np.testing.assert_allclose(far.mesh.vertices, 2 * near.mesh.vertices, atol=1e-9)
    np.testing.assert_allclose(project(placed(far), camera.K), project(placed(near), camera.K), atol=1e-6)


def test_the_same_view_gives_the_same_bytes() -> None:
    photo, completion, camera, _ = solved("banana")[0]
    again = SingleViewReconstructor({}).reconstruct(photo, completion, completion.amodal_mask, camera, DISTANCE)
    first = solved("banana")[1]
    assert again.mesh.vertices.tobytes() == first.mesh.vertices.tobytes()
    assert again.mesh.faces.tobytes() == first.mesh.faces.tobytes()
    assert again.mesh.texture.tobytes() == first.mesh.texture.tobytes()
    assert again.scores == first.scores


@pytest.mark.parametrize("name", ["can", "box-yaw-20"])
def test_the_photos_border_is_no_edge_of_the_object(name: str) -> None:
    make, _, kind = SOLIDS[name]
    photo, completion, camera, _ = render(make(), turn("z", 60) @ turn("x", 20) @ turn("y", 30), shift=(0.2, 0.0))
    assert completion.amodal_mask[:, -1].any()
    found = SingleViewReconstructor({}).reconstruct(photo, completion, completion.amodal_mask, camera, DISTANCE)
    assert found.kind == kind
    assert is_watertight(found.mesh.vertices, found.mesh.faces)
    assert silhouette_iou(found, completion, camera) > 0.93
    assert any("border" in note for note in found.notes)


def test_a_flat_cross_without_shading_stays_thin() -> None:
    bars = [trimesh.creation.box([0.14, 0.05, 0.004]), trimesh.creation.box([0.05, 0.14, 0.004])]
    board = trimesh.util.concatenate(bars)
    photo, completion, camera, _ = render(board, np.eye(3))
    found = SingleViewReconstructor({}).reconstruct(photo, completion, completion.amodal_mask, camera, DISTANCE)
    assert found.kind == "inflation"
    assert np.ptp(placed(found)[:, 2]) < 0.045  # a round one would be as deep as its core, 70 mm across, is wide


def test_an_empty_mask_is_an_error_that_names_the_photo() -> None:
    photo, completion, camera, _ = solved("can")[0]
    nothing = Completion(np.zeros((SIZE, SIZE), dtype=bool), completion.image)
    with pytest.raises(EmptyMask, match=r"drawn\.png"):
        SingleViewReconstructor({}).reconstruct(photo, nothing, nothing.amodal_mask, camera, DISTANCE)


def test_odd_masks_still_give_a_closed_mesh() -> None:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    masks = {
        "hair": np.abs(rows - 0.6 * columns) < 1.2,
        "ring": np.abs(np.hypot(rows - 180, columns - 180) - 80) < 9,
        "whole photo": np.ones((SIZE, SIZE), dtype=bool),
        "strip along the border": rows > 300,
        "speck": (np.abs(rows - 40) < 4) & (np.abs(columns - 40) < 4),
    }
    image = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8)
    camera = from_focal(400.0, SIZE, SIZE, "given")
    for name, mask in masks.items():
        photo = Photo(name, "", image)
        found = SingleViewReconstructor({}).reconstruct(photo, Completion(mask, image), mask & False, camera, DISTANCE)
        assert is_watertight(found.mesh.vertices, found.mesh.faces), name
        assert np.ptp(placed(found)).max() < 2, name


def test_pieces_left_out_are_told() -> None:
    photo, completion, camera, _ = solved("can")[0]
    mask = completion.amodal_mask.copy()
    mask[5:45, 5:45] = True
    found = SingleViewReconstructor({}).reconstruct(photo, Completion(mask, photo.image), mask, camera, DISTANCE)
    assert any("other pieces" in note for note in found.notes)


def test_a_vessel_is_hollow_and_closed():
    along = np.linspace(-1, 1, 40)
    cup = Stack(np.array([0, 0, 5.0]), np.array([0, 1.0, 0]), np.array([1.0, 0, 0]), along, 0.6 + 0.3 * along)
    for stack in (cup, Stack(cup.origin, cup.axis, cup.across, along, cup.radius[::-1])):
        solid, vessel = (trimesh.Trimesh(*mesh(even(s), 40), process=False) for s in (stack, hollowed(stack)))
        assert vessel.is_watertight
        assert 0.05 * solid.volume < vessel.volume < 0.25 * solid.volume
        np.testing.assert_allclose(vessel.bounds, solid.bounds, atol=0.02)


def test_distances_have_the_same_bits_whatever_the_threads_and_wherever_arrays_lie() -> None:
    y, x = np.mgrid[0:192, 0:192]
    mask = ((x - 90) / 60) ** 2 + ((y - 100) / 40) ** 2 < 1
    rng, found, threads = np.random.default_rng(0), set(), cv2.getNumThreads()
    try:
        for count in (1, 2):
            cv2.setNumThreads(count)
            for _ in range(40):
                apart = [np.empty(size, np.uint8) for size in rng.integers(10, 200_000, 20)]
                found.add(signed_distance(mask.copy()).tobytes())
                del apart
    finally:
        cv2.setNumThreads(threads)
    assert len(found) == 1
