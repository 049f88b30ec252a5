"""A dataset folder in the making: the files of its samples, a journal of what is done, room for the rest.

    ROOT/.journal/state.json      what this export is made of; another one starts anew
    ROOT/.journal/<id>.json       a sample that is done: its files with their digests, its entry and row, or why skipped

A journal line is written after its files, so a process killed at any moment leaves no sample that looks done and is
not. Files are checked against their digests before a sample is taken for done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exports import manifest
from exports.base import Sample

JOURNAL = ".journal"


@dataclass(frozen=True)
class Written:
    """A sample whose files are in the folder."""

    id: str
    split: str
    entry: dict[str, Any]  # as it will stand in the manifest


@dataclass
class Folder:
    """What `Format.finish` works on. Paths are relative to `root`, with forward slashes."""

    root: Path
    samples: list[Written] = field(default_factory=list)  # sorted by id
    digests: dict[str, str] = field(default_factory=dict)  # sha256 of every file so far, by path

    def rows(self) -> Iterator[tuple[Written, Any]]:
        """Every sample with the row its format gave, one at a time from the disk."""
        for sample in self.samples:
            yield sample, read_line(self.root, sample.id)["row"]

    def write(self, path: str, data: bytes | Iterable[bytes]) -> None:
        """A file, whole or from pieces."""
        digest = hashlib.sha256()
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for piece in [data] if isinstance(data, bytes) else data:
                digest.update(piece)
                file.write(piece)
        self.digests[path] = digest.hexdigest()

    def rename(self, old: str, new: str) -> None:
        """A file that only gets its name when all samples are known."""
        (self.root / new).parent.mkdir(parents=True, exist_ok=True)
        (self.root / old).rename(self.root / new)
        self.digests[new] = self.digests.pop(old)

    def remove(self, path: str) -> None:
        """A file that was only needed on the way."""
        (self.root / path).unlink()
        del self.digests[path]

    def make(self, *paths: str) -> None:
        """Folders that must exist even if nothing is in them."""
        for path in paths:
            (self.root / path).mkdir(parents=True, exist_ok=True)


def begin(root: Path, fingerprint: str) -> set[str]:
    """Ids of the samples that an interrupted export of the same content has done; anything else is removed."""
    state = root / JOURNAL / "state.json"
    try:
        same = bool(fingerprint) and json.loads(state.read_text(encoding="utf-8"))["fingerprint"] == fingerprint
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        for path in root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        state.parent.mkdir()
        _write(state, json.dumps({"fingerprint": fingerprint}).encode())
        return set()
    done = {path.stem for path in state.parent.glob("*.json")} - {"state"}
    return {name for name in done if _is_whole(root, name)}


def write_sample(root: Path, sample_id: str, sample: Sample, kept: dict[str, Any]) -> None:
    """A sample's files, then its line in the journal. `kept`: further JSON for the line."""
    digests = {}
    for path, data in sample.files.items():
        if sample_id in path:
            _write(root / path, data)
        elif not (root / path).exists():  # shared by samples: never to be seen in part
            own = root / f"{path}.{os.getpid()}~"
            _write(own, data)
            own.replace(root / path)
        digests[path] = hashlib.sha256(data).hexdigest()
    write_line(root, sample_id, {"files": digests, "entry": sample.entry, "row": sample.row, **kept})


def write_line(root: Path, sample_id: str, line: dict[str, Any]) -> None:
    """A line of the journal."""
    _write(root / JOURNAL / f"{sample_id}.json", json.dumps(line).encode())


def read_line(root: Path, sample_id: str) -> dict[str, Any]:
    """A line of the journal."""
    line: dict[str, Any] = json.loads((root / JOURNAL / f"{sample_id}.json").read_bytes())
    return line


def tidy(folder: Folder) -> None:
    """Remove the journal, files of samples that were never finished, and the folders that this leaves empty."""
    shutil.rmtree(folder.root / JOURNAL)
    for path in manifest.files(folder.root):
        if path not in folder.digests:
            (folder.root / path).unlink()


def _is_whole(root: Path, sample_id: str) -> bool:
    try:
        line = read_line(root, sample_id)
        return all(manifest.file_digest(root / path) == digest for path, digest in line.get("files", {}).items())
    except (OSError, ValueError):
        return False


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
