"""The table of a split: one row per pair, with where to find it in the shards. Parquet, written in pieces.

Matrices and point lists are flat lists, row by row, so that every reader of parquet gets plain columns.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from exports.base import Record
from exports.canonical.sample import PARAMETERS, WORDS

ROWS = 1000  # per row group
METRICS = (
    *("hand_iou", "object_iou", "object_visible_iou", "penetration_mm", "contact_fraction"),
    *("intersection_cm3", "displacement_cm", "keypoint_px"),
)
COLUMNS: dict[str, tuple[str, str]] = {  # name: (text | int | float | texts | floats, what it is)
    "file_name": ("text", "GLB of the pair, beside this file"),
    "id": ("text", "eight digits from the hash of the pair's id; the key in the shards"),
    "split": ("text", "the part of the dataset it is in"),
    "shard": ("text", "tar below the root that holds the sample"),
    "shard_index": ("int", "place of the sample in its shard, from 0"),
    "offset": ("int", "first byte of the sample in the shard"),
    "size": ("int", "bytes of the sample in the shard"),
    "pair_id": ("text", "id of the pair in the database it was exported from"),
    "revision": ("int", "revision of the pair"),
    **{name: ("text", f"{name.replace('_', ' ')}; empty: unknown") for name in WORDS},
    "groups": ("texts", "what must not be torn apart by a split"),
    "photo_name": ("text", "file name of the photograph"),
    "photo_sha256": ("text", "of the photograph's original bytes"),
    "width": ("int", "of the photograph, pixels"),
    "height": ("int", "of the photograph, pixels"),
    "K": ("floats", "3 x 3 intrinsic matrix row by row, pixels"),
    "side": ("text", "the person's: left or right"),
    "hand_model": ("text", "whose parameters these are: open-hand or mano"),
    "global_orient": ("floats", "3, axis-angle, camera frame"),
    "hand_pose": ("floats", "45, axis-angle of 15 joints in MANO's order, absolute (flat_hand_mean=True)"),
    "betas": ("floats", "10, shape coefficients"),
    "transl": ("floats", "3, metres"),
    "hand_joints": ("floats", "21 x 3 row by row, metres, camera frame, OpenPose order"),
    "object_kind": ("text", "how the mesh was made"),
    "object_rotation": ("floats", "3 x 3 row by row, object -> camera"),
    "object_transl": ("floats", "3, metres, camera frame"),
    "object_scale": ("float", "metres per unit of the mesh"),
    "touching": ("texts", "parts of the hand that touch the object"),
    **dict.fromkeys(METRICS, ("float", "metric; null: not measured")),
}


def row(record: Record, told: Mapping[str, Any]) -> dict[str, Any]:
    """A record's columns, but for those that only its shard knows. `told`: the sample's json."""
    camera, hand, thing = told["camera"], told["hand"], told["object"]
    metrics = record.reconstruction.metrics
    measured = {name: float(metrics[name]) for name in METRICS if name in metrics}
    return {
        "file_name": f"{told['id']}.glb",
        **{name: told[name] for name in ("id", "split", "pair_id", "revision", "groups")},
        **{name: (thing if name in thing else told)[name] for name in WORDS},
        "photo_name": told["photo"]["name"],
        "photo_sha256": told["photo"]["sha256"],
        "width": camera["width"],
        "height": camera["height"],
        "K": _flat(camera["K"]),
        "side": hand["side"],
        "hand_model": hand["model"],
        **{name: hand[name] for name in PARAMETERS},
        "hand_joints": record.reconstruction.hand_joints.reshape(-1).tolist(),
        "object_kind": thing["kind"],
        "object_rotation": _flat(thing["rotation"]),
        "object_transl": thing["transl"],
        "object_scale": thing["scale"],
        "touching": [part for part, touches in told["touching"].items() if touches],
        **{name: value if math.isfinite(value) else None for name, value in measured.items()},
    }


def _flat(matrix: list[list[float]]) -> list[float]:
    return [value for line in matrix for value in line]


def parquet(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """The rows as the pieces of a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {
        "text": pa.string(),
        "int": pa.int64(),
        "float": pa.float64(),
        "texts": pa.list_(pa.string()),
        "floats": pa.list_(pa.float64()),
    }
    schema = pa.schema([(name, kinds[kind]) for name, (kind, _) in COLUMNS.items()])
    sink = _Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for group in _grouped(rows):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            yield sink.taken()
    yield sink.taken()


def _grouped(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    group: list[Mapping[str, Any]] = []
    for one in rows:
        group.append(one)
        if len(group) == ROWS:
            yield group
            group = []
    if group:
        yield group


class _Sink(io.RawIOBase):
    """A file for pyarrow that is emptied on the way."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Keeps the bytes until they are taken."""
        piece = bytes(data)
        self._pieces.append(piece)
        self._length += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._length

    def taken(self) -> bytes:
        """What was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
