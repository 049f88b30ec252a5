"""SAM 3D Objects (Meta 2025), in its own environment: shape and pose of a masked object in the whole photo."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.errors import BadMesh
from pipeline.foreign import Foreign, ForeignAdapter
from pipeline.hand.registration import rotation_to
from pipeline.reconstruct.foreign_mesh import ForeignMesh, Shot, object_mesh
from pipeline.reconstruct.lrm import mesh_of
from pipeline.types import F64, Camera, Completion, Mask, ObjectMesh, Photo
from pipeline.worker_protocol import Answer

Y_UP_TO_Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # of columns
FROM_PYTORCH3D = np.diag([-1.0, -1.0, 1.0])  # its camera has x left and y up


class Sam3DObjectsReconstructor(ForeignAdapter):
    """Its pose is known, in a camera of its own focal length: of it the orientation along the ray is kept."""

    name = "sam3d-objects"
    version = "1"
    foreign = Foreign(
        name="sam3d-objects",
        script="sam3d_objects_worker.py",
        setup="git clone https://github.com/facebookresearch/sam-3d-objects && cd sam-3d-objects, "
        "and make its environment as doc/setup.md there says",
        conventions={
            "mesh": "y-up of the z-up object",
            "pose": "z-up object to camera, rows",
            "camera": "pytorch3d",
            "quaternion": "wxyz",
        },
    )

    def reconstruct(
        self, photo: Photo, completion: Completion, visible: Mask, camera: Camera, distance: float
    ) -> ObjectMesh:
        """See `Reconstructor`."""
        shot = Shot.of(photo, completion, camera, distance)
        mask = completion.amodal_mask.astype(np.uint8)
        mesh, rotation = posed(self.foreign.ask(self._settings, "mesh", {"image": completion.image, "mask": mask}))
        return object_mesh(self.name, mesh, rotation, shot, depth_known=0.8)


def posed(answer: Answer) -> tuple[ForeignMesh, F64]:
    """The mesh, z up, and its rotation (3, 3) into an OpenCV camera that looks straight at it. Raises BadMesh."""
    mesh = mesh_of(answer)
    vertices = mesh.vertices @ Y_UP_TO_Z_UP.T
    w, x, y, z = answer.required("rotation", 4).astype(np.float64)
    if w * w + x * x + y * y + z * z < 1e-12:
        raise BadMesh("sam3d-objects: its answer has no rotation")
    rotation = FROM_PYTORCH3D @ Rotation.from_quat([x, y, z, w]).as_matrix().T  # it turns rows
    scale = float(answer.required("scale", 3).mean())
    centre = (vertices.min(0) + vertices.max(0)) / 2
    ray = rotation @ centre * scale + FROM_PYTORCH3D @ answer.required("translation", 3)
    if ray[2] <= 0:
        raise BadMesh("sam3d-objects: its answer lies behind the camera")
    straight = rotation_to(ray).T @ rotation
    return ForeignMesh(vertices, mesh.faces, mesh.colours, mesh.uv, mesh.texture), straight
