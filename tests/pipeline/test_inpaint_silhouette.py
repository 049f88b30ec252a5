"""Completion of drawn objects whose whole silhouette is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.errors import EmptyMask
from pipeline.inpaint.fill import fill_from
from pipeline.inpaint.silhouette import SilhouetteInpainter, complete_silhouette
from pipeline.inpaint.symmetry import find_mirrors
from pipeline.types import Completion, Mask, Masks, Photo

SHAPE = (240, 320)
OBJECT_COLOUR, SKIN, WALL = (30, 110, 180), (205, 150, 120), (90, 200, 90)


def blank() -> Mask:
    return np.zeros(SHAPE, dtype=bool)


def box(x0: int, y0: int, x1: int, y1: int) -> Mask:
    mask = blank()
    mask[y0:y1, x0:x1] = True
    return mask


def drawn(shape: str, *args: object) -> Mask:
    out = np.zeros(SHAPE, np.uint8)
    getattr(cv2, shape)(out, *args)
    return out > 0


def disc(x: int, y: int, r: int) -> Mask:
    return drawn("circle", (x, y), r, 1, -1)


def finger(*points: tuple[int, int], thick: int = 22) -> Mask:
    return drawn("polylines", [np.array(points, np.int32)], False, 1, thick)


def scene(whole: Mask, hand: Mask, arm: Mask | None = None) -> tuple[Photo, Masks]:
    """A photo of the object with the hand painted over it."""
    arm = blank() if arm is None else arm
    image = np.full((*SHAPE, 3), WALL, np.uint8)
    image[whole] = OBJECT_COLOUR
    image[hand | arm] = SKIN
    return Photo("drawn.png", "", image), Masks(hand, whole & ~hand & ~arm, arm & ~hand)


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def complete(photo: Photo, masks: Masks) -> Completion:
    return SilhouetteInpainter({}).complete(photo, masks)


def parts(mask: Mask) -> int:
    return int(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]) - 1


def test_joins_what_a_finger_divides() -> None:
    whole = box(100, 60, 200, 200)
    photo, masks = scene(whole, finger((60, 120), (320, 120)))
    assert parts(masks.object) == 2
    done = complete(photo, masks)
    assert parts(done.amodal_mask) == 1
    assert iou(done.amodal_mask, whole) > 0.97


def test_original_pixels_are_kept_exactly() -> None:
    photo, masks = scene(box(100, 60, 200, 200), finger((60, 120), (320, 140)))
    noisy = np.random.default_rng(0).integers(0, 256, photo.image.shape, dtype=np.uint8)
    photo = Photo("noise.png", "", noisy)
    done = complete(photo, masks)
    assert (done.image[masks.object] == noisy[masks.object]).all()
    assert (done.image[~done.amodal_mask] == noisy[~done.amodal_mask]).all()


def test_no_skin_and_no_wall_in_the_fill() -> None:
    whole = box(100, 60, 200, 200)
    photo, masks = scene(whole, finger((60, 120), (320, 120)) | finger((60, 160), (320, 165)))
    done = complete(photo, masks)
    filled = done.image[done.amodal_mask & ~masks.object].astype(int)
    assert len(filled) > 1000
    assert np.abs(filled - OBJECT_COLOUR).max() <= 3


def test_fill_goes_over_from_one_colour_to_the_other() -> None:
    whole = box(40, 60, 280, 180)
    photo, masks = scene(whole, box(130, 50, 190, 190))
    image = photo.image.copy()
    image[:, :130][whole[:, :130]] = (200, 40, 40)
    image[:, 190:][whole[:, 190:]] = (40, 40, 200)
    filled = fill_from(image, masks.object, whole)
    red = filled[120, 135:185, 0].astype(int)
    assert (np.diff(red) <= 1).all()  # monotone within rounding
    assert red[0] > 160
    assert red[-1] < 80


def test_symmetry_restores_a_covered_end() -> None:
    """The hull is cut straight where the fingers are, the mirror image is not."""
    whole = drawn("ellipse", (160, 120), (60, 90), 0, 0, 360, 1, -1)
    photo, masks = scene(whole, box(172, 138, 320, 240))
    visible = iou(masks.object, whole)
    done = complete(photo, masks)
    assert visible < 0.9
    assert iou(done.amodal_mask, whole) > 0.97
    assert any("symmetry" in note for note in done.notes)


def test_a_bitten_disc_becomes_a_disc() -> None:
    whole = disc(160, 120, 70)
    _, masks = scene(whole, finger((60, 120), (150, 120), thick=40) | box(0, 150, 130, 240))
    amodal, _ = complete_silhouette(masks)
    assert iou(amodal, whole) > 0.95


def test_nothing_hidden_nothing_added() -> None:
    whole = drawn("fillPoly", [np.array([(60, 60), (200, 60), (200, 100), (100, 100), (100, 200), (60, 200)])], 1)
    _, masks = scene(whole, box(220, 120, 300, 200))  # beside the object, in its hull
    amodal, _ = complete_silhouette(masks)
    assert iou(amodal, whole) > 0.97


def test_grows_only_where_hand_or_arm_can_hide_it() -> None:
    hand, arm = finger((60, 120), (320, 120)), box(200, 100, 320, 140)
    photo, masks = scene(disc(150, 120, 60), hand, arm)
    done = complete(photo, masks)
    added = done.amodal_mask & ~masks.object
    near = cv2.dilate((hand | arm).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert not (added & ~near).any()
    assert (done.amodal_mask & masks.object).sum() == masks.object.sum()


def test_specks_are_not_the_object() -> None:
    whole = box(100, 60, 200, 200)
    photo, masks = scene(whole, finger((60, 120), (320, 120)))
    dirty = Masks(masks.hand, masks.object | box(300, 10, 305, 15), masks.arm)
    done = complete(photo, dirty)
    assert parts(done.amodal_mask) == 1
    assert iou(done.amodal_mask, whole) > 0.97


def test_same_bytes_every_time() -> None:
    photo, masks = scene(disc(150, 120, 60), finger((60, 120), (320, 120)))
    first, second = complete(photo, masks), complete(photo, masks)
    assert first.image.tobytes() == second.image.tobytes()
    assert (first.amodal_mask == second.amodal_mask).all()


def test_no_object_is_a_typed_error_that_names_the_photo() -> None:
    photo, masks = scene(blank(), finger((60, 120), (320, 120)))
    with pytest.raises(EmptyMask, match=r"drawn\.png"):
        complete(photo, masks)


def test_mirror_of_a_scalene_shape_is_refused() -> None:
    lopsided = drawn("fillPoly", [np.array([(40, 40), (250, 70), (90, 210), (110, 120)])], 1)
    assert find_mirrors(lopsided, blank()) == []


def test_mirror_of_a_rectangle_is_one_of_its_axes() -> None:
    mirrors = find_mirrors(box(100, 60, 200, 200), blank())
    best = mirrors[0]
    assert best.iou > 0.97
    assert max(abs(best.normal)) == pytest.approx(1, abs=0.01)
    centre = np.array([150, 130])
    assert best.normal @ centre == pytest.approx(best.offset, abs=3)


def test_one_pixel_object() -> None:
    photo, masks = scene(box(100, 60, 101, 61), blank())
    assert complete(photo, masks).amodal_mask.sum() == 1


def test_a_handles_opening_stays_open():
    ring = np.zeros((120, 160), dtype=bool)
    cv2.circle(canvas := ring.astype(np.uint8), (70, 60), 40, 1, 14)
    ring = canvas > 0
    hand = np.zeros_like(ring)
    hand[:, 112:] = True
    amodal, _ = complete_silhouette(Masks(hand=hand & ~ring, object=ring, arm=np.zeros_like(ring)))
    assert not amodal[60, 70]
    assert (amodal & ring).sum() == ring.sum()


def test_a_corner_in_front_of_the_hand_is_the_objects_own_edge():
    box = np.zeros((160, 200), dtype=np.uint8)
    cv2.fillConvexPoly(box, np.array([[20, 60], [80, 20], [120, 60], [100, 110], [40, 120]]), 1)
    hand = np.zeros_like(box)
    hand[30:130, 85:190] = 1
    visible = box > 0
    amodal, notes = complete_silhouette(Masks(hand=(hand > 0) & ~visible, object=visible, arm=np.zeros_like(visible)))
    assert (amodal & visible).sum() / (amodal | visible).sum() > 0.97
    assert notes == ()
