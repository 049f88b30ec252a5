"""Coverage, the silhouette's gradient, and depth in layers, against analytic spheres and finite differences."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from pipeline import hand_model
from pipeline.geometry import raster, raster_cuda, raster_torch, topology
from pipeline.geometry.camera import project, rays
from pipeline.geometry.raster import Topology, coverage, depth_layers, depth_map, silhouette

H, W = 96, 128
K = np.array([[150.0, 0, 64], [0, 150, 48], [0, 0, 1]])
CENTER, RADIUS = np.array([0.01, -0.02, 0.3]), 0.05


def sphere(subdivisions=4):
    mesh = trimesh.creation.icosphere(subdivisions, radius=RADIUS)
    return np.array(mesh.vertices) + CENTER, np.array(mesh.faces)


def torus():
    mesh = trimesh.creation.torus(0.04, 0.015, major_sections=48, minor_sections=24)
    turned = mesh.vertices @ trimesh.transformations.euler_matrix(1.2, 0.4, 0.1)[:3, :3].T
    return turned + CENTER, np.array(mesh.faces)


def hand():
    """A shape with folds that hide contour edges by fractions of a pixel."""
    with np.load(Path(hand_model.__file__).parent / "assets" / "OPEN_HAND_RIGHT.npz", allow_pickle=True) as model:
        verts, faces = model["v_template"], model["f"].astype(np.int64)
    turned = (verts - verts.mean(0)) @ trimesh.transformations.euler_matrix(1.2, 0.4, 0.1)[:3, :3].T
    return turned + 2 * CENTER, faces


def pixel_centres():
    return np.stack(np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5), -1)


def smooth_weights():
    x, y = pixel_centres()[..., 0], pixel_centres()[..., 1]
    return np.sin(x / 23) + 0.5 * np.cos(y / 17 + x / 40)


def test_coverage_of_an_axis_aligned_square_is_its_area():
    points = np.array([[10.25, 20.5], [30.25, 20.5], [30.25, 40.0], [10.25, 40.0]])
    mask = coverage(points, np.array([[0, 1, 2], [0, 2, 3]]), H, W, supersample=4)
    assert mask.dtype == np.float32
    assert mask.sum() == pytest.approx(20 * 19.5)
    assert mask[30, 20] == 1
    assert mask[30, 10] == pytest.approx(0.75)
    assert mask[20, 20] == pytest.approx(0.5)


def test_coverage_leaves_out_points_that_are_not_finite_and_clips_to_the_image():
    points = np.array([[-50.0, -50.0], [500.0, -50.0], [-50.0, 500.0], [np.nan, 3.0], [np.inf, 0.0], [1e200, 0.0]])
    assert coverage(points, np.array([[0, 1, 2]]), H, W).min() == 1
    assert coverage(points, np.array([[0, 1, 3], [0, 2, 4]]), H, W).sum() == 0
    assert coverage(points, np.array([[0, 2, 5]]), H, W).min() == 1  # very far is still a place


def incoherent():
    """A torus with a fifth of its faces turned round."""
    verts, faces = torus()
    turned = np.random.default_rng(0).random(len(faces)) < 0.2
    return verts, np.where(turned[:, None], faces[:, ::-1], faces)


def torn():
    """A torus with a bite out of it, so that its inside shows, and three sheets on one of the edges that are left."""
    verts, faces = torus()
    faces = faces[verts[faces].mean(1)[:, 0] < CENTER[0] + 0.03]
    a, b = faces[0, :2]
    fins = verts[a] + 0.02 * np.random.default_rng(1).normal(size=(3, 3))
    return np.concatenate([verts, fins]), np.concatenate([faces, [[a, b, len(verts) + i] for i in range(3)]])


def drawn(shape, **options):
    """The mask and the gradient of a smooth loss."""
    verts, faces = shape()
    points = torch.tensor(project(verts, K), requires_grad=True)
    mask = silhouette(points, torch.from_numpy(faces), H, W, **options)
    (mask * torch.from_numpy(smooth_weights())).sum().backward()
    return mask.detach(), points.grad


@pytest.mark.parametrize("shape", [sphere, torus, hand, incoherent, torn])
@pytest.mark.parametrize("supersample", [1, 3])
def test_tensor_operations_draw_and_differentiate_as_numba_does(shape, supersample, monkeypatch):
    mask, gradient = drawn(shape, supersample=supersample)
    monkeypatch.setattr(raster, "_backend", lambda _: raster_torch)
    again, gradient_again = drawn(shape, supersample=supersample)
    assert torch.equal(mask, again)
    assert torch.allclose(gradient, gradient_again, rtol=0, atol=1e-12 * float(gradient.abs().max()))


@pytest.mark.parametrize("shape", [sphere, torus, hand, incoherent, torn])
def test_silhouette_is_the_coverage_of_every_face(shape):
    verts, faces = shape()
    points = project(verts, K)
    one_by_one = np.zeros((H, W), dtype=bool)
    for face in faces:
        one_by_one |= coverage(points, face[None], H, W) > 0
    assert np.array_equal(coverage(points, faces, H, W) > 0, one_by_one)
    assert torch.equal(drawn(shape, supersample=1)[0] > 0, torch.from_numpy(one_by_one))


@pytest.mark.skipif(not raster_cuda.available(), reason="pytorch3d._C does not import beside this torch")
@pytest.mark.parametrize("shape", [sphere, torus, hand, incoherent, torn])
@pytest.mark.parametrize("size", [(H, W), (W, H)])
def test_pytorch3d_draws_the_same_mask(shape, size):
    verts, faces = shape()
    points, faces = torch.from_numpy(project(verts, K)), torch.from_numpy(faces)
    points = torch.cat([points, torch.tensor([[np.nan, 0.0]])])
    faces = torch.cat([faces, torch.tensor([[0, 1, len(points) - 1]])])
    mask = raster_cuda.cover(points, faces, *size, 2)
    difference = (mask - silhouette(points, faces, *size, 2)).abs().sum()
    assert difference <= 2e-4 * mask.sum()  # samples within float32 of an edge


@pytest.mark.parametrize("shape", [sphere, torus, hand, incoherent, torn])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silhouette_gradient_agrees_with_finite_differences_of_fine_coverage(shape, dtype):
    verts, faces = shape()
    at = project(verts, K)
    points = torch.tensor(at, dtype=dtype, requires_grad=True)
    weights = smooth_weights()
    mask = silhouette(points, torch.from_numpy(faces), H, W)
    assert mask.dtype == dtype
    (mask * torch.from_numpy(weights)).sum().backward()

    def loss(moved):
        return (coverage(moved, faces, H, W, supersample=16) * weights).sum(dtype=np.float64)

    rng = np.random.default_rng(0)
    finite, analytic = [], []
    for _ in range(12):
        field = (at - at.mean(0)) / 20 @ rng.normal(size=(2, 2)) * 0.3 + rng.normal(size=2) * np.sin(at / 15)
        finite.append((loss(at + 0.2 * field) - loss(at - 0.2 * field)) / 0.4)
        analytic.append((points.grad.numpy() * field).sum())
    cosine = np.dot(finite, analytic) / np.linalg.norm(finite) / np.linalg.norm(analytic)
    assert cosine > 0.999
    assert np.linalg.norm(analytic) == pytest.approx(np.linalg.norm(finite), rel=0.02)


def test_only_the_outline_is_pushed():
    verts, faces = sphere()
    points = torch.tensor(project(verts, K), requires_grad=True)
    silhouette(points, torch.from_numpy(faces), H, W).sum().backward()
    pushed = points.grad.norm(dim=1) > 0
    middle = torch.tensor(project(CENTER[None], K))
    # The outline of a sphere is the circle of points whose tangent plane holds the camera.
    distance = (points.detach() - middle).norm(dim=1)
    assert distance[pushed].min() > 0.95 * distance.max()
    outward = ((points.detach() - middle) * points.grad).sum(1)[pushed]
    assert (outward > 0).all()


def test_seams_are_integrated_once_when_welded():
    verts, faces = sphere(3)
    soup, soup_faces = verts[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)

    def total_push(v, faces):
        points = torch.tensor(project(v, K), requires_grad=True)
        (silhouette(points, faces, H, W) * torch.from_numpy(smooth_weights())).sum().backward()
        return points.grad.sum(0)

    expected = total_push(verts, Topology(torch.from_numpy(faces)))
    welded = Topology(torch.from_numpy(soup_faces), torch.from_numpy(soup))
    assert torch.allclose(total_push(soup, welded), expected)


def test_an_open_sheet_feels_its_border():
    points = torch.tensor([[20.0, 20.0], [60.0, 20.0], [60.0, 50.0], [20.0, 50.0]], requires_grad=True)
    silhouette(points, torch.tensor([[0, 1, 2], [0, 2, 3]]), H, W).sum().backward()
    # d area / d corner: each corner carries half of its two sides, 30 and 40 pixels long.
    assert torch.allclose(points.grad, torch.tensor([[-15.0, -20], [15, -20], [15, 20], [-15, 20]]), atol=0.5)


def test_a_mesh_outside_the_image_has_no_gradient():
    verts, faces = sphere(2)
    points = torch.tensor(project(verts, K) + 1000, requires_grad=True)
    mask = silhouette(points, torch.from_numpy(faces), H, W)
    mask.sum().backward()
    assert not mask.any()
    assert not points.grad.any()


def test_topology_cache_follows_the_tensor_not_its_address():
    points = torch.tensor([[10.0, 10], [40, 10], [10, 40], [90, 60], [60, 60], [90, 90]])
    for corners in ([0, 1, 2], [3, 4, 5]) * 3:
        faces = torch.tensor([corners])  # re-uses the address of the one before
        mask = silhouette(points, faces, H, W)
        assert mask[:50, :50].any() == (corners[0] == 0)
        del faces
        gc.collect()
    assert len(topology._topologies) == 0
    faces = torch.tensor([[0, 1, 2]])
    silhouette(points, faces, H, W)
    faces.copy_(torch.tensor([[3, 4, 5]]))
    assert not silhouette(points, faces, H, W)[:50, :50].any()


def analytic_hits(direction):
    """Nearest and farthest depth of rays (with z = 1) through the sphere; nan where they miss."""
    a, b = (direction**2).sum(-1), direction @ CENTER
    root = b**2 - a * (CENTER @ CENTER - RADIUS**2)
    with np.errstate(invalid="ignore"):
        return (b - np.sqrt(root)) / a, (b + np.sqrt(root)) / a


def test_layers_of_a_sphere_are_its_analytic_hits():
    verts, faces = sphere(5)
    layers = depth_layers(verts, faces, K, H, W)
    near, far = analytic_hits(rays(pixel_centres(), K))
    hits = np.isfinite(layers.depth).sum(-1)
    assert set(np.unique(hits)) == {0, 2}
    assert (np.isfinite(near) != (hits == 2)).mean() < 0.002  # the polyhedron is a little smaller
    solid = np.isfinite(near) & (far - near > 0.02)
    assert np.abs(layers.depth[..., 0] - near)[solid].max() < 1e-4
    assert np.abs(layers.depth[..., 1] - far)[solid].max() < 1e-4
    assert (layers.face[hits == 0] == -1).all()


def test_layers_weights_rebuild_the_hit_point():
    verts, faces = torus()
    layers = depth_layers(verts, faces, K, H, W)
    hit = layers.face >= 0
    assert hit[..., 3].any()  # the torus has up to four layers
    points = (layers.bary[hit][..., None] * verts[faces[layers.face[hit]]]).sum(1)
    expected = (rays(pixel_centres(), K)[:, :, None] * np.where(hit, layers.depth, 0)[..., None])[hit]
    assert np.abs(points - expected).max() < 1e-12
    assert (np.diff(layers.depth[hit[..., 3]], axis=-1) >= 0).all()


def test_a_ray_through_a_shared_edge_hits_once():
    # Every pixel centre lies on an edge or a corner of this grid at z = 1.
    n = 8
    x, y = np.meshgrid(np.arange(n + 1) + 0.5, np.arange(n + 1) + 0.5)
    verts = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)
    i = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).reshape(-1, 1)
    faces = np.concatenate([i + np.array([0, 1, n + 2]), i + np.array([0, n + 2, n + 1])])
    hits = np.isfinite(depth_layers(verts, faces, np.eye(3), n + 2, n + 2).depth).sum(-1)
    assert hits.max() == 1
    assert hits.sum() == n * n


def test_depth_map_is_the_first_layer_and_faces_behind_the_camera_are_dropped():
    verts, faces = sphere()
    behind = verts * [1, 1, -1]
    both = np.concatenate([verts, behind]), np.concatenate([faces, faces + len(verts)])
    nearest = depth_map(*both, K, H, W)
    assert np.array_equal(nearest, depth_layers(verts, faces, K, H, W).depth[..., 0])
    assert np.isinf(depth_map(behind, faces, K, H, W)).all()
