"""HaMeR and WiLoR as hand fitters: a crop of the photo in, MANO in the crop's camera out, through a worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError
from pipeline.foreign import ForeignAdapter
from pipeline.hand.predicted import best_of, box_of, estimate, sides_of
from pipeline.hand.saved import files_digest, read_hands
from pipeline.hand.weak_perspective import CropHand, rotation_vector
from pipeline.hand_model.model import OPEN_HAND
from pipeline.types import Camera, HandDetection, HandEstimate, Mask, Photo
from pipeline.worker_protocol import Answer

CONVENTIONS = {
    "hand": "mano right, absolute angles",
    "left": "mirrored crop",
    "axes": "opencv",
    "units": "metres",
    "camera": "weak perspective, focal 5000 for 256 pixels",
}


class CropFitter(ForeignAdapter):
    """What HaMeR and WiLoR have in common. Settings: those of `Foreign`, or `outputs`, a folder of saved outputs."""

    def needs(self) -> list[str]:
        """One line for each thing that is missing."""
        return [] if self._settings.get("outputs") else super().needs()

    @property
    def weights_digest(self) -> str:
        """Of the weights the worker uses, or of the saved outputs."""
        outputs = self._settings.get("outputs")
        return files_digest(Path(outputs).expanduser()) if outputs else super().weights_digest

    def fit(self, photo: Photo, detection: HandDetection, hand_mask: Mask, camera: Camera) -> HandEstimate:
        """See `HandFitter`. Raises PipelineError when no prediction lies on the detected hand."""
        outputs = self._settings.get("outputs")
        hands = read_hands(Path(outputs), photo) if outputs else self._predicted(photo, detection)
        best = best_of(hands, detection, camera)
        if best is None:
            raise PipelineError(f"{photo.name}: {self.name} sees no hand where the keypoints are")
        return estimate(best, detection, camera, self._settings.get("hand_model", OPEN_HAND))

    def _predicted(self, photo: Photo, detection: HandDetection) -> list[CropHand]:
        sides = sides_of(detection)
        right = np.array([side == "right" for side in sides], dtype=np.float64)
        boxes = np.tile(box_of(detection), (len(sides), 1))
        answer = self.foreign.ask(self._settings, "hands", {"image": photo.image, "boxes": boxes, "right": right})
        return [_crop_hand(answer, i, len(sides), right[i]) for i in range(len(sides))]


def _crop_hand(answer: Answer, i: int, count: int, right: float) -> CropHand:
    return CropHand(
        side="right" if right else "left",
        global_orient=rotation_vector(answer.required("global_orient", count, 3, 3)[i]),
        hand_pose=rotation_vector(answer.required("hand_pose", count, 15, 3, 3)[i]),
        betas=answer.required("betas", count, 10)[i].astype(np.float64),
        pred_cam=answer.required("pred_cam", count, 3)[i].astype(np.float64),
        centre=answer.required("box_center", count, 2)[i].astype(np.float64),
        size=float(answer.required("box_size", count)[i]),
        verts=answer.required("verts", count, 778, 3)[i].astype(np.float64),
        joints=answer.required("joints", count, 21, 3)[i].astype(np.float64),
    )
