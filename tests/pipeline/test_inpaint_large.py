"""The generative inpainters on a real photo, with tiny pipelines of the same classes, and what surrounds them."""

from __future__ import annotations

import inspect
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import diffusers
import held_can
import numpy as np
import pytest
import tiny_models
import torch

from pipeline import device, hub
from pipeline.adapters import load_adapter
from pipeline.errors import EmptyMask, MissingExtra, MissingWeights
from pipeline.inpaint import amodal, silhouette
from pipeline.inpaint.amodal import UnknownResegmenter, amodal_mask
from pipeline.inpaint.composite import painted
from pipeline.inpaint.diffusion import DiffusionInpainter
from pipeline.inpaint.flux2_klein import Flux2KleinInpainter
from pipeline.inpaint.generative import Drifted, GenerativeInpainter
from pipeline.inpaint.qwen_edit import QwenEditInpainter
from pipeline.inpaint.sdxl_inpaint import SdxlInpainter
from pipeline.inpaint.window import GRID, enlarged, tiles, window_around
from pipeline.segment.prompts import Ask, Prompt, under
from pipeline.segment.scene import dilate
from pipeline.types import U8, Completion, Mask, Masks

PHOTO, MASKS = held_can.photo(), held_can.masks()
WINDOW = window_around(MASKS)
TINY = ("sd-inpaint", "flux-fill", "flux2-klein", "lama")
SMALL = {"size": 64, "tile": 64, "steps": 2, "drift_limit": 255, "resegment": "silhouette"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    for name in (*TINY, "sam2"):
        tiny_models.build(name, folder)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(silhouette, "find_mirrors", lambda visible, hidden: [])  # seconds of a search tested elsewhere
    device.release()
    return tmp_path / "cache"


def adopt(built: Path, *names: str) -> None:
    for name in names:
        hub.adopt(name, built / name)


class Painter(GenerativeInpainter):
    """Paints its settings' colour into the hole and shifts all other pixels by `shift` levels."""

    name = "painter"
    version = "1"
    model = "lama"

    def paint(self, image: U8, hole: Mask, generator: torch.Generator) -> U8:
        moved = np.clip(image.astype(int) + int(self.settings.get("shift", 0)), 0, 255).astype(np.uint8)
        return np.where(hole[..., None], np.array([10, 200, 30], np.uint8), moved)


def kept(completion: Completion, masks: Masks = MASKS) -> None:
    """What every completion promises."""
    assert completion.image.shape == PHOTO.image.shape
    assert completion.image.dtype == np.uint8
    assert completion.amodal_mask.shape == PHOTO.size
    assert completion.amodal_mask.dtype == bool
    hole = np.zeros(PHOTO.size, dtype=bool)
    hole[WINDOW.rows, WINDOW.columns] = WINDOW.hole
    assert np.array_equal(completion.image[~hole], PHOTO.image[~hole])
    assert np.array_equal(completion.image[masks.object], PHOTO.image[masks.object])
    assert (completion.amodal_mask & MASKS.object).sum() > 0.99 * masks.object.sum()
    beyond = ~dilate(MASKS.hand | MASKS.arm | MASKS.object, 8)
    assert not (completion.amodal_mask & beyond).any()


# Window, tiles, composite.


def test_the_window_holds_object_and_hand_and_the_hole_is_never_the_object() -> None:
    assert WINDOW.cut(MASKS.object).sum() == MASKS.object.sum()
    assert WINDOW.cut(MASKS.hand).sum() == MASKS.hand.sum()
    assert not (WINDOW.hole & WINDOW.cut(MASKS.object)).any()
    limbs = WINDOW.cut(MASKS.hand | MASKS.arm)
    assert (WINDOW.hole & limbs).sum() == (limbs & ~WINDOW.cut(MASKS.object)).sum()
    assert WINDOW.hole.sum() > limbs.sum()


@pytest.mark.parametrize(("shape", "least"), [((300, 200), 1024), ((90, 77), 64), ((1201, 1300), 1024), ((5, 9), 16)])
def test_a_picture_is_worked_on_at_least_so_large_on_the_grid(shape: tuple[int, int], least: int) -> None:
    large = enlarged(np.zeros((*shape, 3), np.uint8), least)
    assert all(side % GRID == 0 for side in large.shape[:2])
    assert max(large.shape[:2]) >= max(least, max(shape) - GRID // 2)


@pytest.mark.parametrize("shape", [(64, 64), (64, 160), (208, 272), (1040, 1600)])
def test_tiles_cover_the_hole_and_have_the_size_the_model_wants(shape: tuple[int, int]) -> None:
    hole = np.zeros(shape, dtype=bool)
    hole[shape[0] // 4 :, shape[1] // 3 :] = True
    covered = np.zeros(shape, dtype=bool)
    for rows, columns in tiles(hole, 64):
        assert (rows.stop - rows.start, columns.stop - columns.start) == (64, 64)
        assert hole[rows, columns].any()
        covered[rows, columns] = True
    assert covered[hole].all()


def test_only_the_hole_changes_and_the_hand_is_gone_from_it() -> None:
    image, drift = painted(
        PHOTO.image, WINDOW, lambda image, hole: Painter({}).paint(image, hole, torch.Generator()), 1024, 1024
    )
    hole = WINDOW.hole
    assert drift == 0
    outside = np.ones(PHOTO.size, dtype=bool)
    outside[WINDOW.rows, WINDOW.columns] = ~hole
    assert np.array_equal(image[outside], PHOTO.image[outside])
    limbs = WINDOW.limbs & hole
    assert np.abs(WINDOW.cut(image)[limbs].astype(int) - [10, 200, 30]).max() <= 1
    rim = hole & ~WINDOW.limbs
    weight = np.abs(WINDOW.cut(image)[rim].astype(int) - WINDOW.cut(PHOTO.image)[rim]).sum(-1)
    assert 0 < np.median(weight) < np.median(np.abs(np.array([10, 200, 30]) - WINDOW.cut(PHOTO.image)[rim]).sum(-1))


def test_the_model_is_not_shown_the_skin_at_the_rims_of_the_object() -> None:
    shown = []

    def paint(image: U8, hole: Mask) -> U8:
        shown.append(hole)
        return image

    painted(PHOTO.image, WINDOW, paint, 64, 1024)
    small = shown[0].shape[::-1]
    rims = dilate(WINDOW.limbs, WINDOW.seam / 2) & WINDOW.cut(MASKS.object)
    assert rims.any()
    assert shown[0][cv2.resize(rims.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST) > 0].all()


def test_later_tiles_see_what_earlier_ones_painted() -> None:
    seen = []

    def paint(image: U8, hole: Mask) -> U8:
        seen.append(float((image[hole] == [10, 200, 30]).all(-1).mean()))
        return np.where(hole[..., None], np.array([10, 200, 30], np.uint8), image)

    painted(PHOTO.image, WINDOW, paint, 256, 96)
    assert len(seen) > 3
    assert seen[0] == 0
    assert max(seen[1:]) > 0.1


def test_drift_is_what_the_model_did_to_pixels_it_was_to_keep() -> None:
    _, drift = painted(PHOTO.image, WINDOW, lambda i, h: np.where(i < 200, i + 12, i).astype(np.uint8), 256, 1024)
    assert 8 < drift <= 12


# What becomes of an answer.


def test_a_drifting_model_is_noted_then_not_believed_then_refused() -> None:
    plain = {"size": 64, "resegment": "silhouette"}
    assert Painter(plain).complete(PHOTO, MASKS).notes == ()
    noted = Painter({**plain, "shift": 12}).complete(PHOTO, MASKS)
    assert noted.notes == ("painter changed the picture outside the hand by 12 of 255 levels",)
    kept(noted)
    fallen = Painter({**plain, "shift": 60}).complete(PHOTO, MASKS)
    assert fallen.notes[-1].startswith("painter changed the picture outside the hand by ")
    assert fallen.notes[-1].endswith("of 255 levels: completed without it")
    green = (WINDOW.cut(fallen.image) == [10, 200, 30]).all(-1)
    assert not green.any()
    with pytest.raises(Drifted, match=r"^photo_can.jpg: painter changed .* not used; try another seed$"):
        Painter({**plain, "shift": 60, "on_drift": "refuse"}).complete(PHOTO, MASKS)


def test_an_empty_object_cannot_be_completed() -> None:
    nothing = replace(MASKS, object=np.zeros_like(MASKS.object))
    with pytest.raises(EmptyMask, match=r"photo_can.jpg: the object mask is empty"):
        Painter(SMALL).complete(PHOTO, nothing)


def answering(mask: Mask, asked: list[Prompt]) -> Any:
    """Stands for SAM 2: answers with the window's part of a photo-sized mask."""

    class Model:
        MODEL = "sam2"

        @staticmethod
        def looking_at(image: U8, settings: Any, adapter: str) -> Ask:
            def ask(prompt: Prompt) -> tuple[Mask, float]:
                asked.append(prompt)
                assert image.shape[:2] == WINDOW.hole.shape
                return WINDOW.cut(mask), 1.0

            return ask

    return Model


def test_the_amodal_mask_is_what_sam_sees_where_it_can_be_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Prompt] = []
    everything = np.ones(PHOTO.size, dtype=bool)
    monkeypatch.setitem(amodal.RESEGMENT, "sam2", answering(everything, asked))
    mask, notes = amodal_mask(PHOTO.image, MASKS, WINDOW, {}, "painter")
    assert notes == ()
    assert (mask & MASKS.object).sum() == MASKS.object.sum()
    hidden = dilate(MASKS.hand | MASKS.arm, 2 * WINDOW.seam)
    assert (mask & ~hidden & ~MASKS.object).sum() < silhouette.PINHOLE * MASKS.object.sum()
    (prompt,) = asked
    visible = WINDOW.cut(MASKS.object)
    assert under(visible, prompt.inside).all()
    assert prompt.box is not None
    ys, xs = np.nonzero(visible)
    assert (prompt.box[:2] < [xs.min(), ys.min()]).all()
    assert (prompt.box[2:] > [xs.max(), ys.max()]).all()


def test_every_visible_part_is_pointed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Prompt] = []
    parts = MASKS.object.copy()
    parts[120:140] = False  # as by a finger
    monkeypatch.setitem(amodal.RESEGMENT, "sam2", answering(MASKS.object, asked))
    amodal_mask(PHOTO.image, replace(MASKS, object=parts), WINDOW, {}, "painter")
    rows = asked[0].inside[:, 1] + WINDOW.rows.start
    assert (rows < 120).any()
    assert (rows > 140).any()


def test_an_answer_about_something_else_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(amodal.RESEGMENT, "sam2", answering(MASKS.hand, []))
    mask, notes = amodal_mask(PHOTO.image, MASKS, WINDOW, {}, "painter")
    assert notes == ("sam2 did not find the completed object again: silhouette without it",)
    assert np.array_equal(mask, silhouette.complete_silhouette(MASKS)[0])


def test_an_unknown_way_to_the_mask_is_refused_at_once() -> None:
    with pytest.raises(UnknownResegmenter, match="resegment = 'sam9' is none of sam2, sam, silhouette"):
        Painter({"resegment": "sam9"})


# The adapters.


@pytest.mark.parametrize("name", TINY)
def test_an_adapter_paints_the_same_bytes_twice_and_only_the_hole(built: Path, name: str) -> None:
    adopt(built, name)
    first = load_adapter("inpaint", name, {**SMALL, "device": "cpu"}).complete(PHOTO, MASKS)
    kept(first)
    hole = WINDOW.hole & WINDOW.limbs
    assert (WINDOW.cut(first.image) != WINDOW.cut(PHOTO.image)).any(-1)[hole].mean() > 0.5
    device.release()
    again = load_adapter("inpaint", name, {**SMALL, "offload": "model", "vram_gb": 2}).complete(PHOTO, MASKS)
    assert again.image.tobytes() == first.image.tobytes()
    assert again.amodal_mask.tobytes() == first.amodal_mask.tobytes()
    assert again.notes == first.notes


def test_another_seed_is_another_picture(built: Path) -> None:
    adopt(built, "sd-inpaint")
    one, two = (load_adapter("inpaint", "sd-inpaint", {**SMALL, "seed": s}).complete(PHOTO, MASKS) for s in (0, 1))
    assert (one.image != two.image).any()


def test_the_completed_object_is_looked_for_by_a_real_sam2(built: Path) -> None:
    adopt(built, "sd-inpaint", "sam2")
    adapter = load_adapter("inpaint", "sd-inpaint", {**SMALL, "resegment": "sam2"})
    kept(adapter.complete(PHOTO, MASKS))
    assert adapter.weights_digest == f"{hub.digest('sd-inpaint')} {hub.digest('sam2')}"


@pytest.mark.parametrize("name", ["sd-inpaint", "sdxl-inpaint", "flux-fill", "flux2-klein", "qwen-edit", "lama"])
def test_without_weights_one_line_says_how_to_get_them(name: str) -> None:
    with pytest.raises(MissingWeights, match=rf"^{name}: no weights.*hoi-annotate models \w+ {name}") as told:
        load_adapter("inpaint", name, SMALL).complete(PHOTO, MASKS)
    assert "\n" not in str(told.value)


def test_a_broken_snapshot_is_one_line(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "sd-inpaint", tmp_path / "broken")
    (tmp_path / "broken" / "unet" / "config.json").write_text("{")
    hub.adopt("sd-inpaint", tmp_path / "broken")
    with pytest.raises(MissingWeights, match=r"^sd-inpaint: the files in .*broken do not load as diffusers\.") as told:
        load_adapter("inpaint", "sd-inpaint", SMALL).complete(PHOTO, MASKS)
    assert "\n" not in str(told.value)


def test_without_diffusers_one_line_says_what_to_install(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(built, "sd-inpaint")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtra, match=r"^sd-inpaint: needs diffusers.*pip install 'hoi-annotate\[large\]'$"):
        load_adapter("inpaint", "sd-inpaint", SMALL).complete(PHOTO, MASKS)


def test_an_older_diffusers_without_the_pipeline_is_one_line(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(built, "flux2-klein")
    monkeypatch.setattr(Flux2KleinInpainter, "pipeline", "Flux9Pipeline")
    with pytest.raises(MissingExtra, match=r"^flux2-klein: this diffusers has no Flux9Pipeline; run: pip install -U"):
        Flux2KleinInpainter(SMALL).complete(PHOTO, MASKS)


def test_a_full_gpu_is_one_line(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(built, "lama")

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(torch.jit, "load", full)
    with pytest.raises(Exception, match=r"^lama: the GPU's memory is full; set offload = \"model\" or \"sequential\""):
        load_adapter("inpaint", "lama", SMALL).complete(PHOTO, MASKS)


@pytest.mark.parametrize("adapter", [SdxlInpainter, QwenEditInpainter])
def test_a_pipeline_too_large_to_make_here_knows_every_argument(adapter: type[DiffusionInpainter]) -> None:
    called = inspect.signature(getattr(diffusers, adapter.pipeline).__call__).parameters
    common = {"prompt", "image", "mask_image", "height", "width", "num_inference_steps", "generator"}
    assert common | set(adapter({}).arguments(1.0)) <= set(called)
