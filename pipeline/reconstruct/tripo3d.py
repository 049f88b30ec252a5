"""Tripo3D, the commercial service of the paper, through its own SDK: `pip install 'hoi-annotate[tripo]'`.

It costs money per object, so its price is known before a batch starts (`cost`). The key is read from TRIPO_API_KEY at
each call; it is in no setting, no record, no message. The picture of the object alone leaves this machine.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline import hub
from pipeline.errors import HoiError, PipelineError
from pipeline.reconstruct.foreign_mesh import ForeignMesh, Shot, object_mesh
from pipeline.reconstruct.frames import Frame
from pipeline.reconstruct.square import shown
from pipeline.types import U8, Camera, Completion, Mask, ObjectMesh, Photo

KEY = "TRIPO_API_KEY"
MODEL = "v2.5-20250123"
CREDITS = 30  # of one textured object of that model, by the service's price list; a setting, since prices change
CENTS_PER_CREDIT = 1.0
TIMEOUT_S = 900.0


class NoTripoKey(HoiError):
    """The service's key is not in the environment."""


class Tripo3DReconstructor:
    """Settings: model, credits (of one object), seed, faces, timeout_s, url (another endpoint)."""

    name = "tripo3d"
    version = "1"
    licence, commercial = "the service's terms (https://platform.tripo3d.ai)", None
    frame = Frame("+y", "+x", azimuths=(0, 20, -20, 45, -45, 90, -90, 180), elevations=(0, 15, 30, 50, 75, -20))

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = dict(settings)

    def needs(self) -> list[str]:
        """One line for each thing that is missing: the SDK, the key."""
        lines = []
        for find in (_sdk, _key):
            try:
                find()
            except HoiError as error:
                lines.append(str(error))
        return lines

    @property
    def weights_digest(self) -> str:
        """The service's model; its weights are its own."""
        return str(self._settings.get("model", MODEL))

    def cost(self, objects: int) -> str:
        """One line to show before a batch of so many objects: what it will cost, and what the account has.

        Asks the service. Raises PipelineError when it does not answer, NoTripoKey without a key.
        """
        each = float(self._settings.get("credits", CREDITS))
        has = float(_run(self._client(), lambda client: client.get_balance()).balance)
        wanted = each * objects
        line = f"tripo3d: {objects} objects at {each:g} credits are {wanted:g} credits"
        line += f" (about {wanted * CENTS_PER_CREDIT / 100:.2f} USD); the account has {has:g}"
        return line if has >= wanted else f"{line}, which is not enough"

    def reconstruct(
        self, photo: Photo, completion: Completion, visible: Mask, camera: Camera, distance: float
    ) -> ObjectMesh:
        """See `Reconstructor`. Costs credits. Raises PipelineError in one line, without the key."""
        shot = Shot.of(photo, completion, camera, distance)
        mesh, credits = self._ask(shown(completion, shot.square, camera))
        notes = () if credits is None else (f"tripo3d took {credits:g} credits",)
        return object_mesh(self.name, mesh, self.frame, shot, depth_known=0.7, notes=notes)

    def _client(self) -> Any:
        return _sdk().TripoClient(api_key=_key(), v3_base_url=self._settings.get("url"))

    def _ask(self, picture: U8) -> tuple[ForeignMesh, float | None]:
        from pipeline.reconstruct.given_mesh import read_mesh

        seed = int(self._settings.get("seed", 0))
        with tempfile.TemporaryDirectory(prefix="hoi-tripo3d-") as folder:
            shown = Path(folder) / "object.png"
            Image.fromarray(picture).save(shown)

            async def order(client: Any) -> tuple[Any, str | None]:
                task_id = await client.image_to_model(
                    image=str(shown),
                    model_version=str(self._settings.get("model", MODEL)),
                    face_limit=int(self._settings.get("faces", 20000)),
                    pbr=False,
                    model_seed=seed,
                    texture_seed=seed,
                )
                timeout = float(self._settings.get("timeout_s", TIMEOUT_S))
                task = await client.wait_for_task(task_id, timeout=timeout)
                if getattr(task.status, "value", task.status) != "success":
                    said = task.error_msg or "no reason given"
                    raise PipelineError(f"tripo3d: task {task_id} is {task.status.value}: {_clean(said)}")
                files = await client.download_task_models(task, folder)
                return task, files.get("model")

            task, path = _run(self._client(), order)
            if path is None:
                raise PipelineError(f"tripo3d: task {task.task_id} is paid for, but its model could not be downloaded")
            return read_mesh(Path(path)), task.credits_consumed


def _sdk() -> Any:
    os.environ.setdefault("TRIPO_DISABLE_GEO_DETECTION", "1")  # else importing it asks the web where we are
    return hub.require("tripo3d", adapter="tripo3d", extra="tripo")


def _key() -> str:
    key = os.environ.get(KEY, "")
    if not key:
        raise NoTripoKey(f"tripo3d: no key; get one at https://platform.tripo3d.ai and set {KEY}")
    return key


def _run(client: Any, work: Any) -> Any:
    """What the SDK's coroutine returns; its errors as one line of ours."""

    async def run() -> Any:
        async with client:
            return await work(client)

    try:
        return asyncio.run(run())
    except HoiError:
        raise
    except Exception as error:  # the SDK's own, and those of its transport
        raise PipelineError(f"tripo3d: {_clean(str(error) or type(error).__name__)}") from None


def _clean(text: str) -> str:
    """One line without the key."""
    key = os.environ.get(KEY, "")
    line = " ".join((text.replace(key, "***") if key else text).split())
    return line[:300]
