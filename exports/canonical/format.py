"""canonical: everything a revision holds, for `webdataset`, for HF `datasets`, for parquet and GLB readers.

Record -> members -> piece of a tar;  all pieces of a split -> shards, table

See `layout` for the files, `sample` for what is in them, `read` for the way back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, get_args

from exports.base import ExportError, Format, Option, Place, Record, Sample
from exports.canonical import card as canonical_card
from exports.canonical import table as canonical_table
from exports.canonical import tar as canonical_tar
from exports.canonical.check import check_canonical
from exports.canonical.layout import PIECES, TABLE, glb_name, piece_name, shard_name, table_name
from exports.canonical.sample import contents
from exports.croissant import Column, Table
from exports.folder import Folder, Written
from pipeline.hand_model.hand import OPEN_HAND, hand_path
from pipeline.types import Side

SPLIT_NAME = re.compile(r"\w+", re.ASCII)  # what HF datasets takes, and no dot in a shard's name


class CanonicalFormat(Format):
    """WebDataset shards, parquet tables and GLB; see the module."""

    name = "canonical"
    about = "everything: WebDataset tar shards, parquet and GLB, for webdataset and HF datasets"
    options: ClassVar[Mapping[str, Option]] = {
        "shard": Option(1000, "samples in a shard"),
        "pictures": Option("jpg", "photo and completed object as jpg, or as png without loss", ("jpg", "png")),
    }

    def parse(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options with their values. Raises ExportError."""
        options = super().parse(given)
        if options["shard"] < 1:
            raise ExportError(f"shard={options['shard']}: a shard holds at least one sample")
        return options

    def sample(self, record: Record, place: Place, options: Mapping[str, Any]) -> Sample:
        """The sample as a piece of a shard, and the pair as a file of its own."""
        if not SPLIT_NAME.fullmatch(place.split):
            raise ExportError(f"split '{place.split}': HF datasets wants letters, digits and _ in its name")
        members, told = contents(record, place, options["pictures"])
        files = {
            piece_name(place.id): canonical_tar.piece(place.id, members),
            glb_name(place.split, place.id): members["pair.glb"],
        }
        return Sample(files, row=canonical_table.row(record, told))

    def finish(self, folder: Folder, options: Mapping[str, Any]) -> None:
        """Shards and a table for each split; the open hands that the parameters are of."""
        for split in sorted({sample.split for sample in folder.samples}):
            samples = [sample for sample in folder.samples if sample.split == split]
            places: dict[str, dict[str, Any]] = {}
            for number, start in enumerate(range(0, len(samples), options["shard"])):
                together = samples[start : start + options["shard"]]
                path = shard_name(split, number)
                places |= _places(folder, path, together)
                folder.write(path, _joined(folder, together))
                for sample in together:
                    folder.remove(piece_name(sample.id))
            rows = (row | places[sample.id] for sample, row in folder.rows() if sample.split == split)
            folder.write(table_name(split), canonical_table.parquet(rows))
        if (folder.root / PIECES).is_dir():
            (folder.root / PIECES).rmdir()
        for side in get_args(Side):
            if any(s.entry["hand_model"] == OPEN_HAND and s.entry["side"] == side for s in folder.samples):
                file = hand_path(side, OPEN_HAND)
                folder.write(f"hand_models/{file.name}", file.read_bytes())

    def front_matter(self, header: Mapping[str, Any]) -> dict[str, Any]:
        """The README's YAML: which shards are which split of the default configuration of `load_dataset(ROOT)`."""
        splits = sorted({sample["split"] for sample in header["samples"]})
        files = [{"split": split, "path": f"{split}-*.tar"} for split in splits]
        return {"configs": [{"config_name": "default", "data_files": files}]} if files else {}

    def tables(self) -> list[Table]:
        """The record sets of croissant.json."""
        columns = {name: Column(kind, about) for name, (kind, about) in canonical_table.COLUMNS.items()}
        about = "one row per hand-object pair; metres, OpenCV camera frame"
        return [Table("pairs", about, f"glb/*/{TABLE}", "id", columns)]

    def card(self, header: Mapping[str, Any]) -> str:
        """How to load it."""
        return canonical_card.text(header)

    def check(self, out: Path, manifest: Mapping[str, Any]) -> list[str]:
        """Read every sample back; one line per finding that starts with the file's name."""
        return check_canonical(out, manifest)


def _joined(folder: Folder, samples: list[Written]) -> Iterator[bytes]:
    length = 0
    for sample in samples:
        piece = (folder.root / piece_name(sample.id)).read_bytes()
        length += len(piece)
        yield piece
    yield canonical_tar.end(length)


def _places(folder: Folder, shard: str, samples: list[Written]) -> dict[str, dict[str, Any]]:
    """Where each sample will be, by its id."""
    places, offset = {}, 0
    for index, sample in enumerate(samples):
        size = (folder.root / piece_name(sample.id)).stat().st_size
        places[sample.id] = {"shard": shard, "shard_index": index, "offset": offset, "size": size}
        offset += size
    return places
