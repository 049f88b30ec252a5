"""Another system's meshes: whatever frame and unit they are in, the same pair comes out, and is measured as ours is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from grasp_scene import RADIUS, grasp
from hypothesis import given, settings
from hypothesis import strategies as st
from test_holding import case_of

from pipeline.evaluate.datasets.case import BadDataset, Case, Surface
from pipeline.evaluate.pair import Pair, contact_figures, measure, shape_figures, truth_pair
from pipeline.evaluate.predictions import FRAMES, METRES, MissingPrediction, Predictions, predictions
from pipeline.evaluate.protocol import run_pair
from pipeline.types import F64, ObjectPose

OPENGL = np.diag([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def case() -> Case:
    return coarse(case_of(grasp("right")))


def coarse(case: Case) -> Case:
    """With a ball that Bullet is fast with."""
    ball = trimesh.creation.icosphere(1, radius=RADIUS)
    return replace(case, object=Surface(np.array(ball.vertices), np.array(ball.faces)))


def in_frame(case: Case, points: F64, frame: str) -> F64:
    """From the camera into the frame that a system answers in."""
    if frame == "opengl":
        return points @ OPENGL
    if frame == "wrist":
        return points - case.joints[0]
    return (points - case.pose.transl) @ case.pose.rotation if frame == "object" else points


def write(
    folder: Path, case: Case, frame: str = "camera", unit: str = "m", suffix: str = ".obj", scale: float = 1.0
) -> None:
    assert case.hand is not None
    at = folder / case.name
    at.mkdir(parents=True, exist_ok=True)
    middle = case.placed.mean(0)
    for name, points, faces in (
        ("hand", case.hand.vertices, case.hand.faces),
        ("object", (case.placed - middle) * scale + middle, case.object.faces),
    ):
        vertices = in_frame(case, points, frame) / METRES[unit]
        trimesh.Trimesh(vertices, faces, process=False).export(at / f"{name}{suffix}")


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("unit", "suffix"), [("m", ".obj"), ("mm", ".ply"), ("cm", ".glb")])
def test_every_frame_unit_and_file_type_gives_the_same_pair(
    case: Case, frame: str, unit: str, suffix: str, tmp_path: Path
) -> None:
    write(tmp_path, case, frame, unit, suffix)
    pair = Predictions("theirs", tmp_path, frame, unit)(case)
    assert case.hand is not None
    assert pair.hand is not None
    assert pair.placed is not None
    np.testing.assert_allclose(pair.hand.vertices, case.hand.vertices, atol=2e-6)
    np.testing.assert_allclose(pair.placed.vertices, case.placed, atol=2e-6)
    np.testing.assert_array_equal(pair.placed.faces, case.object.faces)


def test_the_truth_as_a_prediction_scores_as_the_truth(case: Case, tmp_path: Path) -> None:
    write(tmp_path, case)
    found = measure(case, Predictions("theirs", tmp_path)(case))
    true = measure(case, truth_pair(case))
    assert found["f5"] == found["f5_unaligned"] == 1.0
    assert found["cd_cm2"] < 0.02
    for name in ("intersection_cm3", "displacement_cm", "cd_cm2"):
        assert found[name] == pytest.approx(true[name], rel=0.05, abs=0.02), name


def test_a_scaled_object_is_aligned_away_and_shows_unaligned(case: Case, tmp_path: Path) -> None:
    write(tmp_path, case, scale=1.4)
    pair = Predictions("theirs", tmp_path)(case)
    found = shape_figures(case, pair) | contact_figures(case, pair, long_simulation=False)
    assert found["f5"] == 1.0
    assert found["f5_unaligned"] < 0.2
    assert found["cd_cm2_unaligned"] > 10 * found["cd_cm2"]
    assert found["intersection_cm3"] > 5


@settings(max_examples=4, deadline=None)
@given(st.tuples(*[st.floats(-0.3, 0.3)] * 3))
def test_where_a_pair_stands_before_the_camera_is_no_matter_of_shape(shift: tuple[float, float, float]) -> None:
    case = case_of(grasp("right"))
    still = truth_pair(case)
    assert still.hand is not None
    moved = Pair(
        Surface(still.hand.vertices + shift, still.hand.faces),
        case.joints + shift,
        still.object,
        ObjectPose(still.pose.rotation, still.pose.transl + shift, 1.0),
    )
    a, b = shape_figures(case, still), shape_figures(case, moved)
    assert b == pytest.approx(a, rel=1e-6, abs=1e-6)


def test_a_cloud_of_points_is_measured_for_its_shape(case: Case, tmp_path: Path) -> None:
    write(tmp_path, case)
    at = tmp_path / case.name
    (at / "object.obj").unlink()
    points = trimesh.sample.sample_surface(trimesh.Trimesh(case.placed, case.object.faces), 8000, seed=0)[0]
    trimesh.PointCloud(points[np.lexsort(points.T)]).export(at / "object.ply")
    found = measure(case, Predictions("theirs", tmp_path)(case))
    assert found["f5"] == 1.0
    assert "intersection_cm3" not in found
    assert "displacement_cm" not in found


def test_a_hand_of_points_brings_the_pair_together(case: Case, tmp_path: Path) -> None:
    write(tmp_path, case)
    at = tmp_path / case.name
    assert case.hand is not None
    skin = trimesh.sample.sample_surface(trimesh.Trimesh(case.hand.vertices, case.hand.faces), 8000, seed=0)[0]
    (at / "hand.obj").unlink()
    trimesh.PointCloud(skin + np.array([0.1, 0, 0])).export(at / "hand.ply")
    found = run_pair(case, Predictions("theirs", tmp_path), "refined")
    assert found.failure is None
    assert found.figures["refined"]["f5"] == 1.0
    assert found.figures["refined"]["f10_unaligned"] < 0.1  # the object is 10 cm from where the hand says
    assert "intersection_cm3" not in found.figures["refined"]


def test_a_folder_is_named_after_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "lr=0.1"
    run.mkdir()
    assert predictions(str(run), "camera", "m").name == "lr=0.1"
    assert predictions(f"best={run}", "camera", "m").name == "best"
    monkeypatch.chdir(run)
    assert predictions(".", "camera", "m").name == "lr=0.1"


def test_an_object_without_a_hand_is_measured_alone(case: Case, tmp_path: Path) -> None:
    write(tmp_path, case)
    (tmp_path / case.name / "hand.obj").unlink()
    found = measure(case, Predictions("theirs", tmp_path)(case))
    assert found["f10"] == 1.0
    assert "displacement_cm" not in found


def test_joints_are_measured_when_they_are_given(case: Case, tmp_path: Path) -> None:
    write(tmp_path, case)
    np.savetxt(tmp_path / case.name / "joints.txt", case.joints + np.linspace(0, 0.021, 21)[:, None] * [1, 0, 0])
    assert shape_figures(case, Predictions("theirs", tmp_path)(case))["mpjpe_mm"] == pytest.approx(10.5, abs=0.01)


def test_what_is_missing_or_broken_is_a_failure_with_a_reason(case: Case, tmp_path: Path) -> None:
    theirs = predictions(f"IHOI={tmp_path}", "camera", "m")
    assert theirs.name == "IHOI"
    found = run_pair(case, theirs, "refined")
    assert found.failure is not None
    assert "no folder for this case" in found.failure
    assert found.figures["refined"]["f5"] == 0.0
    (tmp_path / case.name).mkdir()
    with pytest.raises(MissingPrediction, match=r"no object\.obj"):
        theirs(case)
    (tmp_path / case.name / "object.obj").write_text("nothing")
    assert "object.obj" in str(run_pair(case, theirs, "refined").failure)
    write(tmp_path, case)
    (tmp_path / case.name / "joints.txt").write_text("1 2 3\n")
    assert "joints.txt: not 21 lines" in str(run_pair(case, theirs, "refined").failure)
    (tmp_path / case.name / "joints.txt").unlink()
    write(tmp_path, case, unit="mm")
    assert str(run_pair(case, theirs, "refined").failure).endswith("if that is in mm, say --unit mm")
    with pytest.raises(BadDataset, match="no such folder of predictions"):
        predictions(str(tmp_path / "nowhere"), "camera", "m")


def test_figures_are_measured_again_when_the_files_change(case: Case, tmp_path: Path) -> None:
    write(tmp_path, case)
    theirs = Predictions("theirs", tmp_path)
    before = theirs.digest(case.name)
    assert theirs.digest(case.name) == before
    assert Predictions("theirs", tmp_path, "opengl").digest(case.name) != before
    write(tmp_path, case, scale=1.1)
    assert theirs.digest(case.name) != before
