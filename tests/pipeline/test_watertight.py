"""Closing, orienting and simplifying meshes that are damaged in known ways."""

import numpy as np
import pytest
import trimesh

from pipeline.errors import BadMesh
from pipeline.geometry.orientation import is_balanced, signed_volume, weld
from pipeline.geometry.sdf import SignedDistance
from pipeline.geometry.watertight import (
    coarsen,
    is_watertight,
    make_watertight,
    orient_outward,
    simplify,
    to_manifold,
)


def capsule():
    mesh = trimesh.creation.capsule(height=0.08, radius=0.03, count=[48, 48])
    return np.array(mesh.vertices), np.array(mesh.faces)


def damaged(damage):
    vertices, faces = capsule()
    pick = np.random.default_rng(0).random(len(faces))
    if damage == "5 % missing":
        return vertices, faces[pick > 0.05]
    if damage == "a face missing":
        return vertices, faces[1:]
    if damage == "open bottom":
        return vertices, faces[vertices[faces].mean(1)[:, 2] > -0.02]
    if damage == "10 % flipped":
        return vertices, np.where((pick < 0.1)[:, None], faces[:, ::-1], faces)
    if damage == "inside out":
        return vertices, faces[:, ::-1]
    if damage == "soup":
        return vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)
    if damage == "a fold":  # two faces back to back on one edge
        apex = vertices[faces[0]].mean(0) * 1.1
        fold = [[*faces[0, :2], len(vertices)], [*faces[0, 1::-1], len(vertices)]]
        return np.concatenate([vertices, [apex]]), np.concatenate([faces, fold])
    if damage == "faces inside":
        ball = trimesh.creation.icosphere(2, radius=0.01)
        return np.concatenate([vertices, ball.vertices]), np.concatenate([faces, ball.faces[5:] + len(vertices)])
    raise AssertionError(damage)


DAMAGES = [
    "5 % missing",
    "a face missing",
    "open bottom",
    "10 % flipped",
    "inside out",
    "soup",
    "a fold",
    "faces inside",
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_closed_with_the_right_sign_and_shape(damage):
    vertices, faces = make_watertight(*damaged(damage), resolution=64)
    assert is_watertight(vertices, faces)
    assert np.array_equal(orient_outward(vertices, faces), faces)
    to_manifold(vertices, faces)  # an exact boolean accepts it
    true = capsule()
    if damage != "open bottom":  # what the lid of a large hole looks like is anyone's guess
        assert signed_volume(vertices, faces) == pytest.approx(signed_volume(*true), rel=0.02)
    kept = true[0][true[0][:, 2] > 0]
    assert np.abs(SignedDistance(vertices, faces).query(kept)[0]).max() < 1.5e-3


@pytest.mark.parametrize("damage", ["soup", "inside out"])
def test_a_closed_mesh_keeps_its_vertices(damage):
    vertices, faces = damaged(damage)
    closed, outward = make_watertight(vertices, faces)
    assert closed is vertices or np.array_equal(closed, vertices)
    assert np.array_equal(np.sort(outward, 1), np.sort(faces, 1))
    assert signed_volume(*weld(closed, outward)) > 0


@pytest.mark.parametrize("damage", ["a face missing", "a fold"])
def test_small_damage_is_mended_without_remeshing(damage):
    vertices, faces = make_watertight(*damaged(damage))
    true_vertices, true_faces = capsule()
    assert abs(len(faces) - len(true_faces)) <= 3
    assert {tuple(v) for v in true_vertices} <= {tuple(v) for v in vertices}


def test_a_cavity_stays_a_cavity():
    outer, inner = trimesh.creation.icosphere(3, radius=0.05), trimesh.creation.icosphere(3, radius=0.03)
    vertices = np.concatenate([outer.vertices, inner.vertices])
    faces = np.concatenate([outer.faces, inner.faces[:, ::-1] + len(outer.vertices)])
    closed = make_watertight(vertices, faces)
    assert signed_volume(*closed) == pytest.approx(outer.volume - inner.volume)
    assert SignedDistance(*closed).query([[0, 0, 0.0]])[0] > 0


def test_is_watertight_sees_a_single_missing_face():
    vertices, faces = capsule()
    assert is_watertight(vertices, faces)
    assert is_watertight(vertices, faces[:, ::-1])  # closed, though inside out
    assert not is_watertight(vertices, faces[1:])


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3), int), "empty"),
        (np.zeros((3, 3)), np.zeros((0, 3), int), "empty"),
        (np.full((3, 3), np.nan), np.array([[0, 1, 2]]), "finite"),
        (np.zeros((3, 3)), np.array([[0, 1, 2]]), "degenerate"),
        (np.eye(3), np.array([[0, 1, 3]]), "names vertex 3"),
        (np.eye(3), np.array([[0, 1, 2]]), "volume"),
        (np.eye(3), np.array([[0, 1, 2], [0, 2, 1]]), "volume"),
    ],
)
def test_what_cannot_be_closed_is_refused(vertices, faces, message):
    with pytest.raises(BadMesh, match=message):
        make_watertight(vertices, faces)


