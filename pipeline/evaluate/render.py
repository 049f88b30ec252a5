"""Photoreal pictures of the benchmark's scenes: skin, sleeve, textured object, room and light, path traced.

    hand vertices --joints between the parts--> PosedHand --render_skin--> skin, forearm, sleeve  --\\
    textured mesh, pose --------------------------------------------------------------------------+-- mitsuba --> RGB
    seed --> skin tone, cloth, gloss, lamp, sky, room ---------------------------------------------/

The picture agrees with the exact masks of hand and object: the forearm, which those masks do not know, leaves the
wrist in the direction nearest to the anatomical one in which it hides neither.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from pipeline.evaluate.render_mitsuba import develop, mitsuba, texture
from pipeline.evaluate.render_mitsuba import mesh as shape
from pipeline.evaluate.render_skin import FLESH, PosedHand, Wrist, skin, sleeve, smooth, with_forearm, wrist_of
from pipeline.geometry.raster import depth_map
from pipeline.hand_model import HandModel, load_hand
from pipeline.types import F64, I64, U8, Camera, Mask, Mesh, ObjectPose, Side

TONES = np.array([[0.075, 0.036, 0.022], [0.42, 0.23, 0.155], [0.66, 0.41, 0.31]])  # dark to light, linear RGB
PARENT = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)  # of MANO's joints
FINGERS = (13, 1, 4, 10, 7)  # first joint of thumb .. little in MANO order
BENDS = np.deg2rad([0, 25, 50, 75])  # a wrist bends so far
AROUND = 8  # directions of each bend
BEND_COST = 60.0  # hidden pixels per radian that a smaller bend is worth, at 640 x 480
NEAREST, TOLERANCE = 0.02, 1e-4  # metres: no forearm nearer to the camera; contact is not hiding
MOST_HIDDEN = 0.002  # of hand and object by the forearm's skin, or it is left out
CHECK_SIDE = 320  # pixels: the forearm's direction is chosen at this size


@dataclass(frozen=True)
class Look:
    """What a seed decides about a picture. Colours are linear RGB."""

    tone: F64  # (3,) skin
    cloth: F64  # (3,) sleeve
    gloss: float  # the object's roughness
    lamp: F64  # (3,) metres from the object, camera frame
    lamp_size: float  # metres, half side
    lamp_colour: F64  # (3,)
    sky: F64  # (3,)
    exposure: float  # of the mean luminance
    room: U8  # (h, w, 3) sRGB


def render_rgb(
    camera: Camera,
    hand_verts: F64,
    side: Side,
    mesh: Mesh,
    object_pose: ObjectPose,
    seed: int,
    spp: int = 16,
    grain: int | None = None,
) -> U8:
    """(H, W, 3) sRGB picture of the open hand (778, 3) and an object, metres in the camera frame.

    Everything but the geometry is drawn from `seed`, the path tracer's and the sensor's noise from `grain` where that
    is given; the same arguments give the same bytes. Raises MissingRenderer without mitsuba.
    """
    mi = mitsuba()
    noise = seed if grain is None else grain
    rng = np.random.default_rng(seed)
    hand = posed_hand(hand_verts, load_hand(side))
    placed = object_pose.place(mesh.vertices)
    look = draw_look(rng)
    wrist = visible_wrist(hand, placed, mesh.faces, camera)
    middle = placed.mean(0)
    scene = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 4, "hide_emitters": True},
        "sky": {"type": "constant", "radiance": _rgb(look.sky)},
        "lamp": {
            "type": "rectangle",
            "to_world": mi.ScalarTransform4f().look_at(list(middle + look.lamp), list(middle), [0.1, 1, 0.2])
            @ mi.ScalarTransform4f().scale([look.lamp_size, look.lamp_size, 1]),
            "emitter": {"type": "area", "radiance": _rgb(look.lamp_colour / look.lamp_size**2)},
        },
        "object": _object(mesh, placed, look),
        "camera": _camera(mi, camera, spp, noise),
    }
    front = _front(hand, placed, mesh.faces, camera)
    scene |= _arm(hand, wrist, look, front[0], camera) | _sleeve(hand, wrist, look, front[1], camera)
    picture = np.array(mi.render(mi.load_dict(scene), seed=noise % 2**31), dtype=np.float64)
    linear = picture[..., :3] + (1 - picture[..., 3:]) * _behind(look, camera)
    return develop(linear, gain=_gain(look, linear, picture[..., 3] > 0.5), seed=noise)


# --- hand and forearm ----------------------------------------------------------------------------------------


def posed_hand(verts: F64, model: HandModel) -> PosedHand:
    """Vertices (778, 3) with joints (21, 3), OpenPose order, at the middles of the seams between the skin's parts."""
    edges = np.concatenate([model.faces_open[:, [0, 1]], model.faces_open[:, [1, 2]]])
    parts = model.part[edges]
    joints = [verts[wrist_ring(model)].mean(0)]
    for number, first in enumerate(FINGERS):
        for joint in range(first, first + 3):
            seam = ((parts == joint).any(1)) & ((parts == PARENT[joint]).any(1))
            joints.append(verts[np.unique(edges[seam])].mean(0))
        joints.append(verts[model.tip_ids[number]])
    return PosedHand(verts, np.array(joints), model)


