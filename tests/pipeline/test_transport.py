"""The transport cost: its value, its gradient, and that it pulls a silhouette onto a target it does not touch."""

import numpy as np
import pytest
import torch
import trimesh
from pytorch3d.transforms import axis_angle_to_matrix
from scipy.special import logsumexp

from pipeline.errors import EmptyMask
from pipeline.geometry.camera import project
from pipeline.geometry.raster import Topology, silhouette
from pipeline.geometry.transport import Sinkhorn, _log_sum_exp

SIZE = 128


def disc(x, y, radius, height=SIZE, width=SIZE):
    """A soft disc; centre and radius in units of the longer side."""
    side = max(height, width)
    xs, ys = (torch.arange(width) + 0.5) / side, (torch.arange(height) + 0.5) / side
    return torch.sigmoid((radius - ((xs[None] - x) ** 2 + (ys[:, None] - y) ** 2).sqrt()) * side)


def converged(sinkhorn, mask, calls=20):
    for _ in range(calls):
        cost = sinkhorn(mask)
    return cost


def test_cost_of_two_equal_discs_is_their_squared_distance():
    cost = converged(Sinkhorn(disc(0.7, 0.6, 0.12)), disc(0.3, 0.35, 0.12))
    assert float(cost) == pytest.approx(0.4**2 + 0.25**2, rel=0.01)


def test_units_are_the_longer_side_in_a_wide_image():
    cost = converged(Sinkhorn(disc(0.75, 0.3, 0.1, 96, 160)), disc(0.25, 0.3, 0.1, 96, 160))
    assert float(cost) == pytest.approx(0.5**2, rel=0.01)


def test_equal_masks_cost_nothing():
    target = disc(0.5, 0.5, 0.2)
    assert abs(float(converged(Sinkhorn(target), target))) < 1e-5


def test_first_call_is_close_to_converged():
    source, target = disc(0.3, 0.35, 0.12), disc(0.7, 0.6, 0.16)
    sinkhorn = Sinkhorn(target)
    first = float(sinkhorn(source))
    assert first == pytest.approx(float(converged(sinkhorn, source)), rel=0.01)


def test_gradient_agrees_with_finite_differences():
    target, step = disc(0.7, 0.6, 0.16), 1 / SIZE
    source = disc(0.3, 0.35, 0.12).requires_grad_()
    sinkhorn = Sinkhorn(target)
    converged(sinkhorn, source).backward()
    for dx, dy, dr in ((step, 0, 0), (0, step, 0), (0, 0, step)):
        plus, minus = disc(0.3 + dx, 0.35 + dy, 0.12 + dr), disc(0.3 - dx, 0.35 - dy, 0.12 - dr)
        numeric = float(converged(Sinkhorn(target), plus) - converged(Sinkhorn(target), minus))
        assert float((source.grad * (plus - minus)).sum()) == pytest.approx(numeric, rel=0.05)


@pytest.mark.parametrize("scale", [1.0, 30.0, 3000.0])
def test_log_sums_are_right_where_their_products_underflow(scale):
    x = np.arange(20) / 20
    cost = scale * (x[:, None] - x) ** 2
    h = scale * np.random.default_rng(0).normal(size=(7, 20))
    wanted = logsumexp(h[:, None] - cost, axis=2)
    assert np.allclose(_log_sum_exp(h, cost, np.exp(-cost)), wanted, rtol=1e-13, atol=1e-12)


def test_empty_masks():
    with pytest.raises(EmptyMask):
        Sinkhorn(torch.zeros(SIZE, SIZE))
    empty = torch.zeros(SIZE, SIZE, requires_grad=True)
    cost = Sinkhorn(disc(0.5, 0.5, 0.2) > 0.5)(empty)
    cost.backward()
    assert torch.isfinite(cost)
    assert torch.isfinite(empty.grad).all()


@pytest.mark.parametrize("start", [(0.2, 0.1, 0.3, 0.11, -0.09, 0.55), (0.1, -0.2, 0.3, 0.12, -0.1, 0.6)])
def test_pose_is_recovered_without_overlap_where_iou_alone_is_stuck(start):
    mesh = trimesh.util.concatenate(
        [trimesh.creation.icosphere(3, radius=0.03), trimesh.creation.capsule(height=0.08, radius=0.015)]
    )
    verts = torch.tensor(np.array(mesh.vertices), dtype=torch.float32)
    topology = Topology(torch.tensor(np.array(mesh.faces)))
    focal = 1.8 * SIZE
    K = torch.tensor([[focal, 0, SIZE / 2], [0, focal, SIZE / 2], [0, 0, 1.0]])

    def render(pose):
        return silhouette(project(verts @ axis_angle_to_matrix(pose[:3]).T + pose[3:], K), topology, SIZE, SIZE)

    target = render(torch.tensor([0.6, 0.3, 0, -0.09, 0.08, 0.6]))

    def iou(mask):
        return (mask * target).sum() / (mask + target - mask * target).sum()

    def fit(weight, steps):
        pose, sinkhorn = torch.tensor(start, requires_grad=True), Sinkhorn(target)
        adam = torch.optim.Adam([pose], lr=0.01)
        for _ in range(steps):
            adam.zero_grad()
            mask = render(pose)
            (1 - iou(mask) + weight * sinkhorn(mask)).backward()
            adam.step()
        return float(iou(render(pose.detach())))

    assert float(iou(render(torch.tensor(start)))) == 0
    assert fit(weight=0.0, steps=20) == 0  # no gradient at all: more steps change nothing
    assert fit(weight=2.0, steps=150) >= 0.7
