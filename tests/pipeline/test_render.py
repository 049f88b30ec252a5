"""The benchmark's pictures: agreement with the exact masks, a forearm that hides nothing, repeatability."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from grasp_scene import Scene, grasp
from scipy.spatial.transform import Rotation

from pipeline.evaluate import render, render_mitsuba
from pipeline.evaluate.render_skin import skin, sleeve, wrist_of
from pipeline.geometry.raster import depth_map
from pipeline.types import ObjectPose

TURNS = [None, "x", "y"]  # the forearm beside the picture's plane, towards the camera, away from it


def placed(scene: Scene, about: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Hand vertices and ball centre, turned about the scene's middle so that the wrist points elsewhere."""
    turn = Rotation.identity() if about is None else Rotation.from_euler(about, 100, degrees=True)
    middle = np.array([0, 0, 0.55])
    return turn.apply(scene.verts - middle) + middle, turn.apply(scene.center - middle) + middle


@pytest.mark.parametrize("about", TURNS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_joints_are_found_in_the_vertices(side, about):
    scene = grasp(side)
    verts, _ = placed(scene, about)
    inner = [2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19, 20]  # past the knuckles, whose seams are wide
    joints = render.posed_hand(verts, scene.model).joints
    true = placed(Scene(**{**vars(scene), "verts": scene.joints}), about)[0]
    assert np.linalg.norm(joints - true, axis=1)[inner].max() < 0.006


@pytest.mark.parametrize("about", TURNS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_the_forearm_hides_neither_hand_nor_object(side, about):
    scene = grasp(side)
    verts, center = placed(scene, about)
    hand = render.posed_hand(verts, scene.model)
    ball = scene.ball.mesh.vertices * scene.radius + center
    wrist = render.visible_wrist(hand, ball, scene.ball.mesh.faces, scene.camera)
    front = render._front(hand, ball, scene.ball.mesh.faces, scene.camera)
    tube, faces = sleeve(wrist, render.across(hand, wrist))
    kept = faces[render._clear(tube, faces, front[1], scene.camera)]
    cloth = render._depth(tube, kept, scene.camera)
    shown = np.isfinite(front[1])
    assert (cloth < front[1] - 1e-3)[shown].sum() <= 0.001 * shown.sum()
    arm, arm_faces, _, _ = skin(hand, wrist, (0.5, 0.4, 0.3))
    assert wrist.axis @ wrist_of(hand).axis > np.cos(np.deg2rad(81))
    assert len(arm_faces) > 64 * 1538
    assert np.isfinite(arm).all()


def test_smoothed_skin_fills_the_exact_mask():
    scene = grasp("right")
    hand = render.posed_hand(scene.verts, scene.model)
    verts, faces = render.smooth(render._outer(hand).verts, scene.model.faces)
    drawn = np.isfinite(depth_map(verts, faces, scene.camera.K, 256, 256))
    exact = np.isfinite(depth_map(scene.verts, scene.model.faces, scene.camera.K, 256, 256))
    assert (drawn & exact).sum() / (drawn | exact).sum() > 0.98


def test_a_missing_renderer_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(render_mitsuba.MissingRenderer, match=r"pip install 'hoi-annotate\[dev\]'"):
        render_mitsuba.mitsuba()


@pytest.mark.slow
def test_the_picture_shows_the_object_where_the_mask_says():
    pytest.importorskip("mitsuba")
    scene = grasp("left")
    mesh = scene.ball.mesh
    green = type(mesh)(mesh.vertices, mesh.faces, mesh.uv, np.full((4, 4, 3), (10, 220, 10), np.uint8))
    pose = ObjectPose(np.eye(3), scene.center, scene.radius)

    def picture(seed: int, grain: int | None = None) -> np.ndarray:
        return render.render_rgb(scene.camera, scene.verts, "left", green, pose, seed, spp=8, grain=grain)

    image = picture(3)
    assert image.shape == (256, 256, 3)
    assert image.dtype == np.uint8
    greenness = image[..., 1].astype(int) - np.maximum(image[..., 0], image[..., 2])
    on_ball, on_hand = greenness[scene.object].mean(), greenness[scene.hand].mean()
    assert on_ball > 40
    assert on_hand < 5
    np.testing.assert_array_equal(image, picture(3))
    assert (picture(4) != image).mean() > 0.9
    grainy = np.abs(picture(3, grain=4).astype(int) - image)
    assert (grainy > 0).mean() > 0.5
    assert np.median(grainy) < 5 < np.median(np.abs(picture(4).astype(int) - image))
