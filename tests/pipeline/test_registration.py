"""Closed-form and iterative alignment against motions that are known."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from pipeline.geometry import registration
from pipeline.geometry.registration import kabsch, similarity_icp, translation_icp

CENTER = np.array([0.02, 0.01, 0.5])
OFFSET = np.array([0.012, -0.008, 0.01])


def patches(n=1500):
    """The right side of an egg and a smaller piece of it, sampled independently; metres."""
    egg = trimesh.creation.icosphere(4).apply_scale([0.035, 0.05, 0.03])
    target = np.array(trimesh.sample.sample_surface(egg, 4 * n, seed=1)[0])
    source = np.array(trimesh.sample.sample_surface(egg, n, seed=2)[0])
    return source[source[:, 0] > 0.012] + CENTER, target[target[:, 0] > 0] + CENTER


def some_rotation():
    return trimesh.transformations.euler_matrix(0.4, -0.7, 1.1)[:3, :3]


def test_kabsch_recovers_a_similarity():
    a, R, t = np.random.default_rng(0).normal(size=(20, 3)), some_rotation(), np.array([1.0, 2, 3])
    found_R, found_t, s = kabsch(a, 1.7 * a @ R.T + t, scale=True)
    assert np.allclose(found_R, R)
    assert np.allclose(found_t, t)
    assert s == pytest.approx(1.7)
    assert kabsch(a, a @ R.T + t)[2] == 1.0


def test_kabsch_never_reflects():
    a = np.random.default_rng(0).normal(size=(20, 3))
    R, _, _ = kabsch(a, a * [-1, 1, 1])
    assert np.linalg.det(R) == pytest.approx(1)
    flat = a * [1, 1, 0]
    R, t, _ = kabsch(flat, flat @ some_rotation().T)
    assert np.linalg.det(R) == pytest.approx(1)
    assert np.allclose(flat @ R.T + t, flat @ some_rotation().T)


def test_kabsch_refuses_unpaired_points():
    with pytest.raises(ValueError, match="pairs"):
        kabsch(np.zeros((3, 3)), np.zeros((4, 3)))


def test_translation_icp_recovers_the_offset_of_a_partial_patch():
    source, target = patches()
    translation, rms = translation_icp(source - OFFSET, target, iterations=200)
    assert np.abs(translation - OFFSET).max() < 1e-3
    assert rms < 1.5e-3  # the spacing of the samples


def test_translation_icp_moves_its_source_between_iterations():
    source, target = patches()
    once, _ = translation_icp(source - OFFSET, target, iterations=1)
    often, _ = translation_icp(source - OFFSET, target, iterations=200)
    assert np.linalg.norm(once - OFFSET) > 3 * np.linalg.norm(often - OFFSET)


@pytest.mark.parametrize("targets", [1, 3, 400])
def test_closest_points_kept_between_steps_are_those_of_a_fresh_look_up(targets):
    rng = np.random.default_rng(0)
    target, points = rng.normal(size=(targets, 3)), rng.normal(size=(300, 3))
    tree = cKDTree(target)
    closest = registration._Closest(tree)
    for step in 10.0 ** rng.uniform(-5, 0, 60):
        points = points + step * rng.normal(size=3)  # all together, far or near
        points[rng.integers(300)] += 1  # and one of them by itself
        distance, index = closest(points)
        wanted, wanted_index = tree.query(points)
        assert np.array_equal(index, wanted_index)
        assert np.allclose(distance, wanted, rtol=1e-14)


def test_trimming_ignores_points_without_a_counterpart():
    source, target = patches()
    stray = np.random.default_rng(0).uniform(-0.2, 0.2, (len(source) // 6, 3)) + CENTER
    with_strays = np.concatenate([source, stray]) - OFFSET
    trimmed, rms = translation_icp(with_strays, target, iterations=200, trim=0.8)
    everything, _ = translation_icp(with_strays, target, iterations=200, trim=1.0)
    assert np.linalg.norm(trimmed - OFFSET) < 1.5e-3
    assert np.linalg.norm(everything - OFFSET) > 2 * np.linalg.norm(trimmed - OFFSET)
    assert rms < 2e-3


def test_start_is_where_the_search_begins():
    source, target = patches()
    far = np.array([0.5, 0, 0])
    found, _ = translation_icp(source - far, target, start=far + OFFSET, iterations=200)
    assert np.abs(found - far).max() < 1e-3


def test_similarity_icp_by_scale_and_translation_is_the_fields_protocol():
    _, target = patches()
    scale, R, translation, rms = similarity_icp(target / 1.3 + 0.2, target)
    assert np.array_equal(R, np.eye(3))
    assert scale == pytest.approx(1.3)
    assert np.allclose(translation, -1.3 * 0.2)
    assert rms < 1e-9
    turned = (target - CENTER) @ trimesh.transformations.euler_matrix(0, 0, 0.2)[:3, :3].T
    assert similarity_icp(turned, target)[3] > 1e-3
    assert similarity_icp(turned, target, rotation=True)[3] < 1e-6


def test_similarity_icp_lays_two_samples_of_one_surface_over_each_other():
    box = trimesh.creation.box((0.07, 0.1, 0.04))  # its corners fix all seven unknowns
    target, source = (np.array(trimesh.sample.sample_surface(box, n, seed=n)[0]) for n in (3000, 1500))
    moved = 0.8 * source @ trimesh.transformations.euler_matrix(0.1, -0.1, 0.1)[:3, :3].T + CENTER
    scale, R, translation, rms = similarity_icp(moved, target, rotation=True)
    assert np.sqrt(((scale * moved @ R.T + translation - source) ** 2).sum(1).mean()) < 0.5e-3
    assert rms < 2e-3  # the spacing of the samples


def test_a_step_extrapolated_too_far_is_taken_back():
    asked = []

    def step(at):  # creeps towards 1, and beyond 0.9 the error is what a wrong pairing would make it
        asked.append(float(at[0]))
        return 1 - 0.9 * (1 - at), abs(1 - at[0]) if at[0] <= 0.9 else 9.0

    reached = registration._settle(step, np.zeros(1), 4, 0.0)
    assert asked[2] == pytest.approx(1)  # where the secant ends
    assert asked[3] == pytest.approx(1 - 0.9**2)  # back where the second plain step had led
    assert reached == pytest.approx(1 - 0.9**3)


def test_similarity_icp_of_a_source_without_extent_is_its_place():
    _, target = patches()
    scale, _, translation, rms = similarity_icp(np.ones((5, 3)), target)
    assert np.isfinite([scale, rms, *translation]).all()
    assert np.allclose(scale + translation, target.mean(0), atol=0.02)


def test_points_must_be_finite_and_there():
    with pytest.raises(ValueError, match="finite"):
        translation_icp(np.zeros((0, 3)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="finite"):
        translation_icp(np.full((1, 3), np.nan), np.zeros((1, 3)))
