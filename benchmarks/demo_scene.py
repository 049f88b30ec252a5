"""Render the demo pictures: the open hand holding a can and a carton, path traced, ours to ship.

    python benchmarks/demo_scene.py [--spp 96] [--size 768] [-o demo]

Nothing is captured and nothing is borrowed: the hand is pipeline/hand_model's open hand, closed around each
object by a small optimisation under its own pose prior; labels, sleeve and room are drawn here. Every draw is
seeded. Needs the `dev` extra (mitsuba); the `scalar_rgb` variant runs anywhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import mitsuba as mi
import numpy as np
import torch
import trimesh
from demo_objects import CAN_HEIGHT, CAN_RADIUS, CARTON, can, carton, grid_faces, mesh, room, texture
from pytorch3d.transforms import axis_angle_to_matrix

from pipeline.hand_model import HandModel, load_hand
from pipeline.types import F64, I64, U8, Side

mi.set_variant("scalar_rgb")

FOV_DEG = 50.0  # the pipeline's field-of-view prior, so that the demo's camera is the one it assumes
GRASP_COMPONENTS = 14  # principal components of the pose prior that the grasp may use
WRIST_RING_FACES = 14  # the closing fan at the wrist, replaced here by a forearm

Sdf = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Grasp:
    """A closed hand in the object's frame (object centred, z up), metres."""

    verts: F64  # (778, 3)
    joints: F64  # (21, 3)
    model: HandModel


@dataclass(frozen=True)
class Shot:
    """Where the camera stands around the object, degrees and metres, and how the picture is lit."""

    azimuth: float
    elevation: float
    distance: float
    aim: tuple[float, float, float]  # metres, object frame
    roll: float
    key_azimuth: float
    skin: tuple[float, float, float]  # base colour, linear RGB
    cloth: tuple[float, float, float]
    wall: tuple[int, int, int]  # background, sRGB 0..255


# --- the grasp ---------------------------------------------------------------------------------------------


def cylinder_sdf(points: torch.Tensor) -> torch.Tensor:
    radial = points[..., :2].norm(dim=-1) - CAN_RADIUS
    axial = points[..., 2].abs() - CAN_HEIGHT / 2
    outside = torch.stack([radial, axial], -1)
    return outside.clamp(min=0).norm(dim=-1) + outside.max(-1).values.clamp(max=0)


def carton_sdf(points: torch.Tensor) -> torch.Tensor:
    outside = points.abs() - torch.as_tensor(CARTON / 2, dtype=torch.float32)
    return outside.clamp(min=0).norm(dim=-1) + outside.max(-1).values.clamp(max=0)


def close_hand(side: Side, sdf: Sdf, centre: tuple[float, float, float], steps: int = 400) -> Grasp:
    """Close the mean grasp around an object that starts at `centre` in the hand's frame."""
    model = load_hand(side)
    spread = model.components[:GRASP_COMPONENTS] * model.component_std[:GRASP_COMPONENTS, None]
    basis = torch.as_tensor(spread, dtype=torch.float32)
    mean = torch.as_tensor(model.mean_pose, dtype=torch.float32)
    zone = torch.as_tensor(model.zone.astype(np.int64))
    z = torch.zeros(GRASP_COMPONENTS, requires_grad=True)
    transl = torch.tensor(centre, requires_grad=True)
    turn = torch.zeros(3, requires_grad=True)
    groups = [(z, 0.05), (transl, 1e-3), (turn, 0.01)]
    adam = torch.optim.Adam([{"params": [p], "lr": rate} for p, rate in groups])
    for _ in range(steps):
        adam.zero_grad()
        verts, joints = model(torch.zeros(1, 3), (mean + z @ basis)[None], torch.zeros(1, 10), torch.zeros(1, 3))
        rotation = axis_angle_to_matrix(turn)
        distance = sdf((verts[0] - transl) @ rotation)
        gap = distance.clamp(min=0)
        pads = sum(gap[zone == i].topk(8, largest=False).values.mean() for i in range(1, 6))
        contact = pads + 1.5 * gap[zone == 6].mean()
        prior = 0.02 * z.square().sum() + turn.square().sum()
        (30 * contact + 8 * (-distance).clamp(min=0).sum() + prior).backward()
        adam.step()
    with torch.no_grad():
        placed = [((x[0] - transl) @ rotation).double().numpy() for x in (verts, joints)]
    return Grasp(placed[0], placed[1], model)


