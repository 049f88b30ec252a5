"""Which side of a mesh is outside: welding, closedness, and faces turned coherently outward."""

from __future__ import annotations

from typing import cast

import igl
import numpy as np
from numpy.typing import ArrayLike

from pipeline.errors import BadMesh
from pipeline.types import F64, I64, Mask

ROUGH = 1.0  # accuracy of the first winding number, four times as fast as the library's default of 2
DOUBT = 0.4  # that close to one half it is computed again; the rough one errs by 0.3 at most


def checked(vertices: ArrayLike, faces: ArrayLike) -> tuple[F64, I64]:
    """The arrays as (V, 3) float64 and (F, 3) int64; BadMesh when empty, not finite or out of range."""
    v = np.ascontiguousarray(vertices, dtype=np.float64)
    f = np.ascontiguousarray(faces, dtype=np.int64)
    if v.ndim != 2 or v.shape[1:] != (3,) or f.ndim != 2 or f.shape[1:] != (3,) or not len(v) or not len(f):
        raise BadMesh(f"the mesh is empty or not triangles: vertices {v.shape}, faces {f.shape}")
    if f.min() < 0 or f.max() >= len(v):
        raise BadMesh(f"a face names vertex {int(f.max())}, the mesh has {len(v)}")
    if not np.isfinite(v[f]).all():
        raise BadMesh("the mesh has vertices that are not finite numbers")
    return v, f


def weld(vertices: F64, faces: I64) -> tuple[F64, I64]:
    """One vertex per place and no face that collapses by that; face order is kept."""
    welded = first_at_place(vertices)[faces]
    used, compact = np.unique(welded[~_collapsed(welded)], return_inverse=True)
    return vertices[used], compact.reshape(-1, 3)


def first_at_place(vertices: F64) -> I64:
    """(V,) for every vertex the index of the first one at exactly the same place."""
    order = np.lexsort(vertices.T)  # stable: of equal vertices the first one comes first
    new = np.ones(len(order), dtype=bool)
    new[1:] = (vertices[order[1:]] != vertices[order[:-1]]).any(1)
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[new][np.cumsum(new) - 1]
    return first


def is_watertight(vertices: ArrayLike, faces: ArrayLike) -> bool:
    """Whether every edge, with vertices at the same place taken as one, has exactly two faces."""
    _, welded = weld(*checked(vertices, faces))
    if not len(welded):
        return False
    _, count = np.unique(edge_keys(np.sort(sides(welded), 1)), return_counts=True)
    return bool((count == 2).all())


def is_balanced(faces: I64) -> bool:
    """Whether every side (of welded faces) is walked as often forth as back: the faces are coherent and without a
    border; where more than two share an edge the solid is pinched."""
    walked = sides(faces)
    return bool(np.array_equal(np.sort(edge_keys(walked)), np.sort(edge_keys(walked[:, ::-1]))))


def signed_volume(vertices: F64, faces: I64) -> float:
    """Cubic units; positive when faces are counter-clockwise seen from outside. Exact for closed meshes only."""
    a, b, c = (vertices[faces[:, i]] - vertices[faces[:, 0]].mean(0) for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def orient_outward(vertices: ArrayLike, faces: ArrayLike) -> I64:
    """(F, 3) the same faces in the same order, some turned so that all are counter-clockwise from outside.

    A coherent mesh (no side is walked twice the same way, or each as often back) is turned as a whole, inner shells
    stay cavities; otherwise each connected patch is made coherent, then turned outward. Raises BadMesh for an empty
    mesh or one that is not finite.
    """
    vertices, faces = checked(vertices, faces)
    welded = first_at_place(vertices)[faces]
    whole = ~_collapsed(welded)
    turn = np.zeros(len(faces), dtype=bool)
    turn[whole] = _to_turn(vertices, np.ascontiguousarray(welded[whole]))
    return np.where(turn[:, None], faces[:, ::-1], faces)


def _to_turn(vertices: F64, faces: I64) -> np.ndarray:
    """(F,) bool: which faces have to be reversed."""
    if not len(faces):
        return np.zeros(0, dtype=bool)
    if len(np.unique(edge_keys(sides(faces)))) == 3 * len(faces) or is_balanced(faces):
        return np.full(len(faces), signed_volume(vertices, faces) < 0)
    coherent, patch = igl.bfs_orient(faces)
    turned = (coherent != faces).any(1)
    for i in range(int(patch.max()) + 1):
        inside_out = signed_volume(vertices, coherent[patch == i]) < 0
        turned[patch == i] ^= inside_out
    return cast(np.ndarray, turned)


class Interior:
    """Which points lie inside a mesh: where its generalised winding number exceeds one half.

    vertices: (V, 3); faces: (F, 3), coherent and outward (see `orient_outward`). Faces that are missing, doubled
    or buried inside the mesh move the boundary little.
    """

    def __init__(self, vertices: F64, faces: I64) -> None:
        self._tree = igl.FastWindingNumberBVH()
        self._tree.init(vertices, faces)

    def __call__(self, points: F64) -> Mask:
        """(N, 3) -> (N,) bool."""
        winding = self._tree.winding_number(points, ROUGH)
        doubtful = np.abs(winding - 0.5) < DOUBT
        winding[doubtful] = self._tree.winding_number(points[doubtful])
        return cast(Mask, winding > 0.5)


def sides(faces: I64) -> I64:
    """(3F, 2) the directed sides of the faces, as vertex indices."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def edge_keys(pairs: I64) -> I64:
    """(N,) one number per pair of vertex indices, unique to the pair; far quicker to sort than rows."""
    return pairs[:, 0] << 32 | pairs[:, 1]


def _collapsed(faces: I64) -> np.ndarray:
    return cast(np.ndarray, (faces[:, 0] == faces[:, 1]) | (faces[:, 1] == faces[:, 2]) | (faces[:, 2] == faces[:, 0]))
