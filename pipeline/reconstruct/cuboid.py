"""Perspective cuboid (cartons, boxes): rotation, three sides and place whose outline is the silhouette.

    widths of the silhouette in all directions --linear in the sides, for any rotation--> starts
    starts --least squares between both outlines--> solutions --inner edges, face brightness--> the cuboid

A box seen along a side hides how long that side is: a prior over real cartons speaks where the outline
is silent.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import least_squares

from pipeline.reconstruct.candidate import Candidate
from pipeline.reconstruct.outline import carton_prior, outline_residuals, turned
from pipeline.reconstruct.photometry import edge_contrast, explained_share
from pipeline.reconstruct.view import SIZE, View
from pipeline.types import F64, I64

CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(CORNERS[a] - CORNERS[b]).sum() == 1]
STARTS = 8  # rotations refined, each with its depth-reversed twin
WORSE, SLIGHT = 1.5, 15.0  # cost up to which a solution may win by its looks
JUDGED = 8  # solutions whose inner edges are looked at
SOFT = 2.0  # pixels; gables, caps and mask errors pull less than edges do
PRIOR_PIXELS = 3.0  # what one sigma of the prior costs against the outline
OUTLINE_GAIN, EDGE_GAIN, BRIGHTNESS_GAIN, PRIOR_COST = 0.1, 0.05, 0.12, 0.002
DEEPEST = 1.7  # views: twice as deep as the silhouette is long is no object in a hand
GRID = 9  # vertices along an edge of the mesh, so that the texture follows the perspective


@dataclass(frozen=True)
class Box:
    """A cuboid in the virtual camera's frame at unit depth."""

    rotation: F64  # (3, 3)
    sides: F64  # (3,)
    middle: F64  # (3,)

    @property
    def corners(self) -> F64:
        """(8, 3)"""
        return (CORNERS * self.sides) @ self.rotation.T + self.middle

    def faces_camera(self, axis: int, side: int) -> bool:
        """Whether the face at `side` (-1 or 1) of an axis is seen from the front."""
        normal = self.rotation[:, axis] * side
        return float(normal @ (self.middle + normal * self.sides[axis] / 2)) < 0


def fit(view: View) -> Candidate:
    """The best cuboid for the view."""
    solutions: list[tuple[float, Box]] = []
    for start in _starts(view):
        cost, box = _refine(view, start)
        if all(not _same(box, other) or cost < 0.7 * known for known, other in solutions):
            solutions.append((cost, box))
    solutions.sort(key=lambda solution: solution[0])
    bar = WORSE * solutions[0][0] + SLIGHT
    judged = [(_judge(view, box), box) for cost, box in solutions[:JUDGED] if cost <= bar]
    best = max(judged, key=lambda pair: pair[0])[1]
    return _candidate(view, best, [box for _, box in sorted(judged, key=lambda pair: -pair[0])[1:]])


def mesh(box: Box) -> tuple[F64, I64]:
    """A grid of GRID x GRID vertices on each face, welded along the edges, outward-oriented."""
    index: dict[tuple[int, int, int], int] = {}
    faces = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for side in (0, GRID - 1):
            for i in range(GRID - 1):
                for j in range(GRID - 1):
                    quad = []
                    for du, dv in ((0, 0), (1, 0), (1, 1), (0, 1)):
                        cell = [0, 0, 0]
                        cell[axis], cell[u], cell[v] = side, i + du, j + dv
                        quad.append(index.setdefault((cell[0], cell[1], cell[2]), len(index)))
                    if side == 0:
                        quad.reverse()
                    faces += [[quad[0], quad[1], quad[2]], [quad[0], quad[2], quad[3]]]
    unit = np.array(list(index), dtype=np.float64) / (GRID - 1) - 0.5
    return (unit * box.sides) @ box.rotation.T + box.middle, np.array(faces, dtype=np.int64)


# ------------------------------------------------------------------ starts


