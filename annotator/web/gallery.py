"""/gallery: every pair at a glance. It wants no login, but a key: once in the address, then in a cookie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Cookie, HTTPException, Query, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, BeforeValidator, Field

from annotator.report.templates import environment
from annotator.web.links import Links
from annotator.web.static import asset
from annotator.workspace import Workspace
from db.models import PairStatus, Revision
from db.repositories.listing import CERTAIN, DOUBTFUL, PAGE, Confidence, Listing, Order, Wanted

COOKIE = "hoi_gallery"
COOKIE_SECONDS = 30 * 24 * 3600
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

# empty is what a form sends for 'any', and NUL is no text to PostgreSQL
_empty_is_none = BeforeValidator(lambda value: value.replace("\0", "") or None if isinstance(value, str) else value)


class Asked(BaseModel):
    """The address's query."""

    status: Annotated[PairStatus | None, _empty_is_none] = None
    side: Annotated[str | None, _empty_is_none] = None
    kind: Annotated[str | None, _empty_is_none] = None
    confidence: Annotated[Confidence | None, _empty_is_none] = None
    order: Order = "doubtful"
    page: int = Field(1, ge=1)
    key: str | None = None

    def address(self, **changed: Any) -> str:
        """The gallery as asked for, but for what changed."""
        query = self.model_dump(exclude_defaults=True, exclude={"key"}) | changed
        return f"gallery?{urlencode(query)}" if query else "gallery"


def router(workspace: Workspace, links: Links, task_url: Callable[[str], str | None]) -> APIRouter:
    routes = APIRouter()
    near = links.relative()
    secure = links.base_url.startswith("https:")

    @routes.get("/gallery")
    def gallery(asked: Annotated[Asked, Query()], hoi_gallery: Annotated[str, Cookie()] = "") -> Response:
        """All pairs with a picture, filtered; the address with the key is the one 'serve' prints."""
        if asked.key is not None and links.check_gallery(asked.key):
            entered = RedirectResponse(asked.address(), 303)  # the key leaves the address bar and the history
            entered.set_cookie(COOKIE, asked.key, max_age=COOKIE_SECONDS, httponly=True, samesite="lax", secure=secure)
            return entered
        if not links.check_gallery(hoi_gallery):
            raise HTTPException(403, "the gallery opens by the address that 'hoi-annotate serve' prints")
        wanted = Wanted(asked.status, asked.side, asked.kind, asked.confidence, asked.order)
        with workspace.database.read() as session:
            listing = Listing(session)
            total = listing.count(wanted)
            pages = max(1, -(-total // PAGE))
            number = min(asked.page, pages)
            context = {
                "asked": asked,
                "total": total,
                "page": number,
                "pages": pages,
                "choices": {name: listing.choices(name) for name in ("status", "side", "kind")},
                "pairs": [_card(revision, near, task_url) for revision in listing.page(wanted, number)],
                "doubtful": DOUBTFUL,
                "certain": CERTAIN,
                "asset": asset,
            }
        page = environment().get_template("gallery.html.j2").render(context)
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    return routes


def _card(revision: Revision, links: Links, task_url: Callable[[str], str | None]) -> dict[str, Any]:
    pair = revision.pair
    return {
        "name": pair.photo.name,
        "id": pair.public_id,
        "side": pair.side,
        "kind": revision.object["kind"],
        "revision": revision.number,
        "status": pair.status,
        "confidence": revision.confidence,
        "thumb": links.revision(pair.public_id, revision.number, "thumb.jpg"),
        "viewer": links.revision(pair.public_id, revision.number, "viewer"),
        "task": task_url(pair.public_id),
    }