def wrist_ring(model: HandModel) -> I64:
    """(n,) vertices of the fan that closes the hand at the wrist."""
    return np.unique(model.faces[len(model.faces_open) :])


def visible_wrist(hand: PosedHand, object_verts: F64, object_faces: I64, camera: Camera) -> Wrist:
    """The wrist whose forearm, bent as little as possible, hides least of what the exact masks show."""
    small = _shrunk(camera)
    front = _front(hand, object_verts, object_faces, small)
    wrist = wrist_of(hand)
    across = np.linalg.svd(np.outer(wrist.axis, wrist.axis) - np.eye(3))[0][:, :2].T
    best, least = wrist, np.inf
    for bend in BENDS:
        if BEND_COST * bend >= least:
            break
        for turn in np.linspace(0, 2 * np.pi, AROUND if bend else 1, endpoint=False):
            about = np.cos(turn) * across[0] + np.sin(turn) * across[1]
            bent = replace(wrist, axis=Rotation.from_rotvec(bend * about).apply(wrist.axis))
            cost = int(_hidden(hand, bent, front, small).sum()) * (640 / max(small.width, small.height)) ** 2
            if cost + BEND_COST * bend < least:
                best, least = bent, cost + BEND_COST * bend
    return best


def _front(hand: PosedHand, object_verts: F64, object_faces: I64, camera: Camera) -> tuple[F64, F64]:
    """(H, W) depth of what must stay in sight: for skin (the wrist's fan may be continued) and for cloth."""
    obj = _depth(object_verts, object_faces, camera)
    opened, whole = (_depth(hand.verts, faces, camera) for faces in (hand.model.faces_open, hand.model.faces))
    return np.minimum(obj, opened), np.minimum(obj, whole)


def _hidden(hand: PosedHand, wrist: Wrist, front: tuple[F64, F64], camera: Camera) -> Mask:
    """(H, W) pixels of hand or object that the forearm would hide."""
    cloth = _depth(*sleeve(wrist, across(hand, wrist), rings=12, spokes=24), camera)
    by_cloth = np.isfinite(front[1]) & (cloth < front[1])
    return np.asarray(_hidden_by_skin(hand, wrist, front[0], camera) | by_cloth)


def _hidden_by_skin(hand: PosedHand, wrist: Wrist, front: F64, camera: Camera) -> Mask:
    verts, faces = with_forearm(hand, wrist)
    forearm = _depth(verts, faces[(faces >= len(hand.verts)).any(1)], camera)
    return np.asarray(np.isfinite(front) & (forearm < front - TOLERANCE))


