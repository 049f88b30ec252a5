"""`evaluate --dataset` as a user runs it, on a rendered benchmark made here: tables, resuming, shards, others."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from click.testing import Result
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline"))
from test_benchmark import folder as grasp_folder

from annotator.cli import app
from annotator.report.table_text import STYLES, table_text
from pipeline.evaluate.datasets import reader
from pipeline.evaluate.protocol import LOSSES, Measured
from pipeline.evaluate.tables import PAPER_1, PAPER_2, PAPER_3, interval, table_1, table_2, table_3

__all__ = ["grasp_folder"]
QUICK = [
    *(
        "--set",
        "optimise.camera_steps=3",
        "--set",
        "optimise.alignment_steps=3",
        "--set",
        "optimise.refinement_steps=3",
    ),
    *("--set", "optimise.size=64", "--set", "optimise.faces=300"),
]


@pytest.fixture
def root(grasp_folder: Path) -> Path:
    """Two grasps of a coarse ball, in the layout of the rendered benchmark."""
    for kind in ("grasps", "meshes"):
        (grasp_folder / kind).mkdir()
    (grasp_folder / "grasps.npz").rename(grasp_folder / "grasps" / "grasps.npz")
    trimesh.creation.icosphere(subdivisions=1, radius=0.042).export(grasp_folder / "meshes" / "ball.obj")
    return grasp_folder


def run(root: Path, *options: str) -> Result:
    told = ["evaluate", "--dataset", "rendered", "--root", str(root), "--mode", "oracle-shape", "--jobs", "1"]
    return CliRunner().invoke(app, [*told, "--results", str(root / "kept"), *options])


def measured(**figures: float) -> Measured:
    return Measured("case", {"refined": figures, "truth": figures})


def perturbed(root: Path, folder: Path, shift: float, squeeze: float) -> Path:
    """The truth with its object squeezed along an axis and moved into the hand: a system that is that much worse."""
    read = reader("rendered")
    for name in read.names(root):
        case = read.load(root, name)
        assert case.hand is not None
        at = folder / name
        at.mkdir(parents=True)
        middle = case.placed.mean(0)
        toward = case.hand.vertices.mean(0) - middle
        moved = (case.placed - middle) * [1, squeeze, 1] + middle + shift * toward / np.linalg.norm(toward)
        trimesh.Trimesh(case.hand.vertices, case.hand.faces, process=False).export(at / "hand.ply")
        trimesh.Trimesh(moved, case.object.faces, process=False).export(at / "object.ply")
    return folder


def test_three_tables_are_printed_kept_and_printed_again(root: Path) -> None:
    asked = [*QUICK, "--n", "2", "--table", "1", "--table", "2", "--table", "3"]
    first = run(root, *asked)
    assert first.exit_code == 0, first.output
    for said in ("**Table 1.", "**Table 2.", "**Table 3.", "| ours", "the truth itself", "ours, unaligned", *LOSSES):
        assert said in first.stdout
    assert "rendered: 2 cases, drawn with seed 0; held: skin within 5 mm" in first.stdout
    again = run(root, *asked)
    assert again.stdout == first.stdout
    assert "2 of 2 cases were measured before" in again.stderr
    kept = sorted((root / "kept").rglob("*.json"))
    assert len(kept) == 3  # the sample and both cases
    table = json.loads(run(root, *asked, "--json").stdout)
    assert [t["table"] for t in table["tables"]] == [1, 2, 3]
    assert set(table["systems"][0]["cases"]) == set(table["sample"]["cases"]) == {"00000-ball", "00001-ball"}
    ours = next(row for row in table["tables"][0]["rows"] if row["name"] == "ours")
    for key in ("f5", "f10", "cd_cm2", "displacement_cm", "intersection_cm3", "displacement_1000_cm"):
        values = [figures["refined"][key] for figures in table["systems"][0]["cases"].values()]
        assert ours["figures"][key]["mean"] == pytest.approx(np.mean(values))
        assert ours["figures"][key]["low"] <= ours["figures"][key]["mean"] <= ours["figures"][key]["high"]


def test_shards_measure_apart_and_the_table_joins_them(root: Path) -> None:
    for part in ("1/2", "2/2"):
        result = run(root, *QUICK, "--n", "2", "--shard", part)
        assert result.exit_code == 0, result.output
        assert result.stdout == ""
        assert "1 of 2 cases are in" in result.stderr
    joined = run(root, *QUICK, "--n", "2")
    assert "2 of 2 cases were measured before" in joined.stderr
    assert "| 2 " in joined.stdout
    wrong = run(root, *QUICK, "--shard", "3/2")
    assert wrong.exit_code == 1
    assert "not i/n with 1 <= i <= n" in wrong.stderr


def test_other_systems_land_in_the_right_order_and_on_the_page(root: Path, tmp_path: Path) -> None:
    good = perturbed(root, tmp_path / "good", 0.002, 1.05)
    worse = perturbed(root, tmp_path / "worse", 0.02, 1.7)
    (worse / "00001-ball" / "object.ply").unlink()
    page = tmp_path / "page.html"
    given = ["--no-ours", "--predictions", f"near={good}", "--predictions", f"far={worse}", "--n", "2"]
    result = run(root, *given, "--json", "-o", str(page))
    assert result.exit_code == 0, result.output
    table = json.loads(result.stdout)
    rows = {row["name"]: row for row in table["tables"][0]["rows"]}
    near, far = (rows[name]["figures"] for name in ("near", "far"))
    assert rows["near"]["failures"] == 0
    assert rows["far"]["failures"] == 1
    for key in ("f5", "f10"):
        assert near[key]["mean"] > far[key]["mean"]
        assert far[key]["n"] == 2  # the missing answer counts as nothing
    for key in ("cd_cm2", "intersection_cm3"):
        assert near[key]["mean"] < far[key]["mean"]
        assert far[key]["n"] == 1
    failed = next(system["failed"] for system in table["systems"] if system["name"] == "far")
    assert [(f["case"], "no object.obj" in f["reason"]) for f in failed] == [("00001-ball", True)]
    text = page.read_text()
    assert text.count("<figure>") == 2 * 4  # photo, truth, near, far
    assert text.count("from the side") == 2 * 2 + 1
    assert "no answer" in text
    (good / "00000-ball" / "object.ply").unlink()
    assert list((root / "kept").rglob("near-*/00000-ball.npz"))
    again = run(root, *given, "--json")
    assert not list((root / "kept").rglob("near-*/00000-ball.npz"))  # what a page would show
    assert [row["failures"] for row in json.loads(again.stdout)["tables"][0]["rows"] if row["name"] == "near"] == [1]


def test_a_case_that_fails_is_counted_and_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.evaluate import protocol

    def breaks(*_: Any) -> None:
        raise ZeroDivisionError("no depth\nanywhere")

    monkeypatch.setattr(protocol, "oracle_shape", breaks)
    result = run(root, *QUICK, "--n", "1")
    assert result.exit_code == 0, result.output
    assert "1 (1 failed)" in result.stdout
    assert "ZeroDivisionError: no depth anywhere" in result.stderr
    assert "| 0.000 [0.000, 0.000] |" in result.stdout


def test_what_no_case_can_do_without_ends_the_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.errors import MissingExtra
    from pipeline.evaluate import protocol

    def lacks(*_: Any) -> None:
        raise MissingExtra("no library; run: pip install it")

    monkeypatch.setattr(protocol, "oracle_shape", lacks)
    result = run(root, *QUICK, "--n", "1")
    assert result.exit_code == 1
    assert result.stderr.strip().endswith("error: no library; run: pip install it")
    assert not list((root / "kept").rglob("*-ball.json"))


def test_systems_that_cannot_be_told_apart_or_answer_nothing_are_refused(root: Path, tmp_path: Path) -> None:
    for run_name in ("a", "b"):
        (tmp_path / run_name / "out").mkdir(parents=True)
    given = [item for name in ("a", "b") for item in ("--predictions", str(tmp_path / name / "out"))]
    twice = run(root, "--no-ours", *given)
    assert twice.exit_code == 1
    assert "two systems are named 'out'" in twice.stderr
    empty = run(root, "--no-ours", *given[:2], "--n", "2")
    assert empty.exit_code == 1
    assert "has a folder for none of the 2 cases; the first is expected in" in empty.stderr


def test_other_hands_or_adapters_measure_anew(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from annotator.evaluating_datasets import Job
    from pipeline.hand_model.mano_file import mano_path
    from pipeline.inpaint.silhouette import SilhouetteInpainter
    from pipeline.recipe import Recipe

    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    recipe = Recipe.load("cpu")

    def folders() -> list[Path]:
        return [Job("rendered", root, tmp_path, recipe, mode).folder for mode in ("oracle-shape", "full")]

    shape, full = folders()
    assert folders() == [shape, full]
    monkeypatch.setattr(SilhouetteInpainter, "version", "of tomorrow")
    assert folders()[0] == shape
    assert folders()[1] != full
    mano_path("right").parent.mkdir(parents=True)
    mano_path("right").write_bytes(b"mano")
    assert folders()[0] != shape


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["evaluate"], "give --dataset and --root, or --grasps and --meshes"),
        (["evaluate", "--dataset", "oakink"], "needs --root"),
        (["evaluate", "--dataset", "oakink", "--root", ".", "--no-ours"], "give --predictions"),
        (["evaluate", "--dataset", "grab", "--root", "."], "'grab' is not one of"),
    ],
)
def test_usage_errors(options: list[str], said: str) -> None:
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 2
    assert said in result.stderr.replace("\n", " ")


def test_a_wrong_root_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", "--dataset", "oakink", "--root", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.strip() == f"error: {tmp_path}: not the root of OakInk: it has no image/; expected " + (
        "image/anno/, image/obj/ and image/stream_release_v2/"
    )


def test_the_papers_figures_stand_beside_ours() -> None:
    ours = [measured(f5=0.5, cd_cm2=4.0, displacement_cm=2.0, intersection_cm3=3.0)]
    table = table_1("oakink", ours, {}, 0)
    rows = {row.name: row for row in table.rows}
    assert rows["EasyHOI (paper)"].cells["f5"].mean == 0.247
    assert rows["EasyHOI (paper)"].cells["cd_tenth"].mean == 1.035
    assert rows["ours"].cells["cd_tenth"].mean == pytest.approx(0.4)
    assert [len(PAPER_1[name]) for name in ("arctic", "oakink", "dexycb")] == [5, 5, 3]
    assert set(PAPER_2) == {"arctic", "oakink", "dexycb"}
    staged = {row.name: row for row in table_2("arctic", ours, 0).rows}
    assert staged["+ hand refinement (paper)"].cells["intersection_cm3"].std == 4.54
    losses = {row.name: row for row in table_3("oakink", ours, 0).rows}
    assert losses["w/o L_penetr (paper)"].cells["intersection_cm3"].mean == 9.62
    assert set(PAPER_3["oakink"]) == {"full losses", *LOSSES}
    assert not any(row.source == "paper" for row in table_1("rendered", ours, {}, 0).rows)


def test_every_style_says_the_same_figures() -> None:
    ours = [measured(f5=f, f10=2 * f, cd_cm2=1.0, displacement_cm=1.5, intersection_cm3=2.5) for f in (0.25, 0.3, 0.35)]
    table = table_1("dexycb", ours, {"A&B #1": ours}, 0)
    texts = {style: table_text(table, style) for style in STYLES}
    for text in texts.values():
        assert "0.134" in text
    rows = {row["row"]: row for row in csv.DictReader(io.StringIO(texts["csv"]))}
    assert float(rows["ours"]["f5_mean"]) == pytest.approx(0.3)
    assert float(rows["ours"]["f5_std"]) == pytest.approx(np.std([0.25, 0.3, 0.35]))
    assert rows["EasyHOI (paper)"]["source"] == "paper"
    columns = len(table.columns) + 1
    body = [line for line in texts["latex"].splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in body} == {columns - 1}
    assert r"A\&B \#1" in texts["latex"]
    assert "0.300 [" in texts["latex"]
    lines = [line for line in texts["markdown"].splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert len({len(line) for line in lines}) == 1


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        low, high = interval(rng.exponential(1.0, 60), seed=trial)
        hits += low <= 1.0 <= high
    assert 0.88 <= hits / 200 <= 0.98
    assert interval(np.full(9, 2.5), seed=1) == (2.5, 2.5)
    values = rng.random(30)
    assert interval(values, 3) == interval(values, 3) != interval(values, 4)
