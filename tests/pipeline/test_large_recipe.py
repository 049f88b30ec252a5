"""The recipe `large` as a user without weights meets it, and one on top of it, with tiny weights, all the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trimesh
from PIL import Image
from typer.testing import CliRunner

from annotator.cli import app
from pipeline import device, hub, weights
from pipeline.recipe import Recipe
from pipeline.requirements import adapters, published

tiny_models = pytest.importorskip("tiny_models", reason="needs the extra 'large'")
held_can = pytest.importorskip("held_can")
runner = CliRunner()

TINY = """
base = "large"
max_side = {side}
[placement]
device = "cpu"
[camera]
adapter = "exif-fov"
[segment]
adapter = "masks"
folder = "{folder}"
[hand]
adapter = "landmark-fit"
[inpaint]
adapter = "sd-inpaint"
resegment = "sam2"
steps = 2
size = 64
tile = 64
drift_limit = 255
[reconstruct]
adapter = "mesh"
path = "{folder}/can.ply"
frame = "instantmesh"
[optimise]
size = 96
camera_steps = 4
alignment_steps = 4
refinement_steps = 3
"""


@pytest.mark.parametrize("name", ["large", "easyhoi-paper"])
def test_a_run_without_weights_stops_with_one_line_for_each(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    done = runner.invoke(app, ["run", str(held_can.PHOTO), "-o", str(out), "--recipe", name, "--jobs", "0"])
    assert done.exit_code == 1
    told = done.stderr.partition(f"error: recipe '{name}' cannot run here yet:\n")[2].splitlines()
    assert all(line.startswith("  ") and " run: " in line for line in told)
    for model in published(Recipe.load(name)):
        (line,) = [line for line in told if f"{model.name}: no weights" in line]
        command = "adopt" if not model.repo else "pull"
        assert f"run: hoi-annotate models {command} {model.name}" in line
    status = json.loads(runner.invoke(app, ["status", "-w", str(out), "--json"]).stdout)
    assert (status["pairs"], status["failed"]) == (0, [])


@pytest.mark.parametrize("name", ["large", "easyhoi-paper"])
def test_every_adapter_of_a_shipped_recipe_exists_and_is_what_its_name_says(name: str) -> None:
    recipe = Recipe.load(name)
    made = adapters(recipe)
    assert [a.name for a in made] == [
        recipe.stage(stage)["adapter"] for stage in ("camera", "detect", "segment", "hand", "inpaint", "reconstruct")
    ]
    assert max(model.vram_gb for model in published(recipe)) <= recipe.vram_gb


@pytest.mark.weights
@pytest.mark.slow
def test_with_tiny_weights_a_photo_becomes_a_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector and the optimisation are real, SD and SAM 2 of the real classes, masks and mesh given."""
    needed = [weights.WEIGHTS[name] for name in ("hand_detector", "hand_landmarks")]
    if not all(weights.is_cached(weight.name) for weight in needed):
        pytest.skip("no weights: hoi-annotate models pull cpu")
    cache = tmp_path / "cache"
    cache.mkdir()
    for weight in needed:
        (cache / weight.filename).symlink_to(weights.weight_path(weight.name))
    monkeypatch.setenv("HOI_CACHE", str(cache))
    for name in ("sd-inpaint", "sam2"):
        assert runner.invoke(app, ["models", "adopt", name, str(tiny_models.build(name, tmp_path))]).exit_code == 0
    masks = held_can.masks()
    for what in ("hand", "object", "arm"):
        Image.fromarray(getattr(masks, what)).convert("L").save(tmp_path / f"photo_can.{what}.png")
    trimesh.creation.cylinder(0.033, 0.115).export(tmp_path / "can.ply")
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY.format(side=held_can.SIDE, folder=tmp_path))
    try:
        out = tmp_path / "out"
        told = ["run", str(held_can.PHOTO), "-o", str(out), "--recipe", str(recipe), "--jobs", "0", "--json"]
        done = runner.invoke(app, told)
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["revisions"] == 1
        assert (out / "report.html").is_file()
        assert {key.split()[1] for key in device.resident() if "Pipeline" in key or "Model" in key} == {
            "sd-inpaint",
            "sam2",
        }
        assert hub.digest("sd-inpaint")
    finally:
        device.release()
