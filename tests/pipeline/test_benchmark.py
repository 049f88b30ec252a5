"""The benchmark on a grasp made here (the open hand on a ball), so that its own truth is known without any file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from benchmark_scripts import load
from grasp_scene import RADIUS, grasp
from typer.testing import CliRunner

from annotator import evaluating
from annotator.cli import app
from pipeline.errors import BadMesh, MissingWeights, NoHandFound
from pipeline.evaluate import benchmark
from pipeline.evaluate.benchmark import (
    STAGES,
    Case,
    _object_recipe,
    choose,
    optimise_stages,
    run_case,
    summarise,
    unplaced,
)
from pipeline.evaluate.figures import figures, truth_of
from pipeline.evaluate.grasps import (
    TO_OPENPOSE,
    BadBenchmark,
    Grasp,
    check_meshes,
    fit_hand,
    load_grasps,
    load_mesh,
)
from pipeline.evaluate.scenes import Scene, estimate_of, make_scene, mirrored_hand
from pipeline.evaluate.self_contact import self_penetration_mm
from pipeline.geometry.camera import from_focal
from pipeline.hand_model import load_hand
from pipeline.recipe import Recipe, UnknownRecipe
from pipeline.types import F64
from pipeline.weights import RECIPES as WEIGHTS
from pipeline.weights import is_cached

RECIPE = Recipe.load("cpu")
METRICS = (  # the contract of --json
    *("cd_cm2", "f5", "f10", "intersection_cm3", "displacement_cm", "object_iou", "hand_iou"),
    *("wrist_error_mm", "mpjpe_mm", "contact_f1", "seconds"),
    *("cd_cm2_unaligned", "f5_unaligned", "f10_unaligned", "wrist_error_mm_unaligned", "mpjpe_mm_unaligned"),
)


def ball_joints() -> F64:
    """(21, 3) joints around a ball at the origin, OpenPose order."""
    scene = grasp("right")
    return scene.joints - scene.center


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A benchmark folder as `evaluate` reads it: two grasps of one object."""
    recorded = np.empty((2, 21, 3), np.float32)
    recorded[:, list(TO_OPENPOSE)] = 0  # every place of the recordings' order is filled below
    for place, joint in zip(TO_OPENPOSE, ball_joints(), strict=True):
        recorded[:, place] = joint
    np.savez(tmp_path / "grasps.npz", object_id=np.array(["ball", "ball"]), joints_obj=recorded)
    trimesh.creation.icosphere(subdivisions=3, radius=RADIUS).export(tmp_path / "made_here_ball.obj")
    return tmp_path


def told(folder: Path) -> list[str]:
    return ["evaluate", "--grasps", str(folder), "--meshes", str(folder), "--n", "2", "--jobs", "1"]


@pytest.fixture
def scene(folder: Path) -> Scene:
    return make_scene(load_grasps(folder, folder)[0], seed=0)


def test_grasps_come_back_in_openpose_order_with_their_mesh(folder: Path) -> None:
    first, second = load_grasps(folder, folder)
    np.testing.assert_allclose(first.joints, ball_joints(), atol=1e-6)
    assert (first.number, second.number) == (0, 1)
    assert load_mesh(first.mesh_file).vertices.shape == (642, 3)
    np.testing.assert_array_equal(first.down, [0, 0, -1])


