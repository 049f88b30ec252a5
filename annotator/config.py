"""Settings: flags > HOI_* variables > hoi-annotate.toml of the workspace > defaults."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from annotator.errors import WorkspaceError

FILE = "hoi-annotate.toml"
TEMPLATE = """\
# A workspace of hoi-annotate. Flags and HOI_* variables win over what is written here.

recipe = "cpu"
# jobs = 2                                                # photos annotated at the same time
# reviewer = "ann"                                        # default: your login name
# database_url = "postgresql+psycopg://user@host/name"    # default: hoi.sqlite in this folder
# store_url = "s3://bucket/prefix"                        # default: store/ in this folder
# log = "json"                                            # default: text on a terminal, JSON elsewhere
# port = 8700                                             # of 'serve': webhooks, viewer, gallery
# public_url = "https://hoi.example.org"                  # how browsers and Label Studio reach 'serve'
"""


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "anonymous"


class Settings(BaseSettings):
    """What a workspace may set."""

    model_config = SettingsConfigDict(env_prefix="HOI_", extra="ignore")

    database_url: str | None = None
    """SQLAlchemy URL; default: hoi.sqlite in the workspace."""

    store_url: str | None = None
    """Where bytes are kept: file:// or s3://; default: store/ in the workspace."""

    recipe: str = "cpu"
    """A shipped recipe or the path of a .toml file."""

    jobs: int = Field(default=min(2, os.cpu_count() or 1), ge=0)
    """Worker processes; 0 works in the main process, for debugging."""

    pipeline: str = "pipeline.run"
    """The module that annotates: it offers annotate_photo and reoptimise."""

    worker_timeout: float = Field(default=30, gt=0)
    """Seconds without a heartbeat after which a worker counts as dead, and others take up what it had begun."""

    photo_timeout: float = Field(default=3600, gt=0)
    """Seconds after which a worker gives a photo up."""

    reviewer: str = Field(default_factory=_login_name)
    """Whose verdicts `review` records."""

    host: str = "127.0.0.1"
    """The address `serve` listens on."""

    port: int = Field(default=8700, ge=1, le=65535)
    """The port `serve` listens on."""

    public_url: str | None = None
    """How browsers and Label Studio reach `serve`; default: http://host:port. Needed when host is 0.0.0.0 or ::."""

    log: Literal["auto", "json", "text"] = "auto"
    """How logs look; 'auto' is text on a terminal and JSON elsewhere."""

    studio_port: int = Field(default=8080, ge=1, le=65535)
    """The port of our own Label Studio."""

    studio_venv: Path | None = None
    """The virtual environment of our own Label Studio; default: in the user's data folder."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(folder: Path, **flags: Any) -> Settings:
    """The settings of a workspace; flags that are None were not given. Raises WorkspaceError."""
    given = {name: value for name, value in flags.items() if value is not None}

    class Located(Settings):
        model_config = SettingsConfigDict(toml_file=folder / FILE)

    try:
        return Located(**given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise WorkspaceError(
            f"setting '{field}' (flag, HOI_{field.upper()} or {folder / FILE}): {first['msg']}"
        ) from error
    except (OSError, ValueError) as error:
        raise WorkspaceError(f"{folder / FILE} cannot be read: {error}") from error
