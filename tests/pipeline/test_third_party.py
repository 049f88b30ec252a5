"""The example package under examples/, installed as its README says, does its stage."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from grasp_scene import SIZE, grasp
from test_run import Truth

from pipeline import run as pipeline_run
from pipeline.adapters import UnknownAdapter, load_adapter
from pipeline.recipe import Recipe
from pipeline.terms import terms, verdict
from pipeline.types import Photo

ROOT = Path(__file__).parents[2]
RECIPE = 'base = "cpu"\n[inpaint]\nadapter = "hull"\nradius = 3\n'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    package = str(ROOT / "examples" / "hoi-annotate-example")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(target), package], check=True, timeout=120)
    return target


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "mine.toml").write_text(RECIPE)
    return Recipe.load(tmp_path / "mine.toml")


def test_before_it_is_installed_the_recipe_says_what_there_is(recipe: Recipe) -> None:
    with pytest.raises(UnknownAdapter, match="no adapter 'hull' for stage 'inpaint'; known: silhouette"):
        load_adapter("inpaint", "hull", recipe.stage("inpaint"))


def test_it_completes_the_object_on_the_way_of_a_photo(
    site: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(site))
    scene = grasp("right")
    quick = {"camera_steps": 4, "alignment_steps": 4, "refinement_steps": 3}
    recipe = replace(recipe, settings=recipe.settings | {"optimise": recipe.stage("optimise") | quick})

    def load(stage: str, name: str, settings: dict[str, object]) -> object:
        return load_adapter(stage, name, settings) if stage == "inpaint" else Truth(scene)

    monkeypatch.setattr(pipeline_run, "load_adapter", load)
    photo = Photo("ball.jpg", "00", np.full((SIZE, SIZE, 3), 127, np.uint8), focal_px=600.0)
    (pair,) = pipeline_run.annotate_photo(photo, recipe)
    made = pair.reconstruction
    assert made is not None
    assert made.completion.amodal_mask.sum() > scene.object.sum()
    assert "completed by its convex hull" in made.diagnostics["warnings"]
    assert [term.licence for term in terms(recipe) if term.name == "hull"] == ["Apache-2.0"]
    assert verdict(recipe, terms(recipe)) == "recipe 'mine': commercial use is allowed"


def test_the_command_line_knows_it(site: Path, recipe: Recipe, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from annotator.cli import main; main()", "models", "licences", "mine.toml"]
    env = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert any(line.split()[:3] == ["hull", "yes", "Apache-2.0"] for line in done.stdout.splitlines())