def test_a_folder_that_is_no_benchmark_is_one_clear_line(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    remedy = r"; give --grasps a folder of \.npz, or one, with object_id \(N,\) and joints_obj"
    for nothing in (empty, empty / "nosuch"):
        with pytest.raises(BadBenchmark, match=rf"{nothing}: no \.npz of grasps here{remedy}"):
            load_grasps(nothing, folder)
    with pytest.raises(BadBenchmark, match="no mesh for object 'ball'; give --meshes a folder with <object_id>"):
        load_grasps(folder, empty)
    np.savez(empty / "x.npz", object_id=np.array(["ball"]))
    with pytest.raises(BadBenchmark, match=rf"lacks the array 'joints_obj'{remedy}"):
        load_grasps(empty, folder)
    for content in ("not numbers", ""):
        (empty / "x.npz").write_text(content)
        with pytest.raises(BadBenchmark, match=rf"x\.npz: not an \.npz that can be read{remedy}"):
            load_grasps(empty, folder)
    np.savez(empty / "x.npz", object_id=np.array(["ball"]), joints_obj=np.full((1, 21, 3), np.nan))
    with pytest.raises(BadBenchmark, match=r"joints_obj is \(1, 21, 3\), not \(1, 21, 3\) finite"):
        load_grasps(empty, folder)
    np.savez(empty / "x.npz", object_id=np.array(["ball", "ball"]), joints_obj=np.zeros((1, 21, 3)))
    with pytest.raises(BadBenchmark, match=r"not \(2, 21, 3\)"):
        load_grasps(empty, folder)


def test_a_file_of_grasps_that_is_not_what_it_should_be_is_one_clear_line(folder: Path, tmp_path: Path) -> None:
    with np.load(folder / "grasps.npz") as data:
        good = dict(data)
    bad = tmp_path / "bad"
    bad.mkdir()
    file = bad / "x.npz"

    def refused(match: str, **changed: Any) -> None:
        if changed:
            np.savez(file, **{**good, **changed})
        with pytest.raises(BadBenchmark, match=match) as raised:
            load_grasps(bad, folder)
        assert str(bad) in str(raised.value)

    refused("holds no grasp; give --grasps", object_id=np.array([], "U4"), joints_obj=np.zeros((0, 21, 3)))
    refused(r"x\.npz: object_id is \(\), not \(N,\)", object_id=np.array("ball"))
    refused("the joints of grasp 0 seem to be in millimetres", joints_obj=good["joints_obj"] * 1000)
    refused("the joints of grasp 1: 0 m", joints_obj=good["joints_obj"] * np.array([1, 0]).reshape(2, 1, 1))
    poses = np.array([[0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]], float)
    refused(r"object_pose_world\[1\] ends in a quaternion of length 0", object_pose_world=poses)
    with file.open("wb") as out:
        np.save(out, good["joints_obj"])
    refused(r"x\.npz: not an \.npz")
    np.savez_compressed(file, **good)
    with zipfile.ZipFile(file) as archive:
        entry = archive.getinfo("joints_obj.npy")
    content = bytearray(file.read_bytes())
    at = entry.header_offset + 60
    content[at : at + 40] = b"\xff" * 40
    file.write_bytes(content)
    refused(r"x\.npz: not an \.npz")


def test_a_mesh_that_no_scene_can_be_made_of_is_named_before_any_work(folder: Path) -> None:
    file = folder / "made_here_ball.obj"
    ball = trimesh.creation.icosphere(subdivisions=1, radius=RADIUS)
    cases = {
        "flat": (ball.vertices * [1, 1, 0], BadMesh, "flat|no volume|no surface|degenerate"),
        "not finite": (np.where(ball.vertices > 0.04, np.nan, ball.vertices), BadMesh, "empty or not finite"),
        "millimetres": (ball.vertices * 1000, BadBenchmark, "the vertices seem to be in millimetres"),
    }
    for vertices, error, match in cases.values():
        lines = [f"v {x} {y} {z}" for x, y, z in vertices] + [f"f {a} {b} {c}" for a, b, c in ball.faces + 1]
        file.write_text("\n".join(lines))
        load_mesh.cache_clear()
        with pytest.raises(error, match=match) as raised:
            check_meshes(load_grasps(folder, folder))
        assert str(raised.value).startswith(f"{file}: ")
        if error is BadMesh:
            with pytest.raises(BadMesh, match="made_here_ball"):
                make_scene(load_grasps(folder, folder)[0], seed=0)
    load_mesh.cache_clear()


def test_a_hand_is_fitted_through_its_own_joints() -> None:
    hand, residual = fit_hand(ball_joints())
    assert residual < 1.0
    np.testing.assert_allclose(load_hand("right").posed(hand)[1], ball_joints(), atol=0.004)


def test_the_mirrored_hand_is_the_mirror_image() -> None:
    hand = replace(grasp("right").pose, betas=np.linspace(-1, 1, 10))
    verts = load_hand("right").posed(hand)[0]
    other = load_hand("left").posed(mirrored_hand(hand))[0]
    np.testing.assert_allclose(other, verts * [-1, 1, 1], atol=2e-5)


def test_scenes_show_hand_and_object_from_both_sides_and_all_elevations(folder: Path) -> None:
    made = [make_scene(replace(load_grasps(folder, folder)[0], number=i), seed=0) for i in range(12)]
    assert {s.hand.side for s in made} == {"left", "right"}
    assert min(s.elevation_deg for s in made) < -20 < 20 < max(s.elevation_deg for s in made)
    for s in made:
        assert not (s.masks.hand & s.masks.object).any()
        assert (s.amodal | ~s.masks.object).all()
        assert s.masks.hand.sum() > 500
        assert s.masks.object.sum() > 500
        np.testing.assert_allclose(np.linalg.norm(s.down), 1)
        assert s.down[1] > 0.1  # gravity points down the picture


def test_the_same_seed_makes_the_same_scene(folder: Path, scene: Scene) -> None:
    again = make_scene(load_grasps(folder, folder)[0], seed=0)
    np.testing.assert_array_equal(again.depth, scene.depth)
    np.testing.assert_array_equal(estimate_of(again).keypoints, estimate_of(scene).keypoints)
    other = make_scene(load_grasps(folder, folder)[0], seed=1)
    assert not np.array_equal(other.depth, scene.depth)


def test_noise_drawn_anew_errs_differently_of_the_same_scene(scene: Scene) -> None:
    other = replace(scene, noise=scene.noise + 1)
    assert scene.noise == scene.seed
    assert not np.array_equal(estimate_of(other).keypoints, estimate_of(scene).keypoints)
    assert unplaced(other)[1] != unplaced(scene)[1]


def test_the_estimate_errs_as_stated_and_holds_no_truth(scene: Scene) -> None:
    many = [estimate_of(replace(scene, noise=noise)) for noise in range(200)]
    wrists = np.array([scene.model.posed(e.pose)[1][0] for e in many])
    articulation = np.array([e.pose.hand_pose - scene.hand.hand_pose for e in many]).reshape(-1, 3)
    assert abs(np.rad2deg(np.sqrt((articulation**2).sum(1).mean())) - 8) < 0.5
    assert abs((wrists[:, 2] - scene.hand_joints[0, 2]).std() - 0.05) < 0.01
    off = np.array([e.keypoints[0] for e in many]) - np.array(
        (scene.camera.K @ scene.hand_joints[0])[:2] / scene.hand_joints[0, 2]
    )
    assert abs(np.sqrt((off**2).sum(1).mean()) - 10) < 1


def test_the_truth_scores_perfectly_and_a_shift_shows(scene: Scene) -> None:
    truth = truth_of(scene)
    perfect = figures(scene, truth, same_frame=True)
    assert perfect["wrist_error_mm"] == pytest.approx(0, abs=1e-3)
    assert perfect["contact_f1"] == 1
    assert perfect["hand_iou"] > 0.97
    assert perfect["f5"] > 0.99
    assert perfect["cd_cm2"] < 0.05
    moved = replace(truth, hand=replace(truth.hand, transl=truth.hand.transl + np.array([0.01, 0, 0])))
    worse = figures(scene, moved, same_frame=True)
    assert worse["wrist_error_mm"] == pytest.approx(10, abs=0.01)
    assert worse["mpjpe_mm"] == pytest.approx(0, abs=0.01)
    assert worse["mpjpe_mm_unaligned"] == pytest.approx(10, abs=0.01)
    larger = replace(truth, pose=replace(truth.pose, scale=1.2))
    scaled = figures(scene, larger, same_frame=True)
    assert scaled["cd_cm2"] < 0.05 < scaled["cd_cm2_unaligned"]


def test_silhouettes_are_those_of_the_answers_own_camera(scene: Scene) -> None:
    """An answer for a guessed focal length covers the hand in its own picture, though not under the true focal."""
    truth = truth_of(scene)
    guess = from_focal(1.25 * scene.camera.focal, scene.camera.width, scene.camera.height, "prior")
    along = np.array([0, 0, 0.25 * scene.hand_joints[:, 2].mean()])  # as much farther as the lens is longer
    hand = replace(truth.hand, transl=truth.hand.transl + along)
    pose = replace(truth.pose, transl=truth.pose.transl + along)
    own = figures(scene, replace(truth, hand=hand, pose=pose, camera=guess), same_frame=True)
    other = figures(scene, replace(truth, hand=hand, pose=pose), same_frame=True)
    assert own["hand_iou"] > 0.9 > other["hand_iou"] + 0.1
    assert own["object_iou"] > 0.9 > other["object_iou"] + 0.1
    assert own["mpjpe_mm_unaligned"] == other["mpjpe_mm_unaligned"] > 50  # the wrong distance is not forgiven


def test_the_view_prior_tells_no_elevation_scale_or_place(scene: Scene) -> None:
    item, unit, origin = unplaced(scene)
    np.testing.assert_allclose(item.mesh.vertices * unit + origin, scene.solid[0], atol=1e-9)
    relative = item.prior.rotation @ scene.object_pose.rotation.T
    assert np.rad2deg(np.arccos((np.trace(relative) - 1) / 2)) > 3
    np.testing.assert_array_equal(item.prior.transl, [0, 0, 4])


def test_optimisation_brings_the_hand_to_the_object(scene: Scene) -> None:
    item, _, _ = unplaced(scene)
    placed = optimise_stages(
        item, scene.camera, scene.masks, scene.amodal, estimate_of(scene), RECIPE.stage("optimise")
    )
    hand_iou = {stage: figures(scene, p, same_frame=False)["hand_iou"] for stage, p in placed.items()}
    assert list(placed) == ["initial", "camera", "aligned", "refined"]
    assert hand_iou["refined"] > 0.85 > hand_iou["initial"]


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, *numbers: int) -> None:
    """Makes the scenes of these grasps (none named: all) fail in oracle-shape."""
    works = benchmark._ANSWERS["oracle-shape"]

    def fails(scene: Scene, *others: Any) -> Any:
        if not numbers or any(f"#{number} " in scene.name for number in numbers):
            raise error
        return works(scene, *others)

    monkeypatch.setitem(benchmark._ANSWERS, "oracle-shape", fails)


