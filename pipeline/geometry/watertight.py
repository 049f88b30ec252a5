"""Closed, correctly signed meshes out of whatever a reconstructor returned (METHOD 1.5)."""

from __future__ import annotations

import igl
import manifold3d
import meshoptimizer
import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import binary_dilation
from skimage.measure import marching_cubes

from pipeline.errors import BadMesh
from pipeline.geometry.orientation import (
    Interior,
    checked,
    edge_keys,
    is_balanced,
    is_watertight,
    orient_outward,
    sides,
    signed_volume,
    weld,
)
from pipeline.types import F64, I64

__all__ = ["is_watertight", "make_watertight", "orient_outward", "simplify", "to_manifold"]

MARGIN = 3  # grid cells kept free around the mesh
NUDGE = 0.02  # grid cells; a corner exactly on the surface would give triangles without area
FLAT = 1e-9  # volume over bounding cube; below this a closed mesh encloses nothing
SMALL_HOLE = 8  # sides of a hole that a fan of triangles may close; larger ones are the winding number's work


def make_watertight(vertices: ArrayLike, faces: ArrayLike, resolution: int = 96) -> tuple[F64, I64]:
    """(vertices, faces) of a watertight mesh whose faces are counter-clockwise from outside.

    A mesh that is watertight already keeps its vertices, and its faces but for their orientation. One that only
    lacks a few faces or has a few twice is mended in place (its vertices welded). Any other is remeshed where its
    winding number passes one half, on a grid of `resolution` cells along the longest side; walls thinner than a
    cell are lost there. Raises BadMesh when it is empty, not finite or encloses no volume.
    """
    vertices, faces = checked(vertices, faces)
    outward = orient_outward(vertices, faces)
    if is_watertight(vertices, faces):
        return _solid(vertices, outward)
    mended = _mend(*weld(vertices, outward))
    if len(mended[1]) and is_watertight(*mended):
        return _solid(mended[0], orient_outward(*mended))
    return _remesh(*weld(vertices, outward), resolution)


def _solid(vertices: F64, faces: I64) -> tuple[F64, I64]:
    if signed_volume(vertices, faces) <= FLAT * np.ptp(vertices[faces].reshape(-1, 3), 0).max() ** 3:
        raise BadMesh("the mesh is flat: it encloses no volume")
    return vertices, faces


