"""The pictures of a pair and the contact sheet."""

from __future__ import annotations

import dataclasses
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image
from report_scene import HEIGHT, WIDTH, pair_view

from annotator.report import pictures as p
from annotator.report import write_contact_sheet
from annotator.report.sheet import CAPTION, FAILED_HEIGHT, GAP, TILE
from annotator.report.sheet import WIDTH as SHEET_WIDTH


def test_the_overlay_lies_on_the_photo():
    view = pair_view("right")
    photo = p.photo_picture(view, p.whole(view), WIDTH)
    overlay = p.overlay_picture(view, p.whole(view), WIDTH)
    assert photo.shape == overlay.shape == (HEIGHT, WIDTH, 3)
    changed = (photo.astype(int) - overlay != 0).any(-1)
    pair = view.reconstruction
    meshes = pair.masks.hand | pair.completion.amodal_mask
    assert (changed & meshes).sum() > 0.98 * meshes.sum()
    near = cv2.dilate(meshes.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert not (changed & ~near).any()  # outside the pair only the white outline, 3 pixels at most


def test_the_overlay_of_a_window_is_the_window_of_the_overlay():
    view = pair_view("right")
    window = p.Window(100, 60, 340, 300)
    part = p.overlay_picture(view, window, 1000)
    full = p.overlay_picture(view, p.whole(view), 1000)[60:300, 100:340]
    assert part.shape == full.shape
    pair = view.reconstruction.masks.hand | view.reconstruction.completion.amodal_mask
    inside = cv2.erode(pair.astype(np.uint8), np.ones((9, 9), np.uint8))[60:300, 100:340] > 0  # not the outline
    assert inside.sum() > 10_000
    assert np.abs(part[inside].astype(int) - full[inside]).max() <= 2


def test_the_window_holds_the_pair_and_stays_in_the_photo():
    view = pair_view("left")
    window = p.around_pair(view)
    pair = view.reconstruction.masks.hand | view.reconstruction.completion.amodal_mask
    outside = pair.copy()
    outside[window.y0 : window.y1, window.x0 : window.x1] = False
    assert not outside.any()
    assert 0 <= window.x0 < window.x1 <= WIDTH
    assert 0 <= window.y0 < window.y1 <= HEIGHT
    assert window.x1 - window.x0 == window.y1 - window.y0


def test_masks_and_contacts_show_their_colours():
    view = pair_view("right")
    masks = p.masks_picture(view, p.whole(view), WIDTH)
    contacts = p.contacts_picture(view, p.whole(view), WIDTH)
    hand, front = view.reconstruction.masks.hand, view.reconstruction.contacts.front
    photo = view.photo.image.astype(int)
    assert (masks[hand][:, 2].astype(int) - photo[hand][:, 2]).mean() > 40  # bluer
    assert contacts[front][:, 0].mean() > contacts[~front][:, 0].mean() + 40  # redder


def test_the_photo_is_scaled_down_never_up():
    view = pair_view("right")
    assert p.photo_picture(view, p.whole(view), 96).shape == (80, 96, 3)
    assert p.photo_picture(view, p.whole(view), 5000).shape == (HEIGHT, WIDTH, 3)


def test_the_turntable_turns():
    strip = p.turntable_strip(pair_view("right"), 48, frames=6)
    assert strip.shape == (48, 288, 3)
    frames = strip.reshape(48, 6, 48, 3).swapaxes(0, 1).astype(int)
    assert all(np.abs(frames[k] - frames[k - 1]).mean() > 2 for k in range(6))


@pytest.mark.parametrize("count", [0, 1, 4])
def test_the_sheet_has_a_row_for_two_pairs_and_lists_failures(tmp_path, count):
    views = [pair_view("right") for _ in range(count)]
    out = tmp_path / "new" / "sheet.png"
    write_contact_sheet(iter(views), out, [("sechs Hände.jpg", "no hand was found"), ("b.png", "not an image")])
    with Image.open(out) as sheet:
        sheet.load()
        rows = (count + 1) // 2
        assert sheet.size == (SHEET_WIDTH, GAP + rows * (TILE + CAPTION + GAP) + FAILED_HEIGHT + GAP)
        assert sheet.mode == "RGB"
        failed = np.asarray(sheet)[-GAP - FAILED_HEIGHT // 2, GAP + 5]
    assert failed[0] > failed[1] + 8  # the reddish card
    assert [path.name for path in out.parent.iterdir()] == ["sheet.png"]


def test_a_sheet_that_fails_leaves_nothing_behind(tmp_path):
    def broken():
        yield pair_view("right")
        raise RuntimeError("the database went away")

    with pytest.raises(RuntimeError, match="went away"):
        write_contact_sheet(broken(), tmp_path / "sheet.png", [])
    assert not list(tmp_path.iterdir())


def test_memory_stays_flat_however_many_pairs(tmp_path):
    view = dataclasses.replace(pair_view("right"), photo_name="x")

    def peak(count: int) -> int:
        tracemalloc.start()
        write_contact_sheet((view for _ in range(count)), tmp_path / "sheet.png", [])
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    peak(2)  # compiles and caches
    assert peak(24) < peak(4) + 2_000_000
