"""The hand as a compiled function of its pose: smplx's values, and gradients that finite differences confirm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.geometry.rotations import rotation
from pipeline.hand_model import HandModel, load_hand
from pipeline.hand_model.skinning import Posable, Skin, Smplx
from pipeline.optimise.variables import Articulation, PairVariables
from pipeline.types import HandPose, Side

SIZES = (("turn", 3, 0.3), ("articulation", 45, 0.4), ("transl", 3, 0.5))


@pytest.fixture(params=["right", "left"])
def model(request: pytest.FixtureRequest) -> HandModel:
    side: Side = request.param
    return load_hand(side)


def posables(model: HandModel) -> tuple[Posable, Posable]:
    """The hand of a drawn shape and orientation, compiled and through smplx."""
    rng = torch.Generator().manual_seed(1)
    orient, betas = torch.randn(3, generator=rng), torch.randn(10, generator=rng)
    return model.posable(orient, betas), Smplx(model, orient, betas)


def drawn_pose(seed: int = 0) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [spread * torch.randn(size, generator=rng) for _, size, spread in SIZES]


def pulls(seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(778, 3, generator=rng), torch.randn(21, 3, generator=rng)


def gradients(hand: Posable, pose: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    given = [tensor.clone().requires_grad_() for tensor in pose]
    return torch.autograd.grad(hand(*given), given, pulls())


def test_it_is_smplx_in_value_and_gradient(model: HandModel) -> None:
    compiled, reference = posables(model)
    assert isinstance(compiled, Skin)
    for ours, theirs in zip(compiled(*drawn_pose()), reference(*drawn_pose()), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)  # metres
    for ours, theirs in zip(gradients(compiled, drawn_pose()), gradients(reference, drawn_pose()), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5 * float(theirs.abs().max()))


def test_at_rest_it_is_smplx_too(model: HandModel) -> None:
    """Where every angle is zero and Rodrigues' quotients are 0 / 0."""
    compiled, reference = posables(model)
    rest = [torch.zeros(size) for _, size, _ in SIZES]
    for ours, theirs in zip(gradients(compiled, rest), gradients(reference, rest), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("which", range(3), ids=[name for name, _, _ in SIZES])
def test_the_gradient_is_that_of_finite_differences(model: HandModel, which: int) -> None:
    compiled, _ = posables(model)
    pose, step, gradient = drawn_pose(), 1e-2, gradients(compiled, drawn_pose())[which]
    rng = torch.Generator().manual_seed(3)
    for _ in range(3):
        way = torch.randn(len(pose[which]), generator=rng)
        sums = []
        for sign in (1, -1):
            moved = [p + sign * step * way if i == which else p for i, p in enumerate(pose)]
            sums.append(
                sum(float((out.double() * on).sum()) for out, on in zip(compiled(*moved), pulls(), strict=True))
            )
        numeric = (sums[0] - sums[1]) / (2 * step)
        assert numeric == pytest.approx(float(gradient @ way), rel=5e-3, abs=5e-3 * float(gradient.norm()))


@pytest.mark.parametrize("index", [0, 1], ids=["compiled", "smplx"])
def test_the_pull_without_a_graph_is_autograds(model: HandModel, index: int) -> None:
    hand = posables(model)[index]
    verts, joints, pull = hand.with_pull(*drawn_pose())
    assert not verts.requires_grad
    assert not joints.requires_grad
    for ours, theirs in zip((verts, joints), hand(*drawn_pose()), strict=True):
        torch.testing.assert_close(ours, theirs)
    for ours, theirs in zip(pull(*pulls()), gradients(hand, drawn_pose()), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_pairs_pull_is_that_of_its_graph(model: HandModel) -> None:
    rng = np.random.default_rng(0)
    start = HandPose(model.side, rng.normal(size=3), rng.normal(size=45) * 0.2, np.zeros(10), np.array([0.1, 0.0, 0.6]))
    pair = PairVariables(model, start, Articulation.around(start.hand_pose, model, 5.0, 1.0))
    with torch.no_grad():
        for variable in pair.all:
            variable.add_(torch.as_tensor(rng.normal(size=len(variable)) * 0.1))
    expected = torch.autograd.grad(pair.forward(), (pair.turn, pair.shift, pair.grasp), pulls())
    for ours, theirs in zip(pair.with_pull()[2](*pulls()), expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("angle", [0.0, 1e-6, 0.5, 3.1])
def test_a_rotation_vector_becomes_scipys_matrix(angle: float) -> None:
    vector = angle * np.array([0.6, -0.48, 0.64])
    np.testing.assert_allclose(rotation(vector), Rotation.from_rotvec(vector).as_matrix(), atol=1e-8)
