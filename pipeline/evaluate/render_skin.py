"""What a model hand needs to look like one: skin with creases and nails, a forearm in place of the stump, a sleeve.

    vertices --with_forearm--> closed arm --subdivide, relief, tint--> skin;  wrist's ray --sleeve--> cloth

Everything is drawn here, nothing is captured. Metres throughout, any frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh

from pipeline.evaluate.render_mitsuba import grid_faces
from pipeline.hand_model import HandModel
from pipeline.types import F64, I64

# A mitsuba material for what `skin` returns, its colour and roughness as the vertex attributes "color" and "rough".
FLESH = {
    "type": "principled",
    "base_color": {"type": "mesh_attribute", "name": "vertex_color"},
    "roughness": {"type": "mesh_attribute", "name": "vertex_rough"},
    "specular": 0.45,
    "sheen": 0.25,
}


@dataclass(frozen=True)
class PosedHand:
    """A hand to be pictured."""

    verts: F64  # (778, 3)
    joints: F64  # (21, 3) OpenPose order
    model: HandModel


@dataclass(frozen=True)
class Wrist:
    """Where the forearm starts and points."""

    ring: F64  # (n, 3) the open hand's last vertices
    middle: F64  # (3,)
    axis: F64  # (3,) unit, away from the hand
    loop: I64  # (n,) the ring's vertex ids, in order


def wrist_of(hand: PosedHand) -> Wrist:
    """The wrist, its axis continuing the line from the middle knuckle."""
    faces = hand.model.faces_open
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    single = trimesh.grouping.group_rows(np.sort(edges, 1), require_count=1)  # type: ignore[no-untyped-call]
    following = dict(edges[single])
    loop = [edges[single][0, 0]]
    while len(loop) < len(single):
        loop.append(following[loop[-1]])
    ring = hand.verts[loop]
    axis = ring.mean(0) - hand.joints[9]
    return Wrist(ring, ring.mean(0), axis / np.linalg.norm(axis), np.array(loop))


def with_forearm(hand: PosedHand, wrist: Wrist) -> tuple[F64, I64]:
    """The hand's vertices and faces with the closing fan at the wrist replaced by a forearm."""
    ring, axis, loop = wrist.ring, wrist.axis, wrist.loop
    flat = wrist.middle + (ring - wrist.middle) - np.outer((ring - wrist.middle) @ axis, axis)
    verts, tris, previous = [hand.verts], [hand.model.faces_open], loop
    for step in range(1, 5):
        start = len(hand.verts) + (step - 1) * len(loop)
        blend = min(1.0, step / 2)  # flat to the axis after two rings
        base = (1 - blend) * ring + blend * flat
        verts.append(wrist.middle + (base - wrist.middle) * (1 - 0.05 * step) + axis * 0.012 * step)
        current = start + np.arange(len(loop))
        after, after_previous = np.roll(current, -1), np.roll(previous, -1)
        tris += [np.stack([previous, current, after_previous], 1), np.stack([after_previous, current, after], 1)]
        previous = current
    mesh = trimesh.Trimesh(np.concatenate(verts), np.concatenate(tris), process=False)
    trimesh.repair.fix_winding(mesh)  # type: ignore[no-untyped-call]
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def waves(points: F64, metres: float, seed: int) -> F64:
    """Smooth band-limited noise (N,) in about [-1, 1], `metres` per period."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(24, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    periods = metres * rng.uniform(0.7, 1.5, 24)
    phases = rng.uniform(0, 2 * np.pi, 24)
    return np.asarray(np.sin(points @ (directions / periods[:, None]).T * 2 * np.pi + phases).sum(1) / 5)


def dorsal_frames(hand: PosedHand) -> list[tuple[F64, F64, F64, F64]]:
    """Per finger: middle joint, last joint, tip, and the direction its back faces."""
    normals: F64 = trimesh.Trimesh(hand.verts, hand.model.faces, process=False).vertex_normals
    frames = []
    for finger in range(5):
        middle, last, tip = hand.joints[[2 + 4 * finger, 3 + 4 * finger, 4 + 4 * finger]]
        near = np.linalg.norm(hand.verts - (last + tip) / 2, axis=1) < 0.018
        back = normals[near & (hand.model.skin_side == -1)].mean(0)
        along = (tip - last) / np.linalg.norm(tip - last)
        back = back - along * (back @ along)
        frames.append((middle, last, tip, back / np.linalg.norm(back)))
    return frames


def smooth(verts: F64, faces: I64) -> tuple[F64, I64]:
    """Three rounds of Loop's subdivision; the given vertices come first, somewhat inside of where they were."""
    fine: tuple[F64, I64] = trimesh.remesh.subdivide_loop(verts, faces, iterations=3)  # type: ignore[no-untyped-call]
    return fine