def _starts(view: View) -> list[Box]:
    """Boxes whose widths in all directions come nearest to the silhouette's, under parallel projection."""
    turn = np.linspace(0, np.pi, 36, endpoint=False)
    normals = np.stack([np.cos(turn), np.sin(turn)], 1)
    along = view.contour @ normals.T
    width = np.ptp(along, axis=0) / view.focal
    middle = (along.max(0) + along.min(0)) / 2 - normals @ np.full(2, SIZE / 2)
    centre = np.linalg.lstsq(normals, middle, rcond=None)[0] / view.focal

    rotations = _rotations()
    A = np.abs(np.einsum("kc,rci->rki", normals, rotations[:, :2]))
    ridge = 0.02 * np.eye(3)
    usual = np.full(3, 0.6 * width.min())
    sides = np.linalg.solve(A.transpose(0, 2, 1) @ A + ridge, (A.transpose(0, 2, 1) @ width + ridge @ usual)[..., None])
    sides = np.maximum(sides[..., 0], 0.1 * width.max())
    misfit = np.sqrt((((A @ sides[..., None])[..., 0] - width) ** 2).mean(1)) * view.focal
    prior = np.array([np.square(carton_prior(r, s)).sum() for r, s in zip(rotations, np.log(sides), strict=True)])
    chosen: list[Box] = []
    for i in np.argsort(misfit**2 + 0.1 * prior, kind="stable"):
        box = Box(rotations[i], sides[i], np.array([centre[0], centre[1], 1.0]))
        if all(not _same(box, other, 0.93) for other in chosen):
            chosen.append(box)
        if len(chosen) == STARTS:
            break
    reverse = np.diag([-1.0, -1.0, 1.0])  # the same outline under parallel projection
    return [twin for box in chosen for twin in (box, Box(reverse @ box.rotation, box.sides, box.middle))]


def _rotations() -> F64:
    """(R, 3, 3) all orientations of an unlabelled cuboid up to depth reversal, ~8 degrees apart."""
    steps = np.array([0.05, 0.2, 0.4, 0.65, 1.0])
    rolls = np.deg2rad(np.arange(0, 180, 7.5))
    out = []
    for a in steps:
        for b in steps:
            z = np.array([a, b, 1.0]) / np.linalg.norm([a, b, 1.0])
            x = np.cross([0.0, 1.0, 0.0], z)
            x /= np.linalg.norm(x)
            base = np.stack([x, np.cross(z, x), z])
            for roll in rolls:
                cos, sin = np.cos(roll), np.sin(roll)
                out.append(np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]]) @ base)
    return np.array(out)


def _same(a: Box, b: Box, limit: float = 0.985) -> bool:
    """Equal up to the cuboid's own symmetries."""
    aligned = np.abs(a.rotation.T @ b.rotation)
    return float(aligned.max(1).min()) > limit


# ------------------------------------------------------------------ refinement


def _refine(view: View, start: Box) -> tuple[float, Box]:
    """Least squares between both outlines and the prior. Returns (cost, box)."""
    contour = np.ascontiguousarray(view.contour[::2])
    weight = np.ascontiguousarray(view.edge_weight[::2])
    distance = view.outline_pull

    def box_at(x: F64) -> Box:
        return Box(turned(x[:3], start.rotation), start.sides * np.exp(x[3:6]), np.array([x[6], x[7], 1.0]))

    def residuals(x: F64) -> F64:
        box = box_at(x)
        outline = outline_residuals(view.project(box.corners), contour, weight, distance, SOFT)
        return np.concatenate([outline, PRIOR_PIXELS * carton_prior(box.rotation, np.log(box.sides))])

    x0 = np.concatenate([np.zeros(6), start.middle[:2]])
    bound = np.concatenate([np.full(3, 1.0), np.full(3, 1.5), np.full(2, 0.3)])
    found = least_squares(residuals, x0, bounds=(x0 - bound, x0 + bound), max_nfev=25, ftol=1e-4, xtol=1e-4)
    return float(found.cost), box_at(found.x)


