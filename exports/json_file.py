"""A JSON file of an export, read back by the checks."""

from __future__ import annotations

import json
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
