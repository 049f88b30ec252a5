"""Reads a canonical export back: shards, tables and GLBs, every member of every sample."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exports import glb
from exports.base import Place, Record, UnsuitableRecord
from exports.canonical import read, tar
from exports.canonical.layout import ARRAYS, MASKS, PICTURES, glb_name, members, shard_name, table_name
from exports.canonical.sample import depth_of, details, facts
from exports.canonical.table import COLUMNS, row
from exports.hands import checked_hand

MAX_WRONG_PIXELS = 1e-3  # share of a re-rendered depth picture that may differ (another CPU rounds another way)
BROKEN = (ValueError, KeyError, TypeError, IndexError, AttributeError, UnicodeDecodeError)
Row = dict[str, Any]


def check_canonical(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """One line per finding, starting with the file's path below `out`; [] when everything reads back."""
    found: list[str] = []
    size, pictures = manifest["options"]["shard"], manifest["options"]["pictures"]
    for split in sorted({sample["split"] for sample in manifest["samples"]}):
        samples = [sample for sample in manifest["samples"] if sample["split"] == split]
        rows: dict[str, Row] = {}
        for number, start in enumerate(range(0, len(samples), size)):
            found += _shard(out, split, number, samples[start : start + size], pictures, rows)
        found += _table(out, split, rows)
    return found


def _shard(
    out: Path, split: str, number: int, samples: list[dict[str, Any]], pictures: str, rows: dict[str, Row]
) -> Iterator[str]:
    """Findings in one shard; `rows` receives what the table must say of its samples."""
    name = shard_name(split, number)
    expected = {sample["id"]: sample for sample in samples}
    seen = []
    try:
        for index, (sample_id, offset, found) in enumerate(tar.samples(out / name)):
            seen.append(sample_id)
            if sample_id not in expected:
                yield f"{name}: {sample_id} is no sample of the manifest, or of another shard"
                continue
            where = {"shard": name, "shard_index": index, "offset": offset}
            for finding in _sample(out, expected[sample_id], found, pictures, where, rows):
                yield f"{name}: {sample_id}.{finding}"
    except (OSError, ValueError) as error:
        yield f"{name}: cannot be read as a shard ({error})"
        return
    if seen != list(expected):
        yield f"{name}: holds {len(seen)} samples, not the manifest's {len(expected)} in their order"


def _sample(
    out: Path,
    sample: Mapping[str, Any],
    found: dict[str, bytes],
    pictures: str,
    where: dict[str, Any],
    rows: dict[str, Row],
) -> Iterator[str]:
    names = members(pictures)
    if tuple(found) != names:
        odd = sorted(set(names) ^ set(found)) or ["order"]
        yield f"{odd[0]}: members are not those of a sample ({', '.join(odd)})"
        return
    broken = list(_unreadable(found))
    yield from broken
    if broken:
        return
    told = json.loads(found["json"])
    try:
        record = read.record_of(found)
        place = Place(sample["id"], sample["split"])
        again, more = facts(record, place, told["depth_unit"]), details(record)
        if again != told:
            yield f"json: {_difference(again, told)}"
        if more != json.loads(found["details.txt"]):
            yield f"details.txt: {_difference(more, json.loads(found['details.txt']))}"
        yield from _agrees(record, found, sample)
        rows[sample["id"]] = row(record, told) | where | {"size": _size(found)}
    except UnsuitableRecord as error:
        yield f"json: {error}"
    except BROKEN as error:
        yield f"json: does not describe a pair ({error!r})"
    own = out / glb_name(sample["split"], sample["id"])
    if not own.is_file() or own.read_bytes() != found["pair.glb"]:
        yield f"pair.glb: is not what {glb_name(sample['split'], sample['id'])} holds"


