"""The gallery: who gets in, and what the filters let through."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from ports import free_port
from report_scene import pair_view
from sqlalchemy import text
from web_server import Client, add_pair, running

from annotator.records import columns
from annotator.web.app import create_app
from annotator.web.gallery import Asked
from annotator.web.links import Links
from annotator.web.secret import workspace_secret
from annotator.workspace import Workspace
from db.repositories import Pairs, listing
from db.repositories.listing import Listing, Wanted
from db.session import Database

NASTY = "<script>alert(1)</script>.jpg"


def fill(workspace: Workspace) -> dict[str, str]:
    """Pair ids by photo name: sure (right), nasty (left, doubtful, accepted), round (right, an unknown confidence)."""
    can = columns(pair_view("right").reconstruction)["object"] | {"kind": "revolution"}
    unsure: dict[str, Any] = {"confidence": None, "review_priority": None}
    ids = {
        "sure": add_pair(workspace, "right", "sure.jpg", confidence=0.9, review_priority=0.1),
        "nasty": add_pair(workspace, "left", NASTY, confidence=0.2, review_priority=0.8),
        "round": add_pair(workspace, "right", "round.jpg", object=can, **unsure),
    }
    with workspace.database.write() as session:
        Pairs(session).find(ids["nasty"]).status = "accepted"
    return ids


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def filled(request: pytest.FixtureRequest, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server")
        server = Database(url)
        with server.write() as session:
            session.execute(text("DROP SCHEMA public CASCADE"))
            session.execute(text("CREATE SCHEMA public"))
        server.dispose()
        monkeypatch.setenv("HOI_DATABASE_URL", url)
    made = Workspace.create(tmp_path / "workspace")
    fill(made)
    yield made
    made.close()


def test_filters_orders_and_counts(filled: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled.database.read() as session:
        shelf = Listing(session)

        def names(**wanted: Any) -> list[str]:
            found = [revision.pair.photo.name.removesuffix(".jpg") for revision in shelf.page(Wanted(**wanted), 1)]
            assert len(found) == shelf.count(Wanted(**wanted))
            return found

        nasty = NASTY.removesuffix(".jpg")
        assert names() == [nasty, "sure", "round"]
        assert names(order="certain") == ["sure", nasty, "round"]
        assert names(order="newest") == ["round", nasty, "sure"]
        assert names(status="accepted") == [nasty]
        assert names(side="right") == ["sure", "round"]
        assert names(kind="revolution") == ["round"]
        assert names(kind=Asked.model_validate({"kind": "cub\0oid"}).kind, order="certain") == ["sure", nasty]
        assert names(confidence="low") == [nasty]
        assert names(confidence="middle") == []
        assert names(confidence="high", side="right", kind="cuboid", status="preannotated") == ["sure"]
        assert shelf.choices("status") == {"accepted": 1, "preannotated": 2}
        assert shelf.choices("side") == {"left": 1, "right": 2}
        assert shelf.choices("kind") == {"cuboid": 2, "revolution": 1}

        monkeypatch.setattr(listing, "PAGE", 2)
        pages = [[revision.id for revision in shelf.page(Wanted(), number)] for number in (1, 2, 3)]
        assert [len(page) for page in pages] == [2, 1, 0]
        assert len({*pages[0], *pages[1]}) == 3


@pytest.fixture
def opened(workspace: Workspace) -> Iterator[tuple[Client, Links, dict[str, str]]]:
    ids = fill(workspace)
    tasks = {ids["sure"]: "http://127.0.0.1:8080/projects/1/data?task=7"}
    with running(create_app(workspace, task_url=tasks.get), port := free_port()) as get:
        yield get, Links(f"http://127.0.0.1:{port}", workspace_secret(workspace.root)), ids


def test_the_key_is_taken_once_and_becomes_a_cookie(opened: tuple[Client, Links, dict[str, str]]) -> None:
    get, links, _ = opened
    assert get("/gallery").status == 403
    assert get("/gallery?key=" + "0" * 32).status == 403
    assert get("/gallery", Cookie="hoi_gallery=" + "0" * 32).status == 403
    assert get("/gallery?key=%C3%9F").status == 403

    entered = get(links.gallery() + "&side=left")
    assert (entered.status, entered.headers["location"]) == (303, "gallery?side=left")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie  # http on loopback would never send it back
    page = get("/gallery?side=left", Cookie=cookie.partition(";")[0])
    assert page.status == 200
    assert "1 pair<" in page.text
    assert links.gallery().partition("key=")[2] not in page.text


def test_cards_escape_names_and_lead_on(opened: tuple[Client, Links, dict[str, str]]) -> None:
    get, links, ids = opened
    cookie = "hoi_gallery=" + links.gallery().partition("key=")[2]
    page = get("/gallery", Cookie=cookie).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("Review</a>") == 1
    assert "http://127.0.0.1:8080/projects/1/data?task=7" in page
    assert "no confidence" in page
    for address in re.findall(r'(?:src|href)="\./(r/[^"]+)"', page):
        assert get(f"/{address}").status == 200
    assert urlsplit(links.revision(ids["sure"], 1, "viewer")).path in page


@pytest.mark.parametrize("query", ["status=ruined", "confidence=1", "order=x", "page=0", "page=x"])
def test_nonsense_is_refused(opened: tuple[Client, Links, dict[str, str]], query: str) -> None:
    get, links, _ = opened
    cookie = "hoi_gallery=" + links.gallery().partition("key=")[2]
    assert get(f"/gallery?{query}", Cookie=cookie).status == 422


def test_empty_choices_and_far_pages_are_fine(
    opened: tuple[Client, Links, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    get, links, _ = opened
    cookie = "hoi_gallery=" + links.gallery().partition("key=")[2]
    assert "3 pairs" in get("/gallery?status=&side=&kind=&confidence=&page=9", Cookie=cookie).text
    assert "No pair fits" in get("/gallery?kind=%27%20OR%201=1", Cookie=cookie).text
    for module in ("db.repositories.listing", "annotator.web.gallery"):
        monkeypatch.setattr(f"{module}.PAGE", 2)
    second = get("/gallery?order=newest&page=9", Cookie=cookie).text
    assert "page 2 of 2" in second
    assert 'href="gallery?order=newest&amp;page=1"' in second
