"""The object as the optimisation sees it: a picture of some hundred pixels shows no more than a few thousand faces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.geometry.watertight import coarsen
from pipeline.types import ObjectMesh


def coarse_mesh(item: ObjectMesh, max_faces: int) -> ObjectMesh:
    """The same object in the same frame with at most about `max_faces` faces (0: all of them), without its texture.

    Raises BadMesh when a mesh that is too large is not watertight.
    """
    if not max_faces or len(item.mesh.faces) <= max_faces:
        return item
    vertices, faces = coarsen(item.mesh.vertices, item.mesh.faces, max_faces)
    return replace(item, mesh=replace(item.mesh, vertices=vertices, faces=faces, uv=np.zeros((len(vertices), 2))))
