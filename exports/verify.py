"""Is this export whole, unchanged, well-formed and free of leaks?"""

from __future__ import annotations

from pathlib import Path

from exports import manifest
from exports.base import ExportError, get_format
from exports.splits import leaks


def verify(out: Path) -> list[str]:
    """Re-read an export and return what is wrong with it, one line per finding that names the file; [] if nothing.

    Digests of all files, files too few or too many, groups that leak between splits, and whatever the format
    itself checks (every key, shape, dtype, image and projection). Never raises for a broken export.
    """
    try:
        content = manifest.read(out)
        found = manifest.check(out, content)
        found += [f"{manifest.NAME}: leak: {line}" for line in leaks(content["samples"])]
        return found + get_format(content["format"]).check(out, content)
    except ExportError as error:
        return [str(error)]
