"""The metrics against code that shares nothing with them, and against what geometry and mechanics say must hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from pipeline.evaluate.metrics import (
    chamfer_fscore,
    chamfer_fscore_points,
    intersection_volume_cm3,
    intersection_volume_voxel_cm3,
)
from pipeline.evaluate.physics import simulation_displacement_cm
from pipeline.types import F64, I64

SEEDS = st.integers(0, 2**31)
SCALES = st.floats(0.3, 3.0)
FEW = settings(max_examples=15, deadline=None)
Solid = tuple[F64, I64]


def cloud(seed: int, n: int = 150, spread: float = 0.02) -> F64:
    return np.random.default_rng(seed).normal(0, spread, (n, 3))


def motion(seed: int) -> tuple[F64, F64]:
    rng = np.random.default_rng(seed)
    return Rotation.random(rng=rng).as_matrix(), rng.uniform(-0.3, 0.3, 3)


def ball(radius: float, centre: F64 | tuple[float, float, float] = (0, 0, 0)) -> Solid:
    mesh = trimesh.creation.icosphere(5, radius=radius)
    return np.array(mesh.vertices) + np.asarray(centre), np.array(mesh.faces)


def block(size: tuple[float, float, float], rotation: F64, centre: F64) -> Solid:
    mesh = trimesh.creation.box(size)
    return np.array(mesh.vertices) @ rotation.T + centre, np.array(mesh.faces)


# Chamfer distance and F-score


def brute_force(pred: F64, true: F64) -> dict[str, float]:
    """From the whole table of distances."""
    table = cdist(pred, true)
    nearest = table.min(1), table.min(0)
    found = {"cd_cm2": sum(float((d**2).mean()) for d in nearest) * 1e4}
    for name, limit in (("f5", 0.005), ("f10", 0.010)):
        precision, recall = ((d < limit).mean() for d in nearest)
        found[name] = 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))
    return found


@FEW
@given(SEEDS, SEEDS, st.integers(1, 200), st.floats(0.0, 0.05))
def test_chamfer_is_what_the_whole_table_of_distances_says(a: int, b: int, n: int, shift: float) -> None:
    pred, true = cloud(a, n) + shift, cloud(b)
    assert chamfer_fscore_points(pred, true, align=False) == pytest.approx(brute_force(pred, true), rel=1e-9, abs=1e-12)


@FEW
@given(SEEDS, SEEDS)
def test_chamfer_is_symmetric(a: int, b: int) -> None:
    pred, true = cloud(a), cloud(b) + 0.01
    forth, back = (chamfer_fscore_points(x, y, align=False) for x, y in ((pred, true), (true, pred)))
    assert forth == pytest.approx(back, rel=1e-12)


@FEW
@given(SEEDS, SEEDS, SEEDS)
def test_chamfer_does_not_see_where_both_are(a: int, b: int, c: int) -> None:
    (rotation, transl), pred, true = motion(c), cloud(a), cloud(b) + 0.01
    still = chamfer_fscore_points(pred, true, align=False)
    moved = chamfer_fscore_points(pred @ rotation.T + transl, true @ rotation.T + transl, align=False)
    assert moved["cd_cm2"] == pytest.approx(still["cd_cm2"], rel=1e-9)
    assert moved["f10"] == pytest.approx(still["f10"], abs=0.02)  # a distance within rounding of the limit may cross


@FEW
@given(SEEDS, SEEDS, SCALES)
def test_chamfer_grows_with_the_square_of_the_scale(a: int, b: int, scale: float) -> None:
    pred, true = cloud(a), cloud(b) + 0.01
    one, many = (chamfer_fscore_points(s * pred, s * true, align=False) for s in (1.0, scale))
    assert many["cd_cm2"] == pytest.approx(scale**2 * one["cd_cm2"], rel=1e-9)
    doubled = chamfer_fscore_points(2 * pred, 2 * true, align=False)
    assert doubled["f10"] == one["f5"]  # doubling is exact in floating point


@FEW
@given(SEEDS, SCALES, SEEDS)
def test_alignment_takes_scale_and_place_away_and_nothing_else(a: int, scale: float, c: int) -> None:
    true = cloud(a, 400) * [1, 2, 3]
    transl = motion(c)[1]
    assert chamfer_fscore_points(scale * true + transl, true)["cd_cm2"] == pytest.approx(0, abs=1e-9)
    quarter = Rotation.from_euler("x", 90, degrees=True).as_matrix()
    assert chamfer_fscore_points(true @ quarter.T, true)["cd_cm2"] > 0.5


def test_surfaces_agree_with_trimesh_samples_and_scipy_distances() -> None:
    """Where surfaces are well apart, how they are sampled hardly matters."""
    first, second = trimesh.creation.icosphere(4, radius=0.05), trimesh.creation.box([0.13, 0.15, 0.17])
    found = chamfer_fscore(first.vertices, first.faces, second.vertices, second.faces, align=False)
    samples = [trimesh.sample.sample_surface(mesh, 4000, seed=1)[0] for mesh in (first, second)]
    other = brute_force(np.asarray(samples[0]), np.asarray(samples[1]))
    assert found["cd_cm2"] == pytest.approx(other["cd_cm2"], rel=0.02)
    assert found["f10"] == other["f10"] == 0.0
    near = chamfer_fscore(first.vertices * 1.15, first.faces, first.vertices, first.faces, align=False)
    assert (near["f5"], near["f10"]) == (0.0, 1.0)  # 7.5 mm apart everywhere


# Intersection volume


def lens_cm3(r: float, s: float, d: float) -> float:
    """What two balls of radii r and s share, their centres d apart."""
    cut = (r + s - d) ** 2 * (d * d + 2 * d * (r + s) - 3 * (r - s) ** 2)
    return math.pi * cut / (12 * d) * 1e6


def test_shared_volume_of_two_balls_is_the_lens() -> None:
    for r, s, d in ((0.03, 0.03, 0.04), (0.03, 0.02, 0.035), (0.025, 0.04, 0.02)):
        exact = intersection_volume_cm3(*ball(r), *ball(s, (0, 0, d)))
        assert exact == pytest.approx(lens_cm3(r, s, d), rel=0.01)  # the balls are polyhedra, inside of the spheres


@settings(max_examples=6, deadline=None)
@given(SEEDS)
def test_shared_volume_is_what_voxels_of_falling_pitch_count(seed: int) -> None:
    """A ball and a turned box; a voxel's centre is inside by the two formulas, not by any mesh."""
    rng = np.random.default_rng(seed)
    rotation, centre, size = Rotation.random(rng=rng).as_matrix(), rng.uniform(-0.02, 0.02, 3), (0.03, 0.05, 0.07)
    exact = intersection_volume_cm3(*ball(0.03), *block(size, rotation, centre))
    errors = []
    for pitch in (0.004, 0.002, 0.001):
        line = np.arange(-0.031, 0.031, pitch) + pitch / 2
        points = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
        in_box = (np.abs((points - centre) @ rotation) < np.array(size) / 2).all(1)
        count = int((in_box & (np.linalg.norm(points, axis=1) < 0.03)).sum())
        errors.append(abs(count * pitch**3 * 1e6 - exact))
    assert errors[2] < 0.005 * exact + 0.05
    assert errors[2] <= errors[0] + 0.02


