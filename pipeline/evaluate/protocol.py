"""The paper's protocol, one case at a time: photo -> answer after every stage -> figures against the truth.

    full           the photo is all there is (the paper's setting; any data set)
    oracle-shape, oracle-masks   see `pipeline.evaluate.benchmark` (rendered scenes only)

A case without an answer is a failure with its reason; it stays in every mean that has a worst value.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import HoiError, MissingWeights, PipelineError
from pipeline.evaluate.benchmark import (
    NO_VARIANTS,
    STAGES,
    Mode,
    Variants,
    optimise_stages,
    oracle_masks,
    oracle_shape,
    photo_of,
)
from pipeline.evaluate.datasets import BadDataset, Case
from pipeline.evaluate.datasets.case import Surface, true_hand
from pipeline.evaluate.figures import Placement
from pipeline.evaluate.pair import FAILED, Pair, contact_figures, measure, truth_pair
from pipeline.geometry.camera import project
from pipeline.hand_model import load_hand
from pipeline.photo import read_photo
from pipeline.recipe import Recipe
from pipeline.run import StageCache, annotate_photo
from pipeline.types import F64, Photo

PROTOCOL_VERSION = "1"  # of everything here and in `pair`: raise it when figures change
# The loss ablation (paper, Table 3): what each row takes from the refinement, in the words of every shipped recipe.
LOSSES: Variants = {
    "w/o L_hand-mask": {"weight_mask": 0.0},
    "w/o L_penetr": {"weight_penetration": 0.0},
    "w/o L_reg": dict.fromkeys(("weight_regularisation", "weight_grasp_space", "weight_grasp", "weight_orient"), 0.0),
    "w/o L_contact": {"weight_contact": 0.0, "weight_grip": 0.0},
}
ANSWERED = STAGES[1:]  # initial, camera, aligned, refined


@dataclass(frozen=True)
class Measured:
    """One case's figures, or why there are none. JSON-like but for `pair`."""

    case: str
    figures: dict[str, dict[str, float]]  # by stage ('truth', 'initial', .. 'refined') or by row of the loss ablation
    failure: str | None = None
    hand_residual_mm: float | None = None  # of the open hand, where it stands for a true hand nobody has the skin of
    seconds: float = 0.0
    pair: Pair | None = field(default=None, compare=False)  # the last stage's answer
    K: F64 | None = field(default=None, compare=False)  # (3, 3) of the camera that the answer assumed


def run_case(
    case: Case, mode: Mode, recipe: Recipe, losses: Variants = NO_VARIANTS, cache: StageCache | None = None
) -> Measured:
    """The pipeline's figures on one case. Raises what concerns all cases: MissingWeights, and every HoiError that is
    no PipelineError (a library, a key or an environment that is missing, BadDataset)."""
    began = time.perf_counter()
    truth = {"truth": measure(case, truth_pair(case))}
    residual = true_hand(case)[1]
    try:
        placements, K = _answers(case, mode, recipe, losses, cache)
        figures = {name: _figures(case, placed, name == ANSWERED[-1]) for name, placed in placements.items()}
    except Exception as error:  # one photo of hundreds: its reason is listed, whatever it is
        if isinstance(error, MissingWeights) or (isinstance(error, HoiError) and not isinstance(error, PipelineError)):
            raise
        return failed(case, reason(error), truth, [*ANSWERED, *losses], residual)
    seconds = time.perf_counter() - began
    return Measured(case.name, truth | figures, None, residual, seconds, _pair(placements[ANSWERED[-1]]), K)


def run_pair(case: Case, given: Callable[[Case], Pair], stage: str) -> Measured:
    """Another system's figures on one case, under `stage`; its answer is missing when `given` raises PipelineError."""
    try:
        pair = given(case)
        return Measured(case.name, {stage: measure(case, pair)}, pair=pair, K=case.camera.K)
    except PipelineError as error:
        return failed(case, str(error), {}, [stage])


def failed(
    case: Case, why: str, truth: dict[str, dict[str, float]], stages: list[str], residual: float | None = None
) -> Measured:
    """A case without an answer."""
    return Measured(case.name, truth | {stage: dict(FAILED) for stage in stages}, why, residual)


def reason(error: Exception) -> str:
    """One line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, PipelineError) else f"{type(error).__name__}: {text}"


def photo_of_case(case: Case, max_side: int, cache: StageCache | None = None) -> Photo:
    """The photo at working size; its focal length is only known from EXIF, as of any photo."""
    if case.scene is not None:
        return photo_of(case.scene, cache)
    if case.photo_file is None:
        raise BadDataset(f"{case.name}: has no photo")
    return read_photo(case.photo_file.read_bytes(), case.photo_file.name, max_side)


def _answers(
    case: Case, mode: Mode, recipe: Recipe, losses: Variants, cache: StageCache | None
) -> tuple[dict[str, Placement], F64]:
    settings = recipe.stage("optimise")
    if mode == "full":
        photo = photo_of_case(case, recipe.max_side, cache)
        found = [r.reconstruction for r in annotate_photo(photo, recipe, cache=cache) if r.reconstruction]
        # A photo may show several hands: the answer that is asked for is the one where the true hand is.
        scale = photo.size[1] / case.camera.width
        where = project(case.joints, case.camera.K) * scale
        best = min(found, key=lambda r: float(np.linalg.norm(r.estimate.keypoints - where, axis=1).mean()))
        amodal = best.completion.amodal_mask
        stages = optimise_stages(best.object, best.camera, best.masks, amodal, best.estimate, settings, losses)
        return stages, np.diag([1 / scale, 1 / scale, 1.0]) @ best.camera.K
    if case.scene is None:
        raise BadDataset(f"mode '{mode}' needs rendered scenes; data sets of photos are measured with --mode full")
    if mode == "oracle-shape":
        return oracle_shape(case.scene, settings, losses), case.camera.K
    return oracle_masks(case.scene, recipe, cache, losses), case.camera.K


def _figures(case: Case, placed: Placement, last: bool) -> dict[str, float]:
    """Everything of the last stage; of the others what the ablations compare."""
    pair = _pair(placed)
    if last:
        return measure(case, pair)
    return contact_figures(case, pair, long_simulation=False)


def _pair(placed: Placement) -> Pair:
    model = load_hand(placed.hand.side)
    verts, joints = model.posed(placed.hand)
    return Pair(Surface(verts, model.faces), joints, Surface(placed.vertices, placed.faces), placed.pose)
