"""Six scenes a mode against recorded figures: a metric that falls by more than its noise fails.

`benchmark_baseline.json` is written by `benchmarks/baseline.py`, which says what the noise is.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.evaluate.benchmark import Mode, choose, run_case, summarise
from pipeline.evaluate.grasps import load_grasps
from pipeline.recipe import Recipe

SHARED = Path(__file__).parents[2].parent / "shared" / "benchmark"
BASELINE = json.loads((Path(__file__).parent / "benchmark_baseline.json").read_text())
HIGHER_IS_BETTER = {"object_iou", "hand_iou", "contact_f1", "f5", "f10"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.exists(), reason=f"the recorded grasps are not at {SHARED}"),
]


@pytest.mark.parametrize("mode", ["oracle-shape", "oracle-masks", "full"])
def test_no_metric_falls_by_more_than_its_noise(mode: Mode) -> None:
    recipe, recorded = Recipe.load("cpu"), BASELINE[mode]
    grasps = choose(load_grasps(SHARED / "grasps", SHARED / "meshes"), recorded["n"], recorded["seed"])
    table = summarise([run_case(grasp, mode, recipe, recorded["seed"]) for grasp in grasps], mode, recorded["seed"])
    assert table["failures"] <= recorded["failures"], table["failed"]
    refined = table["stages"]["refined"]
    fallen = {}
    for metric, (value, noise) in recorded["metrics"].items():
        loss = refined[metric]["mean"] - value
        if (-loss if metric in HIGHER_IS_BETTER else loss) > noise:
            fallen[metric] = (refined[metric]["mean"], value, noise)
    assert not fallen
