"""A mesh the user has: an .obj, .glb or .ply file, by hand or from any tool, in a frame the recipe names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from pipeline.errors import BadMesh
from pipeline.reconstruct.foreign_mesh import ForeignMesh, Shot, object_mesh
from pipeline.reconstruct.frames import AXES, Frame, every
from pipeline.reconstruct.hunyuan3d import Hunyuan3DReconstructor
from pipeline.reconstruct.instantmesh import InstantMeshReconstructor
from pipeline.reconstruct.trellis2 import Trellis2Reconstructor
from pipeline.reconstruct.tripo3d import Tripo3DReconstructor
from pipeline.reconstruct.triposr import TripoSRReconstructor
from pipeline.types import Camera, Completion, Mask, ObjectMesh, Photo

SUFFIXES = (".glb", ".obj", ".ply", ".gltf", ".stl", ".off")
ANYHOW = Frame("+y", "+z", azimuths=every(20), elevations=(0, 20, 45, 70, 90, -20, -45, -70, -90))
FRAMES = {
    "any": ANYHOW,
    "instantmesh": InstantMeshReconstructor.frame,
    "instantmesh-obj": InstantMeshReconstructor.frame,  # as its run.py and EasyHOI save it: z negated
    "triposr": TripoSRReconstructor.frame,
    "trellis2": Trellis2Reconstructor.frame,
    "hunyuan3d": Hunyuan3DReconstructor.frame,
    "tripo3d": Tripo3DReconstructor.frame,
}
MIRRORED = {"instantmesh-obj": np.array([1.0, 1.0, -1.0])}


class GivenMesh:
    """Settings: `path`, a file or a folder with `<photo>.glb` (.obj, .ply, ...) or `<photo>/*.obj` for each photo.

    `frame`: which tool's frame it is in ('any': y up, seen from anywhere); or `up` and `viewer`, axes such as '+z',
    where it was seen from.
    """

    name = "mesh"
    version = "1"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._path = Path(settings.get("path", "")).expanduser()
        self._kind = str(settings.get("frame", "any"))
        if self._kind not in FRAMES:
            raise BadMesh(f"recipe: frame = '{self._kind}' is none of {', '.join(FRAMES)}")
        frame = FRAMES[self._kind]
        up, viewer = str(settings.get("up", frame.up)), str(settings.get("viewer", frame.viewer))
        if not {up, viewer} <= set(AXES) or up[1] == viewer[1]:
            raise BadMesh(f"recipe: up = '{up}' and viewer = '{viewer}' are not two of {', '.join(AXES)}")
        self._frame = Frame(up, viewer, frame.azimuths, frame.elevations)

    def needs(self) -> list[str]:
        """One line when the path is not there."""
        return [] if self._path.exists() else [f"mesh: there is no '{self._path}'; set 'path' in [reconstruct]"]

    @property
    def weights_digest(self) -> str:
        """sha256 of the given files: another mesh, another result."""
        state = hashlib.sha256()
        files = [self._path] if self._path.is_file() else sorted(self._path.rglob("*"))
        for path in files:
            if path.suffix.lower() in SUFFIXES and path.is_file():
                state.update(str(path).encode() + hashlib.sha256(path.read_bytes()).digest())
        return state.hexdigest()

    def reconstruct(
        self, photo: Photo, completion: Completion, visible: Mask, camera: Camera, distance: float
    ) -> ObjectMesh:
        """See `Reconstructor`. Raises BadMesh, naming the file, when there is none or it cannot be used."""
        path = self._file(photo)
        mesh = read_mesh(path)
        if self._kind in MIRRORED:
            flipped = mesh.vertices * MIRRORED[self._kind]
            mesh = ForeignMesh(flipped, mesh.faces[:, ::-1], mesh.colours, mesh.uv, mesh.texture)
        try:
            shot = Shot.of(photo, completion, camera, distance)
            return object_mesh(self.name, mesh, self._frame, shot, depth_known=1.0)
        except BadMesh as error:
            raise BadMesh(f"{path}: {error}") from error

    def _file(self, photo: Photo) -> Path:
        if self._path.is_file():
            return self._path
        stem = Path(photo.name).stem
        found = [self._path / f"{stem}{suffix}" for suffix in SUFFIXES]
        found += [path for suffix in SUFFIXES for path in sorted((self._path / stem).glob(f"*{suffix}"))]
        for path in found:
            if path.is_file():
                return path
        raise BadMesh(f"{photo.name}: no mesh in {self._path}; expected {stem}.glb, {stem}.obj or {stem}.ply")


def read_mesh(path: Path) -> ForeignMesh:
    """All that a mesh file holds, as one mesh. Raises BadMesh naming the file."""
    try:
        mesh = trimesh.load_scene(path).to_mesh()
        vertices = np.asarray(mesh.vertices, dtype=np.float64)
        faces = np.asarray(mesh.faces, dtype=np.int64)
    except Exception as error:  # a dozen readers, each with errors of its own
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise BadMesh(f"{path}: cannot be read as a mesh ({reason})") from error
    uv = getattr(mesh.visual, "uv", None)
    material = getattr(mesh.visual, "material", None)
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if uv is not None and picture is not None and len(uv) == len(vertices):
        texture = np.asarray(picture.convert("RGB"), dtype=np.uint8)
        return ForeignMesh(vertices, faces, None, np.asarray(uv, dtype=np.float64), texture)
    if mesh.visual.kind == "vertex":
        return ForeignMesh(vertices, faces, np.asarray(mesh.visual.vertex_colors, dtype=np.uint8)[:, :3])
    return ForeignMesh(vertices, faces)
