"""The rows, their rules and their order, on both engines."""

import threading
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from db.errors import DatabaseBusy, NotFound, RevisionConflict
from db.models import Export, ImmutableRow, Pair, Photo, Review, Revision
from db.repositories import Artifacts, Exports, Pairs, Photos, Reviews, Revisions
from db.session import Database

SHA = "ab" * 32


def a_photo(sha256: str = SHA, **values: Any) -> Photo:
    return Photo(sha256=sha256, name="cup — 杯.jpg", width=640, height=480, **values)


def a_revision(digest: str = "d1", **values: Any) -> Revision:
    rest: dict[str, Any] = {name: {} for name in ("camera", "object", "contacts", "diagnostics", "seconds")}
    rest |= {"hand": {"side": "left", "betas": [0.25] * 10}, "metrics": {"hand_iou": 0.9}}
    rest |= {"trigger": "preannotate", "recipe": "cpu", "recipe_digest": "r", "content_digest": digest}
    return Revision(**rest | values)


@pytest.fixture
def pair_id(database: Database) -> str:
    with database.write() as session:
        pair = Pairs(session).ensure(Photos(session).add(a_photo()), 0)
        Pairs(session).publish(pair, a_revision(), expected=0, status="preannotated")
        return pair.public_id


def test_values_come_back_as_they_were(database: Database, pair_id: str) -> None:
    with database.read() as session:
        revision = Revisions(session).get(Pairs(session).find(pair_id))
        assert revision.hand == {"side": "left", "betas": [0.25] * 10}
        assert revision.pair.photo.name == "cup — 杯.jpg"
        assert revision.pair.status == "preannotated"
        assert revision.number == 1


def test_the_same_bytes_are_one_photo(database: Database, pair_id: str) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        Photos(session).add(a_photo())
    with database.read() as session:
        assert len(Photos(session).all()) == 1


def test_a_pair_is_made_once_and_named_after_its_photo(database: Database, pair_id: str) -> None:
    with database.write() as session:
        photo = Photos(session).by_sha256(SHA)
        assert photo is not None
        assert Pairs(session).ensure(photo, 0).public_id == pair_id == "abababababab-0"
        assert Pairs(session).ensure(photo, 1).public_id == "abababababab-1"
        assert len(Pairs(session).all()) == 2


def test_find_takes_a_beginning_when_it_is_unique(database: Database, pair_id: str) -> None:
    with database.write() as session:
        pairs = Pairs(session)
        assert pairs.find("abab").public_id == pair_id
        pairs.ensure(pairs.find(pair_id).photo, 1)
        with pytest.raises(NotFound, match="several"):
            pairs.find("abab")
        for nonsense in ("", "zz", "%", "_babababab"):
            with pytest.raises(NotFound, match="no such pair"):
                pairs.find(nonsense)


def test_publishing_counts_up_and_refuses_a_stale_answer(database: Database, pair_id: str) -> None:
    with database.write() as session:
        pairs = Pairs(session)
        pairs.publish(pairs.find(pair_id), a_revision("d2", trigger="review"), expected=1, status="preannotated")
    with pytest.raises(RevisionConflict), database.write() as session:  # noqa: PT012
        pairs = Pairs(session)
        pairs.publish(pairs.find(pair_id), a_revision("late"), expected=1, status="preannotated")
    with database.read() as session:
        pair = Pairs(session).find(pair_id)
        assert [r.number for r in pair.revisions] == [1, 2]
        assert Revisions(session).get(pair).content_digest == "d2"
        assert Revisions(session).get(pair, 1).content_digest == "d1"
        with pytest.raises(NotFound, match="no revision 3"):
            Revisions(session).get(pair, 3)


def test_facts_never_change(database: Database, pair_id: str) -> None:
    with pytest.raises(ImmutableRow), database.write() as session:
        Revisions(session).get(Pairs(session).find(pair_id)).confidence = 1.0
    with pytest.raises(ImmutableRow), database.write() as session:
        session.delete(Revisions(session).get(Pairs(session).find(pair_id)))


def test_a_review_is_recorded_once(database: Database, pair_id: str) -> None:
    def review(session: Any) -> Review:
        revision = Revisions(session).get(Pairs(session).find(pair_id))
        edits = {"object_mask": "ff" * 32}
        return Review(
            revision_id=revision.id, digest="x", verdict="fix", reviewer="ann", comment="", edits=edits, source="cli"
        )

    with database.write() as session:
        mask = Artifacts(session).ensure("ff" * 32, "image/png", 7)
        Reviews(session).attach(Reviews(session).add(review(session)), "object_mask", mask)
    with pytest.raises(IntegrityError), database.write() as session:
        Reviews(session).add(review(session))
    with database.read() as session:
        (found,) = Reviews(session).of_pair(Pairs(session).find(pair_id))
        assert found.artifacts[0].artifact.sha256 == "ff" * 32
        assert Reviews(session).by_digest("x") is not None


def test_the_digest_over_all_revisions_does_not_depend_on_their_order(database: Database, pair_id: str) -> None:
    def add(sha: str, digest: str) -> tuple[str, int]:
        with database.write() as session:
            pair = Pairs(session).ensure(Photos(session).add(a_photo(sha)), 0)
            Pairs(session).publish(pair, a_revision(digest), expected=0, status="preannotated")
            return Revisions(session).digest()

    import hashlib

    add("1" * 64, "d0")
    assert add("2" * 64, "d9") == (hashlib.sha256(b"d0\nd1\nd9").hexdigest(), 3)


def test_counts_and_failures(database: Database, pair_id: str) -> None:
    with database.write() as session:
        Photos(session).add(a_photo("3" * 64, status="failed", reason="no hand found"))
    with database.read() as session:
        assert Photos(session).counts() == {"failed": 1, "pending": 1}
        assert Pairs(session).counts() == {"preannotated": 1}
        assert [p.reason for p in Photos(session).without_pair()] == ["no hand found"]
        assert [p.sha256 for p in Photos(session).all(["pending"])] == [SHA]
        assert Pairs(session).all(["accepted"]) == []
        assert [r.content_digest for r in Revisions(session).newest(["preannotated"])] == ["d1"]


def test_an_unknown_status_is_refused_by_the_database(database: Database, pair_id: str) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        session.query(Pair).update({"status": "excellent"})


def test_a_row_of_nothing_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(Pair(public_id="x", photo_id=77, index=0))


def test_a_failed_block_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as session:  # noqa: PT012
        Photos(session).add(a_photo())
        raise ZeroDivisionError
    with database.read() as session:
        assert Photos(session).all() == []


def test_exports_are_listed(database: Database) -> None:
    with database.write() as session:
        filters = {"verdict": "accepted"}
        Exports(session).add(Export(format="obman", filters=filters, snapshot_digest="s", records=3, path="/out"))
    with database.read() as session:
        assert [(e.format, e.filters, e.records) for e in Exports(session).all()] == [("obman", filters, 3)]


def test_two_writers_take_turns(database: Database) -> None:
    """Both read before they write: without a write lock at the start one of them would fail or be lost."""
    with database.write() as session:
        Photos(session).add(a_photo(notes=[]))

    def append(name: str) -> None:
        for attempt in range(1000):
            try:
                with database.write() as session:
                    photo = session.query(Photo).filter_by(sha256=SHA).with_for_update().one()
                    photo.notes = [*photo.notes, {"by": name}]
                return
            except DatabaseBusy:
                assert attempt < 999

    threads = [threading.Thread(target=append, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        photo = Photos(session).by_sha256(SHA)
        assert photo is not None
        assert sorted(note["by"] for note in photo.notes) == [str(i) for i in range(8)]