# ------------------------------------------------------------------ judgement


def _judge(view: View, box: Box) -> float:
    prior = float(np.square(carton_prior(box.rotation, np.log(box.sides))).sum())
    evidence = EDGE_GAIN * inner_edges(view, box) + BRIGHTNESS_GAIN * face_brightness(view, box)
    drawn = _draw(view, box)
    if np.ptp(box.corners[:, 2]) > DEEPEST * SIZE / view.focal:
        return -1.0
    return view.iou(drawn) + OUTLINE_GAIN * view.explained(drawn) + evidence - PRIOR_COST * prior


def inner_edges(view: View, box: Box) -> float:
    """-1..1: how much more contrast there is across the box's visible inner edges than beside them."""
    pixels = view.project(box.corners)
    total, length = 0.0, 1e-9
    for a, b in EDGES:
        axis = int(np.abs(CORNERS[a] - CORNERS[b]).argmax())
        meeting = [k for k in range(3) if k != axis]
        if not all(box.faces_camera(k, int(np.sign(CORNERS[a, k]))) for k in meeting):
            continue
        line = pixels[a] + np.linspace(0.1, 0.9, 40)[:, None] * (pixels[b] - pixels[a])
        size = float(np.linalg.norm(pixels[b] - pixels[a]))
        if size < 8:
            continue
        total += size * edge_contrast(view, line)
        length += size
    return total / length


def face_brightness(view: View, box: Box) -> float:
    """0..1: the share of the picture's brightness variance that the visible faces explain."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    for axis in range(3):
        for side in (-1, 1):
            if box.faces_camera(axis, side):
                quad = view.project(box.corners[CORNERS[:, axis] * side > 0])[[0, 1, 3, 2]]
                cv2.fillConvexPoly(labels, np.round(quad - 0.5).astype(np.int32), 1 + 2 * axis + (side > 0))
    shown = view.original & view.mask & (labels > 0)
    if shown.sum() < 50:
        return 0.0
    values, groups = view.grey[shown], labels[shown]
    within = sum(float(((values[groups == g] - values[groups == g].mean()) ** 2).sum()) for g in np.unique(groups))
    return explained_share(within / len(values), float(values.var()))


def _draw(view: View, box: Box) -> np.ndarray:
    quads = [[c for c in range(8) if CORNERS[c, axis] * side > 0] for axis in range(3) for side in (-1, 1)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (b, c, d))], dtype=np.int64)
    return view.draw(box.corners, faces)


def _candidate(view: View, box: Box, others: list[Box]) -> Candidate:
    vertices, faces = mesh(box)
    visible = sum(box.faces_camera(axis, side) for axis in range(3) for side in (-1, 1))
    return Candidate(
        kind="cuboid",
        vertices=vertices,
        faces=faces,
        axes=box.rotation,
        starts=np.stack([_relabelled(other, box) for other in others[:3]]) if others else np.zeros((0, 3, 3)),
        depth_known={1: 0.2, 2: 0.5, 3: 0.8}[visible],
        evidence={
            "iou": view.iou(_draw(view, box)),
            "explained": view.explained(_draw(view, box)),
            "inner_edges": max(0.0, inner_edges(view, box)),
            "shading": face_brightness(view, box),
        },
    )


def _relabelled(other: Box, box: Box) -> F64:
    """The other solution's rotation with its axes named as the chosen box's: sides of like length together."""
    order = np.empty(3, dtype=int)
    order[np.argsort(box.sides)] = np.argsort(other.sides)
    rotation = other.rotation[:, order]
    rotation = rotation * np.where((rotation * box.rotation).sum(0) < 0, -1.0, 1.0)
    if np.linalg.det(rotation) < 0:
        rotation[:, int(np.abs((rotation * box.rotation).sum(0)).argmin())] *= -1
    return np.asarray(rotation, dtype=np.float64)
