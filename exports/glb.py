"""Triangle meshes as one binary glTF 2.0 file, and back: named parts, positions, texture; nothing else.

    12-byte header | JSON chunk (nodes, meshes, accessors) | BIN chunk (positions, uv, indices, texture per part)

Equal parts give equal bytes. Positions and uv stay bit by bit and in their order, as float32, so vertex 17 of a file is
vertex 17 of the mesh it was made of (libraries merge, flip or reorder). No normals are written: readers make their own.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC, VERSION, JSON_CHUNK, BIN_CHUNK = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
F32, U16, U32 = 5126, 5123, 5125  # component types
DTYPES: dict[int, np.dtype[Any]] = {F32: np.dtype("<f4"), U16: np.dtype("<u2"), U32: np.dtype("<u4")}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}
VERTEX_DATA, INDICES = 34962, 34963  # buffer view targets
MAX_U16 = 65_535  # vertices; the index 65,535 itself is reserved
REPEAT = 10497


@dataclass(frozen=True)
class Part:
    """One mesh, which is also one node of the scene."""

    name: str
    vertices: NDArray[np.float32]  # (V, 3)
    faces: NDArray[np.integer]  # (F, 3) counter-clockwise seen from outside
    uv: NDArray[np.float32] | None = None  # (V, 2); (0, 0) is the texture's top-left corner, as in glTF
    texture: bytes = b""  # PNG or JPEG; needs uv
    scale: float = 1.0  # of the node: metres per unit of `vertices`
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)  # linear, 0..1; multiplies the texture


def encode(parts: Sequence[Part]) -> bytes:
    """The parts as GLB bytes."""
    data = _Binary()
    gltf: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "hoi-annotate"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(parts)))}],
        "nodes": [],
        "meshes": [],
        "materials": [],
    }
    images: list[int] = []
    for index, part in enumerate(parts):
        node: dict[str, Any] = {"name": part.name, "mesh": index}
        if part.scale != 1.0:
            node["scale"] = [part.scale] * 3
        vertices = np.ascontiguousarray(part.vertices, dtype="<f4")
        attributes = {"POSITION": data.accessor(vertices, "VEC3", F32, bounds=True)}
        if part.uv is not None:
            attributes["TEXCOORD_0"] = data.accessor(np.ascontiguousarray(part.uv, dtype="<f4"), "VEC2", F32)
        kind = U16 if len(vertices) <= MAX_U16 else U32
        indices = data.accessor(np.ascontiguousarray(part.faces.reshape(-1), dtype=DTYPES[kind]), "SCALAR", kind)
        surface: dict[str, Any] = {"baseColorFactor": [*part.color, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.8}
        if part.texture:
            surface["baseColorTexture"] = {"index": len(images)}
            images.append(data.view(part.texture))
        primitive = {"attributes": attributes, "indices": indices, "material": index}
        gltf["nodes"].append(node)
        gltf["meshes"].append({"name": part.name, "primitives": [primitive]})
        gltf["materials"].append({"name": part.name, "pbrMetallicRoughness": surface, "doubleSided": True})
    if images:
        mime = [_mime(data.piece(view)) for view in images]
        gltf["images"] = [{"bufferView": v, "mimeType": m} for v, m in zip(images, mime, strict=True)]
        gltf["samplers"] = [{"wrapS": REPEAT, "wrapT": REPEAT}]
        gltf["textures"] = [{"sampler": 0, "source": index} for index in range(len(images))]
    return data.file(gltf)


def decode(data: bytes) -> list[Part]:
    """The parts of a file that `encode` wrote. Raises ValueError for one it did not write, or that is broken."""
    try:
        return _decoded(data)
    except (struct.error, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"is not a GLB of plain meshes ({error!r})") from error


def _decoded(data: bytes) -> list[Part]:
    magic, version, length, json_length, json_kind = struct.unpack_from("<5I", data)
    if (magic, version, json_kind) != (MAGIC, VERSION, JSON_CHUNK):
        raise ValueError("is not binary glTF 2.0")
    if length != len(data):
        raise ValueError(f"says it is {length} bytes long and is {len(data)}")
    gltf = json.loads(data[20 : 20 + json_length])
    bin_length, bin_kind = struct.unpack_from("<2I", data, 20 + json_length)
    binary = data[28 + json_length :]
    if bin_kind != BIN_CHUNK or bin_length != len(binary) or gltf["buffers"][0]["byteLength"] > bin_length:
        raise ValueError("has no BIN chunk of the length it says")
    parts = []
    for node in gltf["nodes"]:
        (primitive,) = gltf["meshes"][node["mesh"]]["primitives"]
        attributes = primitive["attributes"]
        vertices = _accessor(gltf, binary, attributes["POSITION"])
        faces = _accessor(gltf, binary, primitive["indices"]).reshape(-1, 3)
        if len(faces) and faces.max() >= len(vertices):
            raise ValueError(f"'{node['name']}' has a face with a vertex that it does not have")
        uv = _accessor(gltf, binary, attributes["TEXCOORD_0"]) if "TEXCOORD_0" in attributes else None
        surface = gltf["materials"][primitive["material"]]["pbrMetallicRoughness"]
        texture = b""
        if "baseColorTexture" in surface:
            source = gltf["textures"][surface["baseColorTexture"]["index"]]["source"]
            texture = _view(gltf, binary, gltf["images"][source]["bufferView"])
        red, green, blue, _ = surface["baseColorFactor"]
        scale = float(node.get("scale", [1.0])[0])
        parts.append(Part(node["name"], vertices, faces, uv, texture, scale, (red, green, blue)))
    return parts


def _accessor(gltf: Mapping[str, Any], binary: bytes, index: int) -> NDArray[Any]:
    accessor = gltf["accessors"][index]
    width, dtype = WIDTHS[accessor["type"]], DTYPES[accessor["componentType"]]
    values = np.frombuffer(_view(gltf, binary, accessor["bufferView"]), dtype=dtype)
    if len(values) != accessor["count"] * width:
        raise ValueError(f"accessor {index} holds {len(values)} numbers, not {accessor['count'] * width}")
    return np.asarray(values).reshape(-1, width)


def _view(gltf: Mapping[str, Any], binary: bytes, index: int) -> bytes:
    view = gltf["bufferViews"][index]
    return binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]


def _mime(picture: bytes) -> str:
    return "image/png" if picture.startswith(b"\x89PNG") else "image/jpeg"


class _Binary:
    """The BIN chunk in the making, with the views and accessors into it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []
        self.length = 0

    def view(self, data: bytes, target: int | None = None) -> int:
        """Bytes at the next multiple of four; the number of their view."""
        view = {"buffer": 0, "byteOffset": self.length, "byteLength": len(data)}
        self.views.append(view if target is None else {**view, "target": target})
        padded = data + bytes(-len(data) % 4)
        self.pieces.append(padded)
        self.length += len(padded)
        return len(self.views) - 1

    def piece(self, view: int) -> bytes:
        """The bytes of a view, padded."""
        return self.pieces[view]

    def accessor(self, values: NDArray[Any], shape: str, kind: int, bounds: bool = False) -> int:
        """An array; its number."""
        view = self.view(values.tobytes(), INDICES if shape == "SCALAR" else VERTEX_DATA)
        accessor: dict[str, Any] = {"bufferView": view, "componentType": kind, "count": len(values), "type": shape}
        if bounds:
            accessor |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def file(self, gltf: dict[str, Any]) -> bytes:
        """The whole GLB."""
        content = {
            **gltf,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": self.length}],
        }
        text = json.dumps(content, separators=(",", ":")).encode("ascii")
        text += b" " * (-len(text) % 4)
        length = 28 + len(text) + self.length
        head = struct.pack("<5I", MAGIC, VERSION, length, len(text), JSON_CHUNK)
        return b"".join([head, text, struct.pack("<2I", self.length, BIN_CHUNK), *self.pieces])
