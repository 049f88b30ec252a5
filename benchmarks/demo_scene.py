"""Render the demo pictures: the open hand holding a can and a carton, path traced, ours to ship.

    python benchmarks/demo_scene.py [--spp 96] [--size 768] [-o demo]

Nothing is captured and nothing is borrowed: the hand is pipeline/hand_model's open hand, closed around each
object by a small optimisation under its own pose prior; labels and room are drawn in demo_objects, skin and sleeve
in pipeline/evaluate/render_skin. Every draw is seeded. Needs the `dev` extra (mitsuba).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from demo_objects import CAN_HEIGHT, CAN_RADIUS, CARTON, can, carton, room
from pytorch3d.transforms import axis_angle_to_matrix

from pipeline.evaluate.render_mitsuba import develop, mesh, mitsuba, texture
from pipeline.evaluate.render_skin import FLESH, PosedHand, skin, sleeve, wrist_of
from pipeline.hand_model import load_hand
from pipeline.types import U8, Side

mi = mitsuba()

FOV_DEG = 50.0  # the pipeline's field-of-view prior, so that the demo's camera is the one it assumes
GRASP_COMPONENTS = 14  # principal components of the pose prior that the grasp may use

Sdf = Callable[[torch.Tensor], torch.Tensor]


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


def close_hand(side: Side, sdf: Sdf, centre: tuple[float, float, float], steps: int = 400) -> PosedHand:
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
    return PosedHand(placed[0], placed[1], model)


# --- the scene ---------------------------------------------------------------------------------------------


def look_at(shot: Shot) -> Any:
    azimuth, elevation = np.radians([shot.azimuth, shot.elevation])
    away = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    eye = np.array(shot.aim) + shot.distance * away
    right = np.cross([0.0, 0.0, 1.0], away)
    right /= np.linalg.norm(right)
    up = np.cross(away, right) * np.cos(np.radians(shot.roll)) + right * np.sin(np.radians(shot.roll))
    return mi.ScalarTransform4f().look_at(origin=list(eye), target=list(shot.aim), up=list(up))


def render(hand: PosedHand, things: list[Any], shot: Shot, size: int, spp: int) -> U8:
    """(size, size, 3) sRGB picture."""
    wrist = wrist_of(hand)
    verts, faces, colour, rough = skin(hand, wrist, shot.skin)
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
        "arm": mesh("arm", verts, faces, FLESH, attributes={"color": colour, "rough": rough}),
        "sleeve": mesh("sleeve", *sleeve(wrist, np.array([0.0, 0.0, 1.0])), cloth),
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


SHOTS = {
    "can": Shot(140, 16, 0.33, (0.010, 0.01, 0.0), 4, -60, (0.62, 0.36, 0.26), (0.10, 0.16, 0.27), (196, 190, 182)),
    "carton": Shot(38, 19, 0.34, (0.012, 0.01, 0.0), -5, 55, (0.42, 0.23, 0.155), (0.45, 0.42, 0.36), (168, 182, 186)),
}


def scene(name: str) -> tuple[PosedHand, list[Any]]:
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
