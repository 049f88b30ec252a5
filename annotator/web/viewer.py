"""One revision under an unguessable address: its pictures, its mesh and the 3D page. Also photos without a pair.

Label Studio shows the pictures, which it fetches by script, and the page, which it embeds: so other origins may.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from annotator.records import NPZ, reconstruction_digest
from annotator.report.pictures import SIDE_VIEW
from annotator.report.templates import environment
from annotator.web.links import Links
from annotator.web.pictures import Pictures
from annotator.web.static import FOREVER, asset
from annotator.workspace import Workspace
from db.models import Revision
from db.repositories import Pairs, Revisions

TO_ROOT = "../../../../"  # from the page to the server's root
FOR_ALL = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
PAGE_HEADERS = FOR_ALL | {
    "Cache-Control": "public, max-age=3600",  # what it shows never changes, but the scripts it names do
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        "script-src 'self' 'wasm-unsafe-eval' blob:; connect-src 'self' blob: data:; worker-src blob:; "
        "frame-ancestors *; base-uri 'none'; form-action 'none'"
    ),
}
SIGNED_SECONDS = 300  # enough to begin a download
MEDIA_TYPES = {"jpg": "image/jpeg", "glb": "model/gltf-binary"}


def router(workspace: Workspace, links: Links) -> APIRouter:
    routes = APIRouter()
    pictures = Pictures(workspace)

    @routes.get("/r/{pair}/{number}/{token}/viewer")
    def viewer(pair: str, number: int, token: str) -> Response:
        """The page that shows a revision in 3D."""
        if not links.check_revision(pair, number, token):
            raise HTTPException(404)
        with workspace.database.read() as session:
            revision = Revisions(session).get(Pairs(session).find(pair), number)
            page = environment().get_template("viewer.html.j2").render(_page(revision))
        return HTMLResponse(page, headers=PAGE_HEADERS)

    @routes.get("/r/{pair}/{number}/{token}/reconstruction.npz")
    def reconstruction(pair: str, number: int, token: str) -> Response:
        """Everything a revision is, as a file: from the bucket itself where the store is one."""
        if not links.check_revision(pair, number, token):
            raise HTTPException(404)
        with workspace.database.read() as session:
            digest = reconstruction_digest(Revisions(session).get(Pairs(session).find(pair), number))
        signed = workspace.blobs.signed_url(digest, SIGNED_SECONDS)
        if signed is not None:
            return RedirectResponse(signed)
        named = {"Content-Disposition": f'attachment; filename="{pair}-{number}.npz"', "Cache-Control": FOREVER}
        return Response(workspace.blobs.get(digest), media_type=NPZ, headers=named)

    @routes.get("/r/{pair}/{number}/{token}/{name}")
    def of_revision(pair: str, number: int, token: str, name: str) -> Response:
        """photo.jpg, overlay.jpg, thumb.jpg, turntable-0.jpg to -7.jpg, scene.glb, scene-plain.glb of a revision."""
        if not links.check_revision(pair, number, token):
            raise HTTPException(404)
        return _file(name, pictures.of_revision(pair, number, name))

    @routes.get("/p/{sha256}/{token}/{name}")
    def of_photo(sha256: str, token: str, name: str) -> Response:
        """photo.jpg or thumb.jpg of a photo, at the size the pipeline works in."""
        if not links.check_photo(sha256, token):
            raise HTTPException(404)
        return _file(name, pictures.of_photo(sha256, name))

    return routes


def _file(name: str, data: bytes) -> Response:
    kind = MEDIA_TYPES[name.rpartition(".")[2]]
    return Response(data, media_type=kind, headers=FOR_ALL | {"Cache-Control": FOREVER})


def _page(revision: Revision) -> dict[str, Any]:
    return {
        "photo": revision.pair.photo.name,
        "pair": revision.pair.public_id,
        "number": revision.number,
        "side": revision.hand["side"],
        "kind": revision.object["kind"],
        "touching": revision.contacts["touching"],
        "views": _views(revision.object["transl"]),
        "asset": lambda name: TO_ROOT + asset(name),
    }


def _views(middle: Sequence[float]) -> dict[str, str]:
    """Orbits (azimuth, angle from the top, distance) of model-viewer around `middle`, metres in the camera frame.

    The photo's camera looks at a pair beside the middle of the picture from the other side.
    """
    x, y, z = middle
    azimuth, elevation = math.degrees(math.atan2(-x, z)), math.degrees(math.atan2(y, math.hypot(x, z)))
    side, height = SIDE_VIEW
    return {
        "camera": f"{azimuth:.2f}deg {90 - elevation:.2f}deg auto",
        "side": f"{azimuth + side:.2f}deg {90 - height:.2f}deg auto",
        "top": f"{azimuth:.2f}deg 4deg auto",
    }
