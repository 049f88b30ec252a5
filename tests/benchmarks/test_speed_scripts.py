"""The speed benchmarks run at tiny sizes and print whole tables; what they find at real sizes is the README's."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # imports torch, numba and trimesh in fresh processes

ROOT = Path(__file__).parents[2]
RENDERERS = ("ours", "deodr", "pytorch3d")


def printed(script, *options):
    """The table's rows, as lists of cells."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / script, *options],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    assert len({len(row) for row in rows}) == 1
    return rows[2:]


def test_silhouette_table_has_a_row_per_renderer_and_ours_is_right():
    rows = printed("speed_silhouette.py", "--tiny", "--sizes", "48", "64", "--poses", "2", "--seconds", "0.1")
    assert [(row[1], row[2]) for row in rows] == [(px, name) for px in ("48", "64") for name in RENDERERS]
    for row in rows:
        if row[2] == "ours":
            assert float(row[5]) >= 0.99
            assert float(row[7].rstrip(" %")) < 1
        elif row[3].startswith("not installed"):
            assert row[4:] == [""] * 4
        else:
            assert float(row[4]) > 0


def test_scenes_travel_to_another_interpreter(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    import speed_silhouette as script

    made = list(script.scenes((48,), poses=1, tiny=True))
    np.savez(tmp_path / "scenes.npz", scenes=np.array(made, dtype=object))
    here = script.measure_all(made, ["ours"], 0.1)["ours"][0]
    there = script.measure_elsewhere(Path(sys.executable), tmp_path / "scenes.npz", ["ours"], 0.1)["ours"][0]
    assert all(here[key] == there[key] for key in ("cosine", "length", "area"))


def test_geometry_table_judges_ours_against_exact_references():
    rows = printed("speed_geometry.py", "--tiny", "--seconds", "0.05")
    ours = {row[0].split(",")[0]: row[4] for row in reversed(rows) if row[1].startswith("ours")}
    assert set(ours) == {
        "signed distance",
        "4 depth layers",
        "transport cost and gradient",
        "similarity ICP",
        "translation ICP",
        "Chamfer distance",
    }
    distance, signs = ours["signed distance"].split(", ")
    assert float(distance.removesuffix(" um")) < 1e-6
    assert signs.startswith("0 of")
    assert float(ours["4 depth layers"].split(" um")[0]) < 1e-6
    assert float(ours["similarity ICP"].removesuffix(" mm")) < 1
    assert float(ours["translation ICP"].removesuffix(" mm")) < 1
    assert float(ours["Chamfer distance"].removesuffix(" um")) < 1e-6


def test_memory_of_one_function():
    (peak,) = subprocess.run(
        [sys.executable, ROOT / "benchmarks/speed_geometry.py", "--memory-of", "similarity ICP"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout.split()
    assert 50_000 < int(peak) < 2_500_000  # kB
