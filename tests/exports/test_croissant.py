"""croissant.json of every format, validated by MLCommons' own library."""

from __future__ import annotations

import json
from pathlib import Path

import mlcroissant
import pytest
from synthetic_pairs import make_record

from exports import croissant
from exports.base import BUILT_IN, Record, get_format


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_valid_for_every_format(name: str, records: list[Record], tmp_path: Path) -> None:
    get_format(name).write(records, tmp_path / "out")
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "out" / croissant.NAME)
    assert not dataset.metadata.ctx.issues.errors
    assert dataset.metadata.name == f"hoi-annotate-{name}"
    listed = {node.content_url: node.sha256 for node in dataset.metadata.distribution if hasattr(node, "sha256")}
    files = json.loads((tmp_path / "out" / "manifest.json").read_text())["files"]
    assert {path: files[path] for path in ("README.md", "statistics.html")}.items() <= listed.items()


def test_the_table_of_canonical_is_read_through_it(records: list[Record], tmp_path: Path) -> None:
    get_format("canonical").write(records, tmp_path / "out")
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "out" / croissant.NAME)
    rows = list(dataset.records("pairs"))
    assert sorted(row["pairs/pair_id"].decode() for row in rows) == sorted(record.pair_id for record in records)
    assert {row["pairs/side"].decode() for row in rows} == {"left", "right"}


def test_version_is_that_of_the_content(tmp_path: Path) -> None:
    def version(name: str, number: int) -> str:
        get_format("obman").write([make_record(number)], tmp_path / name)
        return str(json.loads((tmp_path / name / croissant.NAME).read_text())["version"])

    first = version("a", 0)
    assert first == version("b", 0)
    assert first != version("c", 1)
