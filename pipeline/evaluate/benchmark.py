"""The benchmark: scenes with ground truth through the pipeline, figures after every stage.

    oracle-shape   the true mesh at an unknown pose, true masks, the estimator's hand     measures the optimiser
    oracle-masks   the shape is predicted from the picture and the true masks             ... and the reconstruction
    full           the picture is all there is                                            measures everything

What `oracle-shape` knows of the object's pose is what an image-to-3D model tells of its answer: azimuth and roll of
the input view to a few degrees, nothing of its elevation, nothing of size or place.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pipeline import codec
from pipeline.errors import MissingWeights, PipelineError
from pipeline.evaluate.figures import FAILED, Placement, figures, truth_of
from pipeline.evaluate.grasps import Grasp
from pipeline.evaluate.metrics import iou
from pipeline.evaluate.render import render_rgb
from pipeline.evaluate.scenes import Scene, estimate_of
from pipeline.hand_model import load_hand
from pipeline.optimise.camera_setup import camera_setup
from pipeline.optimise.coarse_mesh import coarse_mesh
from pipeline.optimise.contact_alignment import contact_alignment
from pipeline.optimise.refinement import refinement
from pipeline.optimise.terms import ContactHints
from pipeline.optimise.variables import scale_by_depth, scaled
from pipeline.optimise.view import make_view
from pipeline.recipe import Recipe
from pipeline.run import StageCache, annotate_photo, complete_object
from pipeline.types import (
    F64,
    Camera,
    Edits,
    HandEstimate,
    Mask,
    Masks,
    Mesh,
    ObjectMesh,
    ObjectPose,
    Photo,
    ViewPrior,
)

Mode = Literal["oracle-shape", "oracle-masks", "full"]
STAGES = ("truth", "initial", "camera", "aligned", "refined")
PRIOR_AZIMUTH_DEG, PRIOR_ROLL_DEG = 5.0, 3.0  # standard deviations of what the view prior claims to know
PRIOR_ELEVATIONS_DEG = tuple(range(-80, 81, 20))
Variants = Mapping[str, Mapping[str, Any]]  # name -> settings of the refinement that it changes
NO_VARIANTS: Variants = {}
RENDERING, SAMPLES = "1", 16  # version of the renderer, samples per pixel


@dataclass(frozen=True)
class Case:
    """One scene's figures per stage, or why there are none."""

    name: str
    grasp: Grasp
    stages: dict[str, dict[str, float]]
    failure: str | None = None
    placements: dict[str, Placement] = field(default_factory=dict)


def choose(grasps: list[Grasp], n: int, seed: int) -> list[Grasp]:
    """n of the grasps in a drawn order; all of them when n is larger."""
    order = np.random.default_rng(seed).permutation(len(grasps))
    return [grasps[i] for i in order[:n]]


def run_case(
    scene: Scene,
    mode: Mode,
    recipe: Recipe,
    cache: StageCache | None = None,
    stages: Sequence[str] = STAGES,
) -> Case:
    """One scene through one mode. A stage that cannot do its work makes the case a failure with its reason.
    Raises what concerns all cases: MissingWeights, every HoiError that is no PipelineError.

    `cache` keeps pictures and, in the modes that start from one, stage results; figures are measured anew,
    those of `stages`. The long simulation belongs to the whole table.
    """
    truth = {"truth": truth_of(scene)}
    try:
        placements = truth | _ANSWERS[mode](scene, recipe, cache)
        failure = None
    except MissingWeights:
        raise
    except PipelineError as error:
        placements, failure = truth, str(error)
    same, long = mode == "oracle-shape", ("truth", "refined") if "truth" in stages else ()
    measured = {
        stage: figures(scene, placed, same or stage == "truth", long_simulation=stage in long)
        for stage, placed in placements.items()
        if stage in stages
    }
    if "truth" in measured:
        measured["truth"]["residual_mm"] = scene.residual_mm
    if failure is not None:
        for stage in (stage for stage in stages if stage != "truth"):
            measured[stage] = {name: worst for name, worst in FAILED.items() if name != "held" or stage in long}
    return Case(scene.name, scene.grasp, measured, failure, placements)


