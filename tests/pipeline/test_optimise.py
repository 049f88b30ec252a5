"""The three stages on a scene with exact truth: a hand holding a ball, both sides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from grasp_scene import Scene, grasp
from pytorch3d.transforms import axis_angle_to_matrix, matrix_to_axis_angle
from scipy.spatial.transform import Rotation

from pipeline.errors import EmptyMask
from pipeline.geometry import raster, raster_torch
from pipeline.geometry.camera import project
from pipeline.geometry.raster import silhouette
from pipeline.geometry.rotations import left_jacobian
from pipeline.geometry.sdf import SignedDistance
from pipeline.hand_model import HandModel
from pipeline.hand_model.skinning import Smplx
from pipeline.optimise import variables
from pipeline.optimise.adam import Adam
from pipeline.optimise.camera_setup import _force, camera_setup
from pipeline.optimise.contact_alignment import Aligned, contact_alignment
from pipeline.optimise.refinement import Refined, refinement
from pipeline.optimise.terms import ContactHints, Terms, total
from pipeline.optimise.variables import Articulation, PairVariables
from pipeline.optimise.view import View, make_view
from pipeline.recipe import Recipe
from pipeline.types import Edits, HandEstimate, HandPose, Masks, ObjectMesh, ObjectPose, ViewPrior

SETTINGS = Recipe.load("cpu").stage("optimise")


@pytest.fixture(params=["right", "left"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return grasp(request.param)


def masks_of(scene: Scene) -> Masks:
    return Masks(scene.hand, scene.object, np.zeros_like(scene.hand))


def view_of(scene: Scene) -> View:
    return make_view(scene.camera, masks_of(scene), scene.amodal, SETTINGS["size"])


def disturbed(scene: Scene, seed: int = 0, finger_deg: float = 0.0) -> HandPose:
    """The estimator's kind of error: 8 degrees at the wrist, 4 cm in depth, 5 px in the picture."""
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    turn = Rotation.from_rotvec(np.deg2rad(8) * axis / np.linalg.norm(axis))
    orient = (turn * Rotation.from_rotvec(scene.pose.global_orient)).as_rotvec()
    hand_pose = scene.pose.hand_pose + np.deg2rad(finger_deg) * rng.normal(size=45)
    pose = replace(scene.pose, global_orient=orient, hand_pose=hand_pose, transl=np.zeros(3))
    wrist = scene.joints[0] * (scene.joints[0, 2] + 0.04) / scene.joints[0, 2]
    wrist[:2] += 5 / scene.camera.focal * wrist[2]
    return replace(pose, transl=wrist - scene.model.posed(pose)[1][0])


def estimate_of(scene: Scene, pose: HandPose) -> HandEstimate:
    return HandEstimate(pose, "open-hand", scene.keypoints, 2.0, 5.0, 1.0)


def align(
    scene: Scene,
    hints: ContactHints | None = None,
    ball: ObjectMesh | None = None,
    pose: ObjectPose | None = None,
    **settings: object,
) -> Aligned:
    return contact_alignment(
        ball or scene.ball,
        pose or ObjectPose(np.eye(3), scene.center / scene.radius, 1.0),
        estimate_of(scene, disturbed(scene)),
        scene.model,
        view_of(scene),
        hints or ContactHints(),
        Edits(),
        SETTINGS | settings,
    )


def truth_pose(scene: Scene) -> ObjectPose:
    return ObjectPose(np.eye(3), scene.center, scene.radius)


def distances(scene: Scene, hand: HandPose, pose: ObjectPose) -> np.ndarray:
    placed = pose.scale * scene.ball.mesh.vertices @ pose.rotation.T + pose.transl
    return SignedDistance(placed, scene.ball.mesh.faces).query(scene.model.posed(hand)[0])[0]


def held(scene: Scene, refined: Refined) -> np.ndarray:
    return distances(scene, refined.hand, refined.object_pose)


def test_camera_setup_finds_an_object_that_starts_beside_its_mask(scene: Scene) -> None:
    prior = ViewPrior(np.eye(3), scene.center / scene.radius * 1.3 + np.array([2.5, 0.5, 0]))
    fit = camera_setup(replace(scene.ball, prior=prior), view_of(scene), SETTINGS | {"camera_steps": 200})
    assert fit.figures["initial"] > 0.9
    assert fit.figures["final"] < 0.04
    np.testing.assert_allclose(fit.pose.rotation @ fit.pose.rotation.T, np.eye(3), atol=1e-9)


