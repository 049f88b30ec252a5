"""The use cases, on real rows and bytes, with a pipeline that answers at once."""

import json
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from annotator import overview, service
from annotator.errors import BadRequest, WorkspaceError
from annotator.progress import Silent
from annotator.records import load_reconstruction
from annotator.reviewing import Change
from annotator.workspace import Workspace
from db.errors import NotFound
from db.repositories import Pairs, Photos, Reviews, Revisions
from db.session import Database
from pipeline.errors import BadEdit, EmptyMask, MissingWeights, PipelineError
from pipeline.recipe import Recipe
from pipeline.types import Reconstruction

PhotoMaker = Callable[..., Path]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def workspace(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A workspace on each engine."""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server")
        server = Database(url)
        with server.write() as session:
            session.execute(text("DROP SCHEMA public CASCADE"))
            session.execute(text("CREATE SCHEMA public"))
        server.dispose()
        monkeypatch.setenv("HOI_DATABASE_URL", url)
    made = Workspace.create(tmp_path / "workspace")
    yield made
    made.close()


def ingest(workspace: Workspace, *paths: Path, **options: Any) -> service.Ingested:
    return service.ingest(workspace, [str(path) for path in paths], progress=Silent(), **options)


def preannotate(workspace: Workspace, **options: Any) -> Any:
    return service.preannotate(workspace, Recipe.load("cpu"), progress=Silent(), **options)


@pytest.fixture
def pair(workspace: Workspace, photo: PhotoMaker) -> str:
    """The id of the one pair of a workspace with one photo."""
    ingest(workspace, photo())
    preannotate(workspace)
    return str(overview.pairs(workspace)[0]["pair"])


def newest(workspace: Workspace, pair: str) -> Reconstruction:
    with workspace.database.read() as session:
        return load_reconstruction(Revisions(session).get(Pairs(session).find(pair)), workspace.blobs)


def drawn(path: Path, box: tuple[int, int, int, int] | None, size: tuple[int, int] = (96, 64)) -> bytes:
    mask = Image.new("L", size)
    if box is not None:
        mask.paste(255, box)
    mask.save(path, "PNG")
    return path.read_bytes()


# ingest


def test_ingest_records_what_is_known_of_a_photo(workspace: Workspace, photo: PhotoMaker) -> None:
    path = photo("mug — 杯 1.jpg", kind="JPEG", size=(640, 480))
    result = ingest(workspace, path, licence="CC0-1.0", subject="ann")
    assert result.added == ["mug — 杯 1.jpg"]
    with workspace.database.read() as session:
        (row,) = Photos(session).all()
        assert (row.name, row.width, row.height, row.status) == ("mug — 杯 1.jpg", 640, 480, "pending")
        assert (row.licence, row.subject, row.source) == ("CC0-1.0", "ann", str(path))
        assert row.perceptual_hash is not None
        assert workspace.blobs.get(row.sha256) == path.read_bytes()


def test_the_same_bytes_make_no_second_photo(workspace: Workspace, photo: PhotoMaker) -> None:
    result = ingest(workspace, photo("a.png"), photo("b.png"))
    assert (result.added, result.known) == (["a.png"], ["b.png"])
    preannotate(workspace)
    assert overview.status(workspace)["pairs"] == 1


def test_what_is_said_later_of_known_photos_is_kept(workspace: Workspace, photo: PhotoMaker) -> None:
    path = photo("a.png")
    ingest(workspace, path)
    preannotate(workspace)
    assert ingest(workspace, path, licence="CC0-1.0", subject="ann").described == ["a.png"]
    assert ingest(workspace, path, licence="CC0-1.0").known == ["a.png"]
    assert ingest(workspace, path).known == ["a.png"]
    with workspace.database.read() as session:
        (row,) = Photos(session).all()
        assert (row.licence, row.subject, row.source, row.status) == ("CC0-1.0", "ann", str(path), "done")


def test_an_unreadable_file_is_a_failed_photo_and_the_rest_goes_on(workspace: Workspace, photo: PhotoMaker) -> None:
    bad = photo("bad.jpg")
    bad.write_bytes(b"no picture")
    result = ingest(workspace, bad, photo("good.png"))
    assert result.added == ["good.png"]
    assert result.failed[0][0] == "bad.jpg"
    assert overview.status(workspace)["failed"] == [{"photo": "bad.jpg", "reason": result.failed[0][1]}]
    assert "not an image" in result.failed[0][1]
    assert preannotate(workspace).photos == 1
    assert preannotate(workspace, redo=True).photos == 1


def test_a_file_that_became_readable_is_taken_in(
    workspace: Workspace, photo: PhotoMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from annotator import ingestion
    from pipeline.errors import UnreadablePhoto

    def no_plugin(*_: object) -> None:
        raise UnreadablePhoto("phone.png: HEIC pictures need a plugin")

    path = photo("phone.png")
    with monkeypatch.context() as patch:
        patch.setattr(ingestion, "read_photo", no_plugin)
        assert ingest(workspace, path).failed
    assert ingest(workspace, path).added == ["phone.png"]
    assert overview.status(workspace)["failed"] == []
    assert preannotate(workspace).photos == 1


def test_paths_that_lead_nowhere_are_named(workspace: Workspace, tmp_path: Path, photo: PhotoMaker) -> None:
    (tmp_path / "empty").mkdir()
    result = ingest(workspace, tmp_path / "no.jpg", tmp_path / "empty", tmp_path / "*.webp", photo())
    assert [reason.split(": ")[-1] for _, reason in result.failed] == [
        "no such file or folder",
        "no pictures in this folder",
        "no picture is named like this",
    ]
    assert result.added == ["cup.png"]


def test_new_help_brings_a_known_photo_back(workspace: Workspace, photo: PhotoMaker) -> None:
    path = photo("nohand.png")
    ingest(workspace, path)
    assert preannotate(workspace).failed[0][1].startswith("no hand found; help with --hand-box")
    sidecar = path.with_name("nohand.png.hoi.json")
    sidecar.write_text(json.dumps({"hands": [{"box": [10, 10, 40, 40], "side": "left"}]}))
    assert ingest(workspace, path).hinted == ["nohand.png"]
    assert len(preannotate(workspace).published) == 1
    assert overview.pairs(workspace)[0]["side"] == "left"
    assert ingest(workspace, path).known == ["nohand.png"]
    assert overview.status(workspace)["failed"] == []


def test_hints_reach_the_pipeline_in_pixels_of_the_scaled_photo(
    workspace: Workspace, photo: PhotoMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fake_pipeline

    seen: list[Any] = []
    answer = fake_pipeline.annotate_photo

    def spy(made: Any, recipe: Any, hints: Any, cache: Any) -> Any:
        seen.append((made.size, hints))
        return answer(made, recipe, hints, cache)

    monkeypatch.setattr(fake_pipeline, "annotate_photo", spy)
    hands = [{"box": [100.0, 200.0, 300.0, 400.0]}, {"keypoints": [[20.0, 40.0]] * 21, "side": "left"}]
    ingest(workspace, photo("large.png", size=(2560, 1920)), hands=hands)
    preannotate(workspace)
    ((size, hints),) = seen
    assert size == (960, 1280)
    assert (hints.boxes[0].x0, hints.boxes[0].y1, hints.boxes[0].side) == (50, 200, None)
    assert np.allclose(hints.keypoints[0], [10, 20])
    assert hints.sides == ("left",)


def test_help_outside_the_photo_is_refused(workspace: Workspace, photo: PhotoMaker) -> None:
    result = ingest(workspace, photo(), hands=[{"box": [500, 500, 600, 600]}])
    assert "outside the photo, which is 96x64" in result.failed[0][1]
    assert overview.status(workspace)["photos"] == 0


def test_help_is_for_one_photo(workspace: Workspace, photo: PhotoMaker) -> None:
    with pytest.raises(BadRequest, match="one photo"):
        ingest(workspace, photo("a.png", 1), photo("b.png", 2), hands=[{"box": [1, 1, 9, 9]}])


# preannotate


def test_every_photo_ends_as_pairs_or_with_a_reason(workspace: Workspace, photo: PhotoMaker) -> None:
    names = ["cup.png", "nohand.png", "noobject.png", "six.png", "bug.png"]
    ingest(workspace, *(photo(name, shade) for shade, name in enumerate(names)))
    done = preannotate(workspace)
    assert done.photos == 5
    assert dict(done.failed) == {
        "nohand.png": "no hand found; help with --hand-box x0,y0,x1,y1[,left|right]",
        "noobject.png": "the hand holds nothing",
        "bug.png": "internal error, please report it with worker.log: ZeroDivisionError: a bug in a stage",
    }
    assert "in _misbehave" in (workspace.root / "worker.log").read_text()
    found = overview.status(workspace)
    assert (found["photos"], found["pairs"], found["by_status"]) == (5, 6, {"preannotated": 6})
    assert [failure["photo"] for failure in found["failed"]] == ["nohand.png", "noobject.png", "bug.png"]
    assert overview.notes(workspace) == [("six.png", "hand 5 holds nothing")]


def test_a_second_run_has_nothing_to_do(workspace: Workspace, photo: PhotoMaker) -> None:
    ingest(workspace, photo(), photo("nohand.png", 2))
    preannotate(workspace)
    before = overview.digest(workspace)
    assert preannotate(workspace).photos == 0
    assert overview.digest(workspace) == before


def test_redo_with_the_same_answer_makes_no_revision(workspace: Workspace, pair: str) -> None:
    done = preannotate(workspace, redo=True)
    assert (done.photos, done.published, done.unchanged) == (1, [], [pair])
    assert overview.pairs(workspace)[0]["revision"] == 1


def test_redo_leaves_reviewed_pairs_alone(workspace: Workspace, photo: PhotoMaker, pair: str) -> None:
    service.submit_review(workspace, pair, "accept", reviewer="ann")
    path = photo()
    path.with_name("cup.png.hoi.json").write_text('{"hands": [{"box": [1, 1, 50, 50], "side": "left"}]}')
    ingest(workspace, path)
    done = preannotate(workspace)
    assert done.unchanged == [pair]
    assert overview.pairs(workspace)[0]["status"] == "accepted"
    assert overview.pairs(workspace)[0]["side"] == "right"


def test_pairs_that_are_not_found_again_are_retired(workspace: Workspace, photo: PhotoMaker) -> None:
    path = photo("two.png")
    sidecar = path.with_name("two.png.hoi.json")
    sidecar.write_text('{"hands": [{"box": [1, 1, 50, 50]}, {"box": [40, 1, 90, 50]}]}')
    ingest(workspace, path)
    preannotate(workspace)
    sidecar.write_text('{"hands": [{"box": [1, 1, 50, 50]}]}')
    ingest(workspace, path)
    preannotate(workspace)
    assert [entry["status"] for entry in overview.pairs(workspace)] == ["preannotated", "failed"]
    sidecar.write_text('{"hands": [{"box": [1, 1, 50, 50]}, {"box": [40, 1, 90, 50]}]}')
    ingest(workspace, path)
    preannotate(workspace)
    assert [entry["status"] for entry in overview.pairs(workspace)] == ["preannotated", "preannotated"]
    assert [entry["revision"] for entry in overview.pairs(workspace)] == [1, 1]


def test_retry_takes_what_failed(workspace: Workspace, photo: PhotoMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    import fake_pipeline

    ingest(workspace, photo("a.png", 1), photo("bug.png", 2))
    assert len(preannotate(workspace).failed) == 1
    monkeypatch.setattr(fake_pipeline, "_misbehave", lambda name: None)
    done = preannotate(workspace, retry=True)
    assert (done.photos, len(done.published), done.failed) == (1, 1, [])


def test_limit_takes_the_first_ones(workspace: Workspace, photo: PhotoMaker) -> None:
    ingest(workspace, *(photo(f"{shade}.png", shade) for shade in range(3)))
    assert preannotate(workspace, limit=2).photos == 2
    assert overview.waiting(workspace) == 1


def test_missing_weights_stop_the_batch_and_fail_no_photo(workspace: Workspace, photo: PhotoMaker) -> None:
    ingest(workspace, photo("a.png", 1), photo("weights.png", 2), photo("c.png", 3))
    with pytest.raises(MissingWeights, match="models pull"):
        preannotate(workspace)
    assert overview.waiting(workspace) == 2
    assert overview.status(workspace)["failed"] == []


def test_two_workspaces_give_the_same_revisions(tmp_path: Path, photo: PhotoMaker) -> None:
    digests = set()
    for name in ("one", "two"):
        workspace = Workspace.create(tmp_path / name, database_url=f"sqlite:///{tmp_path}/{name}.sqlite")
        ingest(workspace, photo("a.png", 1), photo("six.png", 2))
        preannotate(workspace)
        digests.add(overview.digest(workspace))
    assert len(digests) == 1
    assert digests.pop()[1] == 6


def test_a_second_process_is_told_who_is_at_work(workspace: Workspace, photo: PhotoMaker) -> None:
    import os

    ingest(workspace, photo())
    with workspace.claimed("preannotate"), pytest.raises(WorkspaceError, match=f"in use by process {os.getpid()}"):
        preannotate(Workspace.find(workspace.root))
    assert preannotate(workspace).photos == 1


# reviews


def test_verdicts_follow_one_another(workspace: Workspace, pair: str) -> None:
    for verdict, status in (("accept", "accepted"), ("reject", "rejected"), ("accept", "accepted")):
        done = service.submit_review(workspace, pair, verdict, reviewer="ann")  # type: ignore[arg-type]
        assert (done.status, done.recorded) == (status, True)
    assert not service.submit_review(workspace, pair, "accept", reviewer="ann").recorded
    with workspace.database.read() as session:
        assert len(Reviews(session).of_pair(Pairs(session).find(pair))) == 3


def test_a_verdict_from_outside_counts_once_however_late(workspace: Workspace, pair: str) -> None:
    for verdict in ("accept", "reject"):
        service.submit_review(workspace, pair, verdict, reviewer="bo", source="web", external_id=verdict)  # type: ignore[arg-type]
    late = service.submit_review(workspace, pair, "accept", reviewer="bo", source="web", external_id="accept")
    assert (late.recorded, late.status) == (False, "rejected")


def test_a_verdict_on_an_earlier_revision_does_not_decide_the_pair(
    workspace: Workspace, pair: str, tmp_path: Path
) -> None:
    service.fix(workspace, pair, Change({"object_mask": drawn(tmp_path / "m", (50, 5, 90, 60))}), reviewer="ann")
    done = service.submit_review(workspace, pair, "accept", reviewer="ann", number=1)
    assert (done.recorded, done.revision, done.status) == (True, 1, "preannotated")


def test_an_unknown_pair_is_named(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="'nonsense'"):
        service.submit_review(workspace, "nonsense", "accept", reviewer="ann")


# fix


def test_a_mask_makes_the_next_revision(workspace: Workspace, pair: str, tmp_path: Path) -> None:
    mask = drawn(tmp_path / "m", (50, 5, 90, 60))
    done = service.fix(workspace, pair, Change({"object_mask": mask}), reviewer="ann", comment="the saucer")
    assert (done.before, done.revision, done.reused) == (1, 2, ("detect",))
    made = newest(workspace, pair)
    expected = np.zeros((64, 96), dtype=bool)
    expected[5:60, 50:90] = True
    assert np.array_equal(made.masks.object, expected)
    with workspace.database.read() as session:
        row = Pairs(session).find(pair)
        assert row.status == "preannotated"
        first, second = row.revisions
        assert (second.trigger, second.parent_id) == ("review", first.id)
        (review,) = Reviews(session).of_pair(row)
        assert (review.revision.number, review.verdict, review.comment) == (1, "fix", "the saucer")
        assert workspace.blobs.get(review.artifacts[0].artifact.sha256) == mask


def test_edits_add_up(workspace: Workspace, pair: str, tmp_path: Path) -> None:
    service.fix(workspace, pair, Change({"object_mask": drawn(tmp_path / "m", (50, 5, 90, 60))}), reviewer="ann")
    service.fix(workspace, pair, Change(touching=("index",), side="left"), reviewer="bo")
    done = service.fix(workspace, pair, Change(touching=("palm",), not_touching=("index",)), reviewer="ann")
    assert done.revision == 4
    made = newest(workspace, pair)
    assert made.masks.object.sum() == 40 * 55
    assert made.hand.side == "left"
    assert made.contacts.touching == ("palm", "thumb")
    assert overview.pairs(workspace)[0]["side"] == "left"


def test_what_could_not_be_achieved_is_said(workspace: Workspace, pair: str) -> None:
    done = service.fix(workspace, pair, Change(touching=("ring",)), reviewer="ann")
    (line,) = done.unmet
    assert re.fullmatch(r"ring does not touch the object: \d+\.\d mm from it, \d+\.\d mm before", line)


def test_the_same_fix_again_changes_nothing(workspace: Workspace, pair: str, tmp_path: Path) -> None:
    change = Change({"object_mask": drawn(tmp_path / "m", (50, 5, 90, 60))})
    for _ in range(2):
        done = service.fix(workspace, pair, change, reviewer="ann")
    assert (done.before, done.revision) == (2, 2)
    assert [step["revision"] for step in overview.details(workspace, pair)["history"]] == [1, 2]


@pytest.mark.parametrize(
    ("box", "size", "role", "error", "words"),
    [
        (None, (96, 64), "object_mask", EmptyMask, "object mask is empty"),
        ((0, 0, 9, 9), (64, 96), "hand_mask", BadEdit, "64x96 pixels, the photo 96x64"),
        ((0, 0, 9, 9), (96, 64), "hand_mask", PipelineError, "too little of the hand"),
    ],
)
def test_a_fix_that_cannot_be_done_records_nothing(
    workspace: Workspace, pair: str, tmp_path: Path, box: Any, size: Any, role: str, error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        service.fix(workspace, pair, Change({role: drawn(tmp_path / "m", box, size)}), reviewer="ann")
    with workspace.database.read() as session:
        assert Reviews(session).of_pair(Pairs(session).find(pair)) == []
    assert overview.pairs(workspace)[0]["revision"] == 1


def test_a_fix_must_fix_something(workspace: Workspace, pair: str) -> None:
    for change, words in [
        (Change(), "needs something"),
        (Change(touching=("toe",)), "'toe' is no part"),
        (Change(touching=("ring",), not_touching=("ring",)), "cannot both"),
        (Change({"hand_mask": b"text"}), "not a picture"),
    ]:
        with pytest.raises(BadEdit, match=words):
            service.fix(workspace, pair, change, reviewer="ann")


def test_masks_and_keypoints_of_a_large_photo_are_scaled(
    workspace: Workspace, photo: PhotoMaker, tmp_path: Path
) -> None:
    ingest(workspace, photo("large.png", size=(2560, 1920)))
    preannotate(workspace)
    (entry,) = overview.pairs(workspace)
    for size in ((2560, 1920), (1280, 960)):
        box = tuple(value * size[0] // 2560 for value in (1400, 100, 2400, 1800))
        service.fix(workspace, entry["pair"], Change({"object_mask": drawn(tmp_path / "m", box, size)}), reviewer="ann")
        made = newest(workspace, entry["pair"])
        assert made.masks.object.shape == (960, 1280)
        assert abs(int(made.masks.object.sum()) - 500 * 850) < 2000


# export


def test_only_what_was_accepted_is_exported(
    workspace: Workspace, photo: PhotoMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from exports.base import ExportSummary

    class Listing:
        name = "listing"

        def write(self, records: Any, out: Path, **options: Any) -> ExportSummary:
            self.seen = list(records)
            return ExportSummary(len(self.seen), [], out, "digest")

    listing = Listing()
    monkeypatch.setattr(service, "get_format", lambda name: listing)
    ingest(workspace, photo("a.png", 1, size=(640, 480)), licence="CC0-1.0")
    ingest(workspace, photo("a again.jpg", 1, size=(640, 480), kind="JPEG"), photo("b.png", 2))
    preannotate(workspace)
    publish = lambda **options: service.publish_dataset(  # noqa: E731
        workspace, "listing", tmp_path / "out", progress=Silent(), **options
    )
    with pytest.raises(BadRequest, match="no pair is accepted"):
        publish()
    for entry in overview.pairs(workspace):
        service.submit_review(workspace, entry["pair"], "accept", reviewer="ann")
    assert publish().count == 3
    first, again, other = listing.seen
    assert first.provenance["licence"] == "CC0-1.0"
    assert (first.provenance["verdict"], first.provenance["reviewer"]) == ("accept", "ann")
    assert first.provenance["near_duplicate"] == again.provenance["near_duplicate"]
    assert first.same_picture == again.same_picture != ""
    assert (other.same_picture, len(first.digest)) == ("", 64)
    record = pickle.loads(pickle.dumps(first.load))()  # as it goes to a worker process
    assert record.photo.size == record.reconstruction.masks.hand.shape
    assert (record.pair_id, record.provenance) == (first.pair_id, first.provenance)
    assert first.pair_id.endswith("-0")
    assert "near_duplicate" not in other.provenance
    with pytest.raises(BadRequest, match=r"no pair that is accepted is under MIT: theirs are CC0-1\.0, unknown"):
        publish(licences=["MIT"])
    publish(licences=["CC0-1.0"])
    assert [record.pair_id for record in listing.seen] == [first.pair_id]
    with workspace.database.read() as session:
        from db.repositories import Exports

        assert [(e.format, e.records, e.snapshot_digest) for e in Exports(session).all()] == [
            ("listing", 3, "digest"),
            ("listing", 1, "digest"),
        ]
    publish(licences=["unknown"])  # as the card of a data set calls photos of which nobody said
    assert [record.pair_id for record in listing.seen] == [again.pair_id, other.pair_id]
