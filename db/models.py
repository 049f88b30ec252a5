"""The tables (DESIGN 4). Revisions, reviews and artifacts are facts: once written they never change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    event,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

PhotoStatus = Literal["pending", "done", "failed"]
PairStatus = Literal["pending", "preannotated", "in_review", "reoptimising", "accepted", "rejected", "failed"]
Verdict = Literal["accept", "reject", "fix"]
JobKind = Literal["reoptimise", "annotate"]
JobState = Literal["queued", "running", "done", "superseded", "failed"]
ChunkState = Literal["queued", "running", "done"]
ProjectState = Literal["active", "gone"]
TaskState = Literal["claimed", "open", "closed", "gone"]
Outcome = Literal["review", "skipped", "invalid", "withdrawn"]

JsonObject = dict[str, Any]
JsonList = list[dict[str, Any]]
Json = JSON().with_variant(JSONB(), "postgresql")

NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def _now() -> datetime:
    return datetime.now(UTC)


def _one_of(column: str, choices: Any) -> CheckConstraint:
    words = ", ".join(f"'{word}'" for word in get_args(choices))
    return CheckConstraint(f"{column} IN ({words})", name=column)


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it from the class)
        JsonObject: Json,
        JsonList: Json,
        datetime: DateTime(timezone=True),
        float: Double(),
    }


class Photo(Base):
    """One photograph, known by the digest of its bytes (which is also its key in the blob store)."""

    __tablename__ = "photo"
    __table_args__ = (_one_of("status", PhotoStatus),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    perceptual_hash: Mapped[str | None] = mapped_column(String(16), index=True)  # 64 bits, hex
    name: Mapped[str] = mapped_column(Text)
    licence: Mapped[str | None] = mapped_column(Text)
    source: Mapped[str | None] = mapped_column(Text)
    subject: Mapped[str | None] = mapped_column(Text)
    width: Mapped[int | None]  # upright, before scaling; None when the file could not be read
    height: Mapped[int | None]
    status: Mapped[PhotoStatus] = mapped_column(String(16), default="pending", index=True)
    reason: Mapped[str | None] = mapped_column(Text)  # why it failed
    hints: Mapped[JsonObject] = mapped_column(default=dict)  # a person's help, in pixels of the upright original:
    # {"hands": [...], "edits": {...}}; edits are those of the first revision of a photo in which nothing was found
    notes: Mapped[JsonList] = mapped_column(default=list)  # hands that gave no pair: {"hand": index, "reason": ...}
    chunk_id: Mapped[int | None] = mapped_column(index=True)  # the queued chunk it was last in; None: it waits for a
    # local run. No foreign key: SQLite could neither add nor drop the column then
    tries: Mapped[int] = mapped_column(default=0)  # begun and not finished: 0 unless it is in work or killed a worker
    created_at: Mapped[datetime] = mapped_column(default=_now)

    pairs: Mapped[list[Pair]] = relationship(back_populates="photo", order_by="Pair.index")


class Pair(Base):
    """One hand and what it holds, in one photo."""

    __tablename__ = "pair"
    __table_args__ = (UniqueConstraint("photo_id", "index"), _one_of("status", PairStatus))

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(32), unique=True)
    photo_id: Mapped[int] = mapped_column(ForeignKey("photo.id"))
    index: Mapped[int]  # of the hand in the photo, stable
    side: Mapped[str | None] = mapped_column(String(8))
    status: Mapped[PairStatus] = mapped_column(String(16), default="pending", index=True)
    reason: Mapped[str | None] = mapped_column(Text)  # why it failed
    revision_number: Mapped[int] = mapped_column(default=0)  # the newest revision; 0 while there is none
    created_at: Mapped[datetime] = mapped_column(default=_now)

    photo: Mapped[Photo] = relationship(back_populates="pairs")
    revisions: Mapped[list[Revision]] = relationship(back_populates="pair", order_by="Revision.number")


class Revision(Base):
    """One immutable answer for a pair. Parameters are here to be queried; the whole of it is an artifact."""

    __tablename__ = "revision"
    __table_args__ = (UniqueConstraint("pair_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pair_id: Mapped[int] = mapped_column(ForeignKey("pair.id"))
    number: Mapped[int]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("revision.id"))
    trigger: Mapped[str] = mapped_column(String(16))  # 'preannotate' | 'redo' | 'review'
    recipe: Mapped[str] = mapped_column(Text)
    recipe_digest: Mapped[str] = mapped_column(String(64))
    content_digest: Mapped[str] = mapped_column(String(64), index=True)
    camera: Mapped[JsonObject]
    hand: Mapped[JsonObject]
    object: Mapped[JsonObject]
    contacts: Mapped[JsonObject]
    metrics: Mapped[JsonObject]
    diagnostics: Mapped[JsonObject]
    seconds: Mapped[JsonObject]
    confidence: Mapped[float | None]
    review_priority: Mapped[float | None] = mapped_column(index=True)
    created_at: Mapped[datetime] = mapped_column(default=_now)

    pair: Mapped[Pair] = relationship(back_populates="revisions")
    parent: Mapped[Revision | None] = relationship(remote_side=[id])
    artifacts: Mapped[list[RevisionArtifact]] = relationship(order_by="RevisionArtifact.role")
    reviews: Mapped[list[Review]] = relationship(back_populates="revision", order_by="Review.id")


class Artifact(Base):
    """Bytes in the blob store, by digest."""

    __tablename__ = "artifact"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    media_type: Mapped[str] = mapped_column(Text)
    size: Mapped[int]  # bytes


class RevisionArtifact(Base):
    """What an artifact is to a revision."""

    __tablename__ = "revision_artifact"

    revision_id: Mapped[int] = mapped_column(ForeignKey("revision.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(32), primary_key=True)
    artifact_id: Mapped[int] = mapped_column(ForeignKey("artifact.id"), index=True)

    artifact: Mapped[Artifact] = relationship()


class Review(Base):
    """A person's verdict on the revision they saw. Repeating it changes nothing: its digest is unique."""

    __tablename__ = "review"
    __table_args__ = (_one_of("verdict", Verdict),)

    id: Mapped[int] = mapped_column(primary_key=True)
    revision_id: Mapped[int] = mapped_column(ForeignKey("revision.id"), index=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    verdict: Mapped[Verdict] = mapped_column(String(8))
    reviewer: Mapped[str] = mapped_column(Text)
    comment: Mapped[str] = mapped_column(Text, default="")
    edits: Mapped[JsonObject] = mapped_column(default=dict)  # masks as digests, the rest as values
    source: Mapped[str] = mapped_column(String(32))  # 'cli' | 'label-studio'
    external_id: Mapped[str | None] = mapped_column(Text, index=True)
    created_at: Mapped[datetime] = mapped_column(default=_now)

    revision: Mapped[Revision] = relationship(back_populates="reviews")
    artifacts: Mapped[list[ReviewArtifact]] = relationship(order_by="ReviewArtifact.role")


class ReviewArtifact(Base):
    """The bytes of an edited mask."""

    __tablename__ = "review_artifact"

    review_id: Mapped[int] = mapped_column(ForeignKey("review.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(32), primary_key=True)
    artifact_id: Mapped[int] = mapped_column(ForeignKey("artifact.id"), index=True)

    artifact: Mapped[Artifact] = relationship()


class Export(Base):
    """A dataset that was written: what was asked for, and the digest of what went in."""

    __tablename__ = "export"

    id: Mapped[int] = mapped_column(primary_key=True)
    format: Mapped[str] = mapped_column(String(32))
    filters: Mapped[JsonObject]
    snapshot_digest: Mapped[str] = mapped_column(String(64), index=True)
    records: Mapped[int]
    path: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=_now)


class Job(Base):
    """Work a reviewer asked for. The durable engine runs it; what became of it is told here."""

    __tablename__ = "job"
    __table_args__ = (_one_of("kind", JobKind), _one_of("state", JobState))

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[JobKind] = mapped_column(String(16))
    state: Mapped[JobState] = mapped_column(String(16), default="queued", index=True)
    photo_id: Mapped[int] = mapped_column(ForeignKey("photo.id"), index=True)
    pair_id: Mapped[int | None] = mapped_column(ForeignKey("pair.id"), index=True)  # None: the photo has none yet
    review_id: Mapped[int | None] = mapped_column(ForeignKey("review.id"), index=True)
    revision_id: Mapped[int | None] = mapped_column(ForeignKey("revision.id"))  # what came out
    reason: Mapped[str | None] = mapped_column(Text)  # why it failed, or why nothing came out
    worker: Mapped[str | None] = mapped_column(Text)  # who began it last
    tries: Mapped[int] = mapped_column(default=0)  # as of a photo
    created_at: Mapped[datetime] = mapped_column(default=_now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    photo: Mapped[Photo] = relationship()
    pair: Mapped[Pair | None] = relationship()


class Chunk(Base):
    """Photos that one worker annotates one after the other: so many that a reviewer need not wait long for its end.
    Which photos they are, and which of them wait, is with the photos."""

    __tablename__ = "chunk"
    __table_args__ = (_one_of("state", ChunkState),)

    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[ChunkState] = mapped_column(String(8), default="queued", index=True)
    recipe: Mapped[JsonObject]  # {"name", "settings"}: a worker elsewhere has no file of it
    trigger: Mapped[str] = mapped_column(String(16))  # of the revisions it will make
    photos: Mapped[int]
    worker: Mapped[str | None] = mapped_column(Text)  # who began it last
    created_at: Mapped[datetime] = mapped_column(default=_now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Worker(Base):
    """One slot of a worker, by a name that is the same after a restart. It says every few seconds that it lives."""

    __tablename__ = "worker"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]  # by the database's clock
    version: Mapped[str | None] = mapped_column(Text)  # of what it runs


class StudioProject(Base):
    """A Label Studio project in which this workspace is reviewed."""

    __tablename__ = "studio_project"
    __table_args__ = (UniqueConstraint("url", "external_id"), _one_of("state", ProjectState))

    id: Mapped[int] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(Text)  # of the server
    external_id: Mapped[int]
    title: Mapped[str] = mapped_column(Text)
    state: Mapped[ProjectState] = mapped_column(String(8), default="active")
    cursor: Mapped[datetime | None]  # everything that changed before has been read
    created_at: Mapped[datetime] = mapped_column(default=_now)


class StudioTask(Base):
    """A task of a project: one revision of a pair, or a photo without a pair. It is claimed before it is made there,
    and known by `key`, never by the server's number alone: SQLite servers use numbers again."""

    __tablename__ = "studio_task"
    __table_args__ = (UniqueConstraint("project_id", "key"), _one_of("state", TaskState))

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("studio_project.id"))
    key: Mapped[str] = mapped_column(String(80))
    photo_id: Mapped[int] = mapped_column(ForeignKey("photo.id"), index=True)
    revision_id: Mapped[int | None] = mapped_column(ForeignKey("revision.id"), index=True)
    external_id: Mapped[int | None] = mapped_column(index=True)  # None: claimed, perhaps not made
    state: Mapped[TaskState] = mapped_column(String(8), default="claimed", index=True)
    notice: Mapped[str] = mapped_column(Text, default="")  # what the reviewer is told: why this comes back
    created_at: Mapped[datetime] = mapped_column(default=_now)

    project: Mapped[StudioProject] = relationship()
    photo: Mapped[Photo] = relationship()
    revision: Mapped[Revision | None] = relationship()


class StudioAnnotation(Base):
    """What was made of one state of one annotation; `digest` is over its id, time and content."""

    __tablename__ = "studio_annotation"
    __table_args__ = (UniqueConstraint("task_id", "digest"), _one_of("outcome", Outcome))

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("studio_task.id"))
    external_id: Mapped[int] = mapped_column(index=True)
    digest: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[Outcome] = mapped_column(String(16))
    note: Mapped[str] = mapped_column(Text, default="")  # what was wrong with it
    created_at: Mapped[datetime] = mapped_column(default=_now)

    task: Mapped[StudioTask] = relationship()


class StudioEvent(Base):
    """A webhook call as it came in: a hint that something changed, kept until it has been looked at."""

    __tablename__ = "studio_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    action: Mapped[str] = mapped_column(String(64))
    project: Mapped[int | None]  # the server's numbers
    task: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=_now)


class ImmutableRow(Exception):
    """Code tried to change a fact; that is a bug of the caller, not a condition to handle."""


def _refuse_update(_mapper: Any, _connection: Any, row: Base) -> None:
    raise ImmutableRow(f"{type(row).__name__} rows are never changed; write a new one")


for _fact in (Revision, RevisionArtifact, Artifact, Review, ReviewArtifact, Export):
    event.listen(_fact, "before_update", _refuse_update)
    event.listen(_fact, "before_delete", _refuse_update)