# --- skin and sleeve ---------------------------------------------------------------------------------------


def with_forearm(grasp: Grasp) -> tuple[F64, I64, tuple[F64, F64]]:
    """Replace the wrist's closing fan by a forearm. Returns vertices, faces, and where it starts and points."""
    faces = grasp.model.faces[:-WRIST_RING_FACES]
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    single = trimesh.grouping.group_rows(np.sort(edges, 1), require_count=1)
    following = dict(edges[single])
    loop = [edges[single][0, 0]]
    while len(loop) < len(single):
        loop.append(following[loop[-1]])
    ring = grasp.verts[loop]
    axis = ring.mean(0) - grasp.joints[9]
    axis /= np.linalg.norm(axis)
    flat = ring.mean(0) + (ring - ring.mean(0)) - np.outer((ring - ring.mean(0)) @ axis, axis)
    verts, tris, previous = [grasp.verts], [faces], np.array(loop)
    for step in range(1, 5):
        start = len(grasp.verts) + (step - 1) * len(loop)
        blend = min(1.0, step / 2)  # flat to the axis after two rings
        base = (1 - blend) * ring + blend * flat
        verts.append(ring.mean(0) + (base - ring.mean(0)) * (1 - 0.05 * step) + axis * 0.012 * step)
        current = start + np.arange(len(loop))
        after, after_previous = np.roll(current, -1), np.roll(previous, -1)
        tris += [np.stack([previous, current, after_previous], 1), np.stack([after_previous, current, after], 1)]
        previous = current
    mesh = trimesh.Trimesh(np.concatenate(verts), np.concatenate(tris), process=False)
    trimesh.repair.fix_winding(mesh)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces), (ring.mean(0), axis)


def waves(points: F64, metres: float, seed: int) -> F64:
    """Smooth band-limited noise (N,) in about [-1, 1], `metres` per period."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(24, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    periods = metres * rng.uniform(0.7, 1.5, 24)
    phases = rng.uniform(0, 2 * np.pi, 24)
    return np.asarray(np.sin(points @ (directions / periods[:, None]).T * 2 * np.pi + phases).sum(1) / 5)


def dorsal_frames(grasp: Grasp) -> list[tuple[F64, F64, F64, F64]]:
    """Per finger: middle joint, last joint, tip, and the direction its back faces."""
    normals = trimesh.Trimesh(grasp.verts, grasp.model.faces, process=False).vertex_normals
    frames = []
    for finger in range(5):
        middle, last, tip = grasp.joints[[2 + 4 * finger, 3 + 4 * finger, 4 + 4 * finger]]
        near = np.linalg.norm(grasp.verts - (last + tip) / 2, axis=1) < 0.018
        back = normals[near & (grasp.model.skin_side == -1)].mean(0)
        along = (tip - last) / np.linalg.norm(tip - last)
        back -= along * (back @ along)
        frames.append((middle, last, tip, back / np.linalg.norm(back)))
    return frames


def skin(grasp: Grasp, base: tuple[float, float, float]) -> tuple[F64, I64, F64, F64, tuple[F64, F64]]:
    """The arm as fine skin: vertices, faces, colour (N, 3) linear RGB, roughness (N,), and the forearm's ray."""
    coarse, faces, forearm = with_forearm(grasp)
    palm = np.zeros((len(coarse), 3))
    palm[:778, 0] = grasp.model.skin_side == 1
    verts, fine = trimesh.remesh.subdivide_loop(coarse, faces, iterations=3)
    palm = trimesh.remesh.subdivide_loop(palm, faces, iterations=3)[0][:, 0]
    normals = np.asarray(trimesh.Trimesh(verts, fine, process=False).vertex_normals)
    flush = 0.35 * waves(verts, 0.03, 1) + 0.15 * waves(verts, 0.006, 2) + 0.6 * palm
    rough = np.full(len(verts), 0.48)
    relief = 4e-5 * waves(verts, 0.0035, 3)
    nail_mask, groove = np.zeros(len(verts)), np.zeros(len(verts))
    for middle, last, tip, back in dorsal_frames(grasp):
        along = (tip - last) / np.linalg.norm(tip - last)
        across = np.cross(along, back)
        for joint in (middle, last):
            offset = verts - joint
            crease = np.exp(-(((offset @ along) / 0.005) ** 2) - ((offset @ across) / 0.009) ** 2)
            crease *= np.clip(normals @ back, 0, 1) * (np.linalg.norm(offset, axis=1) < 0.02)
            relief += 1.3e-4 * crease * np.cos((offset @ along) * 2 * np.pi / 0.0026)
            flush += 0.7 * crease
        length = np.linalg.norm(tip - last)
        offset = verts - (last + along * 0.69 * length)
        shape = (np.abs(offset @ along) / 0.0051) ** 3 + (np.abs(offset @ across) / 0.0047) ** 3
        nail = np.clip((1.15 - shape) / 0.3, 0, 1) * (normals @ back > 0.25) * (offset @ back > 0)
        flush += 0.5 * np.exp(-((np.linalg.norm(verts - tip, axis=1) / 0.014) ** 2))
        fold = np.exp(-(((shape - 1.1) / 0.2) ** 2)) * (normals @ back > 0.1) * (offset @ back > 0)
        groove = np.maximum(groove, fold * (1 - nail))
        nail_mask = np.maximum(nail_mask, nail)
    verts = verts + normals * (relief * (1 - nail_mask) + 2e-4 * nail_mask - 3e-4 * groove)[:, None]
    tint = np.clip(flush, -0.6, 1.2)[:, None]
    colour = np.array(base) * (1 + tint * np.array([0.10, -0.10, -0.12])) + 0.03 * palm[:, None]
    colour += nail_mask[:, None] * (np.array([0.90, 0.60, 0.53]) * np.mean(base) / 0.42 - colour) * 0.9
    colour *= 1 - 0.35 * groove[:, None] * np.array([0.6, 1.0, 1.0])
    return verts, fine, np.clip(colour, 0, 1), rough - 0.2 * nail_mask, forearm


