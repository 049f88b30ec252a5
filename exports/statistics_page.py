"""statistics.html: what a dataset is made of, as one page without scripts or anything from elsewhere."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np

from exports.hands import hand_here
from exports.statistics import CONTACT_M, KINDS, MEASURES, Figures
from exports.text import counted
from pipeline.geometry.camera import from_focal
from pipeline.geometry.layers import depth_layers
from pipeline.hand_model.hand import OPEN_HAND, Hand
from pipeline.types import U8, HandPose

BARS, BINS = 12, 24  # most rows of a count, columns of a histogram
PICTURE = 320  # pixels of a hand
DISTANCE = 0.9  # metres from which the hands are drawn
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1d2530; background: #fff; margin: 2rem auto; max-width: 1180px;
  padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 0 .2rem } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem }
p { color: #55606d; margin: .2rem 0 }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 1.2rem }
figure { margin: 0; padding: .8rem; border: 1px solid #dde3ea; border-radius: 8px }
figcaption { font-weight: 600; margin-bottom: .4rem } svg { width: 100%; height: auto; display: block }
svg text { font: 12px system-ui, sans-serif; fill: #1d2530 } .hands img { width: 48%; border-radius: 4px }
"""


def page(figures: Figures, header: Mapping[str, Any]) -> bytes:
    """The page. `header` is the manifest's."""
    counts = [_figure(KINDS[name], _bars(figures.counted[name])) for name in KINDS if figures.counted[name]]
    splits = Counter(sample["split"] for sample in header["samples"])
    counts.insert(0, _figure("split", _bars(splits)))
    measures = [
        _figure(f"{title} (median {np.median(values):.3g}, n = {len(values)})", _histogram(values))
        for name, title in MEASURES.items()
        if (values := figures.measured[name])
    ]
    hands = [
        _figure(
            f"contact, {_named(hand)} (darkest: {touched.max() / total:.0%} of them)", _hand(model, touched / total)
        )
        for hand, touched in sorted(figures.contact.items())
        if (model := _model(hand)) is not None and (total := figures.hands[hand])
    ]
    skipped = Counter(reason for _, reason in header["skipped"])
    body = [
        f"<h1>{counted(figures.count, 'hand-object pair')}, format {escape(header['format'])}</h1>",
        f"<p>{counted(len({s['photo'] for s in header['samples']}), 'photograph')}; "
        f"{counted(len(header['skipped']), 'pair')} left out</p>",
        "<h2>What is in it</h2><main>",
        *counts,
        "</main><h2>Where hands touch</h2>",
        f"<p>Share of pairs in which a vertex of the hand is within {1000 * CONTACT_M:.0f} mm of the object.</p><main>",
        *hands,
        "</main><h2>How good it is</h2><main>",
        *measures,
        "</main>",
        *(["<h2>Left out</h2>"] if skipped else []),
        *(f"<p>{counted(count, 'pair')}: {escape(reason)}</p>" for reason, count in skipped.most_common()),
    ]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Statistics</title><style>{_STYLE}</style>'
    return (head + "\n".join(body) + "\n</html>\n").encode("utf-8", "replace")