def summarise(cases: Iterable[Case], mode: Mode, seed: int) -> dict[str, Any]:
    """The table as JSON: {"mode", "n", "seed", "failures", "stages": {stage: {metric: {mean, median, std, n}}}, ..}.

    A metric's `n` is how many scenes have it: a failed one has what FAILED names, and a figure that is not finite is
    none. Over no scene mean, median and std are None. "failed" lists the failures with their reasons.
    """
    cases = list(cases)
    table: dict[str, Any] = {}
    for stage in STAGES:
        rows = [case.stages[stage] for case in cases if stage in case.stages]
        if not rows:
            continue
        names = list(dict.fromkeys(name for row in rows for name in row))
        table[stage] = {name: _spread([row[name] for row in rows if name in row]) for name in names}
    failures = [{"scene": c.name, "reason": c.failure} for c in cases if c.failure]
    return {"mode": mode, "n": len(cases), "seed": seed, "failures": len(failures), "stages": table, "failed": failures}


def _spread(values: list[float]) -> dict[str, float | None]:
    finite = np.array([v for v in values if np.isfinite(v)])
    if not len(finite):
        return {"mean": None, "median": None, "std": None, "n": 0}
    mean, median, std = float(finite.mean()), float(np.median(finite)), float(finite.std())
    return {"mean": mean, "median": median, "std": std, "n": len(finite)}


def oracle_shape(scene: Scene, settings: dict[str, Any], others: Variants = NO_VARIANTS) -> dict[str, Placement]:
    """The stages' answers for the true mesh at an unknown pose, in the scene's own units and frame."""
    item, unit, origin = unplaced(scene)
    estimate = estimate_of(scene)
    answers = optimise_stages(item, scene.camera, scene.masks, scene.amodal, estimate, settings, others)

    def in_scene(placed: Placement) -> Placement:
        """The same pose, of the scene's own mesh: item = (solid - origin) / unit."""
        pose = placed.pose
        scale = pose.scale / unit
        transl = pose.transl - scale * pose.rotation @ origin
        return replace(placed, vertices=scene.solid[0], pose=ObjectPose(pose.rotation, transl, scale))

    return {stage: in_scene(placed) for stage, placed in answers.items()}


def unplaced(scene: Scene) -> tuple[ObjectMesh, float, F64]:
    """The true mesh as an image-to-3D model would hand it over, with its unit (metres) and origin (3,)."""
    rng = np.random.default_rng([scene.noise, 2])
    vertices, faces = scene.solid
    origin = (vertices.min(0) + vertices.max(0)) / 2
    unit = float(np.ptp(vertices, axis=0).max() * rng.uniform(0.5, 2.0))
    elevation = rng.uniform(-60, 60)
    azimuth, roll = rng.normal(0, PRIOR_AZIMUTH_DEG), rng.normal(0, PRIOR_ROLL_DEG)
    level = Rotation.from_euler("xyz", [-elevation, azimuth, roll], degrees=True).as_matrix()
    rotation = level @ scene.object_pose.rotation
    tilts = [Rotation.from_euler("x", e, degrees=True).as_matrix() for e in PRIOR_ELEVATIONS_DEG]
    starts = np.stack([tilt @ rotation for tilt in tilts])
    mesh = Mesh((vertices - origin) / unit, faces, np.zeros((len(vertices), 2)), np.zeros((1, 1, 3), np.uint8))
    prior = ViewPrior(rotation, np.array([0.0, 0.0, 4.0]), starts)
    return ObjectMesh(mesh, prior, "oracle"), unit, origin


