"""Bytes by digest: whole or not there, and never silently wrong."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import obstore
import pytest
from local_s3 import S3Server, s3_running

from db.blobs import GIVES_UP_S, MARK_HOLDS, REFRESH_AFTER, Blob, BlobStore
from db.errors import BlobCorrupt, BlobMissing, StorageFull, StorageUnwritable
from db.stores import RETRIES

ROOT = Path(__file__).parents[2]
LONG_AGO = time.time() - 2 * REFRESH_AFTER.total_seconds()
ALWAYS = datetime.max.replace(tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "with space and 杯").as_uri())


@pytest.fixture(params=["file", "s3"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "store").as_uri() if request.param == "file" else request.getfixturevalue("s3"))


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def test_what_goes_in_comes_out(any_store: BlobStore) -> None:
    kept = {}
    for data in (b"", b"cup", os.urandom(7_000_000)):  # the last is more than S3 likes to take in one part
        digest = any_store.put(data)
        assert digest == hashlib.sha256(data).hexdigest()
        assert any_store.put(data) == digest
        assert digest in any_store
        assert any_store.get(digest) == data
        kept[digest] = len(data)
    listed = list(any_store.list())
    assert {blob.digest: blob.size for blob in listed} == kept
    assert all(abs(time.time() - blob.modified.timestamp()) < 600 for blob in listed)


def test_the_folder_may_have_any_name(store: BlobStore, tmp_path: Path) -> None:
    store.put(b"cup")
    assert (tmp_path / "with space and 杯").is_dir()


def test_the_same_bytes_are_kept_once(store: BlobStore, tmp_path: Path) -> None:
    digest = store.put(b"cup")
    before = [(p, p.stat().st_mtime_ns) for p in files(tmp_path)]
    assert store.put(b"cup") == digest
    assert [(p, p.stat().st_mtime_ns) for p in files(tmp_path)] == before
    assert len(before) == 1


def test_a_missing_blob_is_named(any_store: BlobStore) -> None:
    assert "0" * 64 not in any_store
    with pytest.raises(BlobMissing, match=r"0000.* --repair"):
        any_store.get("0" * 64)


@pytest.mark.parametrize("damage", [b"cap", b"cu", b""])
def test_damage_is_noticed_and_can_be_mended(any_store: BlobStore, damage: bytes) -> None:
    digest = any_store.put(b"cup")
    obstore.put(any_store._store, f"{digest[:2]}/{digest}", damage)
    with pytest.raises(BlobCorrupt, match=f"{digest}.* damaged.* --repair"):
        any_store.get(digest)
    any_store.replace(b"cup")
    assert any_store.get(digest) == b"cup"


def test_a_blob_goes_only_when_nobody_has_put_it_lately(any_store: BlobStore) -> None:
    digest, kept = any_store.put(b"cup"), any_store.put(b"can")
    (modified,) = (blob.modified for blob in any_store.list() if blob.digest == digest)
    assert not any_store.delete(digest, unless_put_after=modified - REFRESH_AFTER)
    assert any_store.delete(digest, unless_put_after=modified)
    assert not any_store.delete(digest, unless_put_after=modified)
    assert [blob.digest for blob in any_store.list()] == [kept]


def test_what_goes_after_a_put_has_seen_it_is_put_again(any_store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, head = any_store.put(b"cup"), any_store._head
    deletes = iter([True])

    def look(digest: str) -> Blob:
        if next(deletes, False):
            assert BlobStore(any_store.url).delete(digest, unless_put_after=ALWAYS)
        return head(digest)

    monkeypatch.setattr(any_store, "_head", look)
    assert any_store.put(b"cup") == digest
    assert any_store.get(digest) == b"cup"


class Skewed(datetime):
    """A clock that is an hour's quarter fast, the most that S3 allows."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(minutes=15)


@pytest.mark.parametrize("clock", [datetime, Skewed])
def test_what_is_put_again_in_the_middle_of_its_deletion_stays(
    any_store: BlobStore, monkeypatch: pytest.MonkeyPatch, clock: type[datetime]
) -> None:
    monkeypatch.setattr("db.blobs.REFRESH_AFTER", timedelta(0))
    digest, writer = any_store.put(b"cup"), BlobStore(any_store.url)
    old, looked, put_again = any_store._head(digest), threading.Event(), threading.Event()

    def look(digest: str) -> Blob:
        looked.set()
        put_again.wait()
        return old

    def marked_at(digest: str) -> datetime | None:
        put_again.set()
        return BlobStore(any_store.url)._marked_at(digest)

    monkeypatch.setattr(any_store, "_head", look)
    monkeypatch.setattr(writer, "_marked_at", marked_at)
    with ThreadPoolExecutor() as threads:
        deletion = threads.submit(any_store.delete, digest, unless_put_after=old.modified)
        looked.wait()
        monkeypatch.setattr("db.blobs.datetime", clock)
        writer.put(b"cup")
        assert deletion.result()
    assert writer.get(digest) == b"cup"
    assert list(writer.remains()) == []