def test_camera_setup_crosses_a_wide_gap_where_only_transport_has_a_gradient(scene: Scene) -> None:
    """IoU stays 0 for many steps on the way: that is no plateau while the transport cost falls."""
    offset = np.array([4.5 if scene.center[0] <= 0 else -4.5, -0.5, 0])
    prior = ViewPrior(np.eye(3), scene.center / scene.radius * 1.3 + offset)
    fit = camera_setup(
        replace(scene.ball, prior=prior), view_of(scene), SETTINGS | {"camera_steps": 400, "lr_camera": 3e-3}
    )
    assert fit.figures["initial"] > 0.999
    assert fit.figures["final"] < 0.1


def test_camera_setup_keeps_a_start_that_is_already_right(scene: Scene) -> None:
    fit = camera_setup(scene.ball, view_of(scene), SETTINGS)
    assert fit.figures["final"] <= fit.figures["initial"] < 0.03


@pytest.mark.parametrize("turned", [0.0, 1.3])
def test_the_camera_setups_gradient_is_that_of_autograd(turned: float) -> None:
    rng = np.random.default_rng(0)
    vertices, grad = torch.as_tensor(rng.normal(size=(50, 3))), torch.as_tensor(rng.normal(size=(50, 2)))
    K = torch.tensor([[300.0, 0, 80], [0, 310, 60], [0, 0, 1]], dtype=torch.float64)
    turn = (turned * torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)).requires_grad_()
    transl = torch.tensor([0.3, -0.2, 6.0], dtype=torch.float64, requires_grad=True)
    spokes = vertices @ axis_angle_to_matrix(turn).T
    (project(spokes + transl, K) * grad).sum().backward()
    push, torque = _force(grad, spokes.detach(), (spokes + transl).detach(), K)
    np.testing.assert_allclose(push, transl.grad, rtol=1e-9)
    np.testing.assert_allclose(left_jacobian(turn.detach().numpy()).T @ torque, turn.grad, rtol=1e-6)


@pytest.mark.parametrize("unit", [0.5, 1.0, 1.6])
def test_alignment_recovers_the_object_scale_and_the_hand(scene: Scene, unit: float) -> None:
    """One picture fits every scale of the object; the contacts decide, whatever the mesh unit."""
    ball = replace(scene.ball, mesh=replace(scene.ball.mesh, vertices=scene.ball.mesh.vertices * unit))
    pose = ObjectPose(np.eye(3), scene.center / scene.radius * unit, 1.0)
    hand = disturbed(scene)
    aligned = align(scene, ball=ball, pose=pose)
    before = np.linalg.norm(scene.model.posed(hand)[1][0] - scene.joints[0])
    # positions relative to the object in units of its true radius: the paper's relative error
    size = aligned.object_pose.scale * unit / scene.radius
    wrist = (scene.model.posed(aligned.hand)[1][0] - aligned.object_pose.transl) / size
    after = np.linalg.norm(wrist - (scene.joints[0] - scene.center))
    assert after < 0.02
    assert after < before / 2
    assert abs(size - 1) < 0.12  # the estimate's 4 cm of 55 cm stay in the absolute scale


def test_the_hand_goes_on_moving_after_the_first_registration(scene: Scene) -> None:
    """The public code rebinds the tensor that Adam holds, which freezes the hand from then on."""
    runs = [align(scene, registration="icp", registration_at=[2], alignment_steps=steps) for steps in (3, 40)]
    turned = Rotation.from_rotvec(runs[0].hand.global_orient).inv() * Rotation.from_rotvec(runs[1].hand.global_orient)
    assert turned.magnitude() > np.deg2rad(2)
    assert runs[1].figures["final"] < runs[0].figures["final"]


def test_a_reviewers_contact_masks_replace_the_derived_ones(scene: Scene) -> None:
    nothing = np.zeros(view_of(scene).shape, bool)
    aligned = align(scene, ContactHints(front=nothing, back=nothing))
    assert aligned.figures["front_px"] == aligned.figures["back_px"] == 0
    derived = align(scene)
    assert derived.figures["front_px"] > 20
    assert derived.figures["back_px"] > 20


def test_the_scan_finds_the_scale_and_tells_how_sure_it_is(scene: Scene) -> None:
    aligned = align(scene)
    relative = aligned.object_pose.scale * scene.center[2] / scene.model.posed(aligned.hand)[1].mean(0)[2]
    truth = scene.radius * scene.center[2] / scene.joints.mean(0)[2]
    assert abs(np.log(relative / truth)) < 0.06
    assert 0 < aligned.figures["scale_spread"] < SETTINGS["scan_spread"]
    assert align(scene, scan_temperature=10.0).figures["scale_spread"] > aligned.figures["scale_spread"]