def optimise_stages(
    item: ObjectMesh,
    camera: Camera,
    masks: Masks,
    amodal: Mask,
    estimate: HandEstimate,
    settings: dict[str, Any],
    others: Variants = NO_VARIANTS,
) -> dict[str, Placement]:
    """The three stages of `pipeline.run`, keeping what each one answered. `seconds` are this stage's own.

    `others` are refinements of the same alignment with settings changed, each under its own name (a loss ablation).
    """
    model = load_hand(estimate.pose.side)
    view = make_view(camera, masks, amodal, settings["size"], settings["device"])
    verts = torch.as_tensor(model.posed(estimate.pose)[0])
    began = time.perf_counter()
    coarse = coarse_mesh(item, settings["faces"])
    fit = camera_setup(coarse, view, settings)
    fitted = time.perf_counter()
    aligned = contact_alignment(coarse, fit.pose, estimate, model, view, ContactHints(), Edits(), settings)
    met = time.perf_counter()
    refined = refinement(coarse, aligned, estimate, model, view, ContactHints(), Edits(), settings)
    done = time.perf_counter()

    def placed(hand: Any, pose: ObjectPose, seconds: float) -> Placement:
        return Placement(hand, item.mesh.vertices, item.mesh.faces, pose, camera, seconds)

    def varied(changed: dict[str, Any]) -> Placement:
        other = refinement(coarse, aligned, estimate, model, view, ContactHints(), Edits(), changed)
        return placed(other.hand, other.object_pose, 0.0)

    def at_hand(pose: ObjectPose) -> ObjectPose:
        return scaled(pose, scale_by_depth(pose, verts, model))

    return {
        "initial": placed(estimate.pose, at_hand(fit.start), 0.0),
        "camera": placed(estimate.pose, at_hand(fit.pose), fitted - began),
        "aligned": placed(aligned.hand, aligned.object_pose, met - fitted),
        "refined": placed(refined.hand, refined.object_pose, done - met),
    } | {name: varied({**settings, **changed}) for name, changed in others.items()}


def oracle_masks(
    scene: Scene, recipe: Recipe, cache: StageCache | None, others: Variants = NO_VARIANTS
) -> dict[str, Placement]:
    """The stages' answers for a shape predicted from the picture and the true masks."""
    photo = replace(photo_of(scene, cache), focal_px=scene.camera.focal)
    estimate = estimate_of(scene)
    completion, item = complete_object(photo, _object_recipe(recipe), scene.masks, scene.camera, estimate, cache)
    settings = recipe.stage("optimise")
    return optimise_stages(item, scene.camera, scene.masks, completion.amodal_mask, estimate, settings, others)


def _object_recipe(recipe: Recipe) -> Recipe:
    """Whose object stages oracle-masks uses: the recipe's own, or those that its [evaluate] names."""
    named = recipe.settings.get("evaluate", {}).get("object")
    return recipe if named is None else Recipe.load(named)


def _full(scene: Scene, recipe: Recipe, cache: StageCache | None) -> dict[str, Placement]:
    found = [r.reconstruction for r in annotate_photo(photo_of(scene, cache), recipe, cache=cache) if r.reconstruction]
    best = max(found, key=lambda r: iou(r.masks.hand, scene.masks.hand))
    amodal = best.completion.amodal_mask
    return optimise_stages(best.object, best.camera, best.masks, amodal, best.estimate, recipe.stage("optimise"))


def photo_of(scene: Scene, cache: StageCache | None = None) -> Photo:
    """The scene's photograph, path traced; the camera's focal length is not told."""
    shown = [scene.camera, scene.hand, scene.object_pose, scene.mesh, scene.seed, scene.noise]
    key = hashlib.sha256(f"{RENDERING} {codec.digest(shown)}".encode()).hexdigest()
    held = None if cache is None else cache.get(key)
    if held is not None:
        image = codec.decode(Photo, held).image
    else:
        image = render_rgb(
            *(scene.camera, scene.hand_verts, scene.hand.side, scene.mesh, scene.object_pose, scene.seed),
            spp=SAMPLES,
            grain=scene.noise,
        )
        if cache is not None:
            cache.put(key, codec.encode(Photo(scene.name, key, image)))
    return Photo(f"{scene.name}.png", hashlib.sha256(image.tobytes()).hexdigest(), image)


_ANSWERS: dict[str, Callable[[Scene, Recipe, StageCache | None], dict[str, Placement]]] = {
    "oracle-shape": lambda scene, recipe, cache: oracle_shape(scene, recipe.stage("optimise")),
    "oracle-masks": oracle_masks,
    "full": _full,
}
