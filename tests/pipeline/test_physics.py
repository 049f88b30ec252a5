"""The simulation against what mechanics says: free fall, rest, and the same answer every time."""

import subprocess
import sys

import numpy as np
import pytest
import trimesh

from pipeline.errors import BadMesh
from pipeline.evaluate.physics import convex_parts, simulation_displacement_cm


def box(size, center):
    mesh = trimesh.creation.box(size)
    return np.array(mesh.vertices) + center, np.array(mesh.faces)


def cup():
    """A floor at y = 0.02 and two walls, open upwards (towards -y): a stand-in for a hand from below."""
    parts = [
        box([0.12, 0.01, 0.12], [0, 0.025, 0.5]),
        box([0.01, 0.08, 0.12], [-0.055, -0.01, 0.5]),
        box([0.01, 0.08, 0.12], [0.055, -0.01, 0.5]),
    ]
    mesh = trimesh.util.concatenate([trimesh.Trimesh(*part) for part in parts])
    return np.array(mesh.vertices), np.array(mesh.faces)


def block(center=(0, 0, 0.5)):
    return box([0.04, 0.04, 0.04], center)


def ring():
    mesh = trimesh.creation.annulus(0.02, 0.03, 0.02, sections=24)
    return mesh.vertices + np.array([0, 0, 0.5]), np.array(mesh.faces)


def test_an_object_nobody_holds_falls_freely():
    steps, dt = 35, 1 / 240
    fallen = simulation_displacement_cm(*cup(), *block([1, 0, 0.5]), steps=steps, dt=dt)
    # Semi-implicit Euler: sum of g dt^2 (1 + 2 + ... + n); Bullet's damping takes a little off.
    assert fallen == pytest.approx(100 * 9.8 * dt**2 * steps * (steps + 1) / 2, rel=0.01)


def test_gravity_points_down_in_the_photo():
    roof_gone = cup()  # open towards -y
    assert simulation_displacement_cm(*roof_gone, *block(), gravity=(0, -9.8, 0)) > 5
    assert simulation_displacement_cm(*roof_gone, *block()) < 0.1


@pytest.mark.parametrize("steps", [35, 1000])
def test_an_object_that_rests_stays(steps):
    assert simulation_displacement_cm(*cup(), *block(), steps=steps) < 0.1  # 1 mm, Bullet's collision margin


def test_a_gap_is_fallen_through():
    moved = simulation_displacement_cm(*cup(), *block([0, -0.03, 0.5]), steps=240)
    assert moved == pytest.approx(3, abs=0.2)


def test_nearly_convex_objects_are_their_hull_and_hollow_ones_are_not():
    ball = trimesh.creation.icosphere(3, radius=0.03)
    assert len(convex_parts(np.array(ball.vertices), np.array(ball.faces))) == 1
    parts = convex_parts(*ring())
    assert len(parts) > 3
    hulls = sum(trimesh.Trimesh(v, f).convex_hull.volume for v, f in parts)
    assert hulls == pytest.approx(np.pi * (0.03**2 - 0.02**2) * 0.02, rel=0.15)
    assert not any(trimesh.Trimesh(v, f).convex_hull.contains([[0, 0, 0.5]])[0] for v, f in parts)


def test_a_ring_falls_around_a_thin_pole():
    pole = box([0.012, 0.012, 0.2], [0, 0, 0.5])
    along_the_pole = simulation_displacement_cm(*pole, *ring(), gravity=(0, 0, 9.8))
    assert along_the_pole == pytest.approx(10.7, rel=0.02)  # nothing in the hole
    assert simulation_displacement_cm(*pole, *ring()) < 3  # it swings on the pole


def test_the_same_pair_gives_the_same_figure():
    first = simulation_displacement_cm(*cup(), *ring())
    fresh = (
        "import test_physics as t; from pipeline.evaluate.physics import simulation_displacement_cm as s;"
        "print(repr(s(*t.cup(), *t.ring())))"
    )
    paths = f"import sys; sys.path[:0] = {[str(p) for p in (*sys.path, __file__.rpartition('/')[0])]!r}; "
    other = subprocess.run([sys.executable, "-c", paths + fresh], capture_output=True, text=True, check=True)
    assert float(other.stdout) == first == simulation_displacement_cm(*cup(), *ring())
    assert other.stderr == ""  # and Bullet kept quiet


def test_an_open_object_is_closed_first_and_an_empty_one_refused():
    vertices, faces = block()
    assert simulation_displacement_cm(*cup(), vertices, faces[1:]) < 0.1
    with pytest.raises(BadMesh):
        simulation_displacement_cm(*cup(), vertices, np.zeros((0, 3), int))