def _unreadable(found: dict[str, bytes]) -> Iterator[str]:
    """Members that cannot be decoded by themselves."""
    readers: dict[str, Any] = {
        "json": lambda name: json.loads(found[name]),
        "details.txt": lambda name: json.loads(found[name]),
        "depth.png": lambda name: read.depth(found),
        "object.glb": lambda name: glb.decode(found[name]),
        "pair.glb": lambda name: glb.decode(found[name]),
        **{f"{name}.png": lambda name: read.mask(found, name.removesuffix(".png")) for name in MASKS},
        **{f"{name}.npy": lambda name: read.array(found, name.removesuffix(".npy")) for name in ARRAYS},
    }
    for name in found:
        try:
            if name.startswith(tuple(f"{picture}." for picture in PICTURES)):
                read.picture(found, name.partition(".")[0])
            else:
                readers[name](name)
        except BROKEN as error:
            yield f"{name}: {error}"


def _agrees(record: Record, found: dict[str, bytes], sample: Mapping[str, Any]) -> Iterator[str]:
    """Do the members say the same, and the manifest too?"""
    made = record.reconstruction
    size = made.camera.height, made.camera.width
    images: dict[str, NDArray[Any]] = {"photo": record.photo.image, "completion": made.completion.image}
    images["depth"] = read.depth(found)
    for name, image in (images | {name: read.mask(found, name) for name in MASKS}).items():
        if image.shape[:2] != size:
            yield f"{name}: is {image.shape[1]}x{image.shape[0]}, the camera {size[1]}x{size[0]}"
            return
    told = {"pair_id": record.pair_id, "revision": record.revision, "side": made.hand.side}
    for name, value in told.items():
        if sample[name] != value:
            yield f"json: {name} is {value!r}, in the manifest {sample[name]!r}"
    model = checked_hand(record)
    parts = {part.name: part for part in glb.decode(found["pair.glb"])}
    hand, thing = parts["hand"], parts["object"]
    if not np.array_equal(hand.vertices, made.hand_verts.astype(np.float32)):
        yield "pair.glb: the hand is not hand_verts.npy"
    placed = made.object_pose.place(made.object.mesh.vertices)
    if thing.vertices.shape != placed.shape or np.abs(thing.vertices - placed).max() > 1e-5:
        yield "pair.glb: the object is not object.glb where the json puts it"
        return
    z = depth_of(hand.vertices, model, thing.vertices, thing.faces, made.camera)
    unit = json.loads(found["json"])["depth_unit"]
    close = np.isclose(images["depth"], z, atol=2 * unit, rtol=0)
    if (~close).mean() > MAX_WRONG_PIXELS:
        yield f"depth.png: differs from pair.glb in {(~close).mean():.1%} of its pixels"


def _size(found: dict[str, bytes]) -> int:
    return sum(512 + len(data) + -len(data) % 512 for data in found.values())


def _table(out: Path, split: str, rows: dict[str, Row]) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = table_name(split)
    try:
        table = pq.read_table(out / name)
    except (OSError, pa.ArrowException) as error:
        yield f"{name}: cannot be read ({error})"
        return
    if table.column_names != list(COLUMNS):
        odd = sorted(set(COLUMNS) ^ set(table.column_names))
        yield f"{name}: columns are not those of the format ({', '.join(odd) or 'order'})"
        return
    there = {one["id"]: one for one in table.to_pylist()}
    if len(there) != table.num_rows:
        yield f"{name}: has an id twice"
    for sample_id, expected in rows.items():
        one = there.get(sample_id)
        if one is None:
            yield f"{name}: has no row for {sample_id}"
        elif one != dict.fromkeys(COLUMNS) | expected:
            yield f"{name}: {sample_id}: {_difference(dict.fromkeys(COLUMNS) | expected, one)}"


def _difference(expected: Any, there: Any, path: str = "") -> str:
    """Where two JSON values differ first."""
    if isinstance(expected, dict) and isinstance(there, dict):
        for key in sorted({*expected, *there}):
            if key not in there:
                return f"'{path}{key}' is missing"
            if key not in expected:
                return f"'{path}{key}' does not belong there"
            if expected[key] != there[key]:
                return _difference(expected[key], there[key], f"{path}{key}.")
    return f"'{path.rstrip('.')}' is {str(there)[:60]}, but the other members give {str(expected)[:60]}"