def _figure(title: str, content: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{content}</figure>"


def _bars(counts: Counter[str]) -> str:
    """One bar per value, the most frequent first."""
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(rows) > BARS:
        rest = rows[BARS - 1 :]
        rows = [*rows[: BARS - 1], (f"{len(rest)} others", sum(count for _, count in rest))]
    most = max(count for _, count in rows) if rows else 1
    drawn = []
    for i, (name, count) in enumerate(rows):
        short = name if len(name) <= 19 else f"{name[:18]}…"
        drawn.append(
            f'<text x="126" y="{22 * i + 15}" text-anchor="end"><title>{escape(name)}</title>{escape(short)}</text>'
            f'<rect x="132" y="{22 * i + 3}" width="{140 * count / most:.1f}" height="16" rx="2" fill="#3b77b8"/>'
            f'<text x="{138 + 140 * count / most:.1f}" y="{22 * i + 15}">{count}</text>'
        )
    return f'<svg viewBox="0 0 320 {max(22 * len(rows), 22)}">{"".join(drawn)}</svg>'


def _histogram(values: Sequence[float]) -> str:
    """Columns over the range that holds 98 % of the values; what is beyond it is in the outermost columns."""
    low, high = float(np.percentile(values, 1, method="lower")), float(np.percentile(values, 99, method="higher"))
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    heights, _ = np.histogram(np.clip(values, low, high), bins=BINS, range=(low, high))
    width = 300 / BINS
    columns = [
        f'<rect x="{10 + i * width:.2f}" y="{90 - 80 * count / heights.max():.2f}" width="{width - 1:.2f}" '
        f'height="{80 * count / heights.max():.2f}" fill="#3b77b8"/>'
        for i, count in enumerate(heights)
    ]
    axis = '<line x1="10" y1="90" x2="310" y2="90" stroke="#8a95a3"/>'
    ends = f'<text x="10" y="106">{low:.3g}</text><text x="310" y="106" text-anchor="end">{high:.3g}</text>'
    return f'<svg viewBox="0 0 320 112">{"".join(columns)}{axis}{ends}</svg>'


def _model(hand: str) -> Hand | None:
    """The model that a hand's vertices are numbered in, as `Figures.hands` names it; None when it is not here."""
    side, _, name = hand.partition(" ")
    return hand_here("right" if side == "right" else "left", name or OPEN_HAND)


def _named(hand: str) -> str:
    side, _, name = hand.partition(" ")
    return f"{side} hands of {name}" if name else f"{side} hands"


def _hand(model: Hand, share: np.ndarray) -> str:
    """A flat hand from the palm and from the back, its faces coloured by (778,) shares in [0, 1]."""
    views = []
    for name, palmar in (("palm", True), ("back", False)):
        ok, png = cv2.imencode(".png", _drawn(model, share / max(share.max(), 1e-9), palmar))
        assert ok, "cv2 always encodes a picture it has made"
        data = base64.b64encode(png.tobytes()).decode()
        views.append(f'<img alt="{model.side} hand, {name}" title="{name}" src="data:image/png;base64,{data}">')
    return f'<div class="hands">{" ".join(views)}</div>'


def _drawn(model: Hand, heat: np.ndarray, palmar: bool) -> U8:
    """(PICTURE, PICTURE, 3) BGR: the model's rest pose seen square on, fingers up."""
    zero = HandPose(model.side, np.zeros(3), np.zeros(45), np.zeros(10), np.zeros(3))
    verts, joints = model.posed(zero)
    up = joints[9] - joints[0]  # wrist to the middle finger's base
    up /= np.linalg.norm(up)
    normals = np.cross(
        verts[model.faces[:, 1]] - verts[model.faces[:, 0]], verts[model.faces[:, 2]] - verts[model.faces[:, 0]]
    )
    towards = normals[(model.skin_side[model.faces] == (1 if palmar else -1)).all(1)].sum(0)
    towards -= up * (towards @ up)
    towards /= np.linalg.norm(towards)
    axes = np.stack([np.cross(up, towards), -up, -towards])  # x right, y down, z away from the viewer
    placed = (verts - (verts.min(0) + verts.max(0)) / 2) @ axes.T + [0, 0, DISTANCE]
    camera = from_focal(PICTURE * DISTANCE / 0.24, PICTURE, PICTURE, "given")  # 24 cm fill the picture
    hit = depth_layers(placed, model.faces, camera.K, PICTURE, PICTURE, k=1)
    face, seen = hit.face[..., 0], np.isfinite(hit.depth[..., 0])
    turned = normals @ axes.T
    light = 0.55 + 0.45 * np.abs(turned[:, 2]) / np.maximum(np.linalg.norm(turned, axis=1), 1e-12)
    warm = heat[model.faces].mean(1)[:, None]
    colour = ((1 - warm) * [205.0, 215, 225] + warm * [30.0, 40, 190]) * light[:, None]
    return np.where(seen[..., None], colour[face], 255).round().astype(np.uint8)
