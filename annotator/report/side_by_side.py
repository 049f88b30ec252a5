"""The page that shows every system's answer beside the truth: the photo, the camera's view, a view from the side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from annotator.report.benchmark_page import HAND, OBJECT, SIDE, SIDE_PIXELS, on_paper, png
from annotator.report.table_text import ARROWS, cells_of, counts
from annotator.report.templates import environment, templates_dir
from pipeline.evaluate.datasets import Case
from pipeline.evaluate.datasets.case import Surface
from pipeline.evaluate.pair import Pair, truth_pair
from pipeline.evaluate.tables import Table
from pipeline.geometry.camera import project
from pipeline.geometry.preview import Layer, orbit_camera, render
from pipeline.types import F64, U8

POINT_METRES = 0.0012  # half side of a cloud's points
POINTS_SHOWN = 3000
MARGIN = 1.25  # of the picture about hand and object
PIXELS = 480


@dataclass(frozen=True)
class Answer:
    """One system's answer to one case."""

    system: str
    pair: Pair | None  # None: it has none
    K: F64 | None  # (3, 3) of the camera it assumed, in pixels of the photo
    said: str  # its figures, or why there is no answer


@dataclass(frozen=True)
class Shown:
    """One line of the page."""

    case: Case
    photo: U8 | None  # (H, W, 3) RGB, of any size; None: it cannot be rendered here
    answers: Sequence[Answer]


def write_page(path: Path, title: str, tables: Sequence[Table], lines: Sequence[Shown], facts: Sequence[str]) -> None:
    """One self-contained file."""
    page = environment().get_template("side_by_side.html.j2")
    text = page.render(
        css=(templates_dir() / "report.css").read_text(encoding="utf-8"),
        title=title,
        facts=facts,
        tables=[
            {
                "title": f"Table {table.number}. {table.title}",
                "columns": ["", *(f"{name} {ARROWS[better]}" for _, name, better in table.columns), "cases"],
                "rows": [[row.name, *cells_of(table, row), counts(row)] for row in table.rows],
                "notes": table.notes,
            }
            for table in tables
        ],
        lines=[_line(line) for line in lines],
    )
    path.write_text(text, encoding="utf-8")


def _line(line: Shown) -> dict[str, Any]:
    case, truth = line.case, truth_pair(line.case)
    window = _window(case)
    photo = None if line.photo is None else png(_cut(line.photo, case, window))
    pictures = [{"system": "photo", "front": photo, "side": None, "said": case.object_name}]
    for answer in (Answer("truth", truth, case.camera.K, f"{case.side} hand"), *line.answers):
        if answer.pair is None or answer.K is None:
            pictures.append({"system": answer.system, "front": None, "side": None, "said": answer.said})
            continue
        pictures.append(
            {
                "system": answer.system,
                "front": png(_front(answer.pair, answer.K, window)),
                "side": png(_side(case, answer.pair)),
                "said": answer.said,
            }
        )
    return {"name": case.name, "pictures": pictures}


def _window(case: Case) -> tuple[float, float, float]:
    """Left, top and side (pixels of the photo) of a square about the true pair."""
    points = project(np.concatenate([case.joints, case.placed]), case.camera.K)
    low, high = points.min(0), points.max(0)
    side = float((high - low).max()) * MARGIN
    x, y = (low + high) / 2 - side / 2
    return float(x), float(y), side


def _cut(photo: U8, case: Case, window: tuple[float, float, float]) -> U8:
    """The window of the photo, grey where it ends."""
    x, y, side = window
    scale = case.camera.width / photo.shape[1]  # of the photo's pixels on disk to these
    zoom = PIXELS / side
    move = np.array([[scale * zoom, 0, -x * zoom], [0, scale * zoom, -y * zoom]])
    return np.asarray(
        cv2.warpAffine(photo, move, (PIXELS, PIXELS), flags=cv2.INTER_AREA, borderValue=(200,) * 3), np.uint8
    )


def _front(pair: Pair, K: F64, window: tuple[float, float, float]) -> U8:
    x, y, side = window
    own = K.copy()
    own[:2, 2] -= (x, y)
    own[:2] *= PIXELS / side
    return on_paper(render(_layers(pair), own, PIXELS, PIXELS))


def _side(case: Case, pair: Pair) -> U8:
    """From the side, about the answer's own hand, at the truth's size."""
    everything = np.concatenate([case.joints, case.placed])
    middle = everything.mean(0)
    about = middle
    if pair.hand is not None:
        about = middle + pair.hand.vertices.mean(0) - case.joints.mean(0)
    radius = 1.15 * float(np.linalg.norm(everything - middle, axis=1).max())
    K, rotation, transl = orbit_camera(about, radius, SIDE, 0, SIDE_PIXELS)
    return on_paper(render(_layers(pair), K, SIDE_PIXELS, SIDE_PIXELS, rotation, transl))


def _layers(pair: Pair) -> list[Layer]:
    found = ((pair.hand, HAND), (pair.placed, OBJECT))
    meshes = [(_solid(surface), color) for surface, color in found if surface is not None]
    return [Layer(surface.vertices, surface.faces, color=color) for surface, color in meshes]


def _solid(surface: Surface) -> Surface:
    """Something to draw: a cloud's points become small squares that face the camera and the side."""
    if len(surface.faces):
        return surface
    points = surface.vertices[:: max(1, len(surface.vertices) // POINTS_SHOWN)]
    corners = POINT_METRES * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1.0]])
    faces = np.array([[a, b, c] for a in (0, 1) for b in (2, 3) for c in (4, 5)])
    vertices = (points[:, None] + corners).reshape(-1, 3)
    return Surface(vertices, (faces[None] + 6 * np.arange(len(points))[:, None, None]).reshape(-1, 3))
