"""ObMan: pairs as samples that the public loaders of `hassony2/obman` and `obman_train` read.

    Record -> place before ObMan's camera -> normalise the object -> meta -> render segm and depth -> files

    ROOT/{train,val,test}/{rgb,rgb_hand,rgb_obj}/%08d.jpg   {segm,depth}/%08d.png   meta/%08d.pkl
    ROOT/ShapeNetCore.v2/<class_id>/<sample_id>/models/     see obman_mesh
    ROOT/manifest.json, README.md

A sample's number comes from the hash of its pair's id, so it stays when data is added. Samples are staged below
one folder and moved to their split at the end, when all groups are known; so records may be a generator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np

from exports import manifest, numpy_pickle, obman_card, obman_mesh
from exports.atomic import atomic_folder
from exports.base import ExportError, ExportSummary, Record, UnsuitableRecord
from exports.obman_camera import TO_OPENGL, CameraMode, Placement, parse_mode, place
from exports.obman_check import check_obman
from exports.obman_layers import encode_depth, render
from exports.obman_layout import KINDS, SHAPENET_ROOT, SPLITS, sample_path
from exports.obman_meta import OWN_KEY, hand_meta, object_meta, object_points, own_meta
from exports.splits import DEFAULT_SPLIT, assign, groups_of, parse_split
from pipeline.hand_model import load_hand
from pipeline.hand_model.model import OPEN_HAND
from pipeline.types import U8, Mask, Side

JPEG_SETTINGS = [
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),  # keeps outlines as sharp as the masks
]
STAGING = ".staging"


@dataclass(frozen=True)
class _Sample:
    """What is remembered of a sample once its files are written."""

    id: str  # eight digits
    entry: dict[str, Any]  # for the manifest
    groups: list[str]


class ObManFormat:
    """Options of `write`: camera='refit'|'exact', split='train=0.8,val=0.1,test=0.1', seed=0."""

    name = "obman"

    def write(
        self,
        records: Iterable[Record],
        out: Path,
        *,
        camera: str = "refit",
        split: str = DEFAULT_SPLIT,
        seed: int = 0,
    ) -> ExportSummary:
        """Write an ObMan root; see the module. Raises ExportError for options or places that loaders cannot take."""
        mode, ratios = parse_mode(camera), _parse_split(split)
        _refuse_rewritten(out)
        samples: list[_Sample] = []
        skipped: list[tuple[str, str]] = []
        with atomic_folder(out, lambda path: manifest.is_export(path, self.name)) as root:
            _make_folders(root)
            writer = _Writer(root, mode)
            for record in records:
                try:
                    samples.append(writer.write(record))
                except UnsuitableRecord as error:
                    skipped.append((record.pair_id, str(error)))
            splits = assign([sample.groups for sample in samples], ratios, seed)
            for sample, name in zip(samples, splits, strict=True):
                _move(root, sample.id, name)
                sample.entry["split"] = name
            _remove_staging(root)
            _write_hand_models(root)
            entries = sorted((sample.entry for sample in samples), key=lambda entry: str(entry["id"]))
            header = {
                "format": self.name,
                "options": {"camera": mode, "split": ratios, "seed": seed},
                "samples": entries,
                "skipped": sorted(skipped),
            }
            (root / "README.md").write_text(obman_card.text(header), encoding="utf-8", errors="replace")
            digest = manifest.write(root, header)
        return ExportSummary(len(samples), skipped, out, digest)

    def check(self, out: Path, manifest: Mapping[str, Any]) -> list[str]:
        """Read every sample back the way the loaders do; one line per finding that starts with the file's name."""
        return check_obman(out, manifest)


class _Writer:
    """Writes samples into the staging folder, one record at a time."""

    def __init__(self, root: Path, mode: CameraMode) -> None:
        self._root = root
        self._mode = mode
        self._owners: dict[str, str] = {}  # sample id -> pair id

    def write(self, record: Record) -> _Sample:
        sample_id = self._number(record.pair_id)
        reconstruction = record.reconstruction
        if record.photo.size != (reconstruction.camera.height, reconstruction.camera.width):
            raise UnsuitableRecord("the photo's size is not the camera's")
        model = load_hand(reconstruction.hand.side)
        placement = place(reconstruction.hand_verts, _in_photo(record), reconstruction.camera, self._mode)
        obj = obman_mesh.normalise(reconstruction.object.mesh)

        # Rendered from the rounded numbers that are stored, so that reading them back gives the same pictures.
        meta = hand_meta(record, model, placement) | object_meta(record, obj, placement)
        hand = meta["verts_3d"].astype(np.float64) @ TO_OPENGL
        layers = render(hand, model, object_points(meta, obj.vertices), obj.faces)
        depth, planes = encode_depth(layers.depth)
        meta |= planes | {"obj_visibility_ratio": layers.visible_ratio, OWN_KEY: own_meta(record, model, placement)}
        pictures = _photographs(record, placement) | {"segm": layers.segm, "depth": depth}
        files = {kind: _encode(kind, picture) for kind, picture in pictures.items()}
        files["meta"] = _pickle(meta)

        obman_mesh.write(obj, self._root / SHAPENET_ROOT / meta["class_id"] / obj.sample_id / "models")
        for kind, data in files.items():
            sample_path(self._root, STAGING, kind, sample_id).write_bytes(data)
        self._owners[sample_id] = record.pair_id
        groups = groups_of(record)
        return _Sample(sample_id, _manifest_entry(record, sample_id, groups, placement), groups)

    def _number(self, pair_id: str) -> str:
        """Eight digits from the hash of the pair's id, the next free ones if another pair has them."""
        number = int.from_bytes(sha256(pair_id.encode("utf-8", "surrogatepass")).digest()[:8], "big") % 10**8
        while (owner := self._owners.get(f"{number:08d}")) is not None:
            if owner == pair_id:
                raise UnsuitableRecord("another revision of this pair is already in the export")
            number = (number + 1) % 10**8
        return f"{number:08d}"


