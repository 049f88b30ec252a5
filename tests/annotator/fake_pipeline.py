"""A pipeline that answers at once, with the real types: what it does is decided by the photo's name.

Used through the setting HOI_PIPELINE=fake_pipeline, in this process and in real worker processes.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline import codec
from pipeline.errors import EmptyMask, MissingWeights, NoHandFound, NoHeldObject
from pipeline.hand_model.model import ASSETS
from pipeline.recipe import Recipe
from pipeline.run import PairResult, StageCache
from pipeline.types import (
    Camera,
    Completion,
    Contacts,
    Edits,
    HandEstimate,
    HandHints,
    HandPose,
    Masks,
    Mesh,
    ObjectMesh,
    ObjectPose,
    Photo,
    Reconstruction,
    Side,
    ViewPrior,
)

NO_HINTS = HandHints()


def annotate_photo(
    photo: Photo, recipe: Recipe, hints: HandHints = NO_HINTS, cache: StageCache | None = None
) -> list[PairResult]:
    _count(photo.name)
    _misbehave(photo.name)
    hands = 6 if "six" in photo.name else len(hints.boxes) + len(hints.keypoints) or 1
    if "nohand" in photo.name and not (hints.boxes or hints.keypoints):
        raise NoHandFound(f"{photo.name}: no hand found; help with --hand-box x0,y0,x1,y1[,left|right]")
    if "noobject" in photo.name:
        raise NoHeldObject(f"{photo.name}: the hand holds nothing")
    results = [_answer(photo, recipe, index, hints, Edits(), cache) for index in range(hands)]
    if "six" in photo.name:
        results[5] = PairResult(5, None, f"{photo.name}: hand 5 holds nothing", "", {}, ())
    return results


def reoptimise(
    photo: Photo,
    recipe: Recipe,
    index: int,
    edits: Edits,
    hints: HandHints = NO_HINTS,
    cache: StageCache | None = None,
) -> PairResult:
    _count(photo.name)
    _wait_for(os.environ.get("FAKE_REOPTIMISE_GATE"))
    if edits.hand_mask is not None and edits.hand_mask.sum() < 100:
        return PairResult(index, None, f"{photo.name}: too little of the hand to fit it", "", {}, ())
    return _answer(photo, recipe, index, hints, edits, cache)


def _count(name: str) -> None:
    """Executions, one line each, for tests that compare them with effects."""
    if log := os.environ.get("FAKE_LOG"):
        with Path(log).open("a") as file:
            file.write(f"{name}\n")
    if log := os.environ.get("FAKE_GPU_LOG"):  # what this process sees of them
        with Path(log).open("a") as file:
            file.write(f"{os.environ.get('CUDA_VISIBLE_DEVICES')}\n")


def _misbehave(name: str) -> None:
    if "crash" in name:
        os._exit(9)
    if "killer" in name:  # and takes the worker's slot along
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if "bug" in name:
        raise ZeroDivisionError("a bug in a stage")
    if "full" in name:
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/ab/cd")
    if "weights" in name:
        raise MissingWeights("hand_detector: no weights; run: hoi-annotate models pull cpu")
    if "loud" in name:
        os.write(1, b"a native library says hello\n")
    if "slow" in name:
        time.sleep(float(os.environ.get("FAKE_SECONDS", "1")))
    if "held" in name:
        _wait_for(os.environ["FAKE_GATE"])


def _wait_for(gate: str | None) -> None:
    """Until that file is there: what a test needs to be in work is in work, however fast or slow the machine."""
    while gate and not Path(gate).exists():
        time.sleep(0.02)


def _answer(
    photo: Photo, recipe: Recipe, index: int, hints: HandHints, edits: Edits, cache: StageCache | None
) -> PairResult:
    key = codec.digest([photo.sha256, index])
    reused: tuple[str, ...] = ()
    if cache is not None:
        if cache.get(key) is not None:
            reused = ("detect",)
        cache.put(key, b"found")
    made = _reconstruction(photo, index, hints, edits)
    if not made.masks.object.any():
        raise EmptyMask(f"{photo.name}: the object mask is empty")
    seconds = {"detect": 0.25, "refinement": time.process_time() % 1}
    return PairResult(index, made, None, codec.digest(made), seconds, reused)


@lru_cache(maxsize=2)
def _hand(side: Side) -> np.ndarray:
    verts: np.ndarray = np.load(ASSETS / f"OPEN_HAND_{side.upper()}.npz")["v_template"]
    return np.asarray(verts - verts.mean(0) + [0, 0, 0.5], dtype=np.float64)


def _reconstruction(photo: Photo, index: int, hints: HandHints, edits: Edits) -> Reconstruction:
    height, width = photo.size
    side: Side = edits.side or (hints.boxes[index].side if index < len(hints.boxes) else None) or "right"
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    left, right = x < width // 3 + index, x > width // 2
    hand = left if edits.hand_mask is None else edits.hand_mask
    held = right if edits.object_mask is None else edits.object_mask
    verts = _hand(side)
    touching = tuple({*("thumb",), *edits.touching} - {*edits.not_touching, "ring"})
    box = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], dtype=np.float64) - 0.5
    faces = np.array(
        [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4],
         [1, 5, 7], [1, 7, 3]], dtype=np.int64,
    )  # fmt: skip
    mesh = Mesh(box, faces, np.zeros((8, 2)), np.full((4, 4, 3), 128, dtype=np.uint8))
    pose = HandPose(side, np.zeros(3), np.zeros(45), np.zeros(10), np.array([0, 0, 0.5]))
    K = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]])
    masks = Masks(hand, held & ~hand, np.zeros_like(hand))
    metrics = {
        "hand_iou": float(hand.mean()), "object_iou": float(held.mean()), "penetration_mm": 1.5,
        "intersection_cm3": 0.5, "displacement_cm": float("nan"), "contact_fraction": 0.25,
    }  # fmt: skip
    confidence = 0.5 + 0.4 * photo.image[0, 0, 0] / 255
    made = Reconstruction(
        camera=Camera(K, width, height),
        masks=masks,
        completion=Completion(held, photo.image),
        estimate=HandEstimate(pose, "open-hand", np.zeros((21, 2)), 1.0, 2.0, 0.9),
        hand=pose,
        hand_verts=verts,
        hand_joints=verts[:21],
        object=ObjectMesh(mesh, ViewPrior(np.eye(3), np.array([0, 0, 5.0])), "cuboid", {"cuboid": 0.9}),
        object_pose=ObjectPose(np.eye(3), np.array([0, 0, 0.6]), 0.08),
        contacts=Contacts(
            hand & (y < height // 2) if edits.contact_front is None else edits.contact_front,
            np.zeros_like(hand),
            np.linspace(-0.001, 0.05, 778),
            tuple(sorted(touching)),  # type: ignore[arg-type]
        ),
        metrics=metrics,
        diagnostics={"warnings": ["made up"], "confidence": confidence, "review_priority": 1 - confidence},
    )
    return replace(made, masks=masks)
