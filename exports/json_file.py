"""JSON of exports: read back by the checks, and written or hashed piece by piece, for one text of it can be large."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_json(out: Path, path: str) -> tuple[Any, list[str]]:
    """What is in the file `path` below `out`; or None and, in one line, why there is nothing."""
    try:
        return json.loads((out / path).read_bytes()), []
    except OSError as error:
        return None, [f"{path}: cannot be read ({error.strerror})"]
    except ValueError as error:
        return None, [f"{path}: is not JSON ({error})"]


def json_pieces(content: Any, indent: int | None = None) -> Iterator[str]:
    """The JSON of nested dicts and lists, keys sorted, ASCII."""
    return json.JSONEncoder(sort_keys=True, indent=indent).iterencode(content)


def json_digest(content: Any) -> str:
    """sha256 (hex) of that JSON on one line."""
    digest = hashlib.sha256()
    for piece in json_pieces(content):
        digest.update(piece.encode())
    return digest.hexdigest()
