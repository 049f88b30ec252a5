"""The order of the stages, the cache and what an edit re-runs, on the ball scene whose truth replaces the models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_mano
import numpy as np
import pytest
from grasp_scene import SIZE, Scene, grasp

from annotator.records import gaps_mm
from annotator.report.glb import hand_faces
from pipeline import run as pipeline_run
from pipeline.errors import BadEdit, EmptyMask, NoHandFound, NoHeldObject
from pipeline.geometry.camera import from_focal
from pipeline.hand.fit import LandmarkFitter
from pipeline.hand_model import load_hand, mano_file
from pipeline.optimise.constraints import satisfaction
from pipeline.recipe import Recipe, UnknownRecipe
from pipeline.run import annotate_photo, reoptimise
from pipeline.types import (
    Camera,
    Completion,
    Edits,
    HandDetection,
    HandEstimate,
    HandHints,
    Masks,
    ObjectMesh,
    Photo,
    Side,
)


class MemoryCache(dict[str, bytes]):
    def put(self, key: str, data: bytes) -> None:
        self[key] = data


class Truth:
    """Every adapter at once: answers each stage with the scene's truth."""

    name, version, weights_digest = "truth", "1", ""

    def __init__(self, scene: Scene, hands: int = 1, holds: bool = True) -> None:
        self.scene, self.hands, self.holds = scene, hands, holds

    def detect(self, photo: Photo, hints: HandHints) -> list[HandDetection]:
        scene = self.scene
        world = scene.joints - scene.joints[0]
        return [HandDetection(scene.keypoints, world, 0.9, 1.0)] * self.hands

    def segment(self, photo: Photo, detections: list[HandDetection]) -> list[Masks | str]:
        scene = self.scene
        masks = Masks(scene.hand, scene.object, np.zeros_like(scene.hand))
        return [masks if self.holds else "the hand holds nothing", *["the hand holds nothing"] * (self.hands - 1)]

    def camera(self, photo: Photo, prior: Camera) -> Camera:
        return prior

    def fit(self, photo: Photo, detection: HandDetection, mask: np.ndarray, camera: Camera) -> HandEstimate:
        return HandEstimate(self.scene.pose, "open-hand", detection.keypoints, 1.0, 1.0, 1.0)

    def complete(self, photo: Photo, masks: Masks) -> Completion:
        hidden = self.scene.amodal & masks.hand
        return Completion(masks.object | hidden, photo.image)

    def reconstruct(
        self, photo: Photo, completion: Completion, visible: np.ndarray, camera: Camera, distance: float
    ) -> ObjectMesh:
        return self.scene.ball


@pytest.fixture
def recipe() -> Recipe:
    shipped = Recipe.load("cpu")
    quick = shipped.stage("optimise") | {"camera_steps": 5, "alignment_steps": 6, "registration_at": [3]}
    return replace(shipped, settings=shipped.settings | {"optimise": quick | {"refinement_steps": 4}})


@pytest.fixture
def photo() -> Photo:
    return Photo("ball.jpg", "00", np.full((SIZE, SIZE, 3), 127, np.uint8), focal_px=600.0)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(truth: Truth) -> None:
        monkeypatch.setattr(pipeline_run, "load_adapter", lambda stage, name, settings: truth)

    return install


def test_a_photo_becomes_a_pair_and_a_rerun_is_answered_by_the_cache(use: Any, recipe: Recipe, photo: Photo) -> None:
    use(Truth(grasp("right")))
    cache = MemoryCache()
    (first,) = annotate_photo(photo, recipe, cache=cache)
    assert first.reconstruction is not None
    assert first.reused == ()
    assert first.reconstruction.metrics["object_iou"] > 0.95
    assert first.reconstruction.metrics["hand_iou"] > 0.8
    assert "thumb" in first.reconstruction.contacts.touching
    (again,) = annotate_photo(photo, recipe, cache=cache)
    assert again.digest == first.digest
    assert set(again.reused) == set(first.seconds)