@settings(max_examples=8, deadline=None)
@given(SEEDS, SCALES)
def test_shared_volume_is_symmetric_rigid_and_cubic(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    a = block((0.05, 0.04, 0.06), Rotation.random(rng=rng).as_matrix(), rng.uniform(-0.02, 0.02, 3))
    b = block((0.03, 0.08, 0.05), Rotation.random(rng=rng).as_matrix(), rng.uniform(-0.02, 0.02, 3))
    shared = intersection_volume_cm3(*a, *b)
    rotation, transl = motion(seed + 1)
    moved = [(v @ rotation.T + transl, f) for v, f in (a, b)]
    assert intersection_volume_cm3(*b, *a) == pytest.approx(shared, rel=1e-7, abs=1e-9)
    assert intersection_volume_cm3(*moved[0], *moved[1]) == pytest.approx(shared, rel=1e-6, abs=1e-8)
    grown = intersection_volume_cm3(scale * a[0], a[1], scale * b[0], b[1])
    assert grown == pytest.approx(scale**3 * shared, rel=1e-6, abs=1e-8)
    assert 0 <= shared <= min(0.05 * 0.04 * 0.06, 0.03 * 0.08 * 0.05) * 1e6 + 1e-9
    assert intersection_volume_voxel_cm3(*a, *b) > 0.9 * shared - 0.2  # the field's estimate is one from above


# Simulation displacement


def floor_below(point: F64, down: F64) -> Solid:
    """A wide slab whose upper face is the plane through a point across `down`."""
    across = np.cross(down, np.eye(3)[np.argmin(np.abs(down))])
    across /= np.linalg.norm(across)
    frame = np.stack([across, np.cross(down, across), down], 1)
    return block((0.3, 0.3, 0.02), frame, point + 0.01 * down)


def free_fall_cm(gravity: float, steps: int, dt: float) -> float:
    """Semi-implicit Euler with the damping of Bullet's multibodies: 0.04 v + 0.04 v^2 against the motion."""
    velocity = place = 0.0
    for _ in range(steps):
        velocity += (gravity - 0.04 * velocity * (1 + velocity)) * dt
        place += velocity * dt
    return 100 * place


@settings(max_examples=4, deadline=None)
@given(SEEDS, st.sampled_from([35, 240, 1000]), st.sampled_from([1 / 240, 1 / 480]), SCALES)
def test_free_fall_is_the_same_for_every_size_and_direction(seed: int, steps: int, dt: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    down = Rotation.random(rng=rng).apply([0, 1.0, 0])
    far = floor_below(np.full(3, -5.0), down)
    v, f = block((0.05, 0.04, 0.06), Rotation.random(rng=rng).as_matrix(), np.zeros(3))
    x, y, z = 9.8 * down
    fallen = simulation_displacement_cm(*far, scale * v, f, gravity=(x, y, z), steps=steps, dt=dt)
    assert fallen == pytest.approx(free_fall_cm(9.8, steps, dt), rel=2e-3)


@settings(max_examples=4, deadline=None)
@given(SEEDS)
def test_a_resting_box_rests_however_the_scene_is_turned(seed: int) -> None:
    rotation, transl = motion(seed)
    down = rotation @ np.array([0, 1.0, 0])
    v, f = block((0.06, 0.04, 0.05), rotation, transl)
    floor = floor_below(transl + 0.02 * down, down)
    x, y, z = 9.8 * down
    for steps in (35, 1000):
        assert simulation_displacement_cm(*floor, v, f, gravity=(x, y, z), steps=steps) < 0.15  # Bullet's margins
    lifted = v - 0.01 * down  # one centimetre above the floor: that is how far it falls
    assert simulation_displacement_cm(*floor, lifted, f, gravity=(x, y, z), steps=240) == pytest.approx(1.0, abs=0.2)
