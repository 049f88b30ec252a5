"""The outline of a projected mesh as a chain of edges: all that its mask, and its mask's gradient, depend on.

Every face counts once wherever it covers the picture. That count can only change across an edge, by the edge's
`excess`: the sum over its sides of +1 or -1 by the direction the side is walked in and the way its face turns on
the screen. Inside a front it cancels, on the contour of a closed mesh it is 2, on a border 1. So of a mesh of
20,000 faces a few hundred edges are left, and the winding number of this chain around a place is the number of
faces there: exactly, for meshes that are open, non-manifold or incoherent too.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from pipeline.geometry.orientation import edge_keys, first_at_place, sides


class Outline(NamedTuple):
    """The edges across which the number of covering faces changes; tensors on the points' device."""

    ends: Tensor  # (N, 2) vertex indices, long
    excess: Tensor  # (N,) long, not zero: faces on the side of (-dy, dx) minus faces on the other, walking the edge


class Topology:
    """Which sides of faces make up which edge; computed once per mesh.

    faces: (F, 3) long, any device. With `vertices` (V, 3), vertices at the same place count as one (a textured
    mesh repeats them along its uv seams; unwelded, a seam on the outline would be integrated twice).
    """

    def __init__(self, faces: Tensor, vertices: Tensor | None = None) -> None:
        welded = faces.detach().cpu().long().numpy().copy()
        if vertices is not None:
            welded = first_at_place(vertices.detach().cpu().numpy())[welded]
        walked = sides(welded)
        keys = edge_keys(np.sort(walked, 1))
        order = np.argsort(keys)
        new = np.ones(len(keys), dtype=bool)
        new[1:] = keys[order[1:]] != keys[order[:-1]]
        edge_of = np.empty(len(keys), dtype=np.int64)
        edge_of[order] = np.cumsum(new) - 1
        unique = keys[order[new]]

        def tensor(values: NDArray) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(values), device=faces.device)

        self.faces = tensor(welded)  # (F, 3)
        self.edges = tensor(np.stack([unique >> 32, unique & 0xFFFFFFFF], 1))  # (E, 2) lower vertex first
        self.side_edge = tensor(edge_of.reshape(3, -1).T)  # (F, 3) the edge of every side
        self.side_sign = tensor(np.where(walked[:, 0] < walked[:, 1], 1, -1).reshape(3, -1).T)  # (F, 3) walked forth


# Keyed by the tensor object itself (weakly), with its version: an address alone is re-used once a tensor dies.
_topologies: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def topology_of(faces: Tensor | Topology) -> Topology:
    """The topology of (F, 3) faces, kept for as long as the tensor lives and is not written to."""
    if isinstance(faces, Topology):
        return faces
    version, topology = _topologies.get(faces, (None, None))
    if topology is None or version != faces._version:
        topology = Topology(faces)
        _topologies[faces] = (faces._version, topology)
    return cast(Topology, topology)
