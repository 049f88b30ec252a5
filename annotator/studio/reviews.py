"""A submitted annotation -> verdict and edits. Whatever a browser sent: this reads it without trusting it.

An edit is what the reviewer touched. Our own regions come back with their ids and an `origin`; one that is still
'prediction' is no edit. Any other region is the reviewer's, as are labels whose region was deleted.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast, get_args

import numpy as np

from annotator.reviewing import MUST_HAVE_PIXELS, Change, fingerprint
from annotator.studio.labeling import JOINTS, ROLES
from annotator.studio.masks import from_data_url, from_rle, to_png
from db.models import Verdict
from pipeline.errors import BadEdit, HoiError
from pipeline.types import PARTS, Mask, Side

TOUCHED = ("manual", "prediction-changed")  # origins; 'prediction' is ours as it was
LONGEST_COMMENT = 10_000  # characters
SMALLEST_BOX = 4.0  # pixels of the original
# type of a region -> where in its value the mask is, and how to read it
MASK_KINDS: dict[str, tuple[str, Callable[[Any, tuple[int, int]], Mask]]] = {
    "bitmasklabels": ("imageDataURL", from_data_url),
    "brushlabels": ("rle", from_rle),
}

Region = dict[str, Any]


class ForeignTask(HoiError):
    """A task of our project that we did not make."""


@dataclass(frozen=True)
class ReadReview:
    """What a reviewer said about one revision, or about a photo without a pair."""

    verdict: Verdict | None  # None: skipped, or not chosen
    change: Change
    comment: str
    changed: tuple[str, ...]  # what was touched: roles of masks, 'keypoints', 'box', 'side', 'touching'
    problems: tuple[str, ...]  # what was touched and cannot be used, one line each
    skipped: bool
    digest: str  # the same for the same content of the same annotation


def read_annotation(annotation: dict[str, Any], data: dict[str, Any], original: tuple[int, int]) -> ReadReview:
    """Reads one annotation, as the API gives it, of the task that has `data`; `original` is the upright photo's (H, W).

    Masks of the change have the size of the picture on the page, keypoints and box are in pixels of the original.
    Raises ForeignTask.
    """
    regions = [region for region in annotation.get("result") or [] if _is_region(region)]
    skipped = bool(annotation.get("was_cancelled"))
    shown = _Shown.of(data)
    reader = _Reader(regions, shown, original)
    change = Change() if skipped else reader.change()
    return ReadReview(
        verdict=None if skipped else cast(Verdict | None, reader.choice("verdict", get_args(Verdict))),
        change=change,
        comment=_comment(regions),
        changed=tuple(reader.changed),
        problems=tuple(reader.problems),
        skipped=skipped,
        digest=digest(annotation),
    )


def digest(annotation: dict[str, Any]) -> str:
    """Which content of which annotation: a server that forgot an annotation may give its id to another one."""
    created = annotation.get("created_at")
    if isinstance(created, str):
        with contextlib.suppress(ValueError):
            created = datetime.fromisoformat(created)
    if isinstance(created, datetime):  # the SDK gives it like this
        created = created.astimezone(UTC).isoformat()
    skipped = bool(annotation.get("was_cancelled"))
    return fingerprint(annotation.get("id"), created, annotation.get("result"), skipped)


@dataclass(frozen=True)
class _Shown:
    """What the reviewer saw, from the data of the task."""

    size: tuple[int, int]  # (H, W) of the picture
    has_pair: bool
    side: str | None
    touching: frozenset[str]
    roles: tuple[str, ...]  # of the masks

    @classmethod
    def of(cls, data: dict[str, Any]) -> _Shown:
        try:
            return cls(
                size=(int(data["height"]), int(data["width"])),
                has_pair=int(data["revision"]) > 0,
                side=data["side"],
                touching=frozenset(data["touching"]),
                roles=tuple(data["shown"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ForeignTask(f"this task was not made by hoi-annotate: its data has no usable {error}") from error


class _Reader:
    """Collects the edits of one annotation, and what is wrong with them."""

    def __init__(self, regions: list[Region], shown: _Shown, original: tuple[int, int]) -> None:
        self.regions, self.shown, self.original = regions, shown, original
        self.changed: list[str] = []
        self.problems: list[str] = []

    def change(self) -> Change:
        touching, not_touching = self._touching()
        return Change(
            masks=self._masks(),
            keypoints=self._keypoints(),
            box=None if self.shown.has_pair else self._box(),
            side=self._side(),
            touching=touching,
            not_touching=not_touching,
        )

    def choice(self, control: str, known: Iterable[str]) -> str | None:
        """What is chosen where one thing can be."""
        chosen = [word for word in self._chosen(control) if word in known]
        return chosen[-1] if chosen else None

    def _chosen(self, control: str) -> list[str]:
        return [
            word
            for region in self.regions
            if region.get("type") == "choices" and region.get("from_name") == control
            for word in _texts(region, "choices")
        ]

    def _side(self) -> str | None:
        side = self.choice("side", get_args(Side))
        if side is None or side == self.shown.side:
            return None
        self.changed.append("side")
        return side

    def _touching(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        chosen = set(self._chosen("touching"))
        more = tuple(part for part in PARTS if part in chosen - self.shown.touching)
        less = tuple(part for part in PARTS if part in self.shown.touching - chosen)
        if more or less:
            self.changed.append("touching")
        return more, less

    def _masks(self) -> dict[str, bytes]:
        masks = {}
        for label, role in ROLES.items():
            regions = [region for region in self.regions if label in _mask_labels(region)]
            deleted = role in self.shown.roles and not regions
            if not deleted and not any(_is_touched(region, f"m_{label}") for region in regions):
                continue
            self.changed.append(role)
            try:
                masks[role] = to_png(self._united(regions, role))
            except BadEdit as error:
                self.problems.append(f"the {role.replace('_', ' ')} cannot be used: {error}")
        return masks

    def _united(self, regions: list[Region], role: str) -> Mask:
        """All regions of one label together. Raises BadEdit."""
        united = np.zeros(self.shown.size, dtype=np.bool_)
        for region in regions:
            if (region.get("original_height"), region.get("original_width")) != self.shown.size:
                raise BadEdit("it was drawn on a picture of another size")
            where, read = MASK_KINDS[region["type"]]
            united |= read(region["value"].get(where), self.shown.size)
        if role in MUST_HAVE_PIXELS and not united.any():
            raise BadEdit("nothing is left of it; paint what is visible, or reject")
        return united

    def _keypoints(self) -> list[list[float]] | None:
        """All 21, or None."""
        places: dict[int, list[float]] = {}
        by_hand = set()
        for region in self.regions:
            if region.get("type") != "keypointlabels":
                continue
            for index in {JOINTS.index(label) for label in _texts(region, "keypointlabels") if label in JOINTS}:
                touched = _is_touched(region, f"kp_{index:02d}")
                x, y = _number(region, "x"), _number(region, "y")
                if x is None or y is None or (index in by_hand and not touched):
                    continue
                places[index] = [x / 100 * self.original[1], y / 100 * self.original[0]]
                if touched:
                    by_hand.add(index)
        if not by_hand:
            return None
        self.changed.append("keypoints")
        missing = [label for index, label in enumerate(JOINTS) if index not in places]
        if missing:
            what = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            self.problems.append(f"{len(missing)} of the 21 joints are missing ({what}): all are needed, or none")
            return None
        return [places[index] for index in range(len(JOINTS))]

    def _box(self) -> list[float] | None:
        boxes = [box for box in map(self._hand_box, self.regions) if box is not None]
        if not boxes:
            return None
        self.changed.append("box")
        if len(boxes) > 1:
            self.problems.append(f"{len(boxes)} hand boxes: draw one, around the hand that holds the object")
            return None
        return boxes[0]

    def _hand_box(self, region: Region) -> list[float] | None:
        """x0, y0, x1, y1 within the original; None when the region is no box of a hand."""
        if region.get("type") != "rectanglelabels" or "hand" not in _texts(region, "rectanglelabels"):
            return None
        numbers = [_number(region, name) for name in ("x", "y", "width", "height")]
        if None in numbers:
            return None
        x, y, width, height = cast(list[float], numbers)
        scale = np.array([self.original[1], self.original[0]]) / 100
        low, high = (np.clip(np.array(corner) * scale, 0, scale * 100) for corner in ((x, y), (x + width, y + height)))
        return [*low.tolist(), *high.tolist()] if (high - low >= SMALLEST_BOX).all() else None


def _is_region(region: Any) -> bool:
    return isinstance(region, dict) and isinstance(region.get("value"), dict)


def _is_touched(region: Region, own_id: str) -> bool:
    """Whether a region is not one of ours as it was; what has no origin was never touched by a browser."""
    return region.get("id") != own_id or region.get("origin") in TOUCHED


def _mask_labels(region: Region) -> list[str]:
    kind = region.get("type")
    return _texts(region, kind) if isinstance(kind, str) and kind in MASK_KINDS else []


def _texts(region: Region, name: str) -> list[str]:
    """The words of a list in a region's value."""
    words = region["value"].get(name)
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def _number(region: Region, name: str) -> float | None:
    value = region["value"].get(name)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


def _comment(regions: list[Region]) -> str:
    words = [
        word
        for region in regions
        if region.get("type") == "textarea" and region.get("from_name") == "comment"
        for word in _texts(region, "text")
    ]
    text = "\n".join(words).replace("\0", "")  # JSON can say it, PostgreSQL cannot keep it
    return text.strip()[:LONGEST_COMMENT]
