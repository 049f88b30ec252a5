"""The figures `tests/pipeline/test_benchmark_regression.py` holds the pipeline to, with their noise.

    python benchmarks/baseline.py --cache DIR > tests/pipeline/benchmark_baseline.json

The same scenes are measured several times, and only what is random about the estimate is drawn anew each time: the
estimator's errors and the object's unknown pose, for a mode that starts from a picture the path tracer's and sensor's
noise (all that `full` has: its light, skin and room stay). A metric's noise is the standard deviation of its mean over
these draws, the first of which is held to; it has fallen when it is worse by more than ALLOWED times that.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, get_args

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the program does
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("IGL_NUM_THREADS", "1")

import numpy as np

from annotator.evaluating import Work, evaluate, grasps_of
from pipeline.evaluate.benchmark import Mode, summarise
from pipeline.recipe import Recipe

SHARED = Path(__file__).resolve().parents[2] / "shared/benchmark"
SCENES, SEED = 6, 0
ALLOWED = 2.0
DIGITS = 4
LOWER_IS_BETTER = ("intersection_cm3", "wrist_error_mm", "mpjpe_mm", "displacement_cm", "cd_cm2")
HIGHER_IS_BETTER = ("object_iou", "hand_iou", "contact_f1", "f5", "f10")
SHAPE = ("cd_cm2", "f5", "f10")  # is given in oracle-shape


def baseline(draws: list[dict[str, Any]]) -> dict[str, Any]:
    """A mode's entry, from one table per draw: {"n", "seed", "draws", "failures", "metrics": {name: [mean, noise]}}."""
    first = draws[0]
    metrics = {}
    for name in HIGHER_IS_BETTER + LOWER_IS_BETTER:
        if first["mode"] == "oracle-shape" and name in SHAPE:
            continue
        means = [table["stages"]["refined"][name]["mean"] for table in draws]
        metrics[name] = [round(means[0], DIGITS), round(float(np.std(means, ddof=1)), DIGITS)]
    return {**{key: first[key] for key in ("n", "seed", "failures")}, "draws": len(draws), "metrics": metrics}


def fallen(table: dict[str, Any], entry: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """What of a table is worse than its mode's entry by more than its noise: (now, then, noise)."""
    worse = {}
    for name, (then, noise) in entry["metrics"].items():
        now = table["stages"]["refined"][name]["mean"]
        loss = then - now if name in HIGHER_IS_BETTER else now - then
        if loss > ALLOWED * noise + 10**-DIGITS:  # the rounding of both
            worse[name] = (now, then, noise)
    return worse


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grasps", type=Path, default=SHARED / "grasps")
    parser.add_argument("--meshes", type=Path, default=SHARED / "meshes")
    parser.add_argument("--n", type=int, default=SCENES, help="scenes a mode")
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--cache", type=Path, help="folder that keeps rendered pictures and masks")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args(arguments)
    recipe, modes = Recipe.load("cpu"), get_args(Mode)
    works = [Work(mode, recipe, SEED, args.cache, ("refined",), draw) for draw in range(args.draws) for mode in modes]
    grasps = grasps_of(args.grasps, args.meshes, args.n, SEED)
    cases = []
    for case in evaluate(grasps, works, args.jobs):
        cases.append(case)
        print(f"[{len(cases)}/{len(grasps) * len(works)}] {case.name}", file=sys.stderr)
    tables = [summarise(cases[at :: len(works)], work.mode, SEED) for at, work in enumerate(works)]
    entries = {mode: baseline([table for table in tables if table["mode"] == mode]) for mode in modes}
    print(json.dumps(entries, indent=1))


if __name__ == "__main__":
    main()