def test_without_a_cache_the_bytes_are_the_same(use: Any, recipe: Recipe, photo: Photo) -> None:
    use(Truth(grasp("left")))
    assert annotate_photo(photo, recipe)[0].digest == annotate_photo(photo, recipe)[0].digest


OPTIMISE = {"camera_setup", "contact_alignment", "refinement", "assess"}
AFTER_MASKS = OPTIMISE | {"inpaint", "reconstruct", "watertight"}


@pytest.mark.parametrize(
    ("edit", "first_stage", "rerun"),
    [
        ("touching", "contact_alignment", {"contact_alignment", "refinement", "assess"}),
        ("contact_front", "contact_alignment", {"contact_alignment", "refinement", "assess"}),
        ("object_mask", "inpaint", AFTER_MASKS),
        ("hand_mask", "hand", AFTER_MASKS | {"hand"}),
        ("keypoints", "hand", {"hand", "contact_alignment", "refinement", "assess"}),
    ],
)
def test_an_edit_reruns_only_what_depends_on_it(
    use: Any, recipe: Recipe, photo: Photo, edit: str, first_stage: str, rerun: set[str]
) -> None:
    scene = grasp("right")
    use(Truth(scene))
    cache = MemoryCache()
    (first,) = annotate_photo(photo, recipe, cache=cache)
    hand, obj = scene.hand.copy(), scene.object.copy()
    rows = np.nonzero(obj.any(1))[0]
    obj[rows[0] : rows[0] + 3] = False  # the reviewer trims the object's top
    hand[np.nonzero(hand.any(1))[0][-1]] = False
    edits = {
        "touching": Edits(touching=("little",)),
        "contact_front": Edits(contact_front=scene.amodal & scene.hand),
        "object_mask": Edits(object_mask=obj),
        "hand_mask": Edits(hand_mask=hand),
        "keypoints": Edits(keypoints=scene.keypoints + 1.0),
    }[edit]
    second = reoptimise(photo, recipe, 0, edits, cache=cache)
    assert second.reconstruction is not None
    ran = set(second.seconds) - set(second.reused)
    assert first_stage in ran
    assert ran <= rerun  # a stage whose inputs came out the same is answered by the cache, however far down
    assert second.digest != first.digest
    if edit == "object_mask":
        np.testing.assert_array_equal(second.reconstruction.masks.object, obj)


def test_keypoints_moved_far_drop_the_detectors_3d_evidence(use: Any, recipe: Recipe, photo: Photo) -> None:
    """The old world landmarks would pull the fit back to the hand that the reviewer rejected."""
    scene = grasp("right")
    seen: list[HandDetection] = []

    class Watching(Truth):
        def fit(self, photo: Photo, detection: HandDetection, mask: np.ndarray, camera: Camera) -> HandEstimate:
            seen.append(detection)
            return super().fit(photo, detection, mask, camera)

    use(Watching(scene))
    reoptimise(photo, recipe, 0, Edits(keypoints=scene.keypoints + 1.0))
    reoptimise(photo, recipe, 0, Edits(keypoints=scene.keypoints[::-1].copy()))
    near, far = seen
    assert np.abs(near.world).max() > 0
    assert near.right_score == 1.0
    assert not far.world.any()
    assert far.right_score == 0.5


def test_two_hands_one_of_them_empty(use: Any, recipe: Recipe, photo: Photo) -> None:
    use(Truth(grasp("right"), hands=2))
    first, second = annotate_photo(photo, recipe)
    assert first.reconstruction is not None
    assert second.reconstruction is None
    assert second.reason == "the hand holds nothing"


def test_a_photo_without_a_pair_says_why(use: Any, recipe: Recipe, photo: Photo) -> None:
    use(Truth(grasp("right"), hands=0))
    with pytest.raises(NoHandFound, match=r"ball\.jpg.*--hand-box"):
        annotate_photo(photo, recipe)
    use(Truth(grasp("right"), holds=False))
    with pytest.raises(NoHeldObject, match=r"ball\.jpg: the hand holds nothing"):
        annotate_photo(photo, recipe)


