"""The whole way of a photo, in order, with the stage cache. Read this file first.

    1 detect            hands in the photo                         once per photo
    2 segment           hand, object and arm masks, one per hand   once per photo
    3 camera            intrinsics: EXIF, a prior, or a model's    once per photo
    4 hand              MANO-layout hand fitted to the evidence    from here on once per hand
    5 inpaint           the object without the hand: amodal mask and picture
    6 reconstruct       textured object mesh and its view prior
    7 watertight        closed, correctly signed, bounded size
    8 camera_setup      object pose (paper 3.4, stage A)
    9 contact_alignment hand pose and object scale (stage B)
   10 refinement        hand articulation (stage C)
   11 assess            metrics, confidence, review priority

Every stage's result is cached under a digest of its inputs, its adapter (name, version, weights) and its settings, so
an edit re-runs exactly what depends on it. A reviewer's edits enter where they replace something: keypoints and side
before stage 4, masks after stage 2, contact masks at stage 9, touching parts at stage 10.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Protocol, TypeVar

import numpy as np

from pipeline import codec, device, requirements
from pipeline.adapters import load_adapter
from pipeline.errors import BadEdit, EmptyMask, NoHandFound, NoHeldObject, PipelineError
from pipeline.geometry.camera import of_photo
from pipeline.recipe import ADAPTER_STAGES, Recipe
from pipeline.types import (
    Camera,
    Completion,
    Edits,
    HandDetection,
    HandEstimate,
    HandHints,
    Mask,
    Masks,
    ObjectMesh,
    Photo,
    Reconstruction,
)

PIPELINE_VERSION = "3"  # part of every cache key: raise it when a stage outside the adapters changes its results
NO_HINTS = HandHints()
STALE_WORLD = 0.15  # mean move of the keypoints, in hand sizes, beyond which the old 3D landmarks are another hand's
T = TypeVar("T")


class StageCache(Protocol):
    """Where stage results are kept: bytes under a hex key."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, data: bytes) -> None: ...


@dataclass(frozen=True)
class PairResult:
    """What became of one hand of the photo."""

    index: int  # of the hand in the photo, stable for the same photo, recipe and hints
    reconstruction: Reconstruction | None  # None when this hand failed
    reason: str | None  # why it failed
    digest: str  # sha256 of the reconstruction's values; timings are not part of it
    seconds: dict[str, float]  # per stage, of this run
    reused: tuple[str, ...]  # stages answered by the cache


@dataclass
class _Run:
    """One photo on its way: the recipe, the cache, and what each stage took."""

    photo: Photo
    recipe: Recipe
    cache: StageCache | None
    seconds: dict[str, float] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        device.limit(self.recipe.vram_gb)

    def check(self) -> None:
        """Raises NotReady, with all that is missing, before any work."""
        requirements.check(self.recipe, [self._made(stage) for stage in ADAPTER_STAGES])

    def stage(self, name: str, kind: type[T], inputs: list[Any], work: Callable[[], T], version: str = "") -> T:
        """The cached result of a stage, or the result of `work`, cached. `inputs` are dataclasses or JSON values."""
        began = time.perf_counter()
        state = hashlib.sha256(json.dumps([PIPELINE_VERSION, name, version, self.recipe.seed]).encode())
        state.update(self.photo.sha256.encode() + str(self.photo.size).encode())
        for value in inputs:
            state.update(codec.digest(value).encode())
        key = state.hexdigest()
        held = None if self.cache is None else self.cache.get(key)
        if held is not None:
            result = codec.decode(kind, held)
            self.reused.append(name)
        else:
            result = work()
            if self.cache is not None:
                self.cache.put(key, codec.encode(result))
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
        return result

    def adapter(self, stage: str) -> tuple[Any, str]:
        """The recipe's adapter of a stage and the version string that goes into the cache key."""
        adapter = self._made(stage)
        return adapter, f"{adapter.name} {adapter.version} {adapter.weights_digest}"

    def _made(self, stage: str) -> Any:
        settings = self.recipe.for_adapter(stage)
        return load_adapter(stage, settings["adapter"], settings)


