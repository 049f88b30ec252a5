"""Models that come from the Hugging Face hub, or from their makers' own pages: what, whose, and whether they are here.

    MODELS -> pull(name): commit -> snapshot -> sha256 of every file -> manifest.json (last: it says "whole")
           -> folder(name): the snapshot, for from_pretrained(..., local_files_only=True); no network from here on

    <cache>/hub/<name>/<commit[:12]>/...    the files, as in the repository
    <cache>/hub/<name>/manifest.json        which folder, which commit, the sha256 of each file

`revision` is a commit where one is known to us, else a branch: then the commit that was found at the first pull is
recorded, and pulls go on with that one. `adopt` records a folder that is already somewhere on this machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

from pipeline.errors import MissingExtra, MissingWeights
from pipeline.hub_models import MODELS, HubModel
from pipeline.weights import cache_dir

Progress = Callable[[str], None]
MANIFEST = "manifest.json"
NOTHING: Mapping[str, str | None] = {}
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
    """Use the files in `source`, where they are, as the model's. Raises MissingWeights when none is of its kind."""
    source = source.expanduser().resolve()
    if name not in MODELS:
        raise MissingWeights(f"no model '{name}'; known: {', '.join(MODELS)}")
    if not source.is_dir() or not any(p.is_file() for p in source.rglob("*")):
        raise MissingWeights(f"{source}: no folder with files in it")
    kinds = _kinds(MODELS[name])
    if kinds and not any(p.suffix in kinds for p in source.rglob("*")):
        raise MissingWeights(
            f"{source}: holds no file of the kind {' or '.join(kinds)}; {name} is the files of {MODELS[name].page}"
        )
    return _record(name, source, commit="", say=progress or (lambda _: None))


def forget(name: str) -> int:
    """Removes what was fetched of a model, also by half; bytes. Adopted files are forgotten and stay where they are."""
    home = _home(name)
    if not home.is_dir():
        raise MissingWeights(f"{name}: is not here")
    freed = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    (home / MANIFEST).unlink(missing_ok=True)  # first: what is left of an interrupted removal is no model
    shutil.rmtree(home)
    return freed


def pull(name: str, say: Progress) -> Path:
    """Fetches what is not here yet, going on where an earlier pull stopped; returns the local folder.

    `say` is told one line per step. The digests that the hub has of large files are compared. A token is read by the
    hub's own client, from HF_TOKEN or a login; it is in no message. Raises MissingExtra, MissingWeights.
    """
    model = MODELS[name]
    if is_present(name):
        return folder(name)
    if not model.repo:
        raise MissingWeights(missing(name))
    library = require("huggingface_hub", adapter=name, extra="large")
    endpoint = os.environ.get("HF_ENDPOINT")
    with _hub_errors(model):
        info = library.HfApi(endpoint=endpoint).model_info(model.repo, revision=model.revision, files_metadata=True)
    where = _home(name) / str(info.sha)[:12]
    _check_room(model, where)
    say(f"{name}: {model.repo} at {str(info.sha)[:12]}, about {model.size_gb:g} GB, into {where}")
    with _hub_errors(model):
        library.snapshot_download(
            model.repo,
            revision=info.sha,
            local_dir=where,
            allow_patterns=list(model.patterns) or None,
            endpoint=endpoint,
        )
    wanted = library.utils.filter_repo_objects(
        [file.rfilename for file in info.siblings], allow_patterns=list(model.patterns) or None
    )
    digests = {file.rfilename: file.lfs.sha256 for file in info.siblings if file.lfs is not None}
    return _record(name, where, commit=str(info.sha), say=say, expected={path: digests.get(path) for path in wanted})