@pytest.fixture
def truth_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage answers with the truth and figures cost nothing: for what is made of them."""
    measured = {**dict.fromkeys(METRICS, 0.5), "held": 1.0}
    monkeypatch.setattr(benchmark, "figures", lambda *_, **__: dict(measured))
    monkeypatch.setitem(
        benchmark._ANSWERS, "oracle-shape", lambda scene, *_: dict.fromkeys(STAGES[1:], truth_of(scene))
    )


def test_a_failed_scene_counts(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, NoHandFound("no hand found"))
    case = run_case(scene, "oracle-shape", RECIPE)
    table = summarise([case], "oracle-shape", 0)
    assert case.failure == "no hand found"
    assert table["failures"] == 1
    assert 0 < table["stages"]["truth"]["residual_mm"]["median"] < 1
    assert table["stages"]["refined"]["f5"]["mean"] == 0.0
    assert table["stages"]["truth"]["contact_f1"]["mean"] == 1.0


def test_weights_that_are_missing_are_no_failed_scene(
    folder: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, MissingWeights("no weights: hoi-annotate models pull cpu"))
    with pytest.raises(MissingWeights):
        run_case(scene, "oracle-shape", RECIPE)
    done = CliRunner().invoke(app, told(folder))
    assert done.exit_code == 1
    assert done.output.strip() == "error: no weights: hoi-annotate models pull cpu"


def test_every_figure_says_over_how_many_scenes_it_is() -> None:
    def case(number: int, failure: str | None, **figures: float) -> Case:
        grasp = Grasp(number, "x", np.zeros((21, 3)), np.zeros(3), Path("x"))
        return Case(f"x #{number}", grasp, {"refined": figures}, failure)

    cases = [
        case(0, None, f5=0.5, cd_cm2=2.0, displacement_cm=float("nan")),
        case(1, None, f5=0.4, cd_cm2=4.0, displacement_cm=float("nan")),
        case(2, "no hand found", f5=0.0),
    ]
    table = summarise(cases, "full", 0)
    refined = table["stages"]["refined"]
    assert list(table["stages"]) == ["refined"]
    assert refined["f5"] == {"mean": pytest.approx(0.3), "median": 0.4, "std": pytest.approx(0.216, abs=1e-3), "n": 3}
    assert refined["cd_cm2"] == {"mean": 3.0, "median": 3.0, "std": 1.0, "n": 2}
    assert refined["displacement_cm"] == {"mean": None, "median": None, "std": None, "n": 0}
    json.dumps(table, allow_nan=False)
    (row,) = evaluating.rows_of(table["stages"], table["n"])
    printed = dict(zip(["", *evaluating.COLUMNS], row, strict=True))
    assert (printed["f5"], printed["cd_cm2"], printed["displacement_cm"]) == ("0.40 / 0.30", "3.00 / 3.00 (2)", "-")


@pytest.mark.usefixtures("truth_answers")
def test_a_run_without_one_answer_prints_what_is_known_and_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, NoHandFound("no hand found"))
    done = CliRunner().invoke(app, [*told(folder), "--json"])
    assert done.exit_code == 1
    table = json.loads(done.stdout)
    assert (table["n"], table["failures"]) == (2, 2)
    assert table["stages"]["truth"]["f5"]["n"] == 2
    assert "error: every scene failed" in done.stderr


@pytest.mark.usefixtures("truth_answers")
def test_the_ablation_counts_its_failures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, NoHandFound("no hand found"), 1)
    monkeypatch.setattr(
        evaluating, "ABLATION", {"the recipe": (), "without keypoints": ("optimise.weight_keypoints=0",)}
    )
    asked = [*told(folder), "--ablation"]
    printed, script = (CliRunner().invoke(app, [*asked, *more]) for more in ([], ["--json"]))
    assert printed.exit_code == script.exit_code == 0, printed.output + script.output
    rows = [line for line in printed.stdout.splitlines() if "(1 failed)" in line]
    assert [row.split(" (1 failed)")[0] for row in rows] == ["the recipe", "without keypoints"]
    for table in json.loads(script.stdout)["ablation"].values():
        assert table["failures"] == 1
        assert table["failed"][0]["reason"] == "no hand found"
        assert {name: table["stages"]["refined"][name]["n"] for name in ("hand_iou", "cd_cm2")} == {
            "hand_iou": 2,
            "cd_cm2": 1,
        }


@pytest.mark.usefixtures("truth_answers")
def test_a_scene_is_made_once_for_all_works_of_its_grasp(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(grasp: Grasp, seed: int) -> Scene:
        made.append(grasp.number)
        return make_scene(grasp, seed)

    monkeypatch.setattr(evaluating, "make_scene", counted)
    rows = [RECIPE.changed(changes) for changes in ([], ["optimise.size=96"])]
    works = [evaluating.Work("oracle-shape", recipe, 0, None, ("refined",)) for recipe in rows]
    cases = list(evaluating.evaluate(load_grasps(folder, folder), works, jobs=1))
    assert [case.grasp.number for case in cases] == [0, 0, 1, 1]
    assert made == [0, 1]
    last = load_grasps(folder, folder)[1:]
    list(evaluating.evaluate(last, works, jobs=1))
    assert made == [0, 1, 1], "the last run's scene may be of another file with a grasp of that number"


def test_every_row_of_the_ablation_changes_the_recipe() -> None:
    settings = {row: RECIPE.changed(changes).stage("optimise") for row, changes in evaluating.ABLATION.items()}
    first, *others = settings
    assert settings[first] == RECIPE.stage("optimise")
    assert [row for row in others if settings[row] == settings[first]] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seed", "-1"], "--seed"),
        (["-o", "nosuch/page.html"], "Invalid value for '--out' / '-o': there is no folder 'nosuch'"),
        (["-o", "."], "is a directory"),
        (["--ablation", "-o", "page.html"], "Invalid value for '--out' / '-o': an ablation has no page"),
        (["--table", "1"], "--table"),
        (["--predictions", "x"], "--predictions"),
        (["--no-ours"], "--ours"),
        (["--dataset", "rendered", "--root", "."], "--grasps"),
    ],
)
def test_an_option_that_would_not_be_used_is_refused(folder: Path, options: list[str], said: str) -> None:
    done = CliRunner().invoke(app, [*told(folder), *options], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert said in done.stderr


def test_an_ablation_of_a_data_set_is_refused() -> None:
    done = CliRunner().invoke(app, ["evaluate", "--dataset", "rendered", "--root", ".", "--ablation"])
    assert done.exit_code == 2
    assert "--ablation" in done.stderr


def test_choose_is_a_drawn_order_without_repeats() -> None:
    grasps = [Grasp(i, "x", np.zeros((21, 3)), np.zeros(3), Path("x")) for i in range(20)]
    chosen = [g.number for g in choose(grasps, 6, seed=3)]
    assert len(set(chosen)) == 6
    assert chosen == [g.number for g in choose(grasps, 6, seed=3)]
    assert len(choose(grasps, 99, seed=3)) == 20


def test_fingers_through_each_other_are_measured() -> None:
    model = load_hand("right")
    flat = grasp("right").pose
    assert self_penetration_mm(model.posed(flat)[0], model) < 1.0
    crossed = flat.hand_pose.copy().reshape(15, 3)
    crossed[0, 1] += 0.6  # the index finger spreads into the middle finger
    crossed[3, 1] -= 0.6
    verts = model.posed(replace(flat, hand_pose=crossed.reshape(-1)))[0]
    other = flat.hand_pose.copy().reshape(15, 3)
    other[0, 1] -= 0.6
    other[3, 1] += 0.6
    opposite = model.posed(replace(flat, hand_pose=other.reshape(-1)))[0]
    assert max(self_penetration_mm(verts, model), self_penetration_mm(opposite, model)) > 3.0


def test_a_setting_is_changed_by_name() -> None:
    changed = RECIPE.changed(["optimise.weight_grip=0", "optimise.registration='icp'"])
    assert changed.stage("optimise")["weight_grip"] == 0
    assert changed.stage("optimise")["registration"] == "icp"
    assert RECIPE.stage("optimise")["weight_grip"] > 0
    with pytest.raises(UnknownRecipe, match="weight_glue"):
        RECIPE.changed(["optimise.weight_glue=1"])


def test_the_papers_recipe_has_the_papers_numbers() -> None:
    paper = Recipe.load("easyhoi-paper").stage("optimise")
    weights = [paper[f"weight_{name}"] for name in ("mask", "penetration", "contact", "regularisation")]
    assert weights == [5, 10, 5, 0.1]
    assert (paper["lr_camera"], paper["lr_alignment"], paper["lr_global"], paper["lr_articulation"]) == (
        1e-2,
        1e-2,
        1e-4,
        1e-2,
    )
    assert paper["registration_at"] == [100, 200]
    assert (paper["decay"], paper["camera_decay"], paper["weight_turn"]) == (1, 1, 0)  # Adam's rates are held
    assert paper["patience"] >= max(paper[f"{stage}_steps"] for stage in ("camera", "alignment", "refinement"))
    assert set(Recipe.load("easyhoi-paper").settings["optimise"]) == set(RECIPE.settings["optimise"])  # it names all


@pytest.mark.slow
def test_the_papers_refinement_does_not_push_the_hand_into_the_object(scene: Scene) -> None:
    """As the paper prints its sums, contact outweighs penetration by 400 to 1."""
    printed = {"penetration_reduction": "mean", "contact_reach": 1.0}
    short = {"camera_steps": 100, "alignment_steps": 200, "refinement_steps": 250}
    settings = Recipe.load("easyhoi-paper").stage("optimise") | short
    placed = benchmark.oracle_shape(scene, settings, {"as printed": printed})
    volume = {name: figures(scene, placed[name], True)["intersection_cm3"] for name in ("refined", "as printed")}
    assert volume["refined"] < volume["as printed"] / 3


def test_the_command_prints_the_same_digits_again_and_writes_a_page(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "benchmark.html"
    first, again = (CliRunner().invoke(app, [*told(folder), "--json", *more]) for more in ([], ["-o", str(page)]))
    assert first.exit_code == again.exit_code == 0, first.output + again.output
    table, repeated = (json.loads(result.stdout) for result in (first, again))
    assert (table["mode"], table["n"], table["seed"], table["failures"]) == ("oracle-shape", 2, 0, 0)
    assert tuple(table["stages"]) == STAGES == ("truth", "initial", "camera", "aligned", "refined")
    for measured in table["stages"].values():
        assert set(METRICS) <= set(measured)
        assert all(set(spread) == {"mean", "median", "std", "n"} for spread in measured.values())
        assert all(measured[name]["n"] == 2 for name in METRICS)
    for stages in (table["stages"], repeated["stages"]):
        for measured in stages.values():
            del measured["seconds"]
    assert table == repeated
    text = page.read_text()
    assert text.count("<figure>") == 3 * 2 * 5  # worst, median and best; both scenes; five stages
    for stage in ("truth", "initial", "camera", "aligned", "refined"):
        assert f"<b>{stage}</b>" in text


@pytest.mark.slow
@pytest.mark.parametrize("only", ["versus", "growth", "workers"])
def test_the_speed_of_the_optimisation_is_printed_as_a_table(folder: Path, only: str) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, root / "benchmarks/speed_optimisation.py", "--grasps", folder, "--meshes", folder]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command += ["--n", "1", "--only", only]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("|")][2:]
    sizes, faces = ["96 px", "160 px", "256 px", "512 px"], ["1000 faces", "1500 faces", "6000 faces", "all 1280 faces"]
    first = {
        "versus": ["cpu", "easyhoi-paper"],
        "growth": [*sizes, *faces, "1 hands", "2 hands", "4 hands"],
        "workers": ["1", "2"],
    }
    assert [row[0] for row in rows] == first[only]


@pytest.mark.slow
def test_the_memory_of_the_optimisation_is_printed_without_a_photo_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load("speed_optimisation")
    monkeypatch.setattr(script, "PHOTO", folder / "none.jpg")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    script.main(["--grasps", str(folder), "--meshes", str(folder), "--n", "1", "--only", "memory"])
    printed = capsys.readouterr()
    rows = [line.strip("| ").split(" | ")[0] for line in printed.out.splitlines()][2:]
    assert rows == ["1 scenes optimised, cpu", "1 scenes optimised, easyhoi-paper"]
    assert "name a photograph with --photo" in printed.err


def test_a_photo_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load("speed_optimisation").main(["--only", "memory", "--photo", "typo.jpg"])
    assert ended.value.code == 2
    assert "error: --photo typo.jpg: there is no such file" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.weights
def test_a_process_that_annotates_a_photo_stays_small() -> None:
    if not all(is_cached(name) for name in WEIGHTS["cpu"]):
        pytest.skip("no weights: hoi-annotate models pull cpu")
    root = Path(__file__).parents[2]
    command = [sys.executable, root / "benchmarks/speed_optimisation.py", "--memory-of", "photo"]
    command += ["--photo", next((root / "demo").glob("*.jpg"))]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)})
    assert done.returncode == 0, done.stderr
    assert 300_000 < int(done.stdout) < 2_500_000  # kB


def test_the_papers_optimisation_is_measured_without_the_papers_weights() -> None:
    """oracle-masks completes and reconstructs with the recipe that [evaluate] names, else with the recipe itself."""
    assert _object_recipe(Recipe.load("easyhoi-paper")).digest == Recipe.load("cpu").digest
    assert _object_recipe(RECIPE) is RECIPE