def annotate_photo(
    photo: Photo, recipe: Recipe, hints: HandHints = NO_HINTS, cache: StageCache | None = None
) -> list[PairResult]:
    """All hand-object pairs of a photo, one per hand that holds something; a hand that fails has a reason.

    Raises NoHandFound, NoHeldObject or another PipelineError when the photo gives no pair at all, NotReady when the
    recipe cannot run here.
    """
    run = _Run(photo, recipe, cache)
    run.check()
    detections, held = _find_hands(run, hints)
    camera = _camera(run)
    shared, answered = dict(run.seconds), list(run.reused)
    results = []
    for index, masks in enumerate(held):
        run.seconds, run.reused = dict(shared), list(answered)
        if isinstance(masks, str):
            results.append(PairResult(index, None, masks, "", run.seconds, tuple(run.reused)))
            continue
        results.append(_try_pair(run, index, detections[index], masks, Edits(), camera))
    if not any(r.reconstruction for r in results):
        reasons = "; ".join(dict.fromkeys(r.reason for r in results if r.reason))
        raise NoHeldObject(f"{photo.name}: {reasons}")
    return results


def reoptimise(
    photo: Photo,
    recipe: Recipe,
    index: int,
    edits: Edits,
    hints: HandHints = NO_HINTS,
    cache: StageCache | None = None,
) -> PairResult:
    """One pair again under a reviewer's edits (all edits so far, merged). Raises BadEdit, EmptyMask, NoHandFound."""
    run = _Run(photo, recipe, cache)
    run.check()
    detections, held = _find_hands(run, hints)
    camera = _camera(run)
    if not 0 <= index < len(held):
        raise BadEdit(f"{photo.name}: there is no hand {index}; the photo has {len(held)}")
    masks = held[index]
    return _try_pair(run, index, detections[index], _edited_masks(photo, masks, edits), edits, camera)


def _find_hands(run: _Run, hints: HandHints) -> tuple[list[HandDetection], list[Masks | str]]:
    detector, version = run.adapter("detect")
    detections = run.stage(
        "detect",
        list[HandDetection],
        [hints, run.recipe.telling("detect")],
        lambda: detector.detect(run.photo, hints),
        version,
    )
    if not detections:
        raise NoHandFound(
            f"{run.photo.name}: no hand found; give a box with --hand-box x0,y0,x1,y1[,left|right] or in the sidecar "
            f"{run.photo.name}.hoi.json"
        )
    segmenter, version = run.adapter("segment")
    masks = run.stage(
        "segment",
        list[Masks | str],
        [detections, run.recipe.telling("segment")],
        lambda: segmenter.segment(run.photo, detections),
        version,
    )
    return detections, masks


def _camera(run: _Run) -> Camera:
    adapter, version = run.adapter("camera")
    prior = of_photo(run.photo, run.recipe.fov_deg)
    settings = run.recipe.telling("camera")
    return run.stage("camera", Camera, [prior, settings], lambda: adapter.camera(run.photo, prior), version)


def _try_pair(
    run: _Run, index: int, detection: HandDetection, masks: Masks, edits: Edits, camera: Camera
) -> PairResult:
    try:
        reconstruction = _pair(run, detection, masks, edits, camera)
    except PipelineError as error:
        return PairResult(index, None, str(error), "", run.seconds, tuple(run.reused))
    return PairResult(index, reconstruction, None, codec.digest(reconstruction), run.seconds, tuple(run.reused))


