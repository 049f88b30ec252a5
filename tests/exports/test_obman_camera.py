"""The photo's camera becomes ObMan's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from synthetic_pairs import make_record

from exports.base import UnsuitableRecord
from exports.obman.camera import FOV_DEG, K_OBMAN, CameraMode, put_before_camera
from pipeline.geometry.camera import from_focal, project
from pipeline.types import F64


def _cloud(centre: tuple[float, float, float], size: float = 0.1) -> tuple[F64, F64]:
    rng = np.random.default_rng(0)
    points = rng.uniform(-size, size, (400, 3)) + centre
    return points[:200], points[200:]


def test_fov_is_obmans() -> None:
    assert pytest.approx(29.86, abs=0.005) == FOV_DEG


@settings(max_examples=25, deadline=None)
@given(
    x=st.floats(-0.25, 0.25), y=st.floats(-0.2, 0.2), z=st.floats(0.4, 1.5), focal=st.floats(400, 2500)
)  # fmt: skip
def test_exact_has_no_residual(x: float, y: float, z: float, focal: float) -> None:
    hand, obj = _cloud((x, y, z))
    camera = from_focal(focal, 640, 480, "given")
    placement = put_before_camera(hand, obj, camera, "exact")
    assert max(placement.residual_px.values()) < 1e-6
    np.testing.assert_allclose(placement.transl, 0)
    np.testing.assert_allclose(placement.rotation @ placement.rotation.T, np.eye(3), atol=1e-12)
    pixels = project(placement.points(np.concatenate([hand, obj])), K_OBMAN)
    middle = (pixels.min(0) + pixels.max(0)) / 2
    np.testing.assert_allclose(middle, 128, atol=0.5)
    fits = bool(((pixels >= 0) & (pixels <= 256)).all())
    assert placement.wider_than_obman != fits or abs(placement.fov_deg - FOV_DEG) < 0.5


@settings(max_examples=25, deadline=None)
@given(
    x=st.floats(-0.25, 0.25), y=st.floats(-0.2, 0.2), z=st.floats(0.4, 1.5), focal=st.floats(400, 2500)
)  # fmt: skip
def test_refit_is_rigid_and_its_residual_is_the_truth(x: float, y: float, z: float, focal: float) -> None:
    hand, obj = _cloud((x, y, z))
    camera = from_focal(focal, 640, 480, "given")
    placement = put_before_camera(hand, obj, camera, "refit")
    np.testing.assert_allclose(placement.rotation @ placement.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(placement.rotation) > 0
    mapped = np.append(project(hand, camera.K), np.ones((200, 1)), 1) @ placement.homography.T
    error = np.linalg.norm(mapped[:, :2] / mapped[:, 2:] - project(placement.points(hand), K_OBMAN), axis=1)
    assert placement.residual_px["hand_max"] == pytest.approx(error.max(), abs=1e-4)
    assert placement.residual_px["hand_median"] == pytest.approx(np.median(error), abs=1e-4)
    assert (mapped[:, :2] > 0).all()
    assert (mapped[:, :2] < 256).all()


def test_refit_is_the_best_rigid_motion() -> None:
    """No small turn or shift brings the weighted projection closer to the crop."""
    hand, obj = _cloud((0.2, -0.1, 0.5))
    camera = from_focal(500.0, 640, 480, "given")
    placement = put_before_camera(hand, obj, camera, "refit")
    both = np.concatenate([hand, obj])
    mapped = np.append(project(both, camera.K), np.ones((400, 1)), 1) @ placement.homography.T
    target = mapped[:, :2] / mapped[:, 2:]

    def cost(turn: F64, shift: F64) -> float:
        points = placement.points(both)
        centre = points.mean(0)
        moved = (points - centre) @ Rotation.from_rotvec(turn).as_matrix().T + centre + shift
        return float(((project(moved, K_OBMAN) - target) ** 2).sum())

    best = cost(np.zeros(3), np.zeros(3))
    assert best > 0.1  # perspective had to bend
    rng = np.random.default_rng(0)
    for step in rng.normal(size=(100, 6)) * 1e-3:
        assert cost(step[:3], step[3:]) > best


def test_refit_of_a_photo_that_obman_could_have_taken_is_exact() -> None:
    """On the optical axis, with the pair as large as ObMan's camera would show it, nothing needs to bend."""
    hand, obj = _cloud((0, 0, 0.8))
    placement = put_before_camera(hand, obj, from_focal(1500.0, 4000, 3000, "exif"), "refit")
    assert max(placement.residual_px.values()) < 0.05


@pytest.mark.parametrize("mode", ["refit", "exact"])
def test_wide_pairs_are_flagged(mode: CameraMode) -> None:
    camera = from_focal(500.0, 640, 480, "given")
    assert put_before_camera(*_cloud((0, 0, 0.4)), camera, mode).wider_than_obman
    assert not put_before_camera(*_cloud((0, 0, 0.8)), camera, mode).wider_than_obman


@pytest.mark.parametrize("mode", ["refit", "exact"])
def test_a_pair_behind_the_camera_is_refused(mode: CameraMode) -> None:
    with pytest.raises(UnsuitableRecord, match="behind"):
        put_before_camera(*_cloud((0, 0, 0.05)), from_focal(500.0, 640, 480, "given"), mode)


@pytest.mark.parametrize("mode", ["refit", "exact"])
def test_picture_puts_a_pixel_where_the_homography_says(mode: CameraMode) -> None:
    record = make_record(0)
    reconstruction = record.reconstruction
    placement = put_before_camera(reconstruction.hand_verts, reconstruction.hand_joints, reconstruction.camera, mode)
    photo = np.zeros((480, 640), np.uint8)
    x, y = 380, 210
    photo[y - 4 : y + 5, x - 4 : x + 5] = 255
    seen = placement.picture(photo).astype(float)
    rows, columns = np.indices(seen.shape) + 0.5
    found = np.array([(columns * seen).sum(), (rows * seen).sum()]) / seen.sum()
    expected = placement.homography @ [x + 0.5, y + 0.5, 1]
    np.testing.assert_allclose(found, expected[:2] / expected[2], atol=0.1)
