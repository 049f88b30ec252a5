"""Six scenes a mode against recorded figures: a metric that is worse by more than twice its noise fails.

`benchmark_baseline.json` is written by `benchmarks/baseline.py`. The noise is what a metric's mean over these six
scenes moves by, as a standard deviation, when the estimator's errors, the unknown pose and the picture's noise alone
are drawn anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmark_scripts import load

from pipeline.evaluate.benchmark import Mode, choose, run_case, summarise
from pipeline.evaluate.grasps import load_grasps
from pipeline.evaluate.scenes import make_scene
from pipeline.recipe import Recipe

SHARED = Path(__file__).parents[2].parent / "shared" / "benchmark"
BASELINE = json.loads((Path(__file__).parent / "benchmark_baseline.json").read_text())

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.exists(), reason=f"the recorded grasps are not at {SHARED}"),
]


@pytest.mark.parametrize("mode", ["oracle-shape", "oracle-masks", "full"])
def test_no_metric_falls_by_more_than_its_noise(mode: Mode) -> None:
    recipe, recorded = Recipe.load("cpu"), BASELINE[mode]
    n, seed = recorded["n"], recorded["seed"]
    grasps = choose(load_grasps(SHARED / "grasps", SHARED / "meshes"), n, seed)
    cases = [run_case(make_scene(grasp, seed), mode, recipe, stages=("refined",)) for grasp in grasps]
    table = summarise(cases, mode, seed)
    assert table["failures"] <= recorded["failures"], table["failed"]
    assert load("baseline").fallen(table, recorded) == {}
