"""What every export format has in common: the records that go in, the summary that comes out, the registry.

    accepted revisions -> Record ... -> ExportFormat.write(records, out) -> files + manifest.json -> verify(out)

A format is a class with a `name`, a `write` and a `check`. Built-in formats are always there; a package adds its
own through the entry point group `hoi_annotate.exports` (name = "module:Class").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, cast

from pipeline.errors import HoiError
from pipeline.types import Photo, Reconstruction

ENTRY_POINT_GROUP = "hoi_annotate.exports"
BUILT_IN = {"obman": "exports.obman:ObManFormat"}


class ExportError(HoiError):
    """An export cannot be made at all: wrong option, wrong place, no room."""


class UnsuitableRecord(ExportError):
    """One record does not fit the format; it is skipped with this reason and the export goes on."""


@dataclass(frozen=True)
class Record:
    """One revision of one hand-object pair, with everything a format may want to write of it.

    `provenance` is JSON-like. Formats read these keys where present: `licence`, `source`, `verdict`, `recipe`,
    `class_id` (a directory-safe object class) and, for leak-free splits, `subject`, `object_id`,
    `near_duplicate`. Everything in it is written out with the sample.
    """

    pair_id: str
    revision: int
    photo: Photo
    reconstruction: Reconstruction
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportSummary:
    """What an export did."""

    count: int  # samples written
    skipped: list[tuple[str, str]]  # (pair_id, reason)
    path: Path
    digest: str  # sha256 (hex) of the snapshot; equal records and options give equal digests


class ExportFormat(Protocol):
    """One file format."""

    name: str

    def write(self, records: Iterable[Record], out: Path, **options: Any) -> ExportSummary:
        """Write all records below `out`, completely or not at all.

        Records are taken one at a time. Raises ExportError; an UnsuitableRecord only skips its record.
        """
        ...

    def check(self, out: Path, manifest: Mapping[str, Any]) -> list[str]:
        """Read everything back and say what is wrong, one line per finding that starts with the file's name."""
        ...


def format_names() -> list[str]:
    """Names of all formats, built-in and installed, sorted."""
    return sorted({*BUILT_IN, *(entry.name for entry in _plugins())})


def get_format(name: str) -> ExportFormat:
    """The format of that name. Built-ins win over plugins. Raises ExportError for an unknown or broken one."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return cast(ExportFormat, getattr(import_module(module), attribute)())
    for entry in _plugins():
        if entry.name == name:
            try:
                return cast(ExportFormat, entry.load()())
            except Exception as error:  # a plugin may fail in any way; the user needs to know which one did
                raise ExportError(f"export format '{name}' ({entry.value}) does not load: {error}") from error
    raise ExportError(f"unknown export format '{name}'; known: {', '.join(format_names())}")


def _plugins() -> list[EntryPoint]:
    return list(entry_points(group=ENTRY_POINT_GROUP))
