"""The recorded figures' noise, and what counts as worse than they are, on tables made here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest
from benchmark_scripts import load

from annotator.evaluating import Work
from pipeline.evaluate.benchmark import Case, Mode
from pipeline.evaluate.grasps import Grasp


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load("baseline")


def table(mode: str, shift: float) -> dict[str, Any]:
    """All of whose figures are so much higher than 10."""
    names = ("object_iou", "hand_iou", "contact_f1", "f5", "f10", "cd_cm2", "intersection_cm3")
    names += ("wrist_error_mm", "mpjpe_mm", "displacement_cm")
    refined = {name: {"mean": 10 + shift} for name in names}
    return {"mode": mode, "n": 6, "seed": 0, "failures": 1, "stages": {"refined": refined}}


def test_the_first_draw_is_held_to_and_the_noise_is_the_spread_of_all(script: ModuleType) -> None:
    shifts = (0.0, 1.0, 2.0)
    entry = script.baseline([table("full", shift) for shift in shifts])
    metrics = entry.pop("metrics")
    assert entry == {"n": 6, "seed": 0, "failures": 1, "draws": 3}
    assert len(metrics) == 10
    assert set(map(tuple, metrics.values())) == {(10.0, 1.0)}
    assert set(metrics) - set(script.baseline([table("oracle-shape", shift) for shift in shifts])["metrics"]) == {
        "cd_cm2",
        "f5",
        "f10",
    }


def test_worse_is_lower_or_higher_as_the_metric_has_it_and_by_more_than_the_noise(script: ModuleType) -> None:
    entry = script.baseline([table("full", shift) for shift in (0.0, 1.0, 2.0)])
    assert script.fallen(table("full", 1.99), entry) == script.fallen(table("full", -1.99), entry) == {}
    assert sorted(script.fallen(table("full", 2.01), entry)) == sorted(script.LOWER_IS_BETTER)
    worse = script.fallen(table("full", -2.01), entry)
    assert sorted(worse) == sorted(script.HIGHER_IS_BETTER)
    assert worse["f5"] == (7.99, 10.0, 1.0)


def test_every_mode_is_measured_with_only_the_noise_drawn_anew(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    grasps = [Grasp(number, "x", np.zeros((21, 3)), np.zeros(3), Path("x")) for number in range(2)]
    asked: list[Work] = []

    def evaluate(chosen: Sequence[Grasp], works: Sequence[Work], jobs: int) -> Iterator[Case]:
        asked.extend(works)
        for grasp in chosen:
            for work in works:
                refined = table(work.mode, work.draw)["stages"]["refined"]
                yield Case("x", grasp, {"refined": {name: spread["mean"] for name, spread in refined.items()}})

    monkeypatch.setattr(script, "grasps_of", lambda *_: grasps)
    monkeypatch.setattr(script, "evaluate", evaluate)
    script.main(["--draws", "3", "--cache", str(tmp_path)])
    entries = json.loads(capsys.readouterr().out)
    assert list(entries) == list(get_args(Mode))
    for entry in entries.values():
        assert (entry["n"], entry["draws"], entry["metrics"]["hand_iou"]) == (2, 3, [10.0, 1.0])
    assert {(work.seed, work.stages, work.cache_folder) for work in asked} == {(0, ("refined",), tmp_path)}
    assert sorted((work.mode, work.draw) for work in asked) == sorted((m, d) for m in get_args(Mode) for d in range(3))
