"""The `cpu` recipe's reconstructor: one view, three explanations, the best one textured and placed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.errors import BadMesh
from pipeline.geometry.watertight import make_watertight
from pipeline.reconstruct import cuboid, inflation, revolution
from pipeline.reconstruct.choose import choose
from pipeline.reconstruct.texture import cut_texture
from pipeline.reconstruct.view import View, look_at
from pipeline.types import F64, I64, Camera, Completion, Mask, Mesh, ObjectMesh, Photo, ViewPrior

WHOLE = 0.95  # of the mask; less in the largest piece is worth telling a reviewer
CLOSE_CALL = 0.01  # difference of scores worth telling a reviewer


class SingleViewReconstructor:
    """Surface of revolution, cuboid or inflated silhouette, whichever explains the view (STACK)."""

    name = "single-view"
    version = "3"
    weights_digest = ""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """No settings."""

    def reconstruct(
        self, photo: Photo, completion: Completion, visible: Mask, camera: Camera, distance: float
    ) -> ObjectMesh:
        """See `Reconstructor`. Deterministic, no weights; metres, the object's centroid at z = `distance`."""
        view = look_at(photo, completion, visible, camera)
        candidates = [revolution.fit(view), cuboid.fit(view), inflation.fit(view)]
        best, scores = choose(candidates)
        try:
            vertices, faces = make_watertight(best.vertices, best.faces)
        except BadMesh as error:
            raise BadMesh(
                f"{photo.name}: {best.kind} fitted to the object mask: {error}; fix the object mask"
            ) from error
        centroid = _centroid(vertices, faces)
        place = view.to_camera @ centroid
        scale = distance / place[2]  # fitted at unit depth
        own = (vertices - centroid) @ best.axes * scale
        prior = ViewPrior(
            rotation=view.to_camera @ best.axes,
            transl=place * scale,
            starts=view.to_camera @ best.starts,
            depth_known=best.depth_known,
        )
        seen = own @ prior.rotation.T + prior.transl
        texture, uv = cut_texture(completion.image, completion.amodal_mask, camera, seen)
        return ObjectMesh(Mesh(own, faces, uv, texture), prior, best.kind, scores, _notes(view, scores))


def _centroid(vertices: F64, faces: I64) -> F64:
    """Of the solid inside a closed mesh, by the divergence theorem."""
    around = vertices.mean(0)
    a, b, c = (vertices[faces[:, k]] - around for k in range(3))
    volumes = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
    return np.asarray(around + (volumes[:, None] * (a + b + c) / 4).sum(0) / volumes.sum(), dtype=np.float64)


def _notes(view: View, scores: dict[str, float]) -> tuple[str, ...]:
    notes = []
    if not view.true_edge.all():
        notes.append("the object is cut by the photo's border: its shape beyond is a guess")
    if view.share < WHOLE:
        notes.append(f"{1 - view.share:.0%} of the object mask lies in other pieces and was left out")
    first, second = sorted(scores, key=lambda kind: -scores[kind])[:2]
    if scores[first] - scores[second] < CLOSE_CALL:
        notes.append(f"{first} and {second} explain the view almost equally well")
    return tuple(notes)
