"""Signed distance against spheres and boxes, near, inside and far away."""

import numpy as np
import pytest
import torch
import trimesh

from pipeline.errors import BadMesh
from pipeline.geometry.sdf import SignedDistance

BOX = np.array([0.06, 0.04, 0.1])


def box():
    mesh = trimesh.creation.box(BOX)
    return np.array(mesh.vertices), np.array(mesh.faces)


def box_distance(points):
    q = np.abs(points) - BOX / 2
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(1), 0)


def spread(n=500, seed=0):
    """Points from deep inside to 10 m away."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(n, 3))
    return direction / np.linalg.norm(direction, axis=1, keepdims=True) * 10 ** rng.uniform(-3, 1, (n, 1))


def test_distance_and_closest_point_of_a_box_are_exact():
    points = spread()
    distance, closest = SignedDistance(*box()).query(points)
    assert np.allclose(distance, box_distance(points), atol=1e-12)
    assert np.allclose(box_distance(closest), 0, atol=1e-12)
    assert np.allclose(np.linalg.norm(points - closest, axis=1), np.abs(distance))


def test_sphere_with_gradient_inside_and_far_outside():
    mesh = trimesh.creation.icosphere(5, radius=0.05)
    points = torch.tensor(spread(), requires_grad=True)
    distance = SignedDistance(mesh.vertices, mesh.faces)(points)
    radius = points.detach().norm(dim=1)
    assert torch.allclose(distance.detach(), radius - 0.05, atol=5e-5)
    distance.sum().backward()
    assert torch.allclose(points.grad.norm(dim=1), torch.ones_like(radius))
    far = radius > 0.06
    outward = (points.grad * points.detach()).sum(1) / radius
    assert far.sum() > 100
    assert outward[far].min() > 0.998
    assert (outward[radius < 0.04] > 0.9).all()  # inside too the distance grows outward


def test_gradient_agrees_with_finite_differences():
    sdf = SignedDistance(*box())
    points = torch.tensor(spread(200, seed=1) + 0.003, requires_grad=True)
    sdf(points).sum().backward()
    at, step = points.detach().numpy(), 1e-7
    numeric = np.stack([(sdf.query(at + e)[0] - sdf.query(at - e)[0]) / (2 * step) for e in np.eye(3) * step], 1)
    assert np.abs(numeric - points.grad.numpy()).max() < 1e-4


def test_on_the_surface_the_gradient_is_the_face_normal():
    points = torch.tensor([[0.03, 0.005, 0.01], [0.0, -0.02, 0.03]], dtype=torch.float64, requires_grad=True)
    distance = SignedDistance(*box())(points)
    assert distance.abs().max() < 1e-12
    distance.sum().backward()
    assert torch.allclose(points.grad, torch.tensor([[1.0, 0, 0], [0, -1, 0]], dtype=torch.float64))


def test_float32_points_keep_their_dtype():
    points = torch.tensor(spread(50), dtype=torch.float32, requires_grad=True)
    distance = SignedDistance(*box())(points)
    assert distance.dtype == torch.float32
    assert np.allclose(distance.detach().numpy(), box_distance(points.detach().numpy()), atol=1e-5)


@pytest.mark.parametrize("damage", ["inside out", "10 % flipped", "5 % missing", "soup"])
def test_the_sign_survives_broken_meshes(damage):
    mesh = trimesh.creation.capsule(height=0.08, radius=0.03, count=[32, 32])
    vertices, faces = np.array(mesh.vertices), np.array(mesh.faces)
    points = trimesh.sample.sample_surface(mesh, 500, seed=1)[0] + np.random.default_rng(0).normal(0, 0.008, (500, 3))
    expected = SignedDistance(vertices, faces).query(points)[0] < 0
    pick = np.random.default_rng(2).random(len(faces))
    if damage == "inside out":
        faces = faces[:, ::-1]
    elif damage == "10 % flipped":
        faces = np.where((pick < 0.1)[:, None], faces[:, ::-1], faces)
    elif damage == "5 % missing":
        faces = faces[pick > 0.05]
    else:
        vertices, faces = vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)
    agree = ((SignedDistance(vertices, faces).query(points)[0] < 0) == expected).mean()
    assert agree > 0.99


def test_bad_meshes_are_refused():
    vertices, faces = box()
    with pytest.raises(BadMesh, match="empty"):
        SignedDistance(vertices, np.zeros((0, 3), int))
    with pytest.raises(BadMesh, match="finite"):
        SignedDistance(np.where(vertices > 0.04, np.nan, vertices), faces)
    with pytest.raises(BadMesh, match="degenerate"):
        SignedDistance(np.zeros((3, 3)), np.array([[0, 1, 2]]))
