"""What every export format has in common: what goes in, what a format says of one sample, the registry.

    accepted revisions -> Entry -> load -> Record -> Format.sample -> files;  all samples -> Format.finish -> files

A format is a subclass of `Format`; `exports.writing` does the rest: splits, numbers, workers, resuming, manifest.
Built-in formats are always there; a package adds its own through the entry point group `hoi_annotate.exports`
(name = "module:Class").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pipeline.errors import HoiError
from pipeline.types import Photo, Reconstruction

if TYPE_CHECKING:
    from exports.croissant import Table
    from exports.folder import Folder

DEFAULT_SPLIT = "train=0.8,val=0.1,test=0.1"
ENTRY_POINT_GROUP = "hoi_annotate.exports"
BUILT_IN = {
    "bop": "exports.bop.format:BopFormat",
    "canonical": "exports.canonical.format:CanonicalFormat",
    "coco": "exports.coco.format:CocoFormat",
    "dexycb": "exports.dexycb.format:DexYCBFormat",
    "fiftyone": "exports.fiftyone.format:FiftyOneFormat",
    "freihand": "exports.freihand.format:FreiHandFormat",
    "gsdf": "exports.gsdf.format:GsdfFormat",
    "ho3d": "exports.ho3d.format:HO3DFormat",
    "obman": "exports.obman.format:ObManFormat",
}


class ExportError(HoiError):
    """An export cannot be made at all: wrong option, wrong place, no room."""


class UnsuitableRecord(ExportError):
    """One record does not fit the format; it is skipped with this reason and the export goes on."""


class ExportInterrupted(HoiError):
    """An export stopped on its way; the same command goes on from there."""


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
class Entry:
    """A record that is not in memory yet: what splitting needs to know, and how to get the rest."""

    pair_id: str
    revision: int
    photo_sha256: str
    provenance: dict[str, Any]
    load: Callable[[], Record]  # picklable where several processes write
    same_picture: str = ""  # name of the cluster of photos that show the same picture; "": it is alone
    digest: str = ""  # of all that `load` gives; an export of entries without one starts anew when interrupted

    @classmethod
    def of(cls, record: Record) -> Entry:
        """A record that is in memory."""
        return cls(record.pair_id, record.revision, record.photo.sha256, record.provenance, _Given(record))


@dataclass(frozen=True)
class _Given:
    record: Record

    def __call__(self) -> Record:
        return self.record


@dataclass(frozen=True)
class Place:
    """Where a sample goes. The id is eight digits from the hash of the pair's id, so it stays when data is added."""

    id: str
    split: str


@dataclass(frozen=True)
class Sample:
    """What one record becomes."""

    files: dict[str, bytes]  # by path below the root; a path that two samples share holds the same bytes in both
    entry: dict[str, Any] = field(default_factory=dict)  # JSON: added to the sample's entry in the manifest
    row: Any = None  # JSON: what `finish` will want to know of it


@dataclass(frozen=True)
class Option:
    """A setting of a format: its default (whose type is the setting's), the values it takes (none: any), its use."""

    default: Any
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExportSummary:
    """What an export did."""

    count: int  # samples written
    skipped: list[tuple[str, str]]  # (pair_id, reason)
    path: Path
    digest: str  # sha256 (hex) of the snapshot; equal records and options give equal digests


class Format(ABC):
    """One file format: pure functions from records to bytes."""

    name: ClassVar[str]
    about: ClassVar[str]  # one line for `export --format list`
    splits: ClassVar[tuple[str, ...]] = ()  # the names its readers know; none: any
    split: ClassVar[str] = DEFAULT_SPLIT
    options: ClassVar[Mapping[str, Option]] = {}

    def refuse(self, out: Path) -> None:  # noqa: B027 - most formats can be anywhere
        """Raises ExportError when this format's readers could not read from that place."""

    @abstractmethod
    def sample(self, record: Record, place: Place, options: Mapping[str, Any]) -> Sample:
        """The files of one record, from that record alone. Raises UnsuitableRecord to leave it out."""

    def finish(self, folder: Folder, options: Mapping[str, Any]) -> None:  # noqa: B027 - some need nothing
        """Write what belongs to all samples together, as lists and splits."""

    @abstractmethod
    def card(self, header: Mapping[str, Any]) -> str:
        """Markdown for the exported README.md: how to load this format, its frames and units, its traps.

        `header` is the manifest's: `options`, `split`, `samples`, `skipped`.
        """

    def tables(self) -> Sequence[Table]:
        """Tables among its files that croissant.json shall describe column by column."""
        return ()

    def front_matter(self, header: Mapping[str, Any]) -> dict[str, Any]:
        """Further fields (JSON) of the card's YAML head."""
        return {}

    @abstractmethod
    def check(self, out: Path, manifest: Mapping[str, Any]) -> list[str]:
        """Read everything back and say what is wrong, one line per finding that starts with the file's name."""

    def write(self, records: Iterable[Record | Entry], out: Path, **settings: Any) -> ExportSummary:
        """All records below `out`, completely or not at all; see `exports.writing.write` for the settings."""
        from exports.writing import write

        entries = [record if isinstance(record, Entry) else Entry.of(record) for record in records]
        return write(self, entries, out, **settings)

    def parse(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options of this format with their values. Raises ExportError for an unknown name or a wrong value."""
        for name in given:
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise ExportError(f"'{name}' is no option of format {self.name}; its options: {known}")
        return {name: _value(name, option, given.get(name)) for name, option in self.options.items()}


def _value(name: str, option: Option, given: Any) -> Any:
    if given is None:
        return option.default
    kind = type(option.default)
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        value: Any = words.get(str(given).lower())
    else:
        try:
            value = kind(given)
        except ValueError:
            value = None
    if value is None:
        expected = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise ExportError(f"{name}={given}: is not {expected}")
    if option.choices and value not in option.choices:
        raise ExportError(f"{name} '{value}': is none of {', '.join(option.choices)}")
    return value


def format_names() -> list[str]:
    """Names of all formats, built-in and installed, sorted."""
    return sorted({*BUILT_IN, *(entry.name for entry in _plugins())})


def get_format(name: str) -> Format:
    """The format of that name. Built-ins win over plugins. Raises ExportError for an unknown or broken one."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return cast(Format, getattr(import_module(module), attribute)())
    for entry in _plugins():
        if entry.name == name:
            try:
                return cast(Format, entry.load()())
            except Exception as error:  # a plugin may fail in any way; the user needs to know which one did
                raise ExportError(f"export format '{name}' ({entry.value}) does not load: {error}") from error
    raise ExportError(f"unknown export format '{name}'; known: {', '.join(format_names())}")


def _plugins() -> list[EntryPoint]:
    return list(entry_points(group=ENTRY_POINT_GROUP))
