"""What is taken when a person names files, folders, globs and buckets."""

from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore

from annotator import sources
from annotator.errors import BadRequest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "notes.txt", "a.png.hoi.json", ".hidden.png", "deep/c.webp", ".git/d.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    made = tmp_path / "photos" / "out"
    made.mkdir()
    (made / "hoi-annotate.toml").touch()
    (made / "contact_sheet.png").touch()
    return tmp_path / "photos"


def names(given: object) -> list[str]:
    return [source.name for source in sources.find(str(given))]


def test_a_folder_gives_its_pictures_but_not_what_a_workspace_in_it_made(folder: Path) -> None:
    assert names(folder) == ["a.png", "b.JPG", "c.webp"]


def test_a_named_file_is_taken_whatever_it_is(folder: Path) -> None:
    assert names(folder / "notes.txt") == ["notes.txt"]


def test_globs_that_no_shell_expanded(folder: Path) -> None:
    assert names(folder / "*") == ["a.png", "b.JPG"]
    assert names(folder / "**" / "*.webp") == ["c.webp"]


def test_a_file_that_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cup[1].jpg").write_bytes(b"x")
    assert names(tmp_path / "cup[1].jpg") == ["cup[1].jpg"]


@pytest.mark.parametrize("given", ["nothing.jpg", "*.tiff", "deep/nothing", "photos-that-are-not-there/"])
def test_what_leads_nowhere_is_refused(folder: Path, given: str) -> None:
    with pytest.raises(BadRequest, match="no "):
        sources.find(str(folder / given))


def test_a_bucket_is_listed_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    for key in ("photos/b.jpg", "photos/a.png", "photos/notes.txt", "other/c.png"):
        obstore.put(store, key, key.encode())
    monkeypatch.setattr("obstore.store.from_url", lambda url: store)
    found = list(sources.find("s3://bucket/photos/"))
    assert [source.name for source in found] == ["a.png", "b.jpg"]
    assert found[0].origin == "s3://bucket/photos/a.png"
    assert [source.read() for source in found] == [b"photos/a.png", b"photos/b.jpg"]
    assert found[0].hands() == []
    with pytest.raises(BadRequest, match="no pictures there"):
        sources.find("s3://bucket/nothing/")
