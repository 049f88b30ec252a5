"""The report: one HTML file with everything in it, most doubtful pair first, that works without a network.

A pair costs some 300 kB: pictures as JPEG, the 3D model gzipped and unpacked by the browser when it is looked at.
Cards are kept in a temporary file until their order is known, so memory stays flat.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from markupsafe import Markup
from PIL import Image

from annotator.report.glb import viewer_glb
from annotator.report.pictures import (
    TURNTABLE_FRAMES,
    around_pair,
    contacts_picture,
    masks_picture,
    overlay_picture,
    photo_picture,
    side_picture,
    turntable_strip,
    whole,
)
from annotator.report.templates import environment, model_viewer_script
from annotator.report.view import PairView
from pipeline.types import U8

PICTURE = 432  # pixels: the longer side of a picture on the page
THUMBNAIL = 96
TURNTABLE = 220
JPEG_QUALITY = 76


@dataclass(frozen=True)
class Figure:
    """How one metric is shown: `good` and `poor` bound the middle, whichever of them is larger."""

    key: str
    label: str
    unit: str
    digits: int
    good: float
    poor: float


FIGURES = (
    Figure("hand_iou", "Hand IoU", "", 3, 0.85, 0.7),
    Figure("object_iou", "Object IoU", "", 3, 0.9, 0.75),
    Figure("object_visible_iou", "Object IoU, visible part", "", 3, 0.85, 0.7),
    Figure("penetration_mm", "Penetration", "mm", 1, 5.0, 12.0),
    Figure("intersection_cm3", "Intersection", "cm³", 2, 3.0, 8.0),
    Figure("displacement_cm", "Displacement in simulation", "cm", 2, 2.0, 5.0),
    Figure("contact_fraction", "Contact zone touching", "", 2, 0.15, 0.03),
    Figure("keypoint_px", "Keypoint residual", "px", 1, 8.0, 20.0),
)


@dataclass
class Summary:
    """What the head of the page says, gathered while the cards go by."""

    statuses: Counter[str] = field(default_factory=Counter)
    sides: Counter[str] = field(default_factory=Counter)
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, view: PairView) -> None:
        self.statuses[view.status] += 1
        self.sides[view.side] += 1
        for figure in FIGURES:
            value = view.reconstruction.metrics.get(figure.key, math.nan)
            if math.isfinite(value):
                self.values.setdefault(figure.key, []).append(value)

    def medians(self) -> list[tuple[str, str]]:
        """(label, value with unit) for the metrics that any pair has."""
        rows = ((f, self.values[f.key]) for f in FIGURES if f.key in self.values)
        return [(f.label, f"{statistics.median(values):.{f.digits}f} {f.unit}".strip()) for f, values in rows]


def write_report(pairs: Iterable[PairView], out: Path, title: str, failed: Sequence[tuple[str, str]] = ()) -> None:
    """Write the report of `pairs` and of `failed` photos, each (name, reason), to the HTML file `out`.

    `pairs` is consumed one at a time. The file appears complete or not at all.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    env = environment()
    card = env.get_template("report_pair.html.j2")
    summary = Summary()
    order: list[tuple[float, str, int, int]] = []
    with tempfile.TemporaryFile() as spool:
        for number, view in enumerate(pairs):
            summary.add(view)
            html = card.render(card_context(view, number)).encode()
            order.append((-view.review_priority, view.pair_id, spool.tell(), len(html)))
            spool.write(html)
        page = env.get_template("report.html.j2").generate(
            title=title,
            summary=summary,
            total=len(order),
            failed=failed,
            cards=_in_order(spool, sorted(order)),
            model_viewer=model_viewer_script(),
        )
        _write_atomically(page, out)


def card_context(view: PairView, number: int) -> dict[str, Any]:
    """What the template of one pair shows."""
    window = around_pair(view)
    pair = view.reconstruction
    return {
        "view": view,
        "number": number,
        "pair": pair,
        "thumbnail": data_uri(photo_picture(view, whole(view), THUMBNAIL)),
        "photo": data_uri(photo_picture(view, window, PICTURE)),
        "overlay": data_uri(overlay_picture(view, window, PICTURE)),
        "masks": data_uri(masks_picture(view, window, PICTURE)),
        "contacts": data_uri(contacts_picture(view, window, PICTURE)),
        "side": data_uri(side_picture(view, PICTURE)),
        "turntable": data_uri(turntable_strip(view, TURNTABLE)),
        "frames": TURNTABLE_FRAMES,
        "glb": base64.b64encode(gzip.compress(viewer_glb(pair), mtime=0)).decode("ascii"),
        "figures": list(figure_rows(pair.metrics)),
        "notes": list(note_rows(pair.diagnostics)),
        "slowest": max(view.seconds.values(), default=0.0),
        "total_seconds": sum(view.seconds.values()),
    }


def figure_rows(metrics: dict[str, float]) -> Iterator[tuple[str, str, str]]:
    """(label, value with unit, 'good' | 'fair' | 'poor' | ''): the known metrics, then whatever else there is."""
    for figure in FIGURES:
        if figure.key in metrics:
            value = metrics[figure.key]
            text = f"{value:.{figure.digits}f} {figure.unit}".strip() if math.isfinite(value) else "not measured"
            yield figure.label, text, _grade(value, figure)
    known = {figure.key for figure in FIGURES}
    for key in sorted(metrics.keys() - known):
        yield key.replace("_", " "), f"{metrics[key]:.4g}", ""


def note_rows(diagnostics: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, value) of the diagnostics that the card does not show elsewhere."""
    for key, value in diagnostics.items():
        if key in ("warnings", "confidence", "review_priority"):
            continue
        text = value if isinstance(value, str) else json.dumps(_rounded(value), ensure_ascii=False, default=str)
        yield key.replace("_", " "), text


def data_uri(picture: U8) -> str:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode("ascii")


def _grade(value: float, figure: Figure) -> str:
    if not math.isfinite(value):
        return ""
    sign = 1 if figure.good > figure.poor else -1
    if sign * value >= sign * figure.good:
        return "good"
    return "poor" if sign * value < sign * figure.poor else "fair"


def _rounded(value: Any) -> Any:
    """Floats to four digits, in whatever they are nested."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def _in_order(spool: BinaryIO, order: list[tuple[float, str, int, int]]) -> Iterator[Markup]:
    for _, _, start, length in order:
        spool.seek(start)
        yield Markup(spool.read(length).decode())  # rendered by a template, hence escaped


def _write_atomically(parts: Iterable[str], out: Path) -> None:
    handle, partial = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(parts)
        Path(partial).chmod(0o644)  # mkstemp's file is private
        Path(partial).replace(out)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
