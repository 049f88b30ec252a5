"""The `cpu` recipe's reconstructor: one view, three explanations, the best one textured and placed."""

from __future__ import annotations

import numpy as np

from pipeline.errors import BadMesh
from pipeline.reconstruct import cuboid, inflation, revolution
from pipeline.reconstruct.candidate import Candidate
from pipeline.reconstruct.choose import choose
from pipeline.reconstruct.texture import cut_texture
from pipeline.reconstruct.view import View, look_at
from pipeline.types import F64, I64, Camera, Completion, Mask, Mesh, ObjectMesh, Photo, ViewPrior


class SingleViewReconstructor:
    """Surface of revolution, cuboid or inflated silhouette, whichever explains the view (STACK)."""

    name = "single-view"
    version = "1"

    def reconstruct(
        self, photo: Photo, completion: Completion, visible: Mask, camera: Camera, distance: float
    ) -> ObjectMesh:
        """See `Reconstructor`. Deterministic; no weights."""
        view = look_at(photo, completion, visible, camera)
        candidates = [revolution.fit(view), cuboid.fit(view), inflation.fit(view)]
        best, scores = choose(candidates)
        return _placed(best, scores, photo, completion, camera, view, distance)


def _placed(
    candidate: Candidate,
    scores: dict[str, float],
    photo: Photo,
    completion: Completion,
    camera: Camera,
    view: View,
    distance: float,
) -> ObjectMesh:
    """The candidate in its own frame, in metres with its centroid at `distance`, textured from the photo."""
    volume, centroid = _volume_and_centroid(candidate.vertices, candidate.faces)
    if not np.isfinite(candidate.vertices).all() or volume <= 0:
        raise BadMesh(f"{photo.name}: the {candidate.kind} fitted to the object mask has no volume; fix the mask")
    centre = view.to_camera @ centroid
    scale = distance / centre[2]
    vertices = (candidate.vertices - centroid) @ candidate.axes * scale
    prior = ViewPrior(
        rotation=view.to_camera @ candidate.axes,
        transl=centre * scale,
        starts=view.to_camera @ candidate.starts,
        depth_known=candidate.depth_known,
    )
    seen = vertices @ prior.rotation.T + prior.transl
    texture, uv = cut_texture(completion.image, completion.amodal_mask, camera, seen)
    return ObjectMesh(
        mesh=Mesh(vertices=vertices, faces=candidate.faces, uv=uv, texture=texture),
        prior=prior,
        kind=candidate.kind,
        scores=scores,
        notes=(),
    )


def _volume_and_centroid(vertices: F64, faces: I64) -> tuple[float, F64]:
    """Of the solid inside a closed mesh, by the divergence theorem."""
    around = vertices.mean(0)
    a, b, c = (vertices[faces[:, k]] - around for k in range(3))
    volumes = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
    total = float(volumes.sum())
    return total, around + (volumes[:, None] * (a + b + c) / 4).sum(0) / (total if total else 1.0)
