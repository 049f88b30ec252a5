"""A hand of one model in another: near in skin and joints, whatever the numbering, the basis and the threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.errors import PipelineError
from pipeline.hand_model import HandModel, load_hand
from pipeline.hand_model.model import OPEN_HAND, hand_path
from pipeline.hand_model.refit import refit
from pipeline.types import HandPose, Side


def grasp(side: Side, seed: int, spread: float = 0.7) -> HandPose:
    rng = np.random.default_rng(seed)
    model = load_hand(side)
    bent = model.mean_pose + (rng.normal(size=45) * spread * model.component_std) @ model.components
    orient = Rotation.random(random_state=seed).as_rotvec()
    return HandPose(side, orient, bent, rng.normal(size=10), np.array([0.1, -0.05, 0.6]))


@pytest.fixture(scope="module")
def other() -> HandModel:
    """A right hand that no parameters of the open hand can give: thicker, with waves of 1.5 mm in its skin."""
    model = HandModel(hand_path("right", OPEN_HAND), "right", "other")
    verts = model._mano.v_template
    x, y, z = (2 * np.pi * verts / 0.05).T
    with torch.no_grad():
        verts += 0.0015 * torch.stack([torch.sin(y + 1), torch.sin(z), torch.cos(x)], 1)
        verts[:, 1] *= 1.1
    return model


@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), spread=st.floats(0, 1.5))
def test_another_skin_is_met_within_its_own_difference(other: HandModel, seed: int, spread: float) -> None:
    verts, joints = load_hand("right").posed(grasp("right", seed, spread))
    pose, residuals = refit(verts, joints, "right", other)
    assert residuals["median_mm"] < 1.0
    assert residuals["max_mm"] < 6.0
    assert residuals["joints_mm"] < 3.0
    turns = np.linalg.norm(np.concatenate([pose.global_orient, pose.hand_pose]).reshape(-1, 3), axis=1)
    assert turns.max() <= np.pi + 1e-9


@pytest.mark.parametrize("side", ["right", "left"])
def test_residuals_are_what_they_are_called(other: HandModel, side: Side) -> None:
    """Measured here to vertices, which is never less than to the surface."""
    model = other if side == "right" else load_hand("left")
    verts, joints = load_hand(side).posed(grasp(side, 5))
    pose, residuals = refit(verts, joints, side, model)
    new_verts, new_joints = model.posed(pose)
    to_vertex = np.linalg.norm(verts[:, None] - new_verts, axis=2).min(1) * 1000
    assert residuals["median_mm"] <= np.median(to_vertex) + 1e-3
    assert residuals["max_mm"] <= to_vertex.max() + 1e-3
    moved = np.median(np.linalg.norm(joints - new_joints, axis=1)) * 1000
    assert residuals["joints_mm"] == pytest.approx(moved, abs=1e-3)


def test_the_order_of_vertices_says_nothing() -> None:
    """Reading them backwards must find the same hand: nothing but the surface is compared."""
    model = load_hand("right")
    verts, joints = model.posed(grasp("right", 3))
    pose = refit(verts[::-1], joints, "right", model)[0]
    np.testing.assert_allclose(model.posed(pose)[0], verts, atol=2e-4)


def test_the_number_of_threads_changes_nothing(other: HandModel) -> None:
    verts, joints = load_hand("right").posed(grasp("right", 4))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(refit(verts, joints, "right", other)[0])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for name in ("global_orient", "hand_pose", "betas", "transl"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))


def test_what_cannot_be_refitted(other: HandModel) -> None:
    verts, joints = load_hand("left").posed(grasp("left", 1))
    with pytest.raises(PipelineError, match="left hand cannot be refitted to a right"):
        refit(verts, joints, "left", other)
    with pytest.raises(PipelineError, match="not finite"):
        refit(verts * np.nan, joints, "left", load_hand("left"))