def test_simplify_keeps_thin_shapes_closed_and_their_volume():
    plate = trimesh.creation.box([0.2, 0.02, 0.002])
    for _ in range(5):
        plate = plate.subdivide()
    wavy = plate.vertices + np.sin(plate.vertices[:, :1] * 60) * [0, 0, 0.01]
    vertices, faces = simplify(wavy, plate.faces, 600)
    assert len(faces) <= 600
    assert is_watertight(vertices, faces)
    assert signed_volume(vertices, faces) == pytest.approx(signed_volume(wavy, np.array(plate.faces)), rel=0.02)


def test_simplify_leaves_small_meshes_and_refuses_open_ones():
    vertices, faces = capsule()
    assert simplify(vertices, faces, len(faces))[1] is faces
    with pytest.raises(BadMesh, match="watertight"):
        simplify(vertices, faces[1:], 100)


def test_coarsen_keeps_thin_shapes_without_a_border_and_their_inside():
    plate = trimesh.creation.box([0.2, 0.02, 0.002])
    for _ in range(5):
        plate = plate.subdivide()
    wavy = plate.vertices + np.sin(plate.vertices[:, :1] * 60) * [0, 0, 0.01]
    vertices, faces = coarsen(wavy, plate.faces, 600)
    assert len(faces) <= 600
    assert is_balanced(faces)
    assert signed_volume(vertices, faces) == pytest.approx(signed_volume(wavy, np.array(plate.faces)), rel=0.02)
    points = wavy + np.random.default_rng(0).normal(scale=0.01, size=wavy.shape)
    exact, coarse = (SignedDistance(v, f).query(points)[0] for v, f in ((wavy, plate.faces), (vertices, faces)))
    assert np.abs(exact - coarse).max() < 0.001


def test_a_pinched_solid_keeps_its_inside():
    """Two cubes that share an edge: four faces meet there, every side is walked back as often as forth."""
    cube = trimesh.creation.box([1, 1, 1])
    both = trimesh.util.concatenate([cube, cube.copy().apply_translation([1, 1, 0])])
    vertices, faces = weld(np.asarray(both.vertices), np.asarray(both.faces))
    assert is_balanced(faces)
    assert not is_watertight(vertices, faces)
    inside = SignedDistance(vertices, faces[:, ::-1]).query([[0, 0, 0], [1, 1, 0], [1, 0, 0]])[0] < 0
    assert inside.tolist() == [True, True, False]


def test_coarsen_leaves_small_meshes_and_refuses_open_ones():
    vertices, faces = capsule()
    assert coarsen(vertices, faces, len(faces))[1] is faces
    with pytest.raises(BadMesh, match="watertight"):
        coarsen(vertices, faces[1:], 100)


def test_to_manifold_refuses_what_is_not_a_solid():
    with pytest.raises(BadMesh, match="not a closed solid"):
        to_manifold(*damaged("a face missing"))
