"""Does a hand hold an object? The test that decides which frames of a data set are measured (paper 4.2).

The paper leaves out frames "where the hand and object are not in contact" by a force-closure tester it does not
specify further. Here a frame is held when

    1  skin within CONTACT of the object's surface, on at least two of the hand's 16 links, and
    2  these contacts close the grasp: with Coulomb friction FRICTION, positive forces at all of them can balance, and
       their wrenches span every force and torque (the friction cones' wrenches positively span R^6)

Contacts are the skin's vertices, thinned to MOST; their normals are the object's.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from pipeline.errors import BadMesh
from pipeline.evaluate.datasets.case import Case, true_hand
from pipeline.geometry.sdf import SignedDistance
from pipeline.hand_model import load_hand
from pipeline.hand_model.model import OPEN_HAND
from pipeline.types import F64

CONTACT = 0.005  # metres
FRICTION = 1.0
SIDES = 8  # of the pyramid that stands for a friction cone
MOST = 64  # contacts
RULE = f"skin within {CONTACT * 1e3:.0f} mm on at least 2 links, in force closure (friction {FRICTION:g})"


def is_held(case: Case) -> bool:
    """Whether the true hand holds the true object by the rule of this module."""
    hand = true_hand(case)[0]
    try:
        surface = SignedDistance(case.placed, case.object.faces)
    except BadMesh:
        return False
    distance, face, closest = surface.closest(hand.vertices)
    touching = np.flatnonzero(np.abs(distance) < CONTACT)
    links = load_hand(case.side, OPEN_HAND if case.hand is None else case.hand_model).part
    if len(set(links[touching].tolist())) < 2:
        return False
    touching = touching[np.linspace(0, len(touching) - 1, min(MOST, len(touching))).astype(int)]
    return force_closure(closest[touching], -surface.normals[face[touching]])


def force_closure(points: F64, inward: F64) -> bool:
    """Whether contacts at points (N, 3) with inward unit normals (N, 3) can resist any force and torque.

    The forces' pyramids are inside the friction cones, so the answer errs on the side of no.
    """
    if len(points) < 2:
        return False
    wrenches = _wrenches(points, inward)
    if np.linalg.matrix_rank(wrenches, tol=1e-6) < 6:
        return False
    # They span R^6 positively exactly when a combination with all weights positive vanishes; its scale is free.
    found = linprog(np.zeros(wrenches.shape[1]), A_eq=wrenches, b_eq=np.zeros(6), bounds=(1, None), method="highs")
    return bool(found.status == 0)


def _wrenches(points: F64, inward: F64) -> F64:
    """(6, N * SIDES) force and torque about the points' centre, torque in units of their spread."""
    centre = points.mean(0)
    arm = (points - centre) / max(float(np.linalg.norm(points - centre, axis=1).max()), 1e-9)
    across = np.cross(inward, np.eye(3)[np.abs(inward).argmin(1)])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    other = np.cross(inward, across)
    angles = np.arange(SIDES) * 2 * np.pi / SIDES
    tangent = np.cos(angles)[:, None, None] * across + np.sin(angles)[:, None, None] * other
    forces = inward + FRICTION * tangent  # (SIDES, N, 3)
    return np.asarray(np.concatenate([forces, np.cross(arm, forces)], -1).reshape(-1, 6).T)
