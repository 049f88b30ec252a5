"""Models that come from the Hugging Face hub, or from their makers' own pages: what, whose, and whether they are here.

    MODELS -> pull(name): commit -> snapshot -> sha256 of every file -> manifest.json (last: it says "whole")
           -> folder(name): the snapshot, for from_pretrained(..., local_files_only=True); no network from here on

    <cache>/hub/<name>/<commit[:12]>/...    the files, as in the repository
    <cache>/hub/<name>/manifest.json        which folder, which commit, the sha256 of each file

`revision` is a commit where one is known to us, else a branch: then the commit that was found at the first pull is
recorded, and pulls go on with that one. `adopt` records a folder that is already somewhere on this machine.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import MissingExtra, MissingWeights
from pipeline.hub_models import MODELS, HubModel
from pipeline.weights import cache_dir

Progress = Callable[[str], None]
MANIFEST = "manifest.json"
__all__ = ["MODELS", "HubModel"]


def folder(name: str) -> Path:
    """The local files of a model. Raises MissingWeights with the command that fetches them."""
    found = _manifest(name)
    if found is None:
        raise MissingWeights(missing(name))
    return _place(name, found)


def missing(name: str) -> str:
    """The one line to say when a model is not here."""
    model = MODELS[name]
    if model.repo:
        return f"{name}: no weights of {model.repo}; run: hoi-annotate models pull {name}"
    return f"{name}: no weights; get them from {model.source} and run: hoi-annotate models adopt {name} FOLDER"


def is_present(name: str) -> bool:
    """Whether all files of the model are here."""
    return _manifest(name) is not None


def digest(name: str) -> str:
    """sha256 over the files of a model, '' when it is not here: part of the cache keys of what it makes."""
    found = _manifest(name)
    if found is None:
        return ""
    return hashlib.sha256(json.dumps(found["files"], sort_keys=True).encode()).hexdigest()


def adopt(name: str, source: Path, progress: Progress | None = None) -> Path:
    """Use the files in `source`, where they are, as the model's. Raises MissingWeights if there are none."""
    source = source.expanduser().resolve()
    if name not in MODELS:
        raise MissingWeights(f"no model '{name}'; known: {', '.join(MODELS)}")
    if not source.is_dir() or not any(p.is_file() for p in source.rglob("*")):
        raise MissingWeights(f"{source}: no folder with files in it")
    return _record(name, source, commit="", say=progress or (lambda _: None))


def require(module: str, adapter: str, extra: str) -> ModuleType:
    """An optional library. Raises MissingExtra with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        install = f"run: pip install 'hoi-annotate[{extra}]'"
        raise MissingExtra(f"{adapter}: needs {error.name}, which is not installed; {install}") from error
    except (ImportError, RuntimeError, OSError) as error:  # a native library that does not fit the others
        said = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise MissingExtra(f"{adapter}: needs {module}, which does not import here ({said})") from error


def _home(name: str) -> Path:
    return cache_dir() / "hub" / name


def _manifest(name: str) -> dict[str, Any] | None:
    """What is recorded of a model whose files are here."""
    path = _home(name) / MANIFEST
    try:
        found = _read(path, path.stat().st_mtime_ns)
    except (OSError, json.JSONDecodeError):
        return None
    return found if _place(name, found).is_dir() else None


@lru_cache(maxsize=64)
def _read(path: Path, _changed: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _place(name: str, found: dict[str, Any]) -> Path:
    return _home(name) / str(found["folder"])  # an adopted one's is absolute


def _record(name: str, where: Path, commit: str, say: Progress) -> Path:
    """Writes the manifest of the files in `where`, in one step."""
    home = _home(name)
    files = {}
    for path in sorted(p for p in where.rglob("*") if p.is_file()):
        inside = path.relative_to(where)
        if inside.parts[0] == ".cache":  # of the downloader
            continue
        say(f"{name}: {inside}")
        with path.open("rb") as file:
            files[inside.as_posix()] = {
                "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
                "size": path.stat().st_size,
            }
    kept = str(where.relative_to(home)) if where.is_relative_to(home) else str(where)
    model = asdict(MODELS[name])
    record = {key: model[key] for key in ("name", "repo", "revision", "licence")}
    text = json.dumps(record | {"commit": commit, "folder": kept, "files": files}, indent=2)
    try:
        home.mkdir(parents=True, exist_ok=True)
        part = home / f".{MANIFEST}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(home / MANIFEST)
    except OSError as error:
        raise MissingWeights(f"cannot write {home}: {error.strerror}; set HOI_CACHE to a writable folder") from error
    return where
