"""Masks and their gradients on the GPU against those of the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from grasp_scene import Scene, grasp

from pipeline.geometry import raster_cuda
from pipeline.geometry.camera import project
from pipeline.geometry.raster import silhouette

SIZE = 160


@pytest.fixture(params=["right", "left"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return grasp(request.param)


def drawn(scene: Scene, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The hand's mask and the gradient of its overlap with the truth, both on the CPU."""
    K = scene.camera.K.copy()
    K[:2] *= SIZE / scene.camera.width
    points = torch.tensor(project(scene.verts, K), device=device, dtype=torch.float32, requires_grad=True)
    faces = torch.as_tensor(scene.model.faces, device=device)
    mask = silhouette(points, faces, SIZE, SIZE)
    assert mask.device.type == device.type
    weights = torch.linspace(-1, 1, SIZE, device=device)[None] * torch.linspace(0, 1, SIZE, device=device)[:, None]
    (mask * weights).sum().backward()
    assert points.grad is not None
    return mask.detach().cpu(), points.grad.cpu()


def test_the_gpu_draws_and_differentiates_as_the_cpu_does(scene: Scene, device: torch.device) -> None:
    mask, gradient = drawn(scene, device)
    expected, expected_gradient = drawn(scene, torch.device("cpu"))
    assert (mask - expected).abs().mean() < 1e-4
    assert ((mask - expected).abs() > 0.3).sum() <= 4  # samples on an edge
    scale = expected_gradient.norm()
    assert (gradient - expected_gradient).norm() < 0.02 * scale
    again, gradient_again = drawn(scene, device)
    assert torch.equal(mask, again)
    np.testing.assert_allclose(gradient, gradient_again, atol=1e-4 * float(scale))


def test_pytorch3ds_cuda_half_is_there(device: torch.device) -> None:
    """With the extra `gpu` (torch 2.12) it imports; without it ours draws, more slowly."""
    if device.type != "cuda":
        pytest.skip("pytorch3d's rasteriser is used on CUDA only")
    if not raster_cuda.available():
        pytest.skip(f"pytorch3d._C does not import beside torch {torch.__version__}: pip install 'hoi-annotate[gpu]'")
    mask, _ = drawn(grasp("right"), device)
    assert 0 < mask.mean() < 1