def _mend(vertices: F64, faces: I64) -> tuple[F64, I64]:
    """Drop faces that lie back to back or twice, close small holes with a fan around their centre."""
    _, first, inverse, count = np.unique(
        np.sort(faces, 1), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    back_to_back = count[inverse.reshape(-1)] % 2 == 0
    kept = faces[np.sort(first[~back_to_back[first]])]
    centres: list[F64] = []
    fans: list[tuple[int, int, int]] = []
    for loop in _holes(kept):
        if len(loop) <= SMALL_HOLE:
            centre = len(vertices) + len(centres)
            centres.append(vertices[loop].mean(0))
            fans += [(end, start, centre) for start, end in zip(loop, loop[1:] + loop[:1], strict=True)]
    if not fans:
        return vertices, kept
    return np.concatenate([vertices, centres]), np.concatenate([kept, np.array(fans, dtype=np.int64)])


def _holes(faces: I64) -> list[list[int]]:
    """The simple loops of sides that only one face has, as vertex indices in that face's order."""
    walked = sides(faces)
    open_sides = walked[~np.isin(edge_keys(walked), edge_keys(walked[:, ::-1]))]
    follow: dict[int, int] = {}
    for start, end in open_sides.tolist():
        follow[start] = -1 if start in follow else end  # -1: two holes touch here, their loops cannot be told apart
    loops = []
    while follow:
        loop = [min(follow)]
        while (following := follow.pop(loop[-1], -1)) not in (-1, loop[0]):
            loop.append(following)
        if following == loop[0] and len(loop) > 2:
            loops.append(loop)
    return loops


def _remesh(vertices: F64, faces: I64, resolution: int) -> tuple[F64, I64]:
    if not len(faces):
        raise BadMesh("the mesh has no surface: every face is degenerate")
    low, high = vertices.min(0), vertices.max(0)
    cell = (high - low).max() / resolution
    shape = np.ceil((high - low) / cell).astype(int) + 2 * MARGIN
    origin = (low + high) / 2 - (shape - 1) / 2 * cell
    points = np.ascontiguousarray(origin + cell * np.indices(shape).reshape(3, -1).T)

    inside = Interior(vertices, faces)(points).reshape(shape)
    if not inside.any():
        raise BadMesh("the mesh encloses no volume: it cannot be made watertight")
    # Marching cubes reads the field only where its sign changes; the distance everywhere would cost seconds.
    near = binary_dilation(inside, iterations=2) & binary_dilation(~inside, iterations=2)
    tree = igl.AABB()
    tree.init(vertices, faces)
    squared, _, _ = tree.squared_distance(vertices, faces, points[near.reshape(-1)])
    field = np.full(shape, 2.0)
    field[near] = np.clip(np.sqrt(squared) / cell, NUDGE, 2.0)
    field[inside] *= -1
    out, triangles, _, _ = marching_cubes(field, 0.0)  # type: ignore[no-untyped-call]
    out = origin + cell * out.astype(np.float64)
    return out, orient_outward(out, triangles)


def to_manifold(vertices: ArrayLike, faces: ArrayLike) -> manifold3d.Manifold:
    """The solid a watertight mesh bounds, for exact booleans. Raises BadMesh when it bounds none."""
    places, welded = weld(*checked(vertices, faces))
    mesh = manifold3d.Mesh64(vert_properties=places, tri_verts=welded.astype(np.uint64))
    solid = manifold3d.Manifold(mesh)
    if solid.status() != manifold3d.Error.NoError or solid.is_empty():
        raise BadMesh(f"the mesh is not a closed solid ({solid.status().name}): make it watertight first")
    return solid


def simplify(vertices: ArrayLike, faces: ArrayLike, max_faces: int) -> tuple[F64, I64]:
    """(vertices, faces) of about `max_faces` triangles or fewer, watertight as the input has to be.

    Quadric edge collapse that keeps the surface closed; vertices are welded (uv is not carried). Untouched when
    small enough already. Raises BadMesh when the mesh is not watertight.
    """
    vertices, faces = checked(vertices, faces)
    if len(faces) <= max_faces:
        return vertices, faces
    if not is_watertight(vertices, faces):
        raise BadMesh("only a watertight mesh can be simplified: make it watertight first")
    places, welded = weld(vertices, faces)
    coarse, triangles, _, _ = igl.qslim(np.asfortranarray(places), np.asfortranarray(welded, dtype=np.int32), max_faces)
    return np.ascontiguousarray(coarse), np.ascontiguousarray(triangles)


def coarsen(vertices: ArrayLike, faces: ArrayLike, max_faces: int) -> tuple[F64, I64]:
    """As `simplify`, some ten times as fast, but in places four faces may share an edge: the solid is pinched there.

    Every side is still walked as often forth as back, so winding numbers and outlines are exact. The input has to be
    coherent as well as watertight. Raises BadMesh when it is not.
    """
    vertices, faces = checked(vertices, faces)
    if len(faces) <= max_faces:
        return vertices, faces
    places, welded = weld(vertices, faces)
    if not is_balanced(welded):
        raise BadMesh("only a watertight mesh can be simplified: make it watertight first")
    kept = np.empty(welded.size, dtype=np.uint32)
    corners, at = welded.astype(np.uint32).ravel(), np.ascontiguousarray(places, dtype=np.float32)
    count = meshoptimizer.simplify(kept, corners, at, target_index_count=3 * max_faces, target_error=1.0)
    used, triangles = np.unique(kept[:count], return_inverse=True)
    return places[used], triangles.reshape(-1, 3).astype(np.int64)