def _in_photo(record: Record) -> np.ndarray:
    pose, mesh = record.reconstruction.object_pose, record.reconstruction.object.mesh
    return np.asarray(pose.scale * mesh.vertices @ pose.rotation.T + pose.transl)


def _photographs(record: Record, placement: Placement) -> dict[str, U8]:
    """The photo, its visible hand alone, and the completed object alone, as ObMan's camera sees them (RGB)."""
    photo, masks, completion = record.photo, record.reconstruction.masks, record.reconstruction.completion

    def cut_out(image: U8, mask: Mask) -> U8:
        alpha = placement.picture(mask.astype(np.uint8) * 255).astype(np.float64)[..., None] / 255
        return np.rint(placement.picture(image) * alpha).astype(np.uint8)

    return {
        "rgb": placement.picture(photo.image),
        "rgb_hand": cut_out(photo.image, masks.hand),
        "rgb_obj": cut_out(completion.image, completion.amodal_mask),
    }


def _encode(kind: str, picture: U8) -> bytes:
    """JPEG for the photographs (RGB), PNG for the layers (already BGR)."""
    if KINDS[kind] == "jpg":
        bgr = np.ascontiguousarray(picture[..., ::-1])
        ok, data = cv2.imencode(".jpg", bgr, JPEG_SETTINGS)
    else:
        ok, data = cv2.imencode(".png", picture)
    if not ok:
        raise ExportError(f"cv2 could not encode a {kind} picture")
    return bytes(data.tobytes())


def _pickle(meta: dict[str, Any]) -> bytes:
    try:
        return numpy_pickle.dumps(meta)
    except TypeError as error:
        raise UnsuitableRecord(f"provenance or metrics are not JSON-like: {error}") from error


def _manifest_entry(record: Record, sample_id: str, groups: list[str], placement: Placement) -> dict[str, Any]:
    return {
        "id": sample_id,
        "pair_id": record.pair_id,
        "revision": record.revision,
        "photo": record.photo.sha256,
        "side": record.reconstruction.hand.side,
        "hand_model": record.reconstruction.estimate.model,
        "licence": str(record.provenance.get("licence") or "unknown"),
        "source": str(record.provenance.get("source") or "unknown"),
        "recipe": str(record.provenance.get("recipe") or "unknown"),
        "wider_than_obman": placement.wider_than_obman,
        "residual_px": max(value for name, value in placement.residual_px.items() if name.endswith("_median")),
        "groups": groups,
    }


def _parse_split(text: str) -> dict[str, float]:
    ratios = parse_split(text)
    unknown = set(ratios) - set(SPLITS)
    if unknown:
        raise ExportError(f"split '{text}': ObMan has {', '.join(SPLITS)}, not {', '.join(sorted(unknown))}")
    return ratios


def _refuse_rewritten(out: Path) -> None:
    """ObMan's loaders replace 'rgb' and 'jpg' anywhere in a path."""
    for word in ("rgb", "jpg"):
        if word in str(out.absolute()):
            raise ExportError(
                f"{out.absolute()}: contains '{word}', which ObMan's loaders replace; choose another path"
            )


def _make_folders(root: Path) -> None:
    for split in (*SPLITS, STAGING):
        for kind in KINDS:
            (root / split / kind).mkdir(parents=True)
    (root / SHAPENET_ROOT).mkdir()


def _move(root: Path, sample_id: str, split: str) -> None:
    for kind in KINDS:
        sample_path(root, STAGING, kind, sample_id).rename(sample_path(root, split, kind, sample_id))


def _write_hand_models(root: Path) -> None:
    """Faces and pose components of the open hand, which a reader cannot take from MANO's files."""
    folder = root / "hand_models" / OPEN_HAND
    folder.mkdir(parents=True)
    for side in get_args(Side):
        model = load_hand(side)
        if model.name == OPEN_HAND:  # a user's MANO may not be passed on
            for name, array in (("faces", model.faces.astype(np.int32)), ("components", model.components)):
                (folder / f"{name}_{side}.pkl").write_bytes(numpy_pickle.dumps(array))


def _remove_staging(root: Path) -> None:
    for kind in KINDS:
        (root / STAGING / kind).rmdir()
    (root / STAGING).rmdir()
