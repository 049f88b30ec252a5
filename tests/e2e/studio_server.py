"""A real Label Studio for tests: one per test session, on a free port, with a new folder.

A test module that wants it says

    pytest_plugins = ["studio_server"]      # not an import of the fixture: every importing module would start a server
    pytestmark = pytest.mark.studio

and uses the fixture `studio`; outside tests/e2e it puts that folder into sys.path first. Starting takes seconds:
`studio install` has made the tables. Projects are shared by all tests of a session, so every test makes its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ports import free_port

from annotator.config import load
from annotator.studio import credentials
from annotator.studio.install import is_installed, venv_of
from annotator.studio.server_process import StudioServer

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

VENV = venv_of(load(Path("/nowhere")))  # now: some tests hide HOI_* variables
REQUIRED = bool(os.environ.get("HOI_REQUIRE_STUDIO"))


class Studio:
    """A running server and the account of its owner."""

    def __init__(self, server: StudioServer) -> None:
        self.server = server

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def user(self) -> str:
        return self.server.credentials.user

    @property
    def password(self) -> str:
        return self.server.credentials.password

    @property
    def token(self) -> str:
        return self.server.credentials.token

    def client(self) -> LabelStudio:
        from label_studio_sdk import LabelStudio

        return LabelStudio(base_url=self.url, api_key=self.token, timeout=240)


@pytest.fixture(scope="session")
def studio_venv() -> Path:
    """Where Label Studio is installed; skips without it, fails where HOI_REQUIRE_STUDIO is set."""
    if not is_installed(VENV):
        (pytest.fail if REQUIRED else pytest.skip)(f"no Label Studio in {VENV}: 'hoi-annotate studio install'")
    return VENV


@pytest.fixture(scope="session")
def studio(studio_venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The session's server. A test that stops or breaks one takes `new_studio`."""
    folder = tmp_path_factory.mktemp("label-studio")
    with StudioServer(folder, studio_venv, free_port(), credentials.generate()) as server:
        yield Studio(server)


@pytest.fixture
def new_studio(studio_venv: Path, tmp_path: Path) -> Iterator[Callable[[], Studio]]:
    """Makes started servers of the test's own."""
    made: list[StudioServer] = []

    def make() -> Studio:
        folder = tmp_path / f"label-studio-{len(made)}"
        server = StudioServer(folder, studio_venv, free_port(), credentials.generate())
        made.append(server)
        server.start()
        return Studio(server)

    yield make
    for server in made:
        server.stop()
