"""One real photograph with an annotated hand and object, through the whole pipeline.

    python benchmarks/annotated_photo.py [--folder DIR] [--true-mask] [--json]

The annotation (MOW: Cao et al., ICCV 2021) is itself a fit: a hand pose of the MANO layout, an object mesh and its
pose, everything scaled by one factor, before a camera that looks far below the middle of the photo. Both are turned
into the pipeline's camera, about its centre, until the middle of the object is seen at the same pixel. Measured: the
object's amodal silhouette, its shape after the field's alignment, its size, and the turn of the hand's wrist.
`--true-mask` gives the annotation's silhouette, but for the hand, as a reviewer gives an object mask: what is wrong
then is not the segmenter's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from pipeline.errors import HoiError
from pipeline.evaluate.metrics import chamfer_fscore, iou
from pipeline.geometry.camera import rays
from pipeline.hand.registration import rotation_to
from pipeline.photo import read_photo
from pipeline.recipe import Recipe
from pipeline.run import PairResult, annotate_photo, reoptimise
from pipeline.types import F64, I64, Camera, Edits, Mask, Photo, Reconstruction

FOLDER = Path(__file__).resolve().parents[2] / "shared/benchmark/annotated_photo"


class Kept(dict[str, bytes]):
    """Stage results in memory."""

    put = dict.__setitem__


def annotated_object(folder: Path, annotation: dict) -> tuple[F64, I64]:
    """The object's mesh in the camera frame, metres (the annotation's scale divided out)."""
    mesh = trimesh.load(folder / "object.obj", force="mesh", process=False)
    vertices = np.asarray(mesh.vertices, float)
    vertices = vertices - vertices.min(0)
    vertices = vertices / np.abs(vertices).max() * 2
    vertices = vertices - vertices.max(0) / 2
    vertices = (vertices - vertices.mean(0)) * [1, -1, 1]
    placed = (vertices @ np.reshape(annotation["R"], (3, 3)) + annotation["t"]) * annotation["s"]
    return placed / annotation["hand_s"], np.asarray(mesh.faces)[:, ::-1]  # the flipped axis turns the faces


def into_camera(vertices: F64, camera: Camera) -> Rotation:
    """From the annotation's camera frame to the pipeline's: the turn that shows the object's middle where it was seen.

    The annotation's camera looks at the middle of a square that the photo fills from the top, of focal length its side.
    """
    side = max(camera.width, camera.height)
    middle = (vertices.min(0) + vertices.max(0)) / 2
    pixel = side * (middle[:2] / middle[2] + 0.5)
    return Rotation.from_matrix(rotation_to(rays(pixel, camera.K)) @ rotation_to(middle).T)


def answer(photo: Photo, recipe: Recipe, true_mask: Mask, given: bool) -> tuple[int, PairResult]:
    """How many pairs were found, and the right hand's; with the true mask `given`, that pair made anew from it."""
    cache = Kept()
    found = [result for result in annotate_photo(photo, recipe, cache=cache) if result.reconstruction]
    best = max(
        found,
        key=lambda r: (r.reconstruction.hand.side == "right", iou(r.reconstruction.completion.amodal_mask, true_mask)),
    )
    if not given:
        return len(found), best
    edits = Edits(object_mask=true_mask & ~best.reconstruction.masks.hand)
    return len(found), reoptimise(photo, recipe, best.index, edits, cache=cache)


def measure(folder: Path, recipe: str, given: bool) -> dict[str, float | str]:
    """Figures of the right hand's pair against the annotation."""
    annotation = json.loads((folder / "annotation.json").read_text())
    file = folder / "image.jpg"
    loaded = Recipe.load(recipe)
    photo = read_photo(file.read_bytes(), file.name, loaded.max_side)
    true_mask = np.asarray(Image.open(folder / "object_mask_from_annotation.png").convert("L")) > 127
    true_mask = np.asarray(Image.fromarray(true_mask).resize(photo.size[::-1]))
    pairs, result = answer(photo, loaded, true_mask, given)
    pair = result.reconstruction
    if pair is None:
        sys.exit(f"{file}: {result.reason}")
    return {"pairs": pairs, "side": pair.hand.side, **against(pair, annotation, folder, true_mask)}


def against(pair: Reconstruction, annotation: dict, folder: Path, true_mask: np.ndarray) -> dict[str, float]:
    vertices, faces = annotated_object(folder, annotation)
    turn = into_camera(vertices, pair.camera)
    vertices = vertices @ turn.as_matrix().T
    own = pair.object_pose.place(pair.object.mesh.vertices)
    hand = np.asarray(annotation["hand_pose"], float)
    to_camera = Rotation.from_matrix(np.reshape(annotation["hand_R"], (3, 3)).T)  # row vectors in the annotation
    wrist_turn = turn * to_camera * Rotation.from_rotvec(hand[:3])
    found = Rotation.from_rotvec(pair.hand.global_orient)
    return {
        "object_mask_iou": iou(pair.masks.object | (pair.masks.hand & true_mask), true_mask),
        "amodal_iou": iou(pair.completion.amodal_mask, true_mask),
        **chamfer_fscore(own, pair.object.mesh.faces, vertices, faces),
        "wrist_turn_deg": float(np.degrees((found.inv() * wrist_turn).magnitude())),
        "object_size_ratio": float(np.ptp(own, axis=0).max() / np.ptp(vertices, axis=0).max()),
    }


def main(options: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--recipe", default="cpu")
    parser.add_argument("--true-mask", action="store_true", help="give the annotation's silhouette as the object mask")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(options)
    try:
        figures = measure(arguments.folder, arguments.recipe, arguments.true_mask)
    except (HoiError, OSError) as error:
        sys.exit(f"error: {error}")
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(f"{name:20} {value if isinstance(value, str) else round(value, 3)}")


if __name__ == "__main__":
    main()
