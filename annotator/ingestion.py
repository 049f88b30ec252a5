"""Files -> photos in the database and the store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import IntegrityError

from annotator import hints, sources
from annotator.errors import BadRequest
from annotator.progress import Progress
from annotator.records import without_name
from annotator.workspace import Workspace
from db.models import Photo
from db.repositories import Photos
from pipeline.errors import HoiError, UnreadablePhoto
from pipeline.photo import original_size, perceptual_hash, read_photo


@dataclass
class Ingested:
    """What became of the files that were named."""

    added: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)  # the same bytes were there already
    described: list[str] = field(default_factory=list)  # known, but licence, source or subject is now as given
    hinted: list[str] = field(default_factory=list)  # known, but with new help: they will be annotated again
    failed: list[tuple[str, str]] = field(default_factory=list)  # (name, reason)


def ingest(
    workspace: Workspace,
    given: Sequence[str],
    *,
    hands: list[dict[str, Any]] | None = None,
    licence: str | None = None,
    source: str | None = None,
    subject: str | None = None,
    progress: Progress,
) -> Ingested:
    """Takes photographs in. `hands` is help for the one photo that is named (annotator.hints).

    The same bytes are one photo, under whatever names; what is said of them now replaces what was said before. An
    unreadable file is recorded with its reason.
    """
    result = Ingested()
    files: list[sources.Source] = []
    for name in given:
        try:
            files += sources.find(name)
        except HoiError as error:
            result.failed.append((name, str(error)))
            progress.failed(name, str(error))
    if hands and len(files) != 1:
        raise BadRequest(
            f"hands can be given for one photo at a time; these are {len(files)}: use sidecar files instead"
        )
    progress.begin(len(files))
    about = {"licence": licence, "source": source, "subject": subject}
    for file in files:
        try:
            what = _ingest_one(workspace, file, hands, about)
        except (HoiError, FileNotFoundError, PermissionError, IsADirectoryError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            result.failed.append((file.name, without_name(str(reason), file.name)))
            progress.failed(file.name, result.failed[-1][1])
        else:
            getattr(result, what).append(file.name)
            progress.done(file.name, what)
    return result


def _ingest_one(
    workspace: Workspace, file: sources.Source, given: list[dict[str, Any]] | None, about: dict[str, str | None]
) -> str:
    """One file -> the list of `Ingested` it belongs to. Raises UnreadablePhoto after recording it."""
    data = file.read()
    sha256 = hashlib.sha256(data).hexdigest()
    hands = given or file.hands()
    with workspace.database.read() as session:
        known = Photos(session).by_sha256(sha256)
    if known is not None and known.width is not None:
        said = {name: value for name, value in about.items() if value and getattr(known, name) != value}
        helped = bool(hands) and known.hints.get("hands", []) != hands
        if helped:
            hints.check_inside(hands, known.width, known.height or 0, file.name)
        if said or helped:
            with workspace.database.write() as session:
                photo = Photos(session).get(known.id)
                for name, value in said.items():
                    setattr(photo, name, value)
                if helped:
                    photo.hints = {"hands": hands}
                    Photos(session).await_again([photo.id], None)
        return "hinted" if helped else "described" if said else "known"
    row: dict[str, Any] = {"sha256": sha256, "name": file.name, **about, "source": about["source"] or file.origin}
    try:
        height, width = original_size(data, file.name)
        picture = read_photo(data, file.name)
    except UnreadablePhoto as error:
        reason = without_name(str(error), file.name)
        _store_photo(workspace, known, row | {"status": "failed", "reason": reason})
        raise
    hints.check_inside(hands, width, height, file.name)
    workspace.blobs.put(data)
    row |= {"width": width, "height": height, "perceptual_hash": perceptual_hash(picture.image)}
    row |= {"status": "pending", "reason": None, "hints": {"hands": hands} if hands else {}}
    return "added" if _store_photo(workspace, known, row) else "known"


def _store_photo(workspace: Workspace, known: Photo | None, row: dict[str, Any]) -> bool:
    """Writes the row, over the one of a file that could not be read before; False when another process was first."""
    try:
        with workspace.database.write() as session:
            if known is None:
                Photos(session).add(Photo(**row))
            else:
                photo = Photos(session).get(known.id)
                for name, value in row.items():
                    setattr(photo, name, value)
    except IntegrityError:
        return False
    return True
