"""Figures with known answers: boxes, spheres, shifted copies."""

import numpy as np
import pytest
import trimesh

from pipeline.errors import BadMesh
from pipeline.evaluate.metrics import (
    chamfer_fscore,
    intersection_volume_cm3,
    intersection_volume_voxel_cm3,
    iou,
    sample_surface,
)


def box(size, center=(0, 0, 0)):
    mesh = trimesh.creation.box(size)
    return np.array(mesh.vertices) + center, np.array(mesh.faces)


def test_iou():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert iou(a, b) == 1.0
    a[:2], b[1:3] = True, True
    assert iou(a, b) == pytest.approx(1 / 3)
    assert iou(a, ~a) == 0.0


def test_shared_volume_of_two_boxes_is_exact():
    a, b = box([0.04, 0.04, 0.04]), box([0.04, 0.04, 0.04], [0.03, 0.02, 0.01])
    assert intersection_volume_cm3(*a, *b) == pytest.approx(1 * 2 * 3, rel=1e-9)
    assert intersection_volume_cm3(*a, *box([0.04, 0.04, 0.04], [0.1, 0, 0])) == 0
    assert intersection_volume_cm3(*a, *box([0.02, 0.02, 0.02])) == pytest.approx(8, rel=1e-9)


def test_shared_volume_of_meshes_that_are_not_closed():
    a, (vertices, faces) = box([0.04, 0.04, 0.04]), box([0.04, 0.04, 0.04], [0.03, 0.02, 0.01])
    soup = vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)
    assert intersection_volume_cm3(*a, *soup) == pytest.approx(6, rel=1e-9)
    assert intersection_volume_cm3(*a, vertices, faces[:, ::-1]) == pytest.approx(6, rel=1e-9)
    assert intersection_volume_cm3(*a, vertices, faces[1:]) == pytest.approx(6, rel=1e-6)
    with pytest.raises(BadMesh):
        intersection_volume_cm3(*a, vertices, np.zeros((0, 3), int))


def test_voxel_volume_is_an_overestimate_that_converges():
    a, b = box([0.04, 0.04, 0.04]), box([0.04, 0.04, 0.04], [0.03, 0.02, 0.01])
    coarse, fine = intersection_volume_voxel_cm3(*a, *b), intersection_volume_voxel_cm3(*a, *b, pitch=0.001)
    assert coarse >= 6
    assert abs(fine - 6) < 0.8
    assert intersection_volume_voxel_cm3(*a, *box([0.04, 0.04, 0.04], [0.1, 0, 0])) == 0


def test_a_copy_scores_full_marks_and_the_distance_of_sampling():
    ball, n = trimesh.creation.icosphere(3, radius=0.05), 30000
    scores = chamfer_fscore(ball.vertices, ball.faces, ball.vertices, ball.faces, n=n, align=False)
    assert scores["f5"] == scores["f10"] == 1.0
    # Nearest of points scattered with density n / area: the mean squared distance is area / (pi n), both ways.
    assert scores["cd_cm2"] == pytest.approx(2 * ball.area * 1e4 / (np.pi * n), rel=0.03)


def test_alignment_hides_scale_and_place():
    egg = trimesh.creation.icosphere(3, radius=0.05)
    egg.apply_scale([1, 1, 1.5])
    moved = egg.vertices * 1.3 + [0.02, 0, 0.1]
    assert chamfer_fscore(moved, egg.faces, egg.vertices, egg.faces)["f5"] > 0.999
    assert chamfer_fscore(moved, egg.faces, egg.vertices, egg.faces, align=False)["f10"] < 0.5


def test_concentric_spheres_have_the_analytic_distance():
    small, large = (trimesh.creation.icosphere(5, radius=r) for r in (0.050, 0.058))
    scores = chamfer_fscore(small.vertices, small.faces, large.vertices, large.faces, align=False)
    assert scores["cd_cm2"] == pytest.approx(2 * 0.8**2, rel=0.02)
    assert scores["f5"] == 0.0
    assert scores["f10"] == 1.0


def test_the_score_is_a_function_of_the_seed():
    ball = trimesh.creation.icosphere(2, radius=0.05)
    pair = ball.vertices, ball.faces, ball.vertices * 1.1, ball.faces
    assert chamfer_fscore(*pair, n=2000) == chamfer_fscore(*pair, n=2000)
    assert chamfer_fscore(*pair, n=2000) != chamfer_fscore(*pair, n=2000, seed=5)


def test_samples_are_uniform_over_the_area():
    vertices, faces = box([0.04, 0.04, 0.04])
    points = sample_surface(vertices, faces, 30000, 0)
    assert np.allclose(np.abs(points).max(1), 0.02)
    assert np.isclose(points[:, 0], 0.02).mean() == pytest.approx(1 / 6, abs=0.01)
    assert np.abs(points.mean(0)).max() < 5e-4