@contextlib.contextmanager
def _hub_errors(model: HubModel) -> Iterator[None]:
    """What can go wrong with a hub, each as one line that says what to do."""
    errors: Any = importlib.import_module("huggingface_hub.errors")
    again = f"hoi-annotate models pull {model.name}"
    try:
        yield
    except (errors.GatedRepoError, errors.RepositoryNotFoundError) as error:
        if model.gated:
            raise MissingWeights(
                f"{model.name}: accept its licence at {model.page}, then run: HF_TOKEN=<your token> {again}"
            ) from error
        raise MissingWeights(
            f"{model.name}: the hub has no {model.repo} for you; see {model.page}, or get its files elsewhere and run: "
            f"hoi-annotate models adopt {model.name} FOLDER"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise MissingWeights(
            f"{model.name}: {model.repo} has no revision {model.revision}; see {model.page}"
        ) from error
    except (errors.HTTPError, errors.LocalEntryNotFoundError, ConnectionError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise MissingWeights(
            f"{model.name}: the hub is out of reach ({said}); with a network run again: {again} - or bring the files "
            f"of {model.repo} from elsewhere and run: hoi-annotate models adopt {model.name} FOLDER"
        ) from error
    except OSError as error:
        raise MissingWeights(
            f"{model.name}: cannot write {_home(model.name)}: {error.strerror or error}; "
            "set HOI_CACHE to a writable folder with room"
        ) from error


def _check_room(model: HubModel, where: Path) -> None:
    there = next(folder for folder in (where, *where.parents) if folder.is_dir())
    held = sum(path.stat().st_size for path in where.rglob("*") if path.is_file()) if where.is_dir() else 0
    free = shutil.disk_usage(there).free
    if model.size_gb * 1e9 - held > free:
        raise MissingWeights(
            f"{model.name}: needs {model.size_gb:g} GB, {free / 1e9:.0f} GB are free in {there}; "
            "set HOI_CACHE to a folder with more room"
        )


def require(module: str, adapter: str, extra: str) -> ModuleType:
    """An optional library. Raises MissingExtra with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]  # a part of it cannot be installed
        raise MissingExtra(lacking(package, adapter, extra if package == module else "")) from error
    except (ImportError, RuntimeError, OSError) as error:  # a native library that does not fit the others
        said = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise MissingExtra(f"{adapter}: needs {module}, which does not import here ({said})") from error


def lacking(module: str, adapter: str, extra: str) -> str:
    """The one line to say when a library is not installed; '' as extra: none of ours brings it."""
    wanted = f"'hoi-annotate[{extra}]'" if extra else module
    return f"{adapter}: needs {module}, which is not installed; run: pip install {wanted}"


def _kinds(model: HubModel) -> list[str]:
    """Endings of files with weights that this program reads of a model; []: its makers' own code reads it."""
    kinds = {PurePath(pattern).suffix for pattern in model.patterns} - {".json", ".txt", ".model", ".jinja"}
    return sorted(kinds | {".bin"} if ".safetensors" in kinds else kinds)


def _home(name: str) -> Path:
    return cache_dir() / "hub" / name


def _manifest(name: str) -> dict[str, Any] | None:
    """What is recorded of a model whose files are here; a pull of another commit than the pinned one is not it."""
    path = _home(name) / MANIFEST
    try:
        found = _read(path, path.stat().st_mtime_ns)
    except (OSError, json.JSONDecodeError):
        return None
    pinned = MODELS[name].revision
    outdated = found["commit"] and len(pinned) == 40 and found["commit"] != pinned
    return found if not outdated and _place(name, found).is_dir() else None


@lru_cache(maxsize=64)
def _read(path: Path, _changed: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _place(name: str, found: dict[str, Any]) -> Path:
    return _home(name) / str(found["folder"])  # an adopted one's is absolute


def _record(name: str, where: Path, commit: str, say: Progress, expected: Mapping[str, str | None] = NOTHING) -> Path:
    """Writes the manifest of the files in `where`, in one step.

    `expected`: what must be there, with the sha256 of files whose digest is known; a file that has another one goes.
    """
    again = f"run again: hoi-annotate models pull {name}"
    files = {}
    for path in sorted(p for p in where.rglob("*") if p.is_file()):
        inside = path.relative_to(where).as_posix()
        if inside.startswith(".cache/"):  # the downloader's own
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != (expected.get(inside) or found):
            path.unlink()  # of a pull alone: what is adopted has no expected digests
            raise MissingWeights(f"{name}: {inside} arrived damaged and was removed; {again}")
        files[inside] = {"sha256": found, "size": path.stat().st_size}
        say(f"{name}: {found[:12]} {inside}")
    absent = sorted(set(expected) - set(files))
    if absent or not files:
        raise MissingWeights(f"{name}: {absent[0] if absent else 'everything'} is still missing; {again}")
    home = _home(name)
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