def _edited_masks(photo: Photo, masks: Masks | str, edits: Edits) -> Masks:
    """The reviewer's masks are targets as they are; where they overlap the other mask, the edited one wins."""
    for name in ("hand_mask", "object_mask", "contact_front", "contact_back"):
        mask = getattr(edits, name)
        if mask is not None and mask.shape != photo.size:
            raise BadEdit(
                f"{photo.name}: the {name.replace('_', ' ')} is {mask.shape[1]}x{mask.shape[0]} pixels, the photo "
                f"{photo.size[1]}x{photo.size[0]}: draw it on the photo as `show --save` writes it"
            )
    both = set(edits.touching) & set(edits.not_touching)
    if both:
        raise BadEdit(f"{photo.name}: {', '.join(sorted(both))} cannot both touch and not touch")
    if isinstance(masks, str):  # nothing was segmented: both masks must come from the reviewer
        if edits.hand_mask is None or edits.object_mask is None:
            raise NoHeldObject(f"{photo.name}: {masks}; give both --hand-mask and --object-mask")
        empty = np.zeros(photo.size, dtype=bool)
        masks = Masks(hand=empty, object=empty, arm=empty, notes=("masks by a reviewer",))
    hand = masks.hand if edits.hand_mask is None else edits.hand_mask
    obj = masks.object if edits.object_mask is None else edits.object_mask
    if edits.object_mask is not None and edits.hand_mask is None:
        hand = hand & ~obj
    elif edits.hand_mask is not None:
        obj = obj & ~hand
    for mask, name in ((hand, "hand"), (obj, "object")):
        if not mask.any():
            raise EmptyMask(f"{photo.name}: the {name} mask has no pixels; give one with --{name}-mask")
    return replace(masks, hand=hand, object=obj, arm=masks.arm & ~hand & ~obj)


def _pair(run: _Run, detection: HandDetection, masks: Masks, edits: Edits, camera: Camera) -> Reconstruction:
    estimate = _hand(run, detection, masks.hand, camera, edits)
    completion = _inpaint(run, masks)
    item = _reconstruct(run, completion, masks.object, camera, estimate)
    return _optimise(run, detection, masks, edits, camera, estimate, completion, item)


def _hand(run: _Run, detection: HandDetection, mask: Mask, camera: Camera, edits: Edits) -> HandEstimate:
    if edits.keypoints is not None:
        detection = _placed_by_person(detection, edits.keypoints)
    if edits.side is not None:
        detection = replace(detection, side=edits.side)
    fitter, version = run.adapter("hand")
    return run.stage(
        "hand",
        HandEstimate,
        [detection, mask, camera, run.recipe.telling("hand")],
        lambda: fitter.fit(run.photo, detection, mask, camera),
        version,
    )


def _placed_by_person(detection: HandDetection, keypoints: np.ndarray) -> HandDetection:
    """A reviewer's keypoints. The detector's 3D shape and side stay evidence only while they still belong to them."""
    moved = np.linalg.norm(keypoints - detection.keypoints, axis=1).mean() / np.ptp(keypoints, axis=0).max()
    if moved > STALE_WORLD:
        detection = replace(detection, world=np.zeros((21, 3)), right_score=0.5)
    return replace(detection, keypoints=keypoints, source="keypoints", presence=1.0)


def complete_object(
    photo: Photo, recipe: Recipe, masks: Masks, camera: Camera, estimate: HandEstimate, cache: StageCache | None = None
) -> tuple[Completion, ObjectMesh]:
    """Only the object's stages, with masks and hand given: amodal completion and closed mesh (for the benchmark)."""
    run = _Run(photo, recipe, cache)
    completion = _inpaint(run, masks)
    return completion, _reconstruct(run, completion, masks.object, camera, estimate)


def _inpaint(run: _Run, masks: Masks) -> Completion:
    inpainter, version = run.adapter("inpaint")
    shapes = [masks.hand, masks.object, masks.arm]
    return run.stage(
        "inpaint",
        Completion,
        [shapes, run.recipe.telling("inpaint")],
        lambda: inpainter.complete(run.photo, masks),
        version,
    )


def _reconstruct(
    run: _Run, completion: Completion, visible: Mask, camera: Camera, estimate: HandEstimate
) -> ObjectMesh:
    from pipeline.geometry.watertight import make_watertight

    reconstructor, version = run.adapter("reconstruct")
    distance = round(float(estimate.pose.transl[2]), 2)  # metres; the scale is solved later, a centimetre is enough
    settings = run.recipe.telling("reconstruct")
    item = run.stage(
        "reconstruct",
        ObjectMesh,
        [completion, visible, camera, distance, settings],
        lambda: reconstructor.reconstruct(run.photo, completion, visible, camera, distance),
        version,
    )

    def close() -> ObjectMesh:
        vertices, faces = make_watertight(item.mesh.vertices, item.mesh.faces)
        if vertices is item.mesh.vertices:
            return item
        return replace(item, mesh=_reproject(item, vertices, faces))

    return run.stage("watertight", ObjectMesh, [item], close)


