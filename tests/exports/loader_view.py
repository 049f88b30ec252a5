"""Reads an ObMan root by the rules of its public loaders, as FORMATS states them, with nothing of ours.

Listing `meta/`, rewriting paths by `replace`, plain `pickle.load`, extrinsics and intrinsics hard-coded.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np

K = np.array([[480, 0, 128], [0, 480, 128], [0, 0, 1]], np.float32)
EXTRINSIC = np.diag([1, -1, -1]).astype(np.float32)
SPLITS = ("train", "val", "test")


class LoaderSample:
    """One sample of one split."""

    def __init__(self, root: Path, split: str, number: int) -> None:
        self.rgb_path = str(root / split / "rgb" / f"{number:08d}.jpg")
        with open(root / split / "meta" / f"{number:08d}.pkl", "rb") as file:  # noqa: PTH123
            self.meta: dict[str, Any] = pickle.load(file)
        self.models = root / "ShapeNetCore.v2" / self.meta["class_id"] / self.meta["sample_id"] / "models"

    def image(self, folder: str = "rgb", suffix: str = "jpg") -> np.ndarray:
        picture = cv2.imread(self.rgb_path.replace("rgb", folder).replace("jpg", suffix), 1)
        assert picture is not None
        return picture

    def segm(self, channel: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Hand and object masks; channel 0 composite, 1 hand alone, 2 object alone."""
        ids = {"right": (22, 24), "left": (21, 23)}[self.meta["side"]]
        picture = self.image("segm", "png")[..., channel]
        return np.isin(picture, ids), picture == 100

    def depth(self, channel: int, prefix: str) -> np.ndarray:
        """Metres; the names of near and far are swapped in the data; 0 on the background."""
        picture = self.image("depth", "png")[..., channel]
        assert picture.max() == 255
        low, high = self.meta[f"{prefix}depth_min"], self.meta[f"{prefix}depth_max"]
        return np.where(picture > 0, (picture.astype(float) - 1) / 254 * (low - high) + high, 0)

    def hand_verts(self) -> np.ndarray:
        return self.meta["verts_3d"] @ EXTRINSIC.T

    def joints(self) -> np.ndarray:
        return self.meta["coords_3d"] @ EXTRINSIC.T

    def mesh(self) -> dict[str, np.ndarray]:
        with open(self.models / "model_normalized.pkl", "rb") as file:  # noqa: PTH123
            mesh = pickle.load(file)
        return {"vertices": mesh["vertices"], "faces": np.array(mesh["faces"]).astype(np.int16)}

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        hom = np.concatenate([points, np.ones([len(points), 1])], axis=1)
        return (self.meta["affine_transform"] @ hom.T).T[:, :3] @ EXTRINSIC.T

    def surface_points(self) -> np.ndarray:
        with open(self.models / "surface_points.pkl", "rb") as file:  # noqa: PTH123
            return self.to_camera(pickle.load(file))


def project(points: np.ndarray) -> np.ndarray:
    hom = points @ K.T
    return hom[:, :2] / hom[:, 2:]


def load(root: Path) -> list[LoaderSample]:
    """All samples of all splits."""
    samples = []
    for split in SPLITS:
        numbers = [int(path.name.split(".")[0]) for path in sorted((root / split / "meta").iterdir())]
        samples += [LoaderSample(root, split, number) for number in numbers]
    return samples
