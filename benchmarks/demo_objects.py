"""What the demo pictures show besides the hand: a can, a carton, the room behind, all drawn here."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from pipeline.evaluate.render_mitsuba import grid_faces, mesh, texture

CAN_RADIUS, CAN_HEIGHT = 0.033, 0.155  # metres
CARTON = np.array([0.068, 0.046, 0.165])  # width, depth, height in metres


def text(draw: ImageDraw.ImageDraw, xy: tuple[float, float], words: str, size: int, fill: str) -> None:
    draw.text(xy, words, font=ImageFont.load_default(size), fill=fill, anchor="mm")


def can_label() -> Image.Image:
    """The can's printed label, one turn wide; the same motif three times so that every view shows one."""
    image = Image.new("RGB", (1536, 1152), "#0f5b57")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 1536, 90), fill="#f2e8d0")
    draw.rectangle((0, 1050, 1536, 1152), fill="#f2e8d0")
    for x in range(0, 1536, 48):
        draw.polygon([(x, 90), (x + 24, 140), (x + 48, 90)], fill="#f2e8d0")
        draw.polygon([(x, 1050), (x + 24, 1000), (x + 48, 1050)], fill="#e4733b")
    for k in range(3):
        x = 256 + 512 * k
        draw.ellipse((x - 165, 330, x + 165, 660), fill="#e4733b")
        draw.ellipse((x - 118, 377, x + 118, 613), fill="#f6b04a")
        for turn in np.arange(0, 2 * np.pi, np.pi / 5):
            tip = (x + 108 * np.cos(turn), 495 + 108 * np.sin(turn))
            draw.line([(x, 495), tip], fill="#fbe3a8", width=7)
        text(draw, (x, 235), "HOLLOW HILL", 62, "#f2e8d0")
        text(draw, (x, 745), "orange", 104, "#f2e8d0")
        text(draw, (x, 840), "sparkling, 330 ml", 40, "#a9d3c4")
    return image


def can() -> list[Any]:
    """The can as meshes: printed wall and bare metal ends."""
    r, h = CAN_RADIUS, CAN_HEIGHT / 2
    wall = [(r, 0.82 * h - 0.004), (r, -0.82 * h)]
    wall = [
        (r * 0.93, h * 0.93),
        (r * 0.985, h * 0.88),
        (r, h * 0.83),
        *wall[1:],
        (r * 0.97, -h * 0.9),
        (r * 0.9, -h * 0.96),
    ]
    lid = [
        (0.0, h * 0.955),
        (r * 0.72, h * 0.955),
        (r * 0.78, h * 0.93),
        (r * 0.82, h * 0.97),
        (r * 0.83, h),
        (r * 0.87, h),
    ]
    lid += [(r * 0.88, h * 0.98), (r * 0.88, h * 0.965), (r * 0.93, h * 0.93)]
    base = [(r * 0.9, -h * 0.96), (r * 0.8, -h), (r * 0.75, -h), (0.0, -h * 0.9)]
    metal = {"type": "roughconductor", "material": "Al", "alpha": 0.16}
    print_ = {"type": "roughplastic", "diffuse_reflectance": texture(can_label()), "alpha": 0.12, "nonlinear": True}
    return [lathe(wall, print_), lathe(lid, metal), lathe(base, metal)]


def lathe(profile: list[tuple[float, float]], bsdf: dict[str, Any]) -> Any:
    """Turn (radius, height) pairs, listed from the top, around z; uv runs once around and top to bottom."""
    points = np.array(profile)
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    at = np.unique(np.r_[length, np.linspace(0, length[-1], 40)])
    radius, height = (np.interp(at, length, points[:, k]) for k in (0, 1))
    turn = np.linspace(0, 2 * np.pi, 129)
    ring = np.stack([np.cos(turn), np.sin(turn)], -1)
    verts = np.concatenate(
        [radius[:, None, None] * ring, np.broadcast_to(height[:, None, None], (len(at), 129, 1))], -1
    )
    u, v = np.meshgrid(turn / (2 * np.pi), at / length[-1])
    uv = np.stack([u, v], -1).reshape(-1, 2)
    return mesh("lathe", verts.reshape(-1, 3), grid_faces(len(at), 129, wrap=False), bsdf, uv=uv)