def sleeve(wrist: F64, axis: F64) -> tuple[F64, I64]:
    """A knitted sleeve from a little above the wrist to far outside the picture."""
    side = np.cross(axis, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    up = np.cross(side, axis)
    around = np.linspace(0, 2 * np.pi, 361)[:-1]
    along = np.r_[0.016, 0.010, np.linspace(0.0085, 0.061, 60), np.linspace(0.062, 0.45, 300)]
    radius = np.interp(along, [0.008, 0.061, 0.45], [0.0300, 0.034, 0.062])
    radius[:2] = [0.0265, 0.0285]  # the cuff turns inward
    rib = np.where(along < 0.061, 1.0, 0.25)[:, None] * 0.0006 * np.cos(46 * around)[None]
    ring = np.cos(around)[:, None] * side
    folds = waves((along[:, None, None] * axis + 0.05 * ring).reshape(-1, 3), 0.07, 5).reshape(len(along), -1)
    r = radius[:, None] + rib + 0.0030 * folds * np.clip((along - 0.055) / 0.03, 0, 1)[:, None]
    flat = np.interp(along, [0.02, 0.2], [0.62, 0.95])[:, None]  # a wrist is wider than thick
    verts = wrist + along[:, None, None] * axis + (flat * r * np.cos(around))[..., None] * side
    verts = verts + (r * np.sin(around))[..., None] * up
    return verts.reshape(-1, 3), grid_faces(len(along), len(around), wrap=True)


# --- the scene ---------------------------------------------------------------------------------------------


def look_at(shot: Shot) -> Any:
    azimuth, elevation = np.radians([shot.azimuth, shot.elevation])
    away = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    eye = np.array(shot.aim) + shot.distance * away
    right = np.cross([0.0, 0.0, 1.0], away)
    right /= np.linalg.norm(right)
    up = np.cross(away, right) * np.cos(np.radians(shot.roll)) + right * np.sin(np.radians(shot.roll))
    return mi.ScalarTransform4f().look_at(origin=list(eye), target=list(shot.aim), up=list(up))


def render(grasp: Grasp, things: list[Any], shot: Shot, size: int, spp: int) -> U8:
    """(size, size, 3) sRGB picture."""
    verts, faces, colour, rough, forearm = skin(grasp, shot.skin)
    flesh = {
        "type": "principled",
        "base_color": {"type": "mesh_attribute", "name": "vertex_color"},
        "roughness": {"type": "mesh_attribute", "name": "vertex_rough"},
        "specular": 0.45,
        "sheen": 0.25,
    }
    cloth = {
        "type": "principled",
        "base_color": {"type": "rgb", "value": list(shot.cloth)},
        "roughness": 0.9,
        "sheen": 0.6,
    }
    camera = look_at(shot)
    backdrop = camera @ mi.ScalarTransform4f().translate([0, 0, 1.6]) @ mi.ScalarTransform4f().scale([-0.82, -0.82, -1])
    key = np.radians(shot.azimuth + shot.key_azimuth)
    lamp = np.array([np.cos(key) * 0.8, np.sin(key) * 0.8, 0.9])
    scene: dict[str, Any] = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 6},
        "sky": {"type": "constant", "radiance": {"type": "rgb", "value": [0.42, 0.43, 0.46]}},
        "window": {
            "type": "rectangle",
            "to_world": mi.ScalarTransform4f().look_at(list(lamp), [0, 0, 0], [0, 0, 1])
            @ mi.ScalarTransform4f().scale([0.35, 0.35, 1]),
            "emitter": {"type": "area", "radiance": {"type": "rgb", "value": [11.5, 10.6, 9.4]}},
        },
        "backdrop": {
            "type": "rectangle",
            "to_world": backdrop,
            "emitter": {"type": "area", "radiance": texture(room(shot.wall))},
        },
        "arm": mesh("arm", verts, faces, flesh, attributes={"color": colour, "rough": rough}),
        "sleeve": mesh("sleeve", *sleeve(*forearm), cloth),
        "camera": {
            "type": "thinlens",
            "fov": FOV_DEG,
            "to_world": camera,
            "focus_distance": shot.distance - 0.03,
            "aperture_radius": 0.0022,
            "film": {"type": "hdrfilm", "width": size, "height": size, "rfilter": {"type": "gaussian"}},
            "sampler": {"type": "multijitter", "sample_count": spp},
        },
    }
    scene |= {f"thing{k}": thing for k, thing in enumerate(things)}
    linear = np.array(mi.render(mi.load_dict(scene), seed=0))[..., :3]
    return develop(linear)