def test_a_deletion_that_takes_long_is_given_up(any_store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, now, head = any_store.put(b"cup"), time.time, any_store._head

    def freeze(digest: str) -> Blob:
        found = head(digest)
        monkeypatch.setattr(time, "time", lambda: now() + GIVES_UP_S)
        return found

    monkeypatch.setattr(any_store, "_head", freeze)
    assert not any_store.delete(digest, unless_put_after=ALWAYS)
    assert any_store.get(digest) == b"cup"
    assert list(any_store.remains()) == []


def test_a_mark_outlasts_the_deletion_that_made_it() -> None:
    assert MARK_HOLDS.total_seconds() > GIVES_UP_S + 30  # what one request may take


def test_a_deletion_without_an_answer_is_not_sent_again_and_leaves_its_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = "ab" * 32
    with failing_s3("POST") as (address, asked):  # by which S3 deletes
        for name, value in {"ENDPOINT_URL": address, "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        with pytest.raises(StorageUnwritable):
            BlobStore("s3://bucket/x").delete(digest, unless_put_after=ALWAYS)
    assert asked == [
        f"PUT /bucket/x/going/{digest}",
        f"HEAD /bucket/x/ab/{digest}",
        "POST /bucket?delete",
    ]


@contextmanager
def failing_s3(fails: str) -> Iterator[tuple[str, list[str]]]:
    """A server that has every old blob, and does not carry out one kind of request; its address, what it was asked."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(503 if self.command == fails else 200)
            self.send_header("ETag", '"x"')
            self.send_header("Last-Modified", format_datetime(datetime.fromtimestamp(LONG_AGO, UTC), usegmt=True))
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_POST = do_PUT  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
import obstore
from db.blobs import BlobStore
obstore.delete = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
BlobStore(sys.argv[1]).delete(sys.argv[2], unless_put_after=datetime.max.replace(tzinfo=UTC))
"""


def kill_in_deletion(store: BlobStore, digest: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, store.url, digest], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL


def test_a_deletion_that_was_killed_holds_a_writer_for_a_while_only(
    any_store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = any_store.put(b"cup")
    kill_in_deletion(any_store, digest)
    assert not any_store.delete(digest, unless_put_after=ALWAYS)  # it may be going on
    monkeypatch.setattr("db.blobs.REFRESH_AFTER", timedelta(0))
    put, waited = obstore.put, [0.0]
    puts: list[str] = []

    def counted(store: Any, key: str, data: bytes, **options: Any) -> Any:
        puts.append(key)
        return put(store, key, data, **options)

    monkeypatch.setattr(obstore, "put", counted)
    monkeypatch.setattr(time, "monotonic", lambda: waited[0])
    monkeypatch.setattr(time, "sleep", lambda _: waited.__setitem__(0, waited[0] + 10))
    any_store.put(b"cup")
    assert 0 < waited[0] <= MARK_HOLDS.total_seconds() + 10
    assert puts == [f"{digest[:2]}/{digest}"] * 2  # to see whether it is there, and over it
    assert any_store.get(digest) == b"cup"
    (mark,) = any_store.remains()
    any_store.discard(mark)
    assert list(any_store.remains()) == []
    assert any_store.delete(digest, unless_put_after=ALWAYS)


def test_a_deletion_that_was_killed_long_ago_holds_nobody(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = store.put(b"cup")
    kill_in_deletion(store, digest)
    for path in files(tmp_path):
        os.utime(path, (LONG_AGO, LONG_AGO))
    monkeypatch.delattr(time, "sleep")
    store.put(b"cup")
    assert next(iter(store.list())).modified.timestamp() > LONG_AGO + 60


def test_a_probe_leaves_nothing(any_store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    any_store.probe()
    assert list(any_store.list()) == []

    def denied(*_: object) -> None:
        raise PermissionError("this key may not delete")

    monkeypatch.setattr(obstore, "delete", denied)
    any_store.probe()
    assert sum(len(batch) for batch in obstore.list(any_store._store)) == 1


def test_a_blob_that_is_put_again_after_long_counts_as_new(store: BlobStore, tmp_path: Path) -> None:
    digest = store.put(b"cup")
    (path,) = files(tmp_path)
    os.utime(path, (LONG_AGO, LONG_AGO))
    store.put(b"cup")
    assert path.stat().st_mtime > LONG_AGO + 60
    assert store.get(digest) == b"cup"


def test_a_list_tells_of_blobs_only(store: BlobStore, tmp_path: Path) -> None:
    digest = store.put(b"cup")
    (path,) = files(tmp_path)
    (path.parents[1] / ".DS_Store").touch()
    (path.parent / f"{digest}#1").write_bytes(b"a killed writer was here")
    assert [blob.digest for blob in store.list()] == [digest]
    assert [(part.name, part.size) for part in store.remains()] == [(f"{digest[:2]}/{digest}#1", 24)]


def test_a_store_that_may_not_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageUnwritable, match="cannot use the store") as caught:
        BlobStore((tmp_path / "file" / "store").as_uri())
    assert "\n" not in str(caught.value)


def test_an_unknown_scheme_is_one_clear_line() -> None:
    with pytest.raises(StorageUnwritable, match="cannot use the store"):
        BlobStore("floppy://a/b")


def test_an_s3_blob_may_be_read_by_its_signed_address_only(s3: str, store: BlobStore) -> None:
    there = BlobStore(s3)
    address = there.signed_url(there.put(b"cup"), 60)
    assert address is not None
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in address
    with urllib.request.urlopen(address) as answer:
        assert answer.read() == b"cup"
    assert store.signed_url(store.put(b"cup"), 60) is None


@pytest.fixture(scope="module")
def guarded() -> Iterator[S3Server]:
    """Answers only who has the key."""
    with s3_running(CHECK_KEYS="1") as server:
        yield server


WRONG = {
    "an unknown key": ({"AWS_ACCESS_KEY_ID": "AKIAWRONG"}, "AWS_ACCESS_KEY_ID"),
    "a wrong secret": ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "AWS_SECRET_ACCESS_KEY"),
    "no server": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "127.0.0.1:1 does not answer: check AWS_ENDPOINT_URL"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_s3_is_one_line_without_the_secret(
    guarded: S3Server, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    changed, says = WRONG[what]
    environment = guarded.environment | changed
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(RETRIES, "max_retries", 0)
    store = BlobStore(f"s3://{guarded.bucket}/x")
    for use in (lambda: store.put(b"cup"), lambda: store.get("0" * 64), lambda: list(store.list())):
        with pytest.raises(StorageUnwritable, match=f"cannot use the store s3://.*{says}") as caught:
            use()
        assert "\n" not in str(caught.value)
        assert environment["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


def test_a_bucket_that_is_not_there_is_no_empty_one(s3: str) -> None:
    store = BlobStore("s3://nowhere/x")
    nothing = "0" * 64
    for use in (
        lambda: store.put(b""),
        lambda: store.get(nothing),
        lambda: list(store.list()),
        lambda: nothing in store,
    ):
        with pytest.raises(StorageUnwritable, match="store s3://nowhere/x: there is no such bucket at http://127"):
            use()


def test_an_endpoint_that_is_no_address_is_refused(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:1")
    with pytest.raises(StorageUnwritable, match=r"AWS_ENDPOINT_URL '127.0.0.1:1' is no address"):
        BlobStore(s3)


def test_a_key_in_the_address_is_refused(s3: str) -> None:
    with pytest.raises(StorageUnwritable, match="set AWS_ACCESS_KEY_ID") as caught:
        BlobStore("s3://AKIA:very-secret@bucket/x")
    assert "very-secret" not in str(caught.value)


def test_no_room_left_is_one_clear_line(store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise obstore.exceptions.GenericError(
            "Generic LocalFileSystem error: Unable to copy data to file: No space left on device (os error 28)\n\nDebug"
        )

    monkeypatch.setattr(obstore, "put", full)
    with pytest.raises(StorageFull, match="free some space") as caught:
        store.put(b"cup")
    assert "\n" not in str(caught.value)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a disk that really fills up needs the right to mount one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_really_fills_up_leaves_no_part(tiny_disk: Path) -> None:
    store = BlobStore((tiny_disk / "store").as_uri())
    kept = store.put(b"small")
    with pytest.raises(StorageFull):
        store.put(os.urandom(1_000_000))
    assert [p.name for p in files(tiny_disk)] == [kept]


LIMITED = """
import resource, sys
from db.blobs import BlobStore
from db.errors import StorageFull
store = BlobStore(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.put(bytes(1_000_000))
except StorageFull as error:
    print(error)
"""


def test_a_file_larger_than_may_be_is_no_room_left(tmp_path: Path) -> None:
    url = (tmp_path / "store").as_uri()
    done = subprocess.run([sys.executable, "-c", LIMITED, url], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "is full: free some space" in done.stdout
    assert list(BlobStore(url).list()) == []


WRITER = """
import sys, os
from db.blobs import BlobStore
store = BlobStore(sys.argv[1])
while True:
    store.put(os.urandom(4_000_000))
    print("put", flush=True)
"""


def test_a_killed_writer_leaves_no_part_under_a_key(any_store: BlobStore) -> None:
    for wait in (0.005, 0.01, 0.02):
        command = [sys.executable, "-c", WRITER, any_store.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(wait)  # into the next put
            writer.send_signal(signal.SIGKILL)
    blobs = list(any_store.list())
    assert len(blobs) >= 3
    for blob in blobs:
        assert len(any_store.get(blob.digest)) == blob.size == 4_000_000
