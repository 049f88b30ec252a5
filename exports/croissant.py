"""croissant.json: what an export is, machine-readable, as MLCommons' Croissant 1.0 has it (JSON-LD).

    FileObject   every file at the top, every table and every shard, with its sha256
    FileSet      the files of one kind in one folder; a digest over all of theirs is in the description
    RecordSet    the tables that the format says it has

The version ends in a digest of the data files, so equal data has equal versions; card, statistics, manifest and this
file itself are not in it, and may quote it. Source of the keys: http://mlcommons.org/croissant/1.0.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from exports.json_file import json_digest

NAME = "croissant.json"
ABOUT_DATA = frozenset({NAME, "README.md", "statistics.html", "manifest.json"})  # files that are not data
LISTED = (".parquet", ".tar")  # files with their own digest wherever they are
MAX_FOLDERS = 32  # below one top folder; more are described as one
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".glb": "model/gltf-binary",
    ".html": "text/html",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".md": "text/markdown",
    ".obj": "model/obj",
    ".parquet": "application/x-parquet",
    ".ply": "model/ply",
    ".png": "image/png",
    ".tar": "application/x-tar",
    ".txt": "text/plain",
    ".yml": "application/yaml",
}
KINDS = {"text": "sc:Text", "texts": "sc:Text", "int": "sc:Integer", "float": "sc:Float", "floats": "sc:Float"}
SPDX = ("Apache-", "BSD-", "CC-BY", "CC0-", "GPL-", "LGPL-", "MIT", "ODbL-", "PDDL-")  # how names of its licences begin
LICENCE_OF_UNKNOWN = "unknown: not said for every photograph; see manifest.json"
CITE = "@misc{hoi_annotate, title = {Hand-object pairs exported by hoi-annotate}, note = {format %s, version %s}}"

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


@dataclass(frozen=True)
class Column:
    """One column of a table: text, int, float, or a list of texts or floats."""

    kind: str
    about: str


@dataclass(frozen=True)
class Table:
    """Files that hold the rows of one table."""

    name: str
    about: str
    files: str  # glob below the root
    key: str  # column whose values are unique
    columns: Mapping[str, Column]


def content_version(header: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """1.0.0+<64 hex digits>: of the format, its options, the samples and the data files.

    `header`: the manifest's; `digests`: sha256 of every file by its path.
    """
    files = {path: digest for path, digest in digests.items() if path not in ABOUT_DATA}
    content = [header["format"], header["options"], header["samples"], files]
    return f"1.0.0+{json_digest(content)}"


def document(header: Mapping[str, Any], digests: Mapping[str, str], tables: Sequence[Table] = ()) -> bytes:
    """croissant.json of an export.

    `header`: the manifest's (format, samples, options, ...); `digests`: sha256 of every file by its path, but for the
    manifest's and this one's, which are not known yet; `tables`: what the format says it has.
    """
    version = content_version(header, digests)
    paths = sorted(path for path in digests if path not in (NAME, "manifest.json"))
    listed = [path for path in paths if "/" not in path or path.endswith(LISTED)]
    content = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"hoi-annotate-{header['format']}",
        "description": _description(header),
        "license": _licences(header),
        "citeAs": CITE % (header["format"], version),
        "version": version,
        "keywords": ["hand-object interaction", "3D reconstruction", "hand pose"],
        "distribution": [
            *(_file_object(path, digests[path]) for path in listed),
            *_file_sets(sorted(set(paths) - set(listed)), digests),
            *(_table_files(table) for table in tables if header["samples"]),
        ],
        "recordSet": [_record_set(table) for table in tables if header["samples"]],
    }
    return (json.dumps(content, indent=1, ensure_ascii=True) + "\n").encode("ascii")


def _description(header: Mapping[str, Any]) -> str:
    samples = header["samples"]
    splits = Counter(sample["split"] for sample in samples)
    parts = ", ".join(f"{name} {count}" for name, count in sorted(splits.items())) or "none"
    return (
        f"{len(samples)} hand-object pairs ({parts}) reconstructed from photographs by hoi-annotate, "
        f"format {header['format']}; README.md says how to load it, manifest.json whose each photograph is."
    )


def _licences(header: Mapping[str, Any]) -> list[str]:
    names = sorted({str(sample.get("licence") or "unknown") for sample in header["samples"]}) or ["unknown"]
    return [_licence(name) for name in names]


def _licence(name: str) -> str:
    if name == "unknown":
        return LICENCE_OF_UNKNOWN
    return f"https://spdx.org/licenses/{name}.html" if name.startswith(SPDX) and " " not in name else _text(name)


def _file_object(path: str, digest: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "encodingFormat": _media_type(path),
        "sha256": digest,
    }


def _file_sets(paths: Iterable[str], digests: Mapping[str, str]) -> list[dict[str, Any]]:
    paths = list(paths)
    folders: dict[str, set[str]] = {}
    for path in paths:
        folders.setdefault(path.partition("/")[0], set()).add(path.rpartition("/")[0])
    groups: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        top = path.partition("/")[0]
        folder = path.rpartition("/")[0] if len(folders[top]) <= MAX_FOLDERS else top
        groups.setdefault((folder, PurePosixPath(path).suffix), []).append(path)
    return [_file_set(*group, members, digests) for group, members in sorted(groups.items())]


def _file_set(folder: str, suffix: str, paths: list[str], digests: Mapping[str, str]) -> dict[str, Any]:
    listed = hashlib.sha256()
    for path in paths:
        listed.update(f"{digests[path]}  {path}\n".encode("utf-8", "surrogatepass"))
    pattern = f"{folder}/*{suffix}"
    return {
        "@type": "cr:FileSet",
        "@id": pattern,
        "name": pattern,
        "description": f"{len(paths)} files; sha256 of their `sha256sum` list, sorted by path: {listed.hexdigest()}",
        "encodingFormat": _media_type(pattern),
        "includes": pattern,
    }


def _table_files(table: Table) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{table.name}-files",
        "name": f"{table.name}-files",
        "description": table.about,
        "encodingFormat": _media_type(table.files),
        "includes": table.files,
    }


def _record_set(table: Table) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": table.name,
        "name": table.name,
        "description": table.about,
        "key": {"@id": f"{table.name}/{table.key}"},
        "field": [_field(table, name, column) for name, column in table.columns.items()],
    }


def _field(table: Table, name: str, column: Column) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{table.name}/{name}",
        "name": f"{table.name}/{name}",
        "description": column.about,
        "dataType": KINDS[column.kind],
        "source": {"fileSet": {"@id": f"{table.name}-files"}, "extract": {"column": name}},
    }
    return field | ({"repeated": True} if column.kind.endswith("s") else {})


def _media_type(path: str) -> str:
    return MEDIA_TYPES.get(PurePosixPath(path).suffix, "application/octet-stream")


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()