def develop(linear: F64) -> U8:
    """Linear radiance -> 8-bit sRGB with a soft shoulder, slight vignette and a phone's grain."""
    height, width = linear.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    vignette = 1 - 0.22 * (((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) / 0.5)[..., None]
    exposed = 1.3 * linear * vignette
    curve = np.where(exposed < 0.7, exposed, 0.7 + 0.3 * (1 - np.exp(-(exposed - 0.7) / 0.3)))
    display = np.where(curve <= 0.0031308, 12.92 * curve, 1.055 * np.maximum(curve, 1e-6) ** (1 / 2.4) - 0.055)
    grain = np.random.default_rng(7).normal(scale=0.008, size=(height, width, 1))
    return np.asarray(np.clip((display + grain) * 255 + 0.5, 0, 255), dtype=np.uint8)


SHOTS = {
    "can": Shot(140, 16, 0.33, (0.010, 0.01, 0.0), 4, -60, (0.62, 0.36, 0.26), (0.10, 0.16, 0.27), (196, 190, 182)),
    "carton": Shot(38, 19, 0.34, (0.012, 0.01, 0.0), -5, 55, (0.42, 0.23, 0.155), (0.45, 0.42, 0.36), (168, 182, 186)),
}


def scene(name: str) -> tuple[Grasp, list[Any]]:
    if name == "can":
        return close_hand("right", cylinder_sdf, (-0.085, -0.05, 0.0)), can()
    return close_hand("left", carton_sdf, (0.085, -0.05, 0.0)), carton()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=768)
    parser.add_argument("--spp", type=int, default=96)
    parser.add_argument("--only", choices=sorted(SHOTS))
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parents[1] / "demo")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, shot in SHOTS.items():
        if args.only in (None, name):
            picture = render(*scene(name), shot, args.size, args.spp)
            path = args.out / f"photo_{name}.jpg"
            cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
            print(path)


if __name__ == "__main__":
    main()
