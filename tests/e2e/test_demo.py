"""The README's demo with the real models: photographs to reviewed, exported, verified pairs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.weights]
SIDES = {"photo_can.jpg": "right", "photo_carton.jpg": "left"}


def hoi(cwd: Path, *arguments: str) -> str:
    """stdout of a command that must succeed."""
    command = [sys.executable, "-c", "from annotator.cli import main; main()", *arguments]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pairs(workspace: Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(hoi(workspace, "list", "--json"))
    return listed


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    hoi(folder, "run", str(ROOT / "demo"), "-o", "ws")
    return folder / "ws"


def test_both_pictures_give_a_pair_of_the_right_side_that_fits_the_picture(workspace: Path) -> None:
    found = pairs(workspace)
    assert {pair["photo"]: pair["side"] for pair in found} == SIDES
    for pair in found:
        metrics = pair["metrics"]
        assert metrics["object_iou"] > 0.9
        assert metrics["hand_iou"] > 0.6
        assert metrics["contact_fraction"] > 0.05
        assert metrics["penetration_mm"] < 15


def test_what_show_saves_fits_together(workspace: Path, tmp_path: Path) -> None:
    pair = pairs(workspace)[0]["pair"]
    hoi(workspace, "show", pair, "--save", str(tmp_path / "pair"))
    saved = tmp_path / "pair"
    masks = {name: np.asarray(Image.open(saved / f"{name}.png")) for name in ("hand", "object", "object_amodal")}
    assert all(mask.shape == (768, 768) and set(np.unique(mask)) <= {0, 255} for mask in masks.values())
    assert not (masks["hand"] & masks["object"]).any()
    scene = trimesh.load(saved / "pair.glb")
    described = json.loads((saved / "pair.json").read_text())
    K = np.asarray(described["camera"]["K"])
    corners = scene.geometry["object"].vertices @ K.T
    pixels = (corners[:, :2] / corners[:, 2:]).astype(int)
    inside = masks["object_amodal"][pixels[:, 1].clip(0, 767), pixels[:, 0].clip(0, 767)] > 0
    assert inside.mean() > 0.9  # the GLB is in the camera frame: its vertices project into the amodal mask


def test_a_fix_makes_revision_2_and_accepted_pairs_are_exported_and_verified(workspace: Path, tmp_path: Path) -> None:
    first, second = (pair["pair"] for pair in pairs(workspace))
    fixed = json.loads(hoi(workspace, "review", "fix", first, "--not-touching", "little", "--json"))
    assert fixed["revision"] == 2
    assert set(fixed["seconds"]) - set(fixed["reused"]) <= {"contact_alignment", "refinement", "assess"}
    gap = fixed["metrics"]["not_touching_little_mm"]
    assert gap["after"] >= min(5.0, gap["before"])
    for pair in (first, second):
        hoi(workspace, "review", "accept", pair)
    hoi(workspace, "export", "--format", "obman", "-o", str(tmp_path / "dataset"))
    hoi(workspace, "verify", str(tmp_path / "dataset"))
    metas = list((tmp_path / "dataset").glob("*/meta/*.pkl"))
    assert len(metas) == 2


def test_another_workspace_gives_the_same_bytes(workspace: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo_can.jpg"
    shutil.copy(ROOT / "demo" / "photo_can.jpg", photo)
    hoi(tmp_path, "run", str(photo), "-o", "again")

    def masks_and_pose(folder: Path, out: Path) -> dict[str, bytes]:
        (pair,) = (p["pair"] for p in pairs(folder) if p["photo"] == "photo_can.jpg")
        hoi(folder, "show", pair, "--revision", "1", "--save", str(out))
        return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".png", ".glb")}

    assert masks_and_pose(workspace, tmp_path / "a") == masks_and_pose(tmp_path / "again", tmp_path / "b")
