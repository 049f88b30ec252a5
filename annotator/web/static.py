"""Scripts and styles of the pages, named by what is in them, so browsers may keep them for good."""

from __future__ import annotations

import hashlib
from functools import cache

from fastapi import APIRouter, HTTPException, Response

from annotator.report.templates import templates_dir

FOREVER = "public, max-age=31536000, immutable"
_FILES = {
    "model-viewer.js": ("vendor/model-viewer/model-viewer.min.js", "text/javascript"),
    "viewer.js": ("viewer.js", "text/javascript"),
    "viewer.css": ("viewer.css", "text/css"),
    "gallery.js": ("gallery.js", "text/javascript"),
    "gallery.css": ("gallery.css", "text/css"),
    "report.css": ("report.css", "text/css"),
}

router = APIRouter(include_in_schema=False)


def asset(name: str) -> str:
    """Address of a script or style, relative to the server's root."""
    return f"static/{_read(name)[0]}/{name}"


@router.get("/static/{digest}/{name}")
def static(digest: str, name: str) -> Response:
    if name not in _FILES or digest != _read(name)[0]:
        raise HTTPException(404)
    return Response(_read(name)[1], media_type=_FILES[name][1], headers={"Cache-Control": FOREVER})


@cache
def _read(name: str) -> tuple[str, bytes]:
    data = (templates_dir() / _FILES[name][0]).read_bytes()
    return hashlib.sha256(data).hexdigest()[:16], data