def test_the_grasp_space_takes_noise_out_of_an_articulation(scene: Scene) -> None:
    noisy = scene.pose.hand_pose + np.deg2rad(5) * np.random.default_rng(0).normal(size=45)
    around = Articulation.around(noisy, scene.model, 5.0, 1.0)
    error = np.linalg.norm(around.centre.numpy() - scene.pose.hand_pose)
    assert error < 0.7 * np.linalg.norm(noisy - scene.pose.hand_pose)
    kept = Articulation.around(noisy, scene.model, 5.0, 0.0)
    np.testing.assert_allclose(kept.centre.numpy(), noisy, atol=1e-6)


def test_variables_start_where_they_are_told_and_move_by_metres(scene: Scene) -> None:
    pair = PairVariables(scene.model, scene.pose, Articulation.around(scene.pose.hand_pose, scene.model, 5.0, 1.0))
    verts = pair.forward()[0].detach().numpy()
    np.testing.assert_allclose(verts, scene.verts, atol=2e-5)
    pair.move(np.array([0.01, -0.02, 0.05]))
    np.testing.assert_allclose(pair.forward()[0].detach().numpy() - verts, [[0.01, -0.02, 0.05]] * 778, atol=1e-5)


def refine(scene: Scene, hand: HandPose, edits: Edits | None = None, **settings: object) -> Refined:
    nothing = np.zeros((1, 1), bool)
    return refinement(
        scene.ball,
        Aligned(hand, truth_pose(scene), nothing, nothing, {}),
        estimate_of(scene, hand),
        scene.model,
        view_of(scene),
        ContactHints(),
        edits or Edits(),
        SETTINGS | settings,
    )


def test_refinement_takes_fingers_out_of_the_object(scene: Scene) -> None:
    deep = replace(scene.pose, hand_pose=scene.pose.hand_pose * 1.4)
    before = distances(scene, deep, truth_pose(scene))
    after = held(scene, refine(scene, deep))
    assert before.min() < -0.008
    assert after.min() > before.min() / 2


def test_refinement_closes_fingers_that_hover(scene: Scene) -> None:
    open_hand = replace(scene.pose, hand_pose=scene.pose.hand_pose * 0.8)
    zone = (scene.model.zone > 0) & (scene.model.zone < 5)
    before = distances(scene, open_hand, truth_pose(scene))[zone]
    after = held(scene, refine(scene, open_hand))[zone]
    assert np.abs(after).mean() < 0.6 * np.abs(before).mean()


def test_parts_marked_by_a_reviewer_touch_or_keep_clear(scene: Scene) -> None:
    little, index = scene.model.zone_vertices("little"), scene.model.zone_vertices("index")
    # Without the general contact term, so that only the reviewer's marks pull.
    plain = held(scene, refine(scene, scene.pose, weight_grip=0.0))
    closed = held(scene, refine(scene, scene.pose, Edits(touching=("little",)), weight_grip=0.0))
    assert plain[little].min() > 0.006
    assert abs(closed[little].min()) < 0.003
    lifted = held(scene, refine(scene, scene.pose, Edits(not_touching=("index",))))
    assert held(scene, refine(scene, scene.pose))[index].min() < 0.003
    assert lifted[index].min() > 0.004


def test_the_same_input_gives_the_same_bytes() -> None:
    scene = grasp("right")
    first, second = (refine(scene, disturbed(scene, finger_deg=5)).hand for _ in range(2))
    np.testing.assert_array_equal(first.hand_pose, second.hand_pose)
    np.testing.assert_array_equal(first.transl, second.transl)


def test_an_empty_mask_is_refused_with_the_remedy() -> None:
    scene = grasp("right")
    with pytest.raises(EmptyMask, match="--object-mask"):
        make_view(scene.camera, masks_of(scene), np.zeros_like(scene.amodal), 64)


