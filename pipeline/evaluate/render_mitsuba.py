"""Meshes, bitmaps and film for mitsuba, a dev dependency that is imported on use."""

from __future__ import annotations

from typing import Any

import numpy as np
import trimesh

from pipeline.errors import HoiError
from pipeline.types import F64, I64, U8


class MissingRenderer(HoiError):
    """mitsuba is not installed."""


def mitsuba() -> Any:
    """The module, in its scalar variant, which runs anywhere. Raises MissingRenderer."""
    try:
        import mitsuba as mi
    except ImportError as error:
        raise MissingRenderer("photoreal pictures need mitsuba: pip install 'hoi-annotate[dev]'") from error
    if mi.variant() != "scalar_rgb":
        mi.set_variant("scalar_rgb")
    return mi


def texture(image: Any) -> dict[str, Any]:
    """A bitmap whose uv (0, 0) is the picture's top-left corner."""
    return {"type": "bitmap", "bitmap": mitsuba().Bitmap(np.array(image)), "wrap_mode": "clamp"}


def mesh(
    name: str,
    verts: F64,
    faces: I64,
    bsdf: dict[str, Any],
    uv: F64 | None = None,
    attributes: dict[str, F64] | None = None,
    smooth: bool = True,
) -> Any:
    """A mitsuba mesh; `attributes` are per vertex."""
    props = mitsuba().Properties()
    props["bsdf"] = mitsuba().load_dict({"type": "twosided", "nested": bsdf})
    shape = mitsuba().Mesh(
        name, len(verts), len(faces), has_vertex_normals=smooth, has_vertex_texcoords=uv is not None, props=props
    )
    params = mitsuba().traverse(shape)
    params["vertex_positions"] = np.ascontiguousarray(verts, np.float32).ravel()
    params["faces"] = np.ascontiguousarray(faces, np.uint32).ravel()
    if smooth:
        normals = trimesh.Trimesh(verts, faces, process=False).vertex_normals
        params["vertex_normals"] = np.ascontiguousarray(normals, np.float32).ravel()
    if uv is not None:
        params["vertex_texcoords"] = np.ascontiguousarray(uv, np.float32).ravel()
    params.update()
    for key, values in (attributes or {}).items():
        shape.add_attribute(
            f"vertex_{key}", values.size // len(verts), np.ascontiguousarray(values, np.float32).ravel()
        )
    return shape


def grid_faces(rows: int, columns: int, wrap: bool) -> I64:
    """Two triangles per cell of a (rows, columns) grid of vertices."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns if wrap else columns - 1), indexing="ij")
    k = (j + 1) % columns
    a, b, c, d = (i * columns + j, i * columns + k, (i + 1) * columns + j, (i + 1) * columns + k)
    return np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])


def develop(linear: F64, gain: float = 1.3, seed: int = 7) -> U8:
    """Linear radiance -> 8-bit sRGB with a soft shoulder, slight vignette and a phone's grain."""
    height, width = linear.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    vignette = 1 - 0.22 * (((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) / 0.5)[..., None]
    exposed = gain * linear * vignette
    curve = np.where(exposed < 0.7, exposed, 0.7 + 0.3 * (1 - np.exp(-(exposed - 0.7) / 0.3)))
    display = np.where(curve <= 0.0031308, 12.92 * curve, 1.055 * np.maximum(curve, 1e-6) ** (1 / 2.4) - 0.055)
    grain = np.random.default_rng(seed).normal(scale=0.008, size=(height, width, 1))
    return np.asarray(np.clip((display + grain) * 255 + 0.5, 0, 255), dtype=np.uint8)