def _clear(verts: F64, faces: I64, front: F64, camera: Camera) -> Mask:
    """(F,) the faces that hide nothing of what is in front (H, W) metres, and are not behind the camera."""
    corners = verts[faces]
    at = np.concatenate([corners, corners.mean(1, keepdims=True)], 1)
    z = np.maximum(at[..., 2], NEAREST)
    pixels = np.floor(at[..., :2] / z[..., None] * camera.focal + camera.K[:2, 2]).astype(int)
    size = np.array([camera.width, camera.height])
    inside = ((pixels >= 0) & (pixels < size)).all(-1)
    x, y = np.moveaxis(np.clip(pixels, 0, size - 1), -1, 0)
    behind_it = np.where(np.isfinite(front), front, -np.inf)[y, x]
    return np.asarray((corners[..., 2].min(1) > NEAREST) & ~(inside & (z < behind_it - TOLERANCE)).any(1))


def across(hand: PosedHand, wrist: Wrist) -> F64:
    """(3,) the wide direction of the wrist."""
    normals = np.asarray(trimesh.Trimesh(hand.verts, hand.model.faces, process=False).vertex_normals)
    back = normals[(hand.model.part == 0) & (hand.model.skin_side == -1)].mean(0)
    return np.asarray(np.cross(back, wrist.axis), dtype=np.float64)


def _depth(verts: F64, faces: I64, camera: Camera) -> F64:
    return depth_map(verts, faces, camera.K, camera.height, camera.width)


def _shrunk(camera: Camera) -> Camera:
    scale = min(1.0, CHECK_SIDE / max(camera.width, camera.height))
    K = camera.K.copy()
    K[:2] *= scale
    return Camera(K, round(camera.width * scale), round(camera.height * scale), camera.source)


# --- materials, light, room ------------------------------------------------------------------------------------


def draw_look(rng: np.random.Generator) -> Look:
    """Everything about a picture that is not geometry."""
    tone = rng.uniform(0, 2)
    base = np.array([np.interp(tone, [0, 1, 2], TONES[:, k]) for k in range(3)]) * rng.normal(1, 0.04, 3)
    azimuth, elevation = rng.uniform(-2.2, 2.2), rng.uniform(0.15, 1.3)  # 0: the lamp behind the camera
    away = [np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), -np.cos(azimuth) * np.cos(elevation)]
    warmth = rng.uniform(-1, 1)
    colour = np.array([1 + 0.12 * warmth, 1.0, 1 - 0.16 * warmth])
    return Look(
        tone=base,
        cloth=rng.uniform(0.02, 0.55) * rng.uniform(0.55, 1.0, 3),
        gloss=float(rng.uniform(0.25, 0.7)),
        lamp=np.array(away) * rng.uniform(0.9, 1.5),
        lamp_size=float(rng.uniform(0.12, 0.45)),
        lamp_colour=colour * rng.uniform(0.6, 1.6),
        sky=rng.uniform(0.25, 0.6) * (2 - colour),
        exposure=float(rng.uniform(0.2, 0.42)),
        room=room(rng),
    )


