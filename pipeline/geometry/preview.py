"""Pictures of meshes without a graphics stack: smooth shading, textures, 2x supersampling, transparent background.

layers -> depth_layers (nearest surface per sample) -> shade every sample -> average to pixels
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from pipeline.geometry.orientation import first_at_place
from pipeline.geometry.raster import depth_layers
from pipeline.types import F64, U8

SUPERSAMPLE = 2
AMBIENT = 0.36
SHININESS = 32.0
GLOSS = 0.12
# Key, fill and rim light: direction towards the light in the camera frame (y down), strength.
LIGHTS = np.array([[-0.5, -0.8, -0.6, 0.68], [0.8, -0.2, -0.5, 0.26], [0.0, 0.6, -0.4, 0.12]])


@dataclass(frozen=True)
class Layer:
    """One mesh of a picture; coloured by its texture, else per vertex, else by `color`."""

    vertices: ArrayLike  # (V, 3) metres
    faces: ArrayLike  # (F, 3)
    color: tuple[float, float, float] = (0.72, 0.72, 0.74)  # RGB, 0..1
    vertex_colors: ArrayLike | None = None  # (V, 3) RGB, 0..1
    uv: ArrayLike | None = None  # (V, 2), (0, 0) is the texture's top-left corner
    texture: U8 | None = None  # (h, w, 3) RGB


def render(
    layers: list[Layer],
    K: ArrayLike,
    height: int,
    width: int,
    rotation: ArrayLike | None = None,
    transl: ArrayLike | None = None,
    lights: ArrayLike = LIGHTS,
) -> U8:
    """(height, width, 4) uint8 RGBA, colour not premultiplied, alpha the covered share of the pixel.

    K: (3, 3) pixels. The layers' common frame is brought to the camera's by rotation @ X + transl (default: it
    is the camera's already). lights: (N, 4) direction towards the light in the camera frame, and strength.
    """
    R = np.eye(3) if rotation is None else np.asarray(rotation, dtype=np.float64)
    t = np.zeros(3) if transl is None else np.asarray(transl, dtype=np.float64)
    placed = [np.asarray(layer.vertices, dtype=np.float64) @ R.T + t for layer in layers]
    faces = [np.asarray(layer.faces, dtype=np.int64) for layer in layers]
    first_vertex = np.cumsum([0] + [len(v) for v in placed])
    all_faces = np.concatenate([f + first for f, first in zip(faces, first_vertex[:-1], strict=True)])
    fine = np.diag([SUPERSAMPLE, SUPERSAMPLE, 1.0]) @ np.asarray(K, dtype=np.float64)
    hit = depth_layers(np.concatenate(placed), all_faces, fine, height * SUPERSAMPLE, width * SUPERSAMPLE, k=1)
    samples = np.flatnonzero(hit.face[..., 0] >= 0)
    face, bary = hit.face.reshape(-1)[samples], hit.bary.reshape(-1, 3)[samples]

    albedo = np.empty((len(samples), 3))
    for layer, own, first in zip(layers, faces, np.cumsum([0] + [len(f) for f in faces]), strict=False):
        mine = (face >= first) & (face < first + len(own))
        albedo[mine] = _albedo(layer, own[face[mine] - first], bary[mine])
    normals = np.concatenate([vertex_normals(v, f) for v, f in zip(placed, faces, strict=True)])
    lit = _shade(face, bary, all_faces, np.concatenate(placed), normals, albedo, _unit_lights(lights))
    return _resolve(samples, lit, height, width)


def orbit_camera(
    center: ArrayLike, radius_bound: float, azimuth: float, elevation: float, size: int, fov_deg: float = 30.0
) -> tuple[F64, F64, F64]:
    """(K, rotation, transl) of a square picture of a ball, for side views and turntables.

    center: (3,) metres, in a frame with y down (the photo's camera frame); radius_bound: metres, the ball just
    fits. Azimuth and elevation in degrees: 0, 0 looks as the photo does; a growing azimuth moves the viewer to
    the right, around the vertical; elevation lifts it. Use as render(..., K, size, size, rotation, transl).
    """
    half = math.radians(fov_deg) / 2
    focal = size / 2 / math.tan(half)
    K = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]])
    a, e = math.radians(azimuth), math.radians(elevation)
    turn = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    tilt = np.array([[1, 0, 0], [0, math.cos(e), -math.sin(e)], [0, math.sin(e), math.cos(e)]])
    rotation = tilt @ turn
    distance = radius_bound / math.sin(half)
    return K, rotation, np.array([0, 0, distance]) - rotation @ np.asarray(center, dtype=np.float64)


def vertex_normals(vertices: F64, faces: NDArray[np.int64]) -> F64:
    """(V, 3) unit normals, faces weighted by area; vertices at the same place share one (no crease at uv seams)."""
    corners = vertices[faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    place = first_at_place(vertices)
    summed = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(summed, place[faces[:, i]], face_normals)
    summed /= np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)
    return summed[place]


def _albedo(layer: Layer, corners: NDArray[np.int64], bary: F64) -> F64:
    """(N, 3) colour at N samples, given each one's face corners (N, 3) and weights (N, 3)."""
    if layer.texture is not None and layer.uv is not None:
        uv = (np.asarray(layer.uv, dtype=np.float64)[corners] * bary[..., None]).sum(1)
        return _bilinear(layer.texture, uv)
    if layer.vertex_colors is not None:
        colors = np.asarray(layer.vertex_colors, dtype=np.float64)
        return cast(F64, (colors[corners] * bary[..., None]).sum(1))
    return np.broadcast_to(np.asarray(layer.color, dtype=np.float64), (len(corners), 3))


def _bilinear(texture: U8, uv: F64) -> F64:
    height, width = texture.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip(uv[:, 1] * height - 0.5, 0, height - 1)
    x0, y0 = x.astype(int), y.astype(int)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    top = texture[y0, x0, :3] * (1 - fx) + texture[y0, x1, :3] * fx
    bottom = texture[y1, x0, :3] * (1 - fx) + texture[y1, x1, :3] * fx
    return cast(F64, (top * (1 - fy) + bottom * fy) / 255.0)


def _unit_lights(lights: ArrayLike) -> F64:
    unit = np.array(lights, dtype=np.float64)
    unit[:, :3] /= np.linalg.norm(unit[:, :3], axis=1, keepdims=True)
    return unit


@njit(cache=True, fastmath=True)
def _shade(face, bary, faces, verts, normals, albedo, lights):  # type: ignore[no-untyped-def]
    """(N, 3) Blinn-Phong colours in [0, 1] of N samples; a face seen from behind is lit as from in front."""
    out = np.empty_like(albedo)
    for i in range(face.shape[0]):
        a, b, c = faces[face[i]]
        u, v, w = bary[i]
        nx, ny, nz = _unit(
            u * normals[a, 0] + v * normals[b, 0] + w * normals[c, 0],
            u * normals[a, 1] + v * normals[b, 1] + w * normals[c, 1],
            u * normals[a, 2] + v * normals[b, 2] + w * normals[c, 2],
        )
        vx, vy, vz = _unit(
            -(u * verts[a, 0] + v * verts[b, 0] + w * verts[c, 0]),
            -(u * verts[a, 1] + v * verts[b, 1] + w * verts[c, 1]),
            -(u * verts[a, 2] + v * verts[b, 2] + w * verts[c, 2]),
        )
        if _from_behind(verts, a, b, c):  # the flat face decides: smooth normals turn away early near an outline
            nx, ny, nz = -nx, -ny, -nz
        diffuse, gloss = AMBIENT, 0.0
        for j in range(lights.shape[0]):
            lx, ly, lz, strength = lights[j]
            diffuse += strength * max(0.0, nx * lx + ny * ly + nz * lz)
            hx, hy, hz = _unit(lx + vx, ly + vy, lz + vz)
            gloss += strength * max(0.0, nx * hx + ny * hy + nz * hz) ** SHININESS
        for channel in range(3):
            out[i, channel] = min(1.0, albedo[i, channel] * diffuse + GLOSS * gloss)
    return out


@njit(cache=True, fastmath=True)
def _unit(x, y, z):  # type: ignore[no-untyped-def]
    scale = 1.0 / math.sqrt(x * x + y * y + z * z + 1e-20)
    return x * scale, y * scale, z * scale


@njit(cache=True, fastmath=True)
def _from_behind(verts, a, b, c):  # type: ignore[no-untyped-def]
    ux, uy, uz = verts[b, 0] - verts[a, 0], verts[b, 1] - verts[a, 1], verts[b, 2] - verts[a, 2]
    vx, vy, vz = verts[c, 0] - verts[a, 0], verts[c, 1] - verts[a, 1], verts[c, 2] - verts[a, 2]
    away = (uy * vz - uz * vy) * verts[a, 0] + (uz * vx - ux * vz) * verts[a, 1] + (ux * vy - uy * vx) * verts[a, 2]
    return away > 0.0


def _resolve(samples: NDArray[np.int64], lit: F64, height: int, width: int) -> U8:
    """Average SUPERSAMPLE^2 samples to RGBA; colour over the covered ones only, so that outlines do not darken."""
    row, column = np.divmod(samples, width * SUPERSAMPLE)
    pixel = row // SUPERSAMPLE * width + column // SUPERSAMPLE
    count = np.bincount(pixel, minlength=height * width)
    channels = [np.bincount(pixel, lit[:, i], height * width) / np.maximum(count, 1) for i in range(3)]
    rgba = np.stack([*channels, count / SUPERSAMPLE**2], 1).reshape(height, width, 4)
    return cast(U8, np.rint(rgba * 255).astype(np.uint8))
