"""The benchmark's HTML page: the table, and the worst, median and best scenes as pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from annotator.evaluating import COLUMNS, Work, rows_of
from annotator.report.templates import environment, templates_dir
from pipeline.evaluate.benchmark import Case
from pipeline.evaluate.figures import Placement
from pipeline.evaluate.scenes import Scene, make_scene
from pipeline.geometry.preview import Layer, orbit_camera, render
from pipeline.hand_model import load_hand
from pipeline.types import U8, Mask

SHOWN = 5  # scenes of each kind
HAND, OBJECT, EDGE = (0.36, 0.56, 0.86), (0.93, 0.66, 0.26), (40, 160, 60)
SIDE, SIDE_PIXELS = 70.0, 480  # degrees of the side view and the pixels it is drawn in
HEIGHT = 240  # pixels of a picture on the page


def write_page(path: Path, cases: Sequence[Case], table: dict[str, Any], work: Work) -> None:
    """One self-contained file; cases are ordered by the refined wrist error, failures last."""
    ranked = sorted(cases, key=lambda c: c.stages["refined"].get("wrist_error_mm", float("inf")))
    middle = max(0, len(ranked) // 2 - SHOWN // 2)
    groups = {"Worst": ranked[::-1][:SHOWN], "Median": ranked[middle : middle + SHOWN], "Best": ranked[:SHOWN]}
    shown = {name: [_case(case, work.seed) for case in group] for name, group in groups.items()}
    page = environment().get_template("benchmark.html.j2")
    text = page.render(
        css=(templates_dir() / "report.css").read_text(encoding="utf-8"),
        table=table,
        columns=["", *COLUMNS.values()],
        rows=rows_of(table["stages"], table["n"]),
        groups=shown,
        recipe=work.recipe.name,
    )
    path.write_text(text, encoding="utf-8")


def _case(case: Case, seed: int) -> dict[str, Any]:
    scene = make_scene(case.grasp, seed)
    pictures = [
        {
            "stage": stage,
            "front": png(_front(scene, placed)),
            "side": png(_side(scene, placed)),
            "figures": _figures(case, stage),
        }
        for stage, placed in case.placements.items()
    ]
    return {"name": case.name, "failure": case.failure, "elevation": scene.elevation_deg, "pictures": pictures}


def _figures(case: Case, stage: str) -> str:
    figures = case.stages[stage]
    return (
        f"wrist {figures['wrist_error_mm']:.0f} mm, hand {figures['hand_iou']:.2f}, "
        f"object {figures['object_iou']:.2f}, IV {figures['intersection_cm3']:.1f}, SD {figures['displacement_cm']:.1f}"
    )


def _layers(placed: Placement) -> list[Layer]:
    model = load_hand(placed.hand.side)
    return [
        Layer(model.posed(placed.hand)[0], model.faces, color=HAND),
        Layer(placed.pose.place(placed.vertices), placed.faces, color=OBJECT),
    ]


def _front(scene: Scene, placed: Placement) -> U8:
    """The placement as its camera sees it, with the outlines of the true visible masks."""
    height, width = scene.amodal.shape
    picture = on_paper(render(_layers(placed), placed.camera.K, height, width))
    for mask in (scene.masks.hand, scene.masks.object):
        outlines = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
        cv2.drawContours(picture, outlines, -1, EDGE, 2)
    return _around(scene.masks.hand | scene.amodal, picture)


def _around(mask: Mask, picture: U8) -> U8:
    """The square part of a picture that shows a mask with some air, as far as the picture goes."""
    ys, xs = np.nonzero(mask)
    half = int(0.65 * max(np.ptp(xs), np.ptp(ys))) + 4
    side = min(2 * half, *picture.shape[:2])
    x0 = int(np.clip((xs.min() + xs.max() - side) // 2, 0, mask.shape[1] - side))
    y0 = int(np.clip((ys.min() + ys.max() - side) // 2, 0, mask.shape[0] - side))
    return picture[y0 : y0 + side, x0 : x0 + side]


def _side(scene: Scene, placed: Placement) -> U8:
    """The same from the side, centred on the hand; every stage at the same scale."""
    everything = np.concatenate([scene.hand_verts, scene.object_pose.place(scene.solid[0])])
    layers = _layers(placed)
    hand = np.asarray(layers[0].vertices)
    radius = float(np.linalg.norm(everything - scene.hand_verts.mean(0), axis=1).max())
    K, rotation, transl = orbit_camera(hand.mean(0), radius, SIDE, 0, SIDE_PIXELS)
    return on_paper(render(layers, K, SIDE_PIXELS, SIDE_PIXELS, rotation, transl))


def on_paper(rgba: U8) -> U8:
    alpha = rgba[..., 3:].astype(np.float64) / 255
    return np.ascontiguousarray((rgba[..., :3] * alpha + 243 * (1 - alpha)).astype(np.uint8))


def png(picture: U8) -> str:
    scale = HEIGHT / picture.shape[0]
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return base64.b64encode(cv2.imencode(".png", small[..., ::-1])[1].tobytes()).decode()
