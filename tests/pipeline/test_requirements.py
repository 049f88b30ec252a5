"""What a recipe needs is told before any work, line by line; its licences add up to one verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from annotator.cli import app, gpu
from pipeline import hub, requirements, terms
from pipeline.adapters import SHIPPED
from pipeline.hub_models import MODELS, HubModel
from pipeline.recipe import ADAPTER_STAGES, Recipe, UnknownRecipe
from pipeline.run import _Run, annotate_photo
from pipeline.types import Photo

runner = CliRunner()
PAINT = '[inpaint]\nadapter = "tiny-inpaint"\n'
MANO = '[hand]\nadapter = "landmark-fit"\nhand_model = "mano"\n'
PHOTO = Photo("cup.png", "00", np.zeros((64, 64, 3), np.uint8))


class Inpainter:
    """An adapter with weights, libraries, and more to say."""

    name, version, weights_digest = "tiny-inpaint", "1", ""
    models = ("tiny-segment",)
    ran = False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._python = settings.get("python")

    def needs(self) -> list[str]:
        return [] if self._python else ["tiny-inpaint: needs a Python of its own; run: make one"]


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(SHIPPED["inpaint"], "tiny-inpaint", f"{__name__}:Inpainter")
    monkeypatch.setattr(requirements, "_ready", set())
    for name, licence, commercial, adapters, libraries in (
        ("tiny-paint", "Tiny-NC", False, ("tiny-inpaint",), ("nonesuch_library",)),
        ("tiny-segment", "Tiny-ASK", None, ("other",), ()),
    ):
        model = HubModel(name, f"us/{name}", licence, commercial, 1, 1, "x", adapters, libraries=libraries)
        monkeypatch.setitem(MODELS, name, model)


def recipe(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "mine.toml"
    path.write_text(f'base = "cpu"\n{text}')
    return Recipe.load(path)


def test_everything_that_is_missing_is_told_at_once_before_any_work(tmp_path: Path) -> None:
    mine = recipe(tmp_path, PAINT + MANO)
    cache, mano = tmp_path / "cache", tmp_path / "cache" / "mano"
    expected = [
        f"hand_detector: no weights in {cache}; run: hoi-annotate models pull cpu",
        f"hand_landmarks: no weights in {cache}; run: hoi-annotate models pull cpu",
        "tiny-inpaint: needs nonesuch_library, which is not installed; run: pip install 'hoi-annotate[large]'",
        "tiny-paint: no weights of us/tiny-paint; run: hoi-annotate models pull tiny-paint",
        "tiny-segment: no weights of us/tiny-segment; run: hoi-annotate models pull tiny-segment",
        "tiny-inpaint: needs a Python of its own; run: make one",
        f"hand model 'mano' has no right hand in {mano}; run: hoi-annotate models add-mano PATH",
        f"hand model 'mano' has no left hand in {mano}; run: hoi-annotate models add-mano PATH",
    ]
    assert sorted(requirements.missing(mine)) == sorted(expected)
    with pytest.raises(requirements.NotReady) as raised:
        annotate_photo(PHOTO, mine)
    assert sorted(line.strip() for line in str(raised.value).splitlines()[1:]) == sorted(expected)


def test_a_run_stops_with_the_lines_and_leaves_no_failed_photo(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "cup.png"), np.full((80, 80, 3), 200, np.uint8))
    out = tmp_path / "out"
    done = runner.invoke(app, ["run", str(tmp_path / "cup.png"), "-o", str(out), "--jobs", "0"])
    assert done.exit_code == 1
    lines = done.stderr.strip().splitlines()
    assert lines[-3] == "error: recipe 'cpu' cannot run here yet:"
    assert [line.split(":")[0].strip() for line in lines[-2:]] == ["hand_detector", "hand_landmarks"]
    counts = json.loads(runner.invoke(app, ["status", "-w", str(out), "--json"]).stdout)
    assert counts["failed"] == []


def test_adopted_weights_and_a_python_make_it_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = recipe(tmp_path, PAINT + 'python = "/usr/bin/python3"\n')
    model = MODELS["tiny-paint"]
    monkeypatch.setitem(MODELS, "tiny-paint", HubModel(**(vars(model) | {"libraries": ("json",)})))
    monkeypatch.setattr("pipeline.weights.is_cached", lambda name: True)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "weights").write_bytes(b"0")
    assert len(requirements.missing(mine)) == 2
    for name in ("tiny-paint", "tiny-segment"):
        hub.adopt(name, tmp_path / "files")
    assert requirements.missing(mine) == []
    requirements.check(mine, requirements.adapters(mine))


def test_an_adapter_is_made_once_for_the_check_the_terms_and_the_run(tmp_path: Path) -> None:
    """Two of them would be two models, or two processes of one, on the same GPU."""
    mine = recipe(tmp_path, f"seed = 3\n{PAINT}")
    made = dict(zip(ADAPTER_STAGES, requirements.adapters(mine), strict=True))
    run = _Run(PHOTO, mine, None)
    assert all(run.adapter(stage)[0] is adapter for stage, adapter in made.items())
    assert mine.for_adapter("inpaint")["seed"] == 3


@pytest.mark.parametrize(("vram_gb", "memory_gb", "fitting"), [(24, 25, 1), (24, 80, 3), (24, 16, 1), (0, 16, 4)])
def test_no_more_processes_than_the_gpu_has_memory_for(
    vram_gb: float, memory_gb: float, fitting: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = recipe(tmp_path, f'[placement]\ndevice = "cpu"\nvram_gb = {vram_gb}\n')
    assert requirements.processes(mine, 4) == 4  # nothing limits it
    monkeypatch.setattr("pipeline.device.memory_gb", lambda device: float(memory_gb))
    assert [requirements.processes(mine, most) for most in (0, 1, 4)] == [0, 1, fitting]


def test_one_non_commercial_model_decides_for_the_recipe(tmp_path: Path) -> None:
    free = Recipe.load("cpu")
    assert terms.verdict(free, terms.terms(free)) == "recipe 'cpu': commercial use is allowed"
    mine = recipe(tmp_path, PAINT + MANO)
    found = terms.terms(mine)
    commercial = {term.name: term.commercial for term in found}
    assert (commercial["tiny-paint"], commercial["tiny-segment"], commercial["mano"]) == (False, None, False)
    said = terms.verdict(mine, found)
    assert said.startswith("recipe 'mine': not for commercial use, because of tiny-paint")
    assert "mano" in said
    unsure = [term for term in found if term.commercial is not False]
    assert "read the licences of tiny-segment" in terms.verdict(mine, unsure)


def test_a_third_partys_adapter_is_asked_for_its_licence(tmp_path: Path) -> None:
    mine = recipe(tmp_path, PAINT)
    own = [term for term in terms.terms(mine) if term.name == "tiny-inpaint"]
    assert [(term.licence, term.commercial) for term in own] == [("not stated by its makers", None)]


def test_a_service_has_terms_too(tmp_path: Path) -> None:
    mine = recipe(tmp_path, '[reconstruct]\nadapter = "tripo3d"\n')
    said = terms.verdict(mine, terms.terms(mine))
    assert said == "recipe 'mine': commercial use under conditions; read the licences of tripo3d"


def test_a_recipe_on_a_base_keeps_what_it_does_not_change(tmp_path: Path) -> None:
    cpu = Recipe.load("cpu")
    text = 'seed = 3\n[placement]\nvram_gb = 8\n[segment]\nadapter = "landmark"\nthreads = 1\n'
    mine = recipe(tmp_path, text + "[optimise]\ncamera_steps = 7\n")
    assert (mine.name, mine.seed, mine.vram_gb) == ("mine", 3, 8)
    assert mine.settings["optimise"] == cpu.settings["optimise"] | {"camera_steps": 7}
    assert mine.stage("segment") == {"vram_gb": 8, "adapter": "landmark", "threads": 1}
    assert mine.telling("segment") == {"adapter": "landmark", "threads": 1}
    (tmp_path / "second.toml").write_text('base = "mine.toml"\nseed = 4\n[segment]\nadapter = "sam2"\n')
    second = Recipe.load(tmp_path / "second.toml")
    assert (second.name, second.seed, second.vram_gb) == ("second", 4, 8)
    assert second.telling("segment") == {"adapter": "sam2"}
    (tmp_path / "mine.toml").write_text('base = "second.toml"\n')
    with pytest.raises(UnknownRecipe, match="stands on itself"):
        Recipe.load(tmp_path / "second.toml")


@pytest.mark.parametrize("name", ["cpu", "easyhoi-paper", "large"])
def test_shipped_recipes_have_every_section(name: str) -> None:
    shipped = Recipe.load(name)
    assert shipped.name == name
    assert shipped.stage("camera")["adapter"]
    assert {"weight_mask", "device"} <= set(shipped.stage("optimise"))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "wants 8 GB (its largest model is tiny-paint, 1 GB); there is no GPU"),
        ([gpu.Gpu("cuda:0", "A card", 24.0, "bfloat16")], "fits"),
        ([gpu.Gpu("cuda:0", "A card", 4.0, "float16")], "the GPU has 4 GB: set vram_gb = 4 in its [placement]"),
        ([gpu.Gpu("mps", "Apple GPU", None, "float16")], "fits"),
    ],
)
def test_doctor_says_whether_a_recipe_fits_the_gpu(tmp_path: Path, found: list[gpu.Gpu], said: str) -> None:
    mine = recipe(tmp_path, f"[placement]\nvram_gb = 8\n{PAINT}")
    told = list(gpu.recipe_findings(mine, found))
    assert said in told[0][2]
    assert [line for _, _, line in told[1:]] == requirements.missing(mine)


def test_doctor_gpu_says_what_is_here() -> None:
    told = json.loads(runner.invoke(app, ["doctor", "--gpu", "--json"]).stdout)
    checks = {entry["check"]: entry for entry in told}
    assert {"torch", "rasteriser", "recipe large", "recipe easyhoi-paper"} <= set(checks)
    assert bool(gpu.gpus()) != ("GPU" in checks)
    assert all(entry["state"] in ("ok", "note") for entry in told)


def test_a_recipe_older_than_a_setting_of_the_optimisation_has_the_cpu_recipes() -> None:
    cpu = Recipe.load("cpu")
    settings = {**cpu.settings, "optimise": {k: v for k, v in cpu.settings["optimise"].items() if k != "camera_decay"}}
    old = Recipe("mine", settings)
    assert old.stage("optimise") == cpu.stage("optimise")
    assert old.digest != cpu.digest
