"""What the pages and Label Studio show of a revision, made once and then kept in the stage cache."""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from PIL import Image

from annotator.records import load_photo, load_reconstruction
from annotator.report.glb import viewer_glb
from annotator.report.pictures import around_pair, overlay_picture, photo_picture, turntable_strip, whole
from annotator.report.view import PairView
from annotator.web.links import TURNTABLE
from annotator.workspace import Workspace
from db.errors import NotFound
from db.repositories import Pairs, Photos, Revisions
from pipeline.photo import read_photo
from pipeline.recipe import Recipe
from pipeline.types import U8

MADE_BY = "web 1"  # part of every cache key: change it when a picture changes
TURNTABLE_SIZE = 480  # pixels
THUMB_SIZE = 320
PHOTO_QUALITY = 92  # people paint masks on it
JPEG_QUALITY = 86
FAR = 1.0  # metres: a hand this far from the object has no heat

REVISION_NAMES = ("photo.jpg", "overlay.jpg", "thumb.jpg", "scene.glb", "scene-plain.glb", *TURNTABLE)
PHOTO_NAMES = ("photo.jpg", "thumb.jpg")


class Pictures:
    """Bytes by revision or photo and name; the name says the format.

    They are made one at a time: a page asks for a dozen at once, and all of them need the same decoded revision.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._making = threading.Lock()
        self._view = lru_cache(maxsize=2)(self._load)

    def of_revision(self, pair: str, number: int, name: str) -> bytes:
        """One of REVISION_NAMES. Raises NotFound."""
        if name not in REVISION_NAMES:
            raise NotFound(f"pair {pair}: nothing is called '{name}'")
        with self._workspace.database.read() as session:
            content = Revisions(session).get(Pairs(session).find(pair), number).content_digest
        return self._kept(content, name, lambda: _make(self._view(pair, number), name))

    def of_photo(self, sha256: str, name: str) -> bytes:
        """One of PHOTO_NAMES. Raises NotFound, UnreadablePhoto."""
        with self._workspace.database.read() as session:
            row = Photos(session).by_sha256(sha256)
            title = row.name if row else ""
        if row is None or name not in PHOTO_NAMES:
            raise NotFound(f"photo {sha256}: nothing is called '{name}'")
        small = name == "thumb.jpg"
        size = THUMB_SIZE if small else Recipe.load(self._workspace.settings.recipe).max_side

        def make() -> dict[str, bytes]:
            photo = read_photo(self._workspace.blobs.get(sha256), title, size)
            return {name: _jpeg(photo.image, JPEG_QUALITY if small else PHOTO_QUALITY)}

        return self._kept(f"{sha256} {size}", name, make)

    def _kept(self, content: str, name: str, make: Callable[[], dict[str, bytes]]) -> bytes:
        """The cached bytes; else everything that `make` makes along with them is cached as well."""
        cache = self._workspace.cache
        found = cache.get(_key(content, name))
        if found is not None:
            return found
        with self._making:
            found = cache.get(_key(content, name))  # another request may have made it meanwhile
            if found is not None:
                return found
            made = make()
        for other, data in made.items():
            with contextlib.suppress(OSError):  # a full disk costs time, not the answer
                cache.put(_key(content, other), data)
        return made[name]

    def _load(self, pair: str, number: int) -> PairView:
        """What a picture is made from; nothing that changes while the revision does not."""
        with self._workspace.database.read() as session:
            revision = Revisions(session).get(Pairs(session).find(pair), number)
            made = load_reconstruction(revision, self._workspace.blobs)
            return PairView(
                pair_id=pair,
                photo_name=revision.pair.photo.name,
                photo=load_photo(revision.pair.photo, made, self._workspace.blobs),
                reconstruction=made,
                status="",
                revision=number,
                verdict=None,
                confidence=revision.confidence or 0.0,
            )


def _make(view: PairView, name: str) -> dict[str, bytes]:
    pair, full = view.reconstruction, max(view.photo.size)
    if name == "photo.jpg":
        return {name: _jpeg(photo_picture(view, whole(view), full), PHOTO_QUALITY)}
    if name == "overlay.jpg":
        return {name: _jpeg(overlay_picture(view, whole(view), full))}
    if name == "thumb.jpg":
        return {name: _jpeg(overlay_picture(view, around_pair(view), THUMB_SIZE))}
    if name == "scene.glb":
        return {name: viewer_glb(pair)}
    if name == "scene-plain.glb":
        cold = replace(pair.contacts, distance=np.full_like(pair.contacts.distance, FAR))
        return {name: viewer_glb(replace(pair, contacts=cold))}
    frames = np.split(turntable_strip(view, TURNTABLE_SIZE, len(TURNTABLE)), len(TURNTABLE), axis=1)
    return {name: _jpeg(frame) for name, frame in zip(TURNTABLE, frames, strict=True)}


def _jpeg(picture: U8, quality: int = JPEG_QUALITY) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=quality, optimize=True)
    return data.getvalue()


def _key(content: str, name: str) -> str:
    return hashlib.sha256(f"{MADE_BY}\0{content}\0{name}".encode()).hexdigest()
