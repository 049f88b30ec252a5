"""`evaluate`: the benchmark over many grasps in worker processes, and what of it a person reads."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from annotator.cache import DiskCache
from pipeline.errors import HoiError
from pipeline.evaluate.benchmark import STAGES, Case, Mode, choose, run_case
from pipeline.evaluate.grasps import Grasp, check_meshes, load_grasps
from pipeline.evaluate.scenes import Scene, make_scene
from pipeline.recipe import Recipe

# The figures of the printed table and what they are called there.
COLUMNS = {
    "object_iou": "object IoU",
    "hand_iou": "hand IoU",
    "wrist_error_mm": "wrist mm",
    "mpjpe_mm": "MPJPE mm",
    "cd_cm2": "CD cm2",
    "f5": "F5",
    "f10": "F10",
    "intersection_cm3": "IV cm3",
    "displacement_cm": "SD cm",
    "contact_f1": "contact F1",
    "seconds": "s",
}
# The ablation (METHOD 4): each row changes one thing of the recipe.
ABLATION: dict[str, tuple[str, ...]] = {
    "the recipe": (),
    "without mask term": ("optimise.weight_mask=0",),
    "without penetration": ("optimise.weight_penetration=0",),
    "without contact (grip)": ("optimise.weight_grip=0",),
    "without priors of the pose": tuple(
        f"optimise.weight_{name}=0" for name in ("regularisation", "grasp_space", "grasp", "orient")
    ),
    "without grasp space": ("optimise.weight_grasp_space=0",),
    "without occlusion order": ("optimise.weight_order=0",),
    "without keypoints": ("optimise.weight_keypoints=0",),
    "skin that does not give way": ("optimise.press=0",),
    "relative depth refined freely": ("optimise.weight_depth=0",),
    "object scale not refined": ("optimise.lr_scale=0",),
    "alignment without articulation": ("optimise.lr_alignment_articulation=0",),
    "contacts by ICP": ("optimise.registration='icp'",),
    "scan far from the hand's depth": ("optimise.scan_spread=1000",),
    "scan without more weight on order": ("optimise.scan_order=1",),
    "scan takes the best scale": ("optimise.scan_temperature=0.01",),
    "camera without probes": ("optimise.camera_kept=1", "optimise.camera_finalists=1"),
    "camera with one finalist": ("optimise.camera_finalists=1",),
    "camera without transport": ("optimise.weight_transport=0",),
    "camera without turn cost": ("optimise.weight_turn=0",),
    "rates that do not fall": ("optimise.decay=1", "optimise.camera_decay=1"),
    "no early end": ("optimise.patience=1000",),
    "256 pixels": ("optimise.size=256",),
    "object not simplified": ("optimise.faces=0",),
}


@dataclass(frozen=True)
class Work:
    """What a worker needs for every grasp."""

    mode: Mode
    recipe: Recipe
    seed: int
    cache_folder: Path | None
    stages: Sequence[str] = STAGES  # that are measured
    draw: int = 0  # of the noise; others than the first are for measuring what it does


def grasps_of(grasps: Path, meshes: Path, n: int, seed: int) -> list[Grasp]:
    """The n grasps a seed chooses. Raises BadBenchmark, and BadMesh for a mesh that no scene can be made of."""
    chosen = choose(load_grasps(grasps, meshes), n, seed)
    check_meshes(chosen)
    return chosen


def evaluate(grasps: Sequence[Grasp], works: Sequence[Work], jobs: int) -> Iterator[Case]:
    """Cases in the order of the grasps, each by every one of the works, whichever worker is faster. Raises HoiError."""
    told = [(grasp, work) for grasp in grasps for work in works]
    if jobs <= 1:
        _scene.cache_clear()  # other files may have a grasp of the same number
        yield from map(_run, told)
        return
    try:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield from pool.map(_run, told)
    except BrokenProcessPool:
        raise HoiError(
            "a worker process was killed, perhaps for want of memory; ask for fewer cases at once: --jobs"
        ) from None


def rows_of(stages: dict[str, Any], scenes: int) -> list[list[Any]]:
    """One row per stage: median and mean of every column, as '0.93 / 0.91', and where not all scenes have the figure
    how many do: '0.93 / 0.91 (10)'."""
    return [[stage, *(_cell(figures.get(name), scenes) for name in COLUMNS)] for stage, figures in stages.items()]


def _cell(spread: dict[str, Any] | None, scenes: int) -> str:
    if spread is None or not spread["n"]:
        return "-"
    said = f"{spread['median']:.2f} / {spread['mean']:.2f}"
    return said if spread["n"] == scenes else f"{said} ({spread['n']})"


def _run(told: tuple[Grasp, Work]) -> Case:
    import torch

    grasp, work = told
    torch.set_num_threads(1)
    cache = None if work.cache_folder is None else DiskCache(work.cache_folder)
    scene = _scene(grasp, work.seed)
    scene = replace(scene, noise=scene.noise + work.draw)
    return run_case(scene, work.mode, work.recipe, cache, work.stages)


@functools.lru_cache(maxsize=1)
def _scene(grasp: Grasp, seed: int) -> Scene:
    """A worker gets the works of one grasp one after the other."""
    return make_scene(grasp, seed)
