"""manifest.json: what is in an export, a digest of every file, and one digest of the whole snapshot."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from exports.base import ExportError
from exports.json_file import json_digest, json_pieces

NAME = "manifest.json"
TOOL = "hoi-annotate"
VERSION = 2


def write(root: Path, header: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """Write the manifest of a dataset; returns the snapshot digest (sha256, hex).

    `header` is JSON-like and holds at least `format` and `samples` (a list of {id, pair_id, split, groups, ...});
    `digests` has the sha256 of every file by its path.
    """
    content = {**header, "tool": TOOL, "version": VERSION, "files": digests}
    digest = snapshot_digest(content)
    with (root / NAME).open("w", encoding="ascii", newline="\n") as file:  # ASCII: any name survives any locale
        file.writelines(json_pieces({**content, "digest": digest}, indent=1))
        file.write("\n")
    return digest


def read(root: Path) -> dict[str, Any]:
    """The manifest of an export. Raises ExportError when there is none or it is not one of ours."""
    try:
        content = json.loads((root / NAME).read_text(encoding="utf-8"))
    except OSError as error:
        raise ExportError(f"{root / NAME}: cannot be read ({error.strerror}); is this an export?") from error
    except ValueError as error:
        raise ExportError(f"{root / NAME}: is not JSON ({error})") from error
    expected = {"format": str, "files": dict, "samples": list, "digest": str}
    if not isinstance(content, dict) or content.get("tool") != TOOL:
        raise ExportError(f"{root / NAME}: is not a manifest of {TOOL}")
    for key, kind in expected.items():
        if not isinstance(content.get(key), kind):
            raise ExportError(f"{root / NAME}: '{key}' is missing or not a {kind.__name__}")
    for sample in content["samples"]:
        if not isinstance(sample, dict) or not {"id", "split", "groups"} <= set(sample):
            raise ExportError(f"{root / NAME}: 'samples' has an entry without id, split or groups")
        if not re.fullmatch(r"[0-9]{8}", str(sample["id"])):
            raise ExportError(f"{root / NAME}: 'samples' has the id '{str(sample['id'])[:20]}', not eight digits")
    return cast("dict[str, Any]", content)


def is_export(root: Path, format_name: str) -> bool:
    """Whether `root` is an export that this tool made in that format."""
    try:
        return bool(read(root)["format"] == format_name)
    except ExportError:
        return False


def check(root: Path, content: Mapping[str, Any]) -> list[str]:
    """One line for every file that is missing, changed or not in the manifest, and for a changed manifest."""
    found = []
    if snapshot_digest(content) != content["digest"]:
        found.append(f"{NAME}: does not match its own digest")
    present = set(files(root))
    for path, digest in sorted(content["files"].items()):
        if path not in present:
            found.append(f"{path}: is missing")
        elif file_digest(root / path) != digest:
            found.append(f"{path}: does not match its digest")
    return found + [f"{path}: is not in the manifest" for path in sorted(present - set(content["files"]))]


def snapshot_digest(content: Mapping[str, Any]) -> str:
    """sha256 (hex) over everything in a manifest but its `digest`."""
    return json_digest({key: value for key, value in content.items() if key != "digest"})


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files(root: Path) -> list[str]:
    """Paths of all files below `root` but the manifest, sorted."""
    paths = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(path for path in paths if path != NAME)
