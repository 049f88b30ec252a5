"""The annotated photograph's truth in the pipeline's camera, on shapes made here."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from benchmark_scripts import load

from pipeline.geometry.camera import from_focal, project

WIDTH, HEIGHT = 1280, 720


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return load("annotated_photo")


def test_the_object_is_seen_where_the_annotation_saw_it(bench: ModuleType) -> None:
    rng = np.random.default_rng(0)
    vertices = np.array([0.3, -0.15, 2.0]) + rng.uniform(-0.1, 0.1, (50, 3))
    seen = WIDTH * (vertices[:, :2] / vertices[:, 2:] + 0.5)  # the annotation's camera: a square from the photo's top
    camera = from_focal(WIDTH, WIDTH, HEIGHT, "prior")
    turned = vertices @ bench.into_camera(vertices, camera).as_matrix().T
    moved = project(turned, camera.K) - seen
    assert np.linalg.norm(moved, axis=1).max() < 12  # both cameras see much the same picture
    assert np.linalg.norm(project(vertices, camera.K) - seen, axis=1).min() > 250
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(vertices, axis=1))


def test_a_camera_like_the_annotations_needs_no_turn(bench: ModuleType) -> None:
    vertices = np.array([0.3, -0.15, 2.0]) + np.random.default_rng(1).uniform(-0.1, 0.1, (50, 3))
    same = from_focal(WIDTH, WIDTH, WIDTH, "prior")
    assert bench.into_camera(vertices, same).magnitude() < 1e-9
