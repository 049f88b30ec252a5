"""What is taken when a person names files, folders, globs and buckets."""

from pathlib import Path

import obstore
import pytest

from annotator import sources
from annotator.errors import BadRequest
from db.errors import StorageUnwritable
from db.stores import open_store


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


@pytest.fixture
def bucket(s3: str) -> str:
    """Photos below s3://bucket/prefix/photos, one with a sidecar."""
    store = open_store(s3)
    for key in ("photos/b.jpg", "photos/deep/a b — 杯.png", "photos/notes.txt", "other/c.png"):
        obstore.put(store, key, key.encode())
    obstore.put(store, "photos/b.jpg.hoi.json", b'{"hands": [{"box": [1, 2, 30, 40], "side": "left"}]}')
    return s3


def test_a_bucket_is_listed_and_read(bucket: str) -> None:
    found = list(sources.find(f"{bucket}/photos/"))
    assert [source.name for source in found] == ["b.jpg", "a b — 杯.png"]
    assert found[1].origin == f"{bucket}/photos/deep/a b — 杯.png"
    assert [source.read() for source in found] == [b"photos/b.jpg", "photos/deep/a b — 杯.png".encode()]
    assert [source.hands() for source in found] == [[{"box": [1.0, 2.0, 30.0, 40.0], "side": "left"}], []]


def test_one_object_is_taken_by_its_name(bucket: str) -> None:
    (found,) = sources.find(f"{bucket}/other/c.png")
    assert (found.name, found.read(), found.hands()) == ("c.png", b"other/c.png", [])
    (helped,) = sources.find(f"{bucket}/photos/b.jpg")
    assert helped.hands() == [{"box": [1.0, 2.0, 30.0, 40.0], "side": "left"}]


def test_what_leads_nowhere_in_a_bucket_is_refused(bucket: str) -> None:
    with pytest.raises(BadRequest, match="no pictures there"):
        sources.find(f"{bucket}/nothing/")
    (missing,) = sources.find(f"{bucket}/photos/x.png")
    with pytest.raises(BadRequest, match=r"x\.png: no such object"):
        missing.read()
    with pytest.raises(StorageUnwritable, match="no such bucket"):
        sources.find("s3://nowhere/photos/")