def test_every_tensor_is_made_on_the_device_of_the_view(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU machine, where the default device is not the pair's: here one that cannot be computed on."""

    def library(*args: torch.Tensor) -> torch.Tensor:  # pytorch3d makes a scalar by itself and moves it
        with torch.device("cpu"):
            return matrix_to_axis_angle(*args)

    monkeypatch.setattr(variables, "matrix_to_axis_angle", library)
    view, item, hints = view_of(scene), scene.ball, ContactHints()
    estimate = estimate_of(scene, disturbed(scene))
    settings = SETTINGS | {"camera_steps": 2, "alignment_steps": 2, "refinement_steps": 2}
    turned = replace(item, prior=replace(item.prior, starts=np.stack([np.eye(3), np.eye(3)])))
    torch.set_default_device("meta")
    try:
        fit = camera_setup(turned, view, settings)
        for how in ("scan", "icp"):
            marks = Edits(touching=("thumb",), not_touching=("little",))
            chosen = settings | {"registration": how, "weight_contact": 5.0, "weight_regularisation": 0.1}
            aligned = contact_alignment(item, fit.pose, estimate, scene.model, view, hints, marks, chosen)
            refined = refinement(item, aligned, estimate, scene.model, view, hints, marks, chosen)
    finally:
        torch.set_default_device(None)
    assert np.isfinite(held(scene, refined)).all()


def test_the_energy_in_the_picture_has_the_gradient_of_its_graph(scene: Scene) -> None:
    """It is computed without one; the rendered mask's own gradient is that of `silhouette`."""
    estimate, view = estimate_of(scene, disturbed(scene)), view_of(scene)
    pose = ObjectPose(np.eye(3), scene.center / scene.radius, 1.0)
    terms = Terms(scene.model, scene.ball, pose, estimate, view, ContactHints(), Edits(), SETTINGS)
    pair = PairVariables(
        scene.model, estimate.pose, Articulation.around(estimate.pose.hand_pose, scene.model, 5.0, 1.0)
    )
    verts, joints = pair.forward()
    shown = silhouette(project(verts, view.K), terms.topology, *view.shape) * (1 - view.cover)
    both = (shown * terms.target).sum()
    miss = 1 - both / (shown.sum() + terms.target.sum() - both)
    apart = (project(joints, view.K) - terms.keypoints).norm(dim=1) / terms.hand_px
    far = ((apart**2 + terms.tolerance**2).sqrt() - terms.tolerance).mean() * 0.02 / terms.tolerance
    weights = [SETTINGS[f"weight_{name}"] for name in ("mask", "keypoints", "grasp")]
    whole = weights[0] * miss + weights[1] * far + weights[2] * pair.grasp.square().sum() / 2
    energy = terms.in_picture(pair)
    assert float(total(energy.parts)) == pytest.approx(whole.item(), rel=1e-5)
    expected = torch.autograd.grad(whole, pair.all, materialize_grads=True)
    for ours, theirs in zip(energy.slope(), expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-4 * float(theirs.abs().max()))


def test_the_way_of_other_devices_ends_where_the_compiled_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """smplx and the rasteriser in torch, as on CUDA, here on the CPU: through all three stages."""
    scene, settings = grasp("right"), SETTINGS | {"camera_steps": 5, "alignment_steps": 10, "refinement_steps": 8}

    def optimised() -> Refined:
        estimate, view, hints = estimate_of(scene, disturbed(scene)), view_of(scene), ContactHints()
        fit = camera_setup(scene.ball, view, settings)
        aligned = contact_alignment(scene.ball, fit.pose, estimate, scene.model, view, hints, Edits(), settings)
        return refinement(scene.ball, aligned, estimate, scene.model, view, hints, Edits(), settings)

    compiled = optimised()
    monkeypatch.setattr(raster, "_backend", lambda _: raster_torch)
    monkeypatch.setattr(HandModel, "posable", lambda model, orient, betas: Smplx(model, orient, betas))
    other = optimised()
    assert abs(np.log(other.object_pose.scale / compiled.object_pose.scale)) < 0.002
    apart = scene.model.posed(other.hand)[0] - scene.model.posed(compiled.hand)[0]
    assert np.linalg.norm(apart, axis=1).max() < 0.001  # metres


@pytest.mark.parametrize("last", [0.0, 0.1])
def test_adam_takes_the_steps_of_torchs(last: float) -> None:
    rates, slopes = torch.tensor([0.1, 0.01, 0.0]), torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    variables = [torch.zeros(1, requires_grad=True) for _ in rates]
    groups = [{"params": [v], "lr": float(rate)} for v, rate in zip(variables, rates, strict=True)]
    expected, ours, at = torch.optim.Adam(groups), Adam(rates, len(slopes), last), torch.zeros(3)
    decay = torch.optim.lr_scheduler.LambdaLR(
        expected, lambda step: last + (1 - last) * (1 + np.cos(np.pi * step / len(slopes))) / 2
    )
    for slope in slopes:
        at = at - ours(slope)
        for variable, value in zip(variables, slope, strict=True):
            variable.grad = value[None].clone()
        expected.step()
        decay.step()
        np.testing.assert_allclose(at.numpy(), [v.item() for v in variables], atol=1e-6)
