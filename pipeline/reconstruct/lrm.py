"""A large reconstruction model in its own environment: the completed object in a square -> a mesh in its own frame."""

from __future__ import annotations

import numpy as np

from pipeline.foreign import ForeignAdapter
from pipeline.reconstruct.foreign_mesh import ForeignMesh, Shot, object_mesh
from pipeline.reconstruct.frames import Frame
from pipeline.reconstruct.square import shown
from pipeline.types import Camera, Completion, Mask, ObjectMesh, Photo
from pipeline.worker_protocol import Answer


class LargeReconstructor(ForeignAdapter):
    """What those models have in common. A subclass says which worker, and what its answers' frame tells."""

    frame: Frame
    depth_known = 0.7  # learnt from many objects, seen in one picture

    def reconstruct(
        self, photo: Photo, completion: Completion, visible: Mask, camera: Camera, distance: float
    ) -> ObjectMesh:
        """See `Reconstructor`. The same picture, weights and seed give the same mesh as far as the GPU does."""
        shot = Shot.of(photo, completion, camera, distance)
        picture = shown(completion, shot.square, camera)
        mesh = mesh_of(self.foreign.ask(self._settings, "mesh", {"picture": picture}))
        return object_mesh(self.name, mesh, self.frame, shot, self.depth_known)


def mesh_of(answer: Answer) -> ForeignMesh:
    """The mesh in a worker's answer, its arrays checked. Raises WorkerFailed."""
    vertices = answer.required("vertices", None, 3).astype(np.float64)
    faces = answer.required("faces", None, 3).astype(np.int64)
    colours = answer.array("colours", len(vertices), 3, optional=True)
    uv = answer.array("uv", len(vertices), 2, optional=True)
    texture = answer.array("texture", None, None, 3, optional=True)
    return ForeignMesh(
        vertices,
        faces,
        None if colours is None else colours.astype(np.uint8),
        None if uv is None else uv.astype(np.float64),
        None if texture is None else texture.astype(np.uint8),
    )