def skin(hand: PosedHand, wrist: Wrist | None, base: tuple[float, float, float]) -> tuple[F64, I64, F64, F64]:
    """Hand and forearm (none without a wrist) as fine skin: vertices, faces, linear RGB (N, 3), roughness (N,)."""
    coarse, faces = with_forearm(hand, wrist) if wrist else (hand.verts, hand.model.faces)
    marks: F64 = np.zeros((len(coarse), 3))
    marks[:778, 0] = hand.model.skin_side == 1
    verts, fine = smooth(coarse, faces)
    palm = smooth(marks, faces)[0][:, 0]
    normals = np.asarray(trimesh.Trimesh(verts, fine, process=False).vertex_normals)
    flush = 0.35 * waves(verts, 0.03, 1) + 0.15 * waves(verts, 0.006, 2) + 0.6 * palm
    rough = np.full(len(verts), 0.48)
    relief = 4e-5 * waves(verts, 0.0035, 3)
    nail_mask: F64 = np.zeros(len(verts))
    groove: F64 = np.zeros(len(verts))
    for middle, last, tip, back in dorsal_frames(hand):
        along = (tip - last) / np.linalg.norm(tip - last)
        across = np.cross(along, back)
        for joint in (middle, last):
            offset = verts - joint
            crease = np.exp(-(((offset @ along) / 0.005) ** 2) - ((offset @ across) / 0.009) ** 2)
            crease *= np.clip(normals @ back, 0, 1) * (np.linalg.norm(offset, axis=1) < 0.02)
            relief += 1.3e-4 * crease * np.cos((offset @ along) * 2 * np.pi / 0.0026)
            flush += 0.7 * crease
        length = np.linalg.norm(tip - last)
        offset = verts - (last + along * 0.69 * length)
        shape = (np.abs(offset @ along) / 0.0051) ** 3 + (np.abs(offset @ across) / 0.0047) ** 3
        nail = np.clip((1.15 - shape) / 0.3, 0, 1) * (normals @ back > 0.25) * (offset @ back > 0)
        flush += 0.5 * np.exp(-((np.linalg.norm(verts - tip, axis=1) / 0.014) ** 2))
        fold = np.exp(-(((shape - 1.1) / 0.2) ** 2)) * (normals @ back > 0.1) * (offset @ back > 0)
        groove = np.maximum(groove, fold * (1 - nail))
        nail_mask = np.maximum(nail_mask, nail)
    verts = verts + normals * (relief * (1 - nail_mask) + 2e-4 * nail_mask - 3e-4 * groove)[:, None]
    tint = np.clip(flush, -0.6, 1.2)[:, None]
    colour = np.array(base) * (1 + tint * np.array([0.10, -0.10, -0.12])) + 0.03 * palm[:, None]
    colour += nail_mask[:, None] * (np.array([0.90, 0.60, 0.53]) * np.mean(base) / 0.42 - colour) * 0.9
    colour *= 1 - 0.35 * groove[:, None] * np.array([0.6, 1.0, 1.0])
    return verts, fine, np.clip(colour, 0, 1), rough - 0.2 * nail_mask


def sleeve(wrist: Wrist, across: F64, rings: int = 300, spokes: int = 360) -> tuple[F64, I64]:
    """A knitted sleeve from the wrist to far outside the picture; `across` (3,) is its wide side."""
    axis = wrist.axis
    thin = np.cross(axis, across)
    thin /= np.linalg.norm(thin)
    wide = np.cross(thin, axis)
    around = np.linspace(0, 2 * np.pi, spokes + 1)[:-1]
    along: F64 = np.r_[0.016, 0.010, np.linspace(0.0085, 0.061, rings // 5), np.linspace(0.062, 0.45, rings)]
    radius: F64 = np.interp(along, [0.008, 0.061, 0.45], [0.0300, 0.034, 0.062])
    radius[:2] = [0.0265, 0.0285]  # the cuff turns inward
    rib = np.where(along < 0.061, 1.0, 0.25)[:, None] * 0.0006 * np.cos(46 * around)[None]
    ring = np.cos(around)[:, None] * thin
    folds: F64 = waves((along[:, None, None] * axis + 0.05 * ring).reshape(-1, 3), 0.07, 5).reshape(len(along), -1)
    r: F64 = radius[:, None] + rib + 0.0030 * folds * np.clip((along - 0.055) / 0.03, 0, 1)[:, None]
    flat: F64 = np.interp(along, [0.02, 0.2], [0.62, 0.95])[:, None]  # a wrist is wider than thick
    verts = wrist.middle + along[:, None, None] * axis + (flat * r * np.cos(around))[..., None] * thin
    verts = verts + (r * np.sin(around))[..., None] * wide
    return verts.reshape(-1, 3), grid_faces(len(along), len(around), wrap=True)
