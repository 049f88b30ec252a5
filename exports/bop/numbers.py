"""BOP's numbers: of objects by their content, of scenes and images by the pictures' sizes and the samples' ids.

A scene holds up to 1,000 images of one size, for readers that ask the first image of a scene, or of a split, for its
size. It is no scene in the sense that its images show one place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from exports.bop.card import DATASET_INFO
from exports.bop.layout import (
    IMAGES_PER_SCENE,
    INCOMING,
    JSON_FILES,
    MODELS,
    SPLITS,
    image_path,
    incoming_path,
    mask_path,
    model_path,
    scene_path,
)
from exports.bop.model import named
from exports.folder import Folder, read_line

MIN_VISIBLE = 0.1  # share of an object that must be seen for it to be a target of the evaluation


def number_all(folder: Folder, photo_suffix: str) -> None:
    """Give all files of the samples their place and write what lists them."""
    sizes: dict[tuple[str, int, int], list[str]] = {}
    models: dict[str, Any] = {}
    for sample, row in folder.rows():
        sizes.setdefault((sample.split, *row["size"]), []).append(sample.id)
        models.setdefault(row["content"], row["model"])
    numbers = {content: number for number, content in enumerate(sorted(models), 1)}
    _write_models(folder, numbers, models)
    folder.make(*SPLITS)
    first: tuple[dict[str, Any], list[int]] | None = None
    targets: list[dict[str, int]] = []
    for split in SPLITS:
        for scene, ids in enumerate(_scenes(sizes, split)):
            rows = [read_line(folder.root, sample_id)["row"] for sample_id in ids]
            first = first or (rows[0]["camera"], rows[0]["size"])
            _write_scene(folder, split, scene, rows, numbers)
            for image, row in enumerate(rows):
                _move(folder, split, scene, image, row["own"]["id"], photo_suffix)
                if split == "test" and row["info"]["visib_fract"] >= MIN_VISIBLE:
                    targets.append(target(scene, image, numbers[row["content"]]))
    if first:
        folder.write("camera.json", _pretty(_camera(*first)))
        shutil.rmtree(folder.root / INCOMING)  # all is out of it but what a killed process left half written
    folder.write("test_targets_bop19.json", _lines("[]", (json.dumps(entry) for entry in targets)))
    folder.write("dataset_info.md", DATASET_INFO.encode())


def target(scene: int, image: int, obj_id: int) -> dict[str, int]:
    """An entry of test_targets_bop19.json."""
    return {"im_id": image, "inst_count": 1, "obj_id": obj_id, "scene_id": scene}


def _scenes(sizes: Mapping[tuple[str, int, int], list[str]], split: str) -> Iterator[list[str]]:
    """The samples of each scene of a split, by id."""
    for key in sorted(key for key in sizes if key[0] == split):
        for start in range(0, len(sizes[key]), IMAGES_PER_SCENE):
            yield sizes[key][start : start + IMAGES_PER_SCENE]


def _write_models(folder: Folder, numbers: Mapping[str, int], models: Mapping[str, Any]) -> None:
    folder.make(MODELS)
    for content, number in numbers.items():
        ply = (folder.root / incoming_path(f"{content}.ply")).read_bytes()
        texture = model_path(number, "png")
        folder.write(model_path(number), named(ply, texture.rpartition("/")[2]))
        folder.remove(incoming_path(f"{content}.ply"))
        folder.rename(incoming_path(f"{content}.png"), texture)
    entries = (f'"{number}": {json.dumps(models[content])}' for content, number in numbers.items())
    folder.write(f"{MODELS}/models_info.json", _lines("{}", entries))


def _write_scene(
    folder: Folder, split: str, scene: int, rows: list[dict[str, Any]], numbers: Mapping[str, int]
) -> None:
    """The four JSON files of a scene, a line per image."""

    def of(name: str, row: dict[str, Any]) -> Any:
        if name == "scene_camera":
            return row["camera"]
        if name == "scene_gt":
            return [{**row["gt"], "obj_id": numbers[row["content"]]}]
        return [row["info"] if name == "scene_gt_info" else row["own"]]

    for name in JSON_FILES:
        entries = (f'"{image}": {json.dumps(of(name, row))}' for image, row in enumerate(rows))
        folder.write(f"{scene_path(split, scene)}/{name}.json", _lines("{}", entries))


def _move(folder: Folder, split: str, scene: int, image: int, sample_id: str, photo_suffix: str) -> None:
    for kind, suffix in (("rgb", photo_suffix), ("depth", "png")):
        old = incoming_path(f"{sample_id}_{kind}.{suffix}")
        folder.rename(old, image_path(split, scene, kind, image, suffix))
    for kind in ("mask", "mask_visib"):
        folder.rename(incoming_path(f"{sample_id}_{kind}.png"), mask_path(split, scene, kind, image, 0))


def _camera(camera: Mapping[str, Any], size: list[int]) -> dict[str, Any]:
    """camera.json: one camera for readers that render new images; every image has its own in scene_camera.json."""
    fx, _, cx, _, fy, cy, *_ = camera["cam_K"]
    lens = {"cx": cx, "cy": cy, "fx": fx, "fy": fy}
    return {**lens, "depth_scale": camera["depth_scale"], "height": size[1], "width": size[0]}


def _pretty(content: Any) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _lines(brackets: str, entries: Iterator[str]) -> Iterator[bytes]:
    """A JSON list or object, an entry per line."""
    yield brackets[0].encode()
    comma = ""
    for entry in entries:
        yield f"{comma}\n  {entry}".encode()
        comma = ","
    yield f"\n{brackets[1]}\n".encode()