def carton_panel(width: int, height: int, front: bool) -> Image.Image:
    image = Image.new("RGB", (width, height), "#f4efe4")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, int(height * 0.70), width, height), fill="#b8322f")
    draw.rectangle((0, 0, width, int(height * 0.05)), fill="#b8322f")
    for x in range(-height, width + height, 44):
        draw.line([(x, height * 0.70), (x + height * 0.3, height)], fill="#c94a40", width=12)
    text(draw, (width / 2, height * 0.15), "NORDLEE", width // 6, "#b8322f")
    text(draw, (width / 2, height * 0.23), "oat biscuits", width // 10, "#3a3029")
    if front:
        for cx, cy, radius in ((0.36, 0.50, 0.22), (0.66, 0.43, 0.19), (0.62, 0.60, 0.2)):
            x, y, r = cx * width, cy * height, radius * width
            draw.ellipse((x - r, y - r, x + r, y + r), fill="#c98b4a", outline="#8d5a2b", width=8)
            for turn in np.arange(0, 2 * np.pi, np.pi / 4):
                px, py = x + 0.6 * r * np.cos(turn + cx), y + 0.6 * r * np.sin(turn + cx)
                draw.ellipse((px - 12, py - 8, px + 12, py + 8), fill="#8d5a2b")
        text(draw, (width / 2, height * 0.84), "12", width // 3, "#f4efe4")
    else:
        for row in range(9):
            draw.line(
                [(width * 0.2, height * (0.32 + 0.035 * row)), (width * 0.8, height * (0.32 + 0.035 * row))],
                fill="#8b8175",
                width=5,
            )
    return image


def carton() -> list[Any]:
    """The carton: six printed panels."""
    half = CARTON / 2
    meshes = []
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1), (2, 1), (2, -1)):
        normal = np.eye(3)[axis] * sign
        up = np.array([0.0, 0, 1]) if axis != 2 else np.array([0.0, 1, 0])
        right = np.cross(up, normal)
        size = (abs(right) @ half, abs(up) @ half)
        corners = [normal * half[axis] + right * size[0] * a - up * size[1] * b for b in (-1, 1) for a in (-1, 1)]
        panel = carton_panel(int(size[0] * 16000), int(size[1] * 16000), front=axis == 1)
        bsdf = {"type": "roughplastic", "diffuse_reflectance": texture(panel), "alpha": 0.22}
        uv = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=float)
        meshes.append(mesh("panel", np.array(corners), np.array([[0, 2, 1], [1, 2, 3]]), bsdf, uv=uv, smooth=False))
    return meshes


def room(wall: tuple[int, int, int]) -> Image.Image:
    """What lies out of focus behind: a wall, a window's glow, a shelf and a plant."""
    size = 1024
    y, x = np.mgrid[0:size, 0:size] / size
    glow = np.exp(-((x - 0.15) ** 2 + (y - 0.2) ** 2) / 0.18)
    shade = (0.78 + 0.35 * glow - 0.15 * y)[..., None] * np.array(wall)
    image = Image.fromarray(np.clip(shade, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.rectangle((600, 150, 1024, 172), fill="#7a6a58")
    for k, colour in enumerate(("#8d7f72", "#6f7f86", "#a08d74", "#77705f")):
        draw.rectangle((650 + 62 * k, 60 + 11 * (k % 3), 700 + 62 * k, 150), fill=colour)
    for k in range(9):
        left = 40 + 26 * k
        draw.ellipse((left, 780 - 22 * (k % 4), left + 60, 1000), fill=("#6f8468", "#7e9274", "#64795f")[k % 3])
    return image.filter(ImageFilter.GaussianBlur(22))
