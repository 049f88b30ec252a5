"""Surface of revolution (cups, bottles, cans, fruit): the largest stack of discs inside the silhouette.

For a mirror axis and a tilt of that axis towards the camera, every disc's radius is the largest whose
perspective image stays inside the silhouette. Any symmetric outline is such a stack at tilt 0; a tilt is
believed when it still fills the outline and turns rounded ends into flat ones, as the rims of cans and
cups are, or when the photo shows the rim that the tilt brings into view.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from pipeline.reconstruct.candidate import Candidate
from pipeline.reconstruct.outline import turned
from pipeline.reconstruct.photometry import edge_contrast, shading, visible_normals
from pipeline.reconstruct.simple_solids import Solid, fit_solids
from pipeline.reconstruct.stack import MESH_SPOKES, Stack, even, hollowed, mesh
from pipeline.reconstruct.symmetry import MirrorAxis, elongation, mirror_axes, mirrored
from pipeline.reconstruct.view import SIZE, View, sample
from pipeline.types import F64, Mask

TILTS = np.deg2rad([0, 6, 12, 18, 24, 30, 36, 42, 48, 55])
RINGS, SPOKES = 64, 32  # while fitting
REACH = 0.012  # of the outline's length
TIP = 0.08  # of the largest radius: thinner tips are threads of the mask
SLACK = 0.02 * SIZE  # pixels: how far one side may pull the mean of both outlines
LOOKED_AT = 10  # explanations of the outline that are compared with the picture
CLEARLY_WORSE = 0.10  # mirror IoU below the best axis'
SIMPLE_GAIN = 0.075  # a solid of few parameters may fit so much worse than a free profile
FLAT_GAIN, TILT_COST, FOLD_GAIN, LONG_GAIN, RIM_GAIN, SHADING_GAIN = 0.06, 0.0006, 0.5, 0.02, 0.02, 0.1
OUTLINE_GAIN, STEP_COST, UNSEEN_TILT_COST = 0.1, 0.08, 0.0008
VESSEL_TAPER, VESSEL_LENGTH = 1.3, 1.8  # least brim over base, most length over brim
DISC, DISC_COST = 0.45, 0.06  # length over diameter below which a tilted plate needs better evidence than a long fruit


def fit(view: View) -> Candidate:
    """The best surface of revolution for the view."""
    axes = mirror_axes(view)
    tried = []
    for solid in fit_solids(view, axes):
        tried.append((_outline_score(view, solid) + SIMPLE_GAIN, solid))
    for axis in axes:
        if axis.iou < axes[0].iou - CLEARLY_WORSE:
            continue
        symmetric = _symmetric_distance(view, axis)
        for tilt in np.concatenate([TILTS, -TILTS[1:]]):
            solid = Solid(carve(view, symmetric, axis, float(tilt)), axis, float(tilt))
            gain = FLAT_GAIN * flatness(solid.stack) + FOLD_GAIN * (axis.iou - axes[0].iou)
            tried.append((_outline_score(view, solid) + gain, solid))
    tried.sort(key=lambda entry: -entry[0])
    judged = [(score + _picture_score(view, solid.stack), solid) for score, solid in tried[:LOOKED_AT]]
    _, evident = max(judged, key=lambda entry: entry[0])
    _, likely = max(judged, key=lambda entry: entry[0] - UNSEEN_TILT_COST * _unseen_tilt(view, entry[1]))
    return _candidate(view, likely, evident)


def _outline_score(view: View, solid: Solid) -> float:
    drawn = view.draw(*mesh(solid.stack, SPOKES))
    return float(
        view.iou(drawn)
        + OUTLINE_GAIN * view.explained(drawn)
        + LONG_GAIN * np.log(np.clip(elongation(view.mask, solid.axis.angle), 0.5, 3))
        - DISC_COST * max(0.0, float(np.log(DISC / solid.stack.slenderness)))
        - STEP_COST * solid.stack.steps
        - TILT_COST * abs(np.rad2deg(solid.tilt))
    )


def _picture_score(view: View, stack: Stack) -> float:
    lit = shading(view, visible_normals(view, *mesh(stack, SPOKES)))
    return SHADING_GAIN * lit + RIM_GAIN * rim(view, stack)


def _unseen_tilt(view: View, solid: Solid) -> float:
    """Degrees of tilt that no rim shows. An outline hardly tells a tilt from its opposite: better none than that."""
    return float(abs(np.rad2deg(solid.tilt)) * (1 - max(0.0, rim(view, solid.stack))))


def carve(view: View, distance: F64, axis: MirrorAxis, tilt: float) -> Stack:
    """The largest discs whose image stays inside; `distance` (S, S) is positive inside the silhouette."""
    cos, sin = np.cos(axis.angle), np.sin(axis.angle)
    origin = np.array([-sin * axis.offset / view.focal, cos * axis.offset / view.focal, 1.0])
    direction = np.array([cos * np.cos(tilt), sin * np.cos(tilt), np.sin(tilt)])
    ends = (view.contour - SIZE / 2) @ np.array([cos, sin])
    reach = np.array([ends.min(), ends.max()])
    low, high = reach / (view.focal * np.cos(tilt) - reach * np.sin(tilt))
    inset = (high - low) / RINGS / 2
    along = np.linspace(low + inset, high - inset, RINGS)
    stack = Stack(origin, direction, np.array([-sin, cos, 0.0]), along, np.zeros(RINGS))

    spokes = stack.spokes(SPOKES)
    centres = origin + along[:, None] * direction
    least: F64 = np.zeros(RINGS)
    most: F64 = np.full(RINGS, 0.75 * SIZE / view.focal)
    for _ in range(10):
        radius = (least + most) / 2
        rims = centres[:, None] + radius[:, None, None] * spokes
        inside = np.partition(sample(distance, view.project(rims)), 1, axis=1)[:, 1] >= -0.4
        least = np.where(inside, radius, least)
        most = np.where(inside, most, radius)
    reached = (view.project(centres[:, None] + least[:, None, None] * spokes) - SIZE / 2) @ np.array([cos, sin])
    kept = _needed(reached.min(1), reached.max(1), least >= TIP * least.max())
    smooth = gaussian_filter1d(np.maximum(least[kept], 0.002), 0.8, mode="nearest")
    return Stack(origin, direction, stack.across, along[kept], smooth)


def _needed(low: F64, high: F64, wide: Mask) -> slice:
    """The discs up to those that reach the outline's ends: beyond a rim, smaller discs fit but explain nothing."""
    tolerance = REACH * (high.max() - low.min())
    inner = np.flatnonzero(wide)
    first = max(int(np.flatnonzero(low <= low.min() + tolerance).max()), int(inner[0]))
    last = min(int(np.flatnonzero(high >= high.max() - tolerance).min()), int(inner[-1]))
    if last - first < 4:
        middle = min(max((first + last) // 2, 2), len(low) - 3)
        first, last = middle - 2, middle + 2
    return slice(first, last + 1)


def flatness(stack: Stack) -> float:
    """0..1: how square the corner of the rounder rim is; 0 below 50 degrees, as on a ball that a tilt cuts short."""
    step = max(2, round(0.1 * len(stack.radius)))
    length = stack.along[step] - stack.along[0]
    slopes = np.array([stack.radius[step] - stack.radius[0], stack.radius[-1 - step] - stack.radius[-1]]) / length
    corners = np.pi / 2 - np.arctan(np.abs(slopes))
    return float(np.clip((np.rad2deg(corners) - 50) / 30, 0, 1).min())


def rim(view: View, stack: Stack) -> float:
    """0..1: does the photo show an edge where the front of the visible end's rim would be?"""
    centre = stack.origin + stack.along.mean() * stack.axis
    end = -1 if stack.axis @ centre < 0 else 0
    middle = stack.origin + stack.along[end] * stack.axis
    if abs(stack.axis[2]) < 0.1 or stack.radius[end] * view.focal < 6:
        return 0.0
    spokes = stack.spokes(64)
    front = spokes[spokes[:, 2] < -0.35 * np.abs(spokes[:, 2]).max()]  # the far half is on the outline
    arc = view.project(middle + stack.radius[end] * front)
    return edge_contrast(view, arc)


def _symmetric_distance(view: View, axis: MirrorAxis) -> F64:
    """The mean of both sides' outlines; where they differ by more (a handle, a bite), the inner one leads."""
    here = view.signed_distance
    there = mirrored(here, axis)
    return np.asarray(np.minimum(here, there + SLACK) + np.minimum(there, here + SLACK)) / 2


def _candidate(view: View, solid: Solid, evident: Solid) -> Candidate:
    """The solid, with the evidence for a solid of revolution that the one which explains the view best gives."""
    stack, axis, tilt = solid
    vertices, faces = mesh(even(hollowed(stack) if _open(stack) else stack), MESH_SPOKES)
    up = -1.0 if stack.axis[1] > 0 else 1.0  # +y points up in the picture
    axes = np.stack([stack.across * up, stack.axis * up, np.cross(stack.across, stack.axis)], 1)
    return Candidate(
        kind="revolution",
        vertices=vertices,
        faces=faces,
        axes=axes,
        starts=_starts(stack, axes, tilt),
        depth_known=0.8 * axis.iou,
        evidence=_evidence(view, evident),
    )


def _evidence(view: View, solid: Solid) -> dict[str, float]:
    stack, axis, tilt = solid
    vertices, faces = mesh(even(stack), MESH_SPOKES)
    drawn = view.draw(vertices, faces)
    return {
        "iou": view.iou(drawn),
        "explained": view.explained(drawn),
        "mirror": axis.iou,
        "flat_ends": flatness(stack),
        "rim": max(0.0, rim(view, stack)),
        "shading": shading(view, visible_normals(view, vertices, faces)),
        "bulge": _bulge(stack, tilt),
        "steps": stack.steps,
        "slenderness": stack.slenderness,
    }


def _open(stack: Stack) -> bool:
    """Whether it is a bowl or a cup: short, and widest at one end, as what is to be filled from there."""
    narrow, wide = sorted((float(stack.radius[2]), float(stack.radius[-3])))
    brim = wide > 0.97 * float(stack.radius.max())
    return brim and wide > VESSEL_TAPER * narrow and stack.slenderness < VESSEL_LENGTH


def _bulge(stack: Stack, tilt: float) -> float:
    """0..1: what tells it from a box: rims seen as curves, rounded ends, or a profile that is not straight."""
    place = np.linspace(-1, 1, len(stack.radius))
    straight = np.polyval(np.polyfit(place, stack.radius, 1), place)
    uneven = float(np.abs(stack.radius - straight).mean() / stack.radius.mean())
    return float(np.clip(max(abs(np.rad2deg(tilt)) / 12, 1 - flatness(stack), uneven / 0.05), 0, 1))


def _starts(stack: Stack, axes: F64, tilt: float) -> F64:
    """The axis tilted by 15 degrees either way, and mirrored to the other side of the picture's plane."""
    turns = [np.deg2rad(15), np.deg2rad(-15)] + ([2 * tilt] if abs(tilt) > 0.05 else [])
    return np.stack([turned(stack.across * turn, axes) for turn in turns])
