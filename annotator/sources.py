"""What a person names on the command line -> files: paths, folders, globs and s3:// prefixes."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from annotator import config, hints
from annotator.errors import BadRequest
from db.stores import PROBLEMS, open_store, translate
from pipeline.photo import SUFFIXES


@dataclass(frozen=True)
class Source:
    """One file to be ingested."""

    name: str  # of the file, without its folder
    origin: str  # where it was found
    read: Callable[[], bytes]
    hands: Callable[[], list[dict[str, Any]]]  # a person's help from the sidecar


def find(given: str) -> Iterator[Source]:
    """The files behind one argument, in a stable order. Raises BadRequest when there are none.

    A file that is named is taken whatever it is; from folders and globs only what is named like a picture.
    """
    if given.startswith("s3://"):
        return _in_bucket(given)
    path = Path(given).expanduser()
    if path.is_dir():
        found = sorted(_pictures_below(path))
        if not found:
            raise BadRequest(f"{given}: no pictures in this folder")
    elif path.exists():
        found = [path]
    elif glob.has_magic(given):
        matches = (Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207
        found = sorted(match for match in matches if match.suffix.lower() in SUFFIXES and match.is_file())
        if not found:
            raise BadRequest(f"{given}: no picture is named like this")
    else:
        raise BadRequest(f"{given}: no such file or folder")
    return (_file(path) for path in found)


def check_any(given: Sequence[str]) -> None:
    """Raises BadRequest when none of these is there; what an s3:// prefix holds is not asked."""
    reasons = []
    for name in given:
        if name.startswith("s3://"):
            return
        try:
            find(name)
        except BadRequest as error:
            reasons.append(str(error))
        else:
            return
    raise BadRequest("; ".join(reasons))


def _file(path: Path) -> Source:
    return Source(_text(path.name), _text(str(path)), path.read_bytes, partial(hints.read_sidecar, path))


def _text(name: str) -> str:
    """A file name that is not valid UTF-8 cannot be stored as text: its odd bytes become replacement characters."""
    return os.fsencode(name).decode("utf-8", errors="replace")


def _pictures_below(folder: Path) -> Iterator[Path]:
    """Pictures in a folder and below it, but not hidden ones and not what a workspace keeps."""
    for here, folders, names in os.walk(folder):
        if config.FILE in names:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        pictures = (name for name in names if not name.startswith("."))
        yield from (Path(here, name) for name in pictures if Path(name).suffix.lower() in SUFFIXES)


def _in_bucket(url: str) -> Iterator[Source]:
    """Pictures below a prefix, with their sidecars, or the one object of this name. Raises BadRequest, StorageError."""
    import obstore

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    root = f"s3://{bucket}"
    store = open_store(root)

    def read(key: str) -> bytes:
        try:
            return bytes(obstore.get(store, key).bytes())
        except PROBLEMS as error:
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
                raise BadRequest(f"{root}/{key}: no such object") from error
            raise translate(error, root) from error

    def hands(key: str) -> list[dict[str, Any]]:
        path = key + hints.SIDECAR_SUFFIX
        try:
            text = read(path) if keys is None or path in keys else None
        except BadRequest:
            text = None
        return [] if text is None else hints.parse_sidecar(text, f"{root}/{path}")

    keys: set[str] | None = None
    if Path(prefix).suffix.lower() in SUFFIXES:
        pictures = [prefix]
    else:
        try:
            keys = {str(entry["path"]) for batch in obstore.list(store, prefix=prefix or None) for entry in batch}
        except PROBLEMS as error:
            raise translate(error, root) from error
        pictures = sorted(key for key in keys if Path(key).suffix.lower() in SUFFIXES)
    if not pictures:
        raise BadRequest(f"{url}: no pictures there")
    return (Source(Path(key).name, f"{root}/{key}", partial(read, key), partial(hands, key)) for key in pictures)
