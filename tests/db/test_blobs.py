"""Bytes by digest: whole or not there, and never silently wrong."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore

from db.blobs import BlobStore
from db.errors import BlobCorrupt, BlobMissing, StorageFull, StorageUnwritable


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "with space and 杯").as_uri())


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def test_what_goes_in_comes_out(store: BlobStore, tmp_path: Path) -> None:
    for data in (b"", b"cup", os.urandom(1_000_000)):
        digest = store.put(data)
        assert digest == hashlib.sha256(data).hexdigest()
        assert digest in store
        assert store.get(digest) == data
    assert (tmp_path / "with space and 杯").is_dir()


def test_the_same_bytes_are_kept_once(store: BlobStore, tmp_path: Path) -> None:
    digest = store.put(b"cup")
    before = [(p, p.stat().st_mtime_ns) for p in files(tmp_path)]
    assert store.put(b"cup") == digest
    assert [(p, p.stat().st_mtime_ns) for p in files(tmp_path)] == before
    assert len(before) == 1


def test_a_missing_blob_is_named(store: BlobStore) -> None:
    assert "0" * 64 not in store
    with pytest.raises(BlobMissing, match="0000"):
        store.get("0" * 64)


def test_damage_is_noticed(store: BlobStore, tmp_path: Path) -> None:
    digest = store.put(b"cup")
    (path,) = files(tmp_path)
    path.write_bytes(b"cap")
    with pytest.raises(BlobCorrupt, match="damaged"):
        store.get(digest)


def test_a_store_that_may_not_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageUnwritable, match="cannot use the store") as caught:
        BlobStore((tmp_path / "file" / "store").as_uri())
    assert "\n" not in str(caught.value)


def test_an_unknown_scheme_is_one_clear_line() -> None:
    with pytest.raises(StorageUnwritable, match="cannot use the store"):
        BlobStore("floppy://a/b")


def test_other_stores_behave_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.blobs.from_url", lambda url: MemoryStore())
    store = BlobStore("s3://bucket/prefix")
    digest = store.put(b"cup")
    assert store.put(b"cup") == digest
    assert store.get(digest) == b"cup"
    assert "0" * 64 not in store


def test_s3_is_reachable_by_its_url() -> None:
    from obstore.store import S3Store, from_url

    assert isinstance(from_url("s3://bucket/prefix"), S3Store)


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


def test_a_killed_writer_leaves_no_blob(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    code = (
        "import sys, os\nfrom db.blobs import BlobStore\nstore = BlobStore(sys.argv[1])\nprint('go', flush=True)\n"
        "while True: store.put(os.urandom(4_000_000))"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code, folder.as_uri()], stdout=subprocess.PIPE, cwd=root) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.3)
        writer.send_signal(signal.SIGKILL)
    store = BlobStore(folder.as_uri())
    blobs = [p for p in files(folder) if "#" not in p.name]  # obstore stages under NAME#N
    assert blobs
    for blob in blobs:
        store.get(blob.name)