def _reproject(item: ObjectMesh, vertices: np.ndarray, faces: np.ndarray) -> Any:
    """A closed mesh has new vertices: each takes the uv of the nearest old one."""
    from scipy.spatial import cKDTree

    nearest = cKDTree(item.mesh.vertices).query(vertices)[1]
    return replace(item.mesh, vertices=vertices, faces=faces, uv=item.mesh.uv[nearest])


def _optimise(
    run: _Run,
    detection: HandDetection,
    masks: Masks,
    edits: Edits,
    camera: Camera,
    estimate: HandEstimate,
    completion: Completion,
    item: ObjectMesh,
) -> Reconstruction:
    from pipeline.evaluate.assess import Assessment, assess
    from pipeline.hand_model import load_hand
    from pipeline.optimise.camera_setup import CameraFit, camera_setup
    from pipeline.optimise.coarse_mesh import coarse_mesh
    from pipeline.optimise.contact_alignment import Aligned, contact_alignment
    from pipeline.optimise.refinement import Refined, refinement
    from pipeline.optimise.terms import ContactHints
    from pipeline.optimise.view import make_view

    settings = run.recipe.stage("optimise")
    view = make_view(camera, masks, completion.amodal_mask, settings["size"], settings["device"])
    model = load_hand(estimate.pose.side, estimate.model)
    scene = [view.camera, *(t.cpu().numpy() for t in (view.hand, view.cover, view.object, view.amodal)), settings]
    coarse = cache(lambda: coarse_mesh(item, settings["faces"]))  # made when the first stage needs it
    fit = run.stage("camera_setup", CameraFit, [item, *scene], lambda: camera_setup(coarse(), view, settings))

    hints = ContactHints(
        front=None if edits.contact_front is None else view.crop(edits.contact_front),
        back=None if edits.contact_back is None else view.crop(edits.contact_back),
    )
    marks = Edits(touching=edits.touching, not_touching=edits.not_touching)
    aligned = run.stage(
        "contact_alignment",
        Aligned,
        [item, fit, estimate, hints, marks, *scene],
        lambda: contact_alignment(coarse(), fit.pose, estimate, model, view, hints, marks, settings),
    )
    refined = run.stage(
        "refinement",
        Refined,
        [item, aligned, estimate, hints, marks, *scene],
        lambda: refinement(coarse(), aligned, estimate, model, view, hints, marks, settings),
    )
    hand_verts, hand_joints = model.posed(refined.hand)
    pose = refined.object_pose
    object_verts = pose.place(item.mesh.vertices)
    photo_size = run.photo.size
    front = view.expand(aligned.front, photo_size) if edits.contact_front is None else edits.contact_front
    back = view.expand(aligned.back, photo_size) if edits.contact_back is None else edits.contact_back
    marked = run.recipe.stage("assess")
    assessment = run.stage(
        "assess",
        Assessment,
        [
            estimate,
            refined,
            aligned,
            item,
            masks,
            completion.amodal_mask,
            front,
            back,
            camera,
            detection.presence,
            marked,
        ],
        lambda: assess(
            camera,
            masks,
            completion.amodal_mask,
            estimate,
            model,
            hand_verts,
            object_verts,
            item.mesh.faces,
            front,
            back,
            detection.presence,
            marked,
        ),
    )
    diagnostics = {
        "camera_setup": fit.figures,
        "contact_alignment": aligned.figures,
        "refinement": refined.figures,
        "object_kind": item.kind,
        "object_scores": item.scores,
        "hand_source": detection.source,
        "hand_presence": detection.presence,
        "hand_residual_px": estimate.residual_px,
        "hand_residual_mm": estimate.residual_mm,
        "warnings": [*masks.notes, *completion.notes, *item.notes, *assessment.warnings],
        "confidence": assessment.confidence,
        "review_priority": 1.0 - assessment.confidence,
    }
    return Reconstruction(
        camera=camera,
        masks=masks,
        completion=completion,
        estimate=estimate,
        hand=refined.hand,
        hand_verts=hand_verts,
        hand_joints=hand_joints,
        object=item,
        object_pose=pose,
        contacts=assessment.contacts,
        metrics=assessment.metrics,
        diagnostics=diagnostics,
    )
