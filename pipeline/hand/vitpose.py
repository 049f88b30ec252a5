"""ViTPose (Xu et al. 2022) through transformers: hands by their keypoints, whole bodies or single hands.

133 keypoints  COCO-WholeBody: one look at the photo (or at each person's box), two hands each
21 keypoints   a hand model: one look at each hand that the MediaPipe detector, or a person's box, points to
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch

from pipeline import hub
from pipeline.device import Placement
from pipeline.errors import NoHandFound, PipelineError
from pipeline.pretrained import enough_memory, pretrained
from pipeline.types import F64, U8, HandBox, HandDetection, HandHints, Photo, Side

WEIGHTS = "vitpose"
LEFT, RIGHT = slice(91, 112), slice(112, 133)  # of COCO-WholeBody; both in OpenPose order
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
WIDEN = 1.25  # of a box, as in training
CONFIDENT = 0.3  # of a keypoint
LEAST = 8  # confident keypoints that make a hand
WHOLE_BODY = 5  # of the experts of ViTPose+


class VitposeDetector:
    """Settings: `confident` (of a keypoint), `least` (keypoints that make a hand); placement."""

    name = "vitpose"
    version = "1"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = dict(settings)
        self._placement = Placement.of(settings)

    @property
    def weights_digest(self) -> str:
        """sha256 over the weights; '' while they are not here."""
        return hub.digest(WEIGHTS)

    def detect(self, photo: Photo, hints: HandHints) -> list[HandDetection]:
        """See `HandDetector`. Keypoints a person gave are taken as they are."""
        given = [
            HandDetection(np.asarray(k, np.float64), np.zeros((21, 3)), 1.0, _belief(side), side, "keypoints")
            for k, side in zip(hints.keypoints, [*hints.sides, *[None] * len(hints.keypoints)], strict=False)
        ]
        if given and not hints.boxes:
            return sorted(given, key=_order)
        model = self._model()
        count = int(model.config.num_labels)
        if count == 133:
            found = self._whole_bodies(model, photo, hints)
        elif count == 21:
            found = self._single_hands(model, photo, hints)
        else:
            raise PipelineError(f"vitpose: its weights know {count} keypoints; it takes 133 (whole body) or 21 (hand)")
        return sorted([*given, *found], key=_order)

    def _whole_bodies(self, model: Any, photo: Photo, hints: HandHints) -> list[HandDetection]:
        height, width = photo.size
        keypoints, scores = self._look(model, photo.image, np.array([0.0, 0.0, width, height]))
        hands = []
        for side, part in (("left", LEFT), ("right", RIGHT)):
            hand = self._hand(keypoints[part], scores[part], "right" if side == "right" else "left")
            if hand is not None:
                hands.append(hand)
        return [_in_box(hands, box, photo) for box in hints.boxes] if hints.boxes else hands

    def _single_hands(self, model: Any, photo: Photo, hints: HandHints) -> list[HandDetection]:
        from pipeline.hand.mediapipe import MediapipeDetector

        seen = [] if hints.boxes else MediapipeDetector({}).detect(photo, hints)
        boxes = [(np.array([b.x0, b.y0, b.x1, b.y1]), b.side, _belief(b.side)) for b in hints.boxes]
        boxes += [(np.concatenate([h.keypoints.min(0), h.keypoints.max(0)]), h.side, h.right_score) for h in seen]
        hands = []
        for box, side, belief in boxes:
            keypoints, scores = self._look(model, photo.image, box)
            hand = self._hand(keypoints, scores, side)
            if hand is not None:
                hands.append(
                    HandDetection(
                        hand.keypoints, hand.world, hand.presence, belief, side, "box" if side else "detector"
                    )
                )
        return hands

    def _hand(self, keypoints: F64, scores: F64, side: Side | None) -> HandDetection | None:
        confident = scores > float(self._settings.get("confident", CONFIDENT))
        if confident.sum() < int(self._settings.get("least", LEAST)):
            return None
        presence = float(np.clip(scores[confident].mean(), 0.0, 1.0))
        return HandDetection(keypoints, np.zeros((21, 3)), presence, _belief(side), None)

    def _look(self, model: Any, image: U8, box: F64) -> tuple[F64, F64]:
        """Keypoints (K, 2) in pixels of the photo and their scores (K,), of what is in a box (x0, y0, x1, y1)."""
        height, width = model.config.backbone_config.image_size
        to_crop = crop_matrix(box, width, height)
        crop = cv2.warpAffine(image, opencv(to_crop), (width, height), flags=cv2.INTER_LINEAR).astype(np.float64)
        pixels = torch.as_tensor(((crop / 255 - MEAN) / STD).transpose(2, 0, 1)[None], dtype=torch.float32)
        device = self._placement.torch_device
        extra = {}
        if int(getattr(model.config.backbone_config, "num_experts", 1)) > 1:
            extra["dataset_index"] = torch.tensor([WHOLE_BODY], device=device)
        with enough_memory(self.name), torch.inference_mode():
            maps = model(pixel_values=pixels.to(device, model.dtype), **extra).heatmaps[0].float().cpu().numpy()
        places, scores = peaks(maps.astype(np.float64))
        in_crop = places * (np.array([width, height]) / maps.shape[:0:-1])
        back = np.linalg.inv(np.vstack([to_crop, [0, 0, 1]]))
        return np.asarray(in_crop @ back[:2, :2].T + back[:2, 2]), scores

    def _model(self) -> Any:
        return pretrained(self.name, WEIGHTS, "transformers", "VitPoseForPoseEstimation", self._settings)


def crop_matrix(box: F64, width: int, height: int) -> F64:
    """(2, 3) from pixels of the photo to those of a width x height crop around a box, widened, its aspect kept."""
    middle, extent = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], 1.0)
    across = max(extent[0], extent[1] * width / height) * WIDEN
    scale = width / across
    return np.array([[scale, 0, width / 2 - scale * middle[0]], [0, scale, height / 2 - scale * middle[1]]])


def opencv(matrix: F64) -> F64:
    """(2, 3) the same map for OpenCV, which counts from the middle of the first pixel."""
    shift = matrix[:, :2] @ [0.5, 0.5] + matrix[:, 2] - 0.5
    return np.column_stack([matrix[:, :2], shift])


def peaks(maps: F64) -> tuple[F64, F64]:
    """Places (K, 2) x, y and heights (K,) of the highest points of heatmaps (K, h, w), between the pixels.

    Pixel (0.5, 0.5) is the middle of the first one. The maps are Gaussians: the top of a parabola through the logarithm
    of a peak and its neighbours (DARK, Zhang et al. 2020, along the axes).
    """
    count, height, width = maps.shape
    flat = maps.reshape(count, -1).argmax(1)
    y, x = np.divmod(flat, width)
    which = np.arange(count)
    logs = np.log(np.maximum(np.stack([cv2.GaussianBlur(m, (3, 3), 0) for m in maps]), 1e-6))

    def shift(before: F64, at: F64, after: F64) -> F64:
        bend = before - 2 * at + after
        return np.where(bend < -1e-9, np.clip((before - after) / (2 * np.minimum(bend, -1e-9)), -0.5, 0.5), 0.0)

    at = logs[which, y, x]
    dx = shift(logs[which, y, np.maximum(x - 1, 0)], at, logs[which, y, np.minimum(x + 1, width - 1)])
    dy = shift(logs[which, np.maximum(y - 1, 0), x], at, logs[which, np.minimum(y + 1, height - 1), x])
    return np.stack([x + 0.5 + dx, y + 0.5 + dy], 1), maps.reshape(count, -1).max(1)


def _in_box(hands: list[HandDetection], box: HandBox, photo: Photo) -> HandDetection:
    """The hand that a person's box is about."""
    low, high = np.array([box.x0, box.y0]), np.array([box.x1, box.y1])
    inside = [((low <= h.keypoints) & (h.keypoints <= high)).all(1).mean() for h in hands]
    if not inside or max(inside) < 0.5:
        raise NoHandFound(f"{photo.name}: vitpose sees no hand in the box")
    hand = hands[int(np.argmax(inside))]
    return HandDetection(hand.keypoints, hand.world, hand.presence, hand.right_score, box.side, "box")


def _belief(side: Side | None) -> float:
    return {"right": 0.95, "left": 0.05}.get(side or "", 0.5)


def _order(hand: HandDetection) -> tuple[float, float]:
    return -round(float(np.ptp(hand.keypoints, axis=0).prod())), float(hand.keypoints[:, 0].min())
