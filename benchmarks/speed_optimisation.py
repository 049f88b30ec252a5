"""The whole optimisation of a pair: the `cpu` recipe against the paper's schedule, and how its cost grows.

    python benchmarks/speed_optimisation.py [--grasps DIR --meshes DIR] [--n 6]

Scenes of the benchmark, mode oracle-shape, one thread. Both recipes run on every scene in turn, in one process, and
their ratio is that of processor time, so that it holds on a busy machine too. `--only
growth | workers | memory` prints one of the other tables; `memory` has a row for the whole pipeline on `--photo`.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("IGL_NUM_THREADS", "1")

import numpy as np
import torch

from pipeline.evaluate.benchmark import choose, oracle_shape
from pipeline.evaluate.figures import figures
from pipeline.evaluate.grasps import Grasp, load_grasps
from pipeline.evaluate.scenes import Scene, make_scene
from pipeline.photo import read_photo
from pipeline.recipe import Recipe
from pipeline.run import annotate_photo

SHARED = Path(__file__).resolve().parents[2] / "shared"
PHOTO = SHARED / "photos/easyhoi_coffee-2.jpg"

RECIPES = ("cpu", "easyhoi-paper")
STAGES = ("camera", "aligned", "refined")
WHOLE = "photo"  # of `--memory-of`: not the optimisation alone
SHOWN = {
    "object_iou": "object IoU",
    "hand_iou": "hand IoU",
    "wrist_error_mm": "wrist mm",
    "mpjpe_mm": "MPJPE mm",
    "intersection_cm3": "IV cm3",
    "displacement_cm": "SD cm",
    "contact_f1": "contact F1",
}


def seconds_of(scene: Scene, settings: dict[str, Any]) -> float:
    return sum(placed.seconds for placed in oracle_shape(scene, settings).values())


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def versus(scenes: list[Scene]) -> str:
    """Both recipes on every scene: median seconds a stage, of the processor in all, figures, and the median ratio."""
    spent: dict[str, list[list[float]]] = {name: [] for name in RECIPES}
    worked: dict[str, list[float]] = {name: [] for name in RECIPES}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in RECIPES}
    for scene in scenes:
        for name in RECIPES:
            began = time.process_time()
            stages = oracle_shape(scene, Recipe.load(name).stage("optimise"))
            worked[name].append(time.process_time() - began)
            spent[name].append([stages[stage].seconds for stage in STAGES])
            found[name].append(figures(scene, stages["refined"], same_frame=True))
    rows = []
    for name in RECIPES:
        medians = [f"{np.median([one[key] for one in found[name]]):.2f}" for key in SHOWN]
        parts = [f"{value:.2f}" for value in np.median(spent[name], axis=0)]
        rows.append([name, *parts, f"{np.median(worked[name]):.2f}", *medians])
    ratios = np.array(worked[RECIPES[1]]) / np.array(worked[RECIPES[0]])
    head = ["recipe", *(f"{stage} s" for stage in STAGES), "all, CPU s", *SHOWN.values()]
    return (
        f"{table(head, rows)}\n\n{RECIPES[1]} takes {np.median(ratios):.1f} times the processor time of {RECIPES[0]}"
        f" (median of the ratios; {ratios.min():.1f} to {ratios.max():.1f})."
    )


def growth(scenes: list[Scene]) -> str:
    """Seconds a pair over the size of the picture the optimisation compares in, faces of the object, and hands."""
    base = Recipe.load("cpu").stage("optimise")
    rows = []

    def add(what: str, run: Callable[[Scene], float]) -> None:
        rows.append([what, f"{np.median([run(scene) for scene in scenes]):.2f}"])

    for size in (96, 160, 256, 512):
        add(f"{size} px", lambda scene, size=size: seconds_of(scene, base | {"size": size}))
    for faces in (1000, 1500, 6000, 0):
        label = f"{faces} faces" if faces else f"all {len(scenes[0].solid[1])} faces"
        add(label, lambda scene, faces=faces: seconds_of(scene, base | {"faces": faces}))
    for hands in (1, 2, 4):  # every hand with its object is a pair of its own
        add(f"{hands} hands", lambda scene, hands=hands: sum(seconds_of(scene, base) for _ in range(hands)))
    return table(["what", "s"], rows)


def workers(grasps: list[Grasp], seed: int) -> str:
    """Pairs a minute with one and with two processes, start-up not counted."""
    rates = []
    for count in (1, 2):
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
            list(pool.map(work, grasps[:1] * count, [seed] * count))  # imports and compiled functions
            began = time.perf_counter()
            list(pool.map(work, grasps, [seed] * len(grasps)))
            rates.append(len(grasps) / (time.perf_counter() - began) * 60)
    rows = [[str(n), f"{rate:.1f}", f"{rate / rates[0]:.2f}"] for n, rate in zip((1, 2), rates, strict=True)]
    return table(["processes", "pairs a minute", "times one"], rows)


def work(grasp: Grasp, seed: int) -> float:
    torch.set_num_threads(1)
    return seconds_of(make_scene(grasp, seed), Recipe.load("cpu").stage("optimise"))


def memory(arguments: argparse.Namespace) -> str:
    """Peak resident memory of one process that optimises all the scenes, per recipe; of one that annotates a photo."""
    given = [f"--{name}={getattr(arguments, name)}" for name in ("grasps", "meshes", "n", "seed")]
    works = {name: f"{arguments.n} scenes optimised, {name}" for name in RECIPES}
    if arguments.photo is not None:
        given.append(f"--photo={arguments.photo}")
        works[WHOLE] = f"{arguments.photo.name} through the whole pipeline, {RECIPES[0]}"
    else:
        print("no row for the whole pipeline: name a photograph with --photo", file=sys.stderr)
    rows = []
    for name, what in works.items():
        command = [sys.executable, __file__, *given, "--memory-of", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append([what, f"{int(done.stdout) / 1024:,.0f} MB"])
    return table(["one process", "peak memory"], rows)


def annotate(file: Path) -> None:
    recipe = Recipe.load(RECIPES[0])
    annotate_photo(read_photo(file.read_bytes(), file.name, recipe.max_side), recipe)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grasps", type=Path, default=SHARED / "benchmark/grasps")
    parser.add_argument("--meshes", type=Path, default=SHARED / "benchmark/meshes")
    parser.add_argument("--photo", type=Path, default=PHOTO if PHOTO.is_file() else None, help="of `memory`")
    parser.add_argument("--n", type=int, default=6, help="scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("versus", "growth", "workers", "memory"), default="versus")
    parser.add_argument("--memory-of", choices=(*RECIPES, WHOLE), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.photo is not None and not args.photo.is_file():
        parser.error(f"--photo {args.photo}: there is no such file")
    torch.set_num_threads(1)
    if args.memory_of == WHOLE:
        annotate(args.photo)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    grasps = choose(load_grasps(args.grasps, args.meshes), args.n, args.seed)
    if args.only == "workers":
        print(workers(grasps, args.seed))
        return
    if args.only == "memory" and not args.memory_of:
        print(memory(args))
        return
    scenes = [make_scene(grasp, args.seed) for grasp in grasps]
    if args.memory_of:
        for scene in scenes:
            seconds_of(scene, Recipe.load(args.memory_of).stage("optimise"))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    seconds_of(scenes[0], Recipe.load("cpu").stage("optimise"))  # compiled functions
    print(versus(scenes) if args.only == "versus" else growth(scenes))


if __name__ == "__main__":
    main()