def test_edits_that_do_not_fit_are_refused(use: Any, recipe: Recipe, photo: Photo) -> None:
    use(Truth(grasp("right")))
    with pytest.raises(BadEdit, match="3x3 pixels"):
        reoptimise(photo, recipe, 0, Edits(object_mask=np.ones((3, 3), bool)))
    with pytest.raises(BadEdit, match="thumb cannot both touch and not touch"):
        reoptimise(photo, recipe, 0, Edits(touching=("thumb",), not_touching=("thumb",)))
    with pytest.raises(BadEdit, match="no hand 4"):
        reoptimise(photo, recipe, 4, Edits())
    with pytest.raises(EmptyMask, match="the object mask has no pixels"):
        reoptimise(photo, recipe, 0, Edits(object_mask=np.zeros(photo.size, bool)))


def test_the_camera_may_be_a_models(use: Any, recipe: Recipe, photo: Photo) -> None:
    """All later stages see the adapter's focal length, and none of them the prior's."""

    class Telling(Truth):
        name = "telling"

        def camera(self, photo: Photo, prior: Camera) -> Camera:
            assert prior.source == "exif"
            return from_focal(500.0, prior.width, prior.height, "telling")

    use(Telling(grasp("right")))
    (pair,) = annotate_photo(photo, recipe)
    assert pair.reconstruction is not None
    assert (pair.reconstruction.camera.focal, pair.reconstruction.camera.source) == (500.0, "telling")


def test_with_mano_every_stage_poses_manos_hand(
    use: Any, recipe: Recipe, photo: Photo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side: Side = "left"
    monkeypatch.setenv("HOI_CACHE", str(tmp_path))
    for name in mano_file.SIDES:
        (tmp_path / f"MANO_{name.upper()}.pkl").write_bytes(fake_mano.pickled(name))
    mano_file.add_mano(tmp_path)
    fitter = LandmarkFitter({"adapter": "landmark-fit", "hand_model": "mano"})

    class WithFitter(Truth):
        weights_digest = fitter.weights_digest

        def fit(self, photo: Photo, detection: HandDetection, mask: np.ndarray, camera: Camera) -> HandEstimate:
            return fitter.fit(photo, replace(detection, side=side), mask, camera)

    use(WithFitter(grasp(side)))
    (pair,) = annotate_photo(photo, recipe)
    made = pair.reconstruction
    assert made is not None
    assert made.estimate.model == "mano"
    assert made.estimate.residual_px < 3
    mano, ours = load_hand(side, "mano"), load_hand(side)
    np.testing.assert_allclose(made.hand_verts, mano.posed(made.hand)[0], atol=1e-6)
    assert np.abs(made.hand_verts - ours.posed(made.hand)[0]).max() > 0.005  # numbered and shaped otherwise
    assert made.metrics["hand_iou"] > 0.6
    np.testing.assert_array_equal(hand_faces(made), mano.faces)
    nearest = 1000 * made.contacts.distance[mano.zone_vertices("thumb")].min()
    assert gaps_mm(made)["thumb"] == pytest.approx(nearest)
    assert satisfaction(made, Edits(touching=("thumb",)), made.masks)["touching_thumb_mm"] == pytest.approx(nearest)
    assert fitter.weights_digest != LandmarkFitter({}).weights_digest == ""


def test_recipes_name_what_is_wrong(tmp_path: Any) -> None:
    with pytest.raises(UnknownRecipe, match="cpu"):
        Recipe.load("nonesuch")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(UnknownRecipe, match="not valid TOML"):
        Recipe.load(broken)
    partial = tmp_path / "partial.toml"
    partial.write_text('name = "x"\n[detect]\nadapter = "mediapipe"\n')
    with pytest.raises(UnknownRecipe, match=r"\[segment\]"):
        Recipe.load(partial)
    assert Recipe.load("cpu").digest == Recipe.load("cpu").digest