def room(rng: np.random.Generator, size: int = 384) -> U8:
    """(size, size, 3) sRGB: a wall, its light, and what stands there, out of focus."""
    y, x = np.mgrid[0:size, 0:size] / size
    wall = rng.uniform(90, 235) * rng.uniform(0.82, 1.0, 3)
    glow = np.exp(-((x - rng.uniform()) ** 2 + (y - rng.uniform()) ** 2) / rng.uniform(0.05, 0.4))
    picture = (0.65 + 0.5 * glow)[..., None] * wall
    floor = rng.uniform(0.5, 1.1)
    picture = np.where((y > floor)[..., None], rng.uniform(40, 190) * rng.uniform(0.7, 1.0, 3), picture)
    picture = np.ascontiguousarray(picture)
    for _ in range(rng.integers(4, 22)):
        centre, reach = rng.uniform(0, size, 2), size * rng.uniform(0.03, 0.22, 2)
        colour = (rng.uniform(20, 230) * rng.uniform(0.5, 1.0, 3)).tolist()
        box = ((float(centre[0]), float(centre[1])), tuple(map(float, reach)), float(rng.choice([0, 90, 15])))
        if rng.uniform() < 0.7:
            cv2.fillPoly(picture, [cv2.boxPoints(box).astype(np.int32)], colour)
        else:
            cv2.ellipse(picture, box, colour, -1)
    picture += cv2.resize(rng.normal(0, 5, (size // 4, size // 4, 1)), (size, size))[..., None]
    blurred = cv2.GaussianBlur(picture, (0, 0), rng.uniform(1.0, 7.0))
    return np.asarray(np.clip(blurred, 0, 255), dtype=np.uint8)


def _arm(hand: PosedHand, wrist: Wrist, look: Look, front: F64, camera: Camera) -> dict[str, Any]:
    """Hand and forearm; the hand alone, closed at the wrist, where even the best forearm would hide something."""
    tone = (float(look.tone[0]), float(look.tone[1]), float(look.tone[2]))
    clear = _hidden_by_skin(hand, wrist, front, camera).sum() <= MOST_HIDDEN * np.isfinite(front).sum()
    verts, faces, colour, rough = skin(_outer(hand), wrist if clear else None, tone)
    return {"arm": shape("arm", verts, faces, FLESH, attributes={"color": colour, "rough": rough})}


def _outer(hand: PosedHand) -> PosedHand:
    """The hand whose smoothed skin passes through the given hand's vertices, as the exact masks do."""
    verts = hand.verts
    for _ in range(2):
        verts = verts + hand.verts - smooth(verts, hand.model.faces)[0][: len(verts)]
    return replace(hand, verts=verts)


def _sleeve(hand: PosedHand, wrist: Wrist, look: Look, front: F64, camera: Camera) -> dict[str, Any]:
    """The sleeve as far as it hides nothing."""
    verts, faces = sleeve(wrist, across(hand, wrist))
    faces = faces[_clear(verts, faces, front, camera)]
    cloth = {"type": "principled", "base_color": _rgb(look.cloth), "roughness": 0.9, "sheen": 0.6}
    return {"sleeve": shape("sleeve", verts, faces, cloth)} if len(faces) else {}


def _object(thing: Mesh, placed: F64, look: Look) -> Any:
    surface = {
        "type": "principled",
        "base_color": texture(thing.texture),
        "roughness": look.gloss,
        "specular": 0.5,
    }
    return shape("object", placed, thing.faces, surface, uv=thing.uv)


def _behind(look: Look, camera: Camera) -> F64:
    """(H, W, 3) linear RGB of the room, cut to the picture's shape."""
    side = max(camera.width, camera.height)
    large = cv2.resize(look.room, (side, side), interpolation=cv2.INTER_CUBIC)
    rows, columns = (side - camera.height) // 2, (side - camera.width) // 2
    return np.asarray((large[rows : rows + camera.height, columns : columns + camera.width] / 255.0) ** 2.2)


def _gain(look: Look, linear: F64, solid: Mask) -> float:
    """A camera's exposure: for the whole picture, but not so much that hand and object burn out."""
    light = linear.mean(-1)
    brightest = float(np.percentile(light[solid], 90)) if solid.any() else 1.0
    return min(look.exposure / max(float(np.median(light)), 1e-4), 0.75 / max(brightest, 1e-4))


def _camera(mi: Any, camera: Camera, spp: int, seed: int) -> dict[str, Any]:
    """The pinhole camera: the camera frame is the world, x right, y down, z forward."""
    width, height = camera.width, camera.height
    film = {"type": "hdrfilm", "width": width, "height": height}
    return {
        "type": "perspective",
        "fov": float(np.rad2deg(2 * np.arctan(width / 2 / camera.focal))),
        "fov_axis": "x",
        "principal_point_offset_x": float(0.5 - camera.K[0, 2] / width),
        "principal_point_offset_y": float(0.5 - camera.K[1, 2] / height),
        "near_clip": 0.01,
        "to_world": mi.ScalarTransform4f().look_at([0, 0, 0], [0, 0, 1], [0, -1, 0]),
        "film": {**film, "pixel_format": "rgba", "rfilter": {"type": "gaussian"}},
        "sampler": {"type": "multijitter", "sample_count": spp, "seed": seed % 2**31},
    }


def _rgb(colour: F64) -> dict[str, Any]:
    return {"type": "rgb", "value": [float(c) for c in np.maximum(colour, 0)]}
