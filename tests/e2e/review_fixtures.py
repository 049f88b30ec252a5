"""Fixtures for the tests of the review loop, beside those of `studio_server`; a module that wants them says

pytest_plugins = ["studio_server", "review_fixtures"]
pytestmark = [..., pytest.mark.usefixtures("fake_pipeline")]
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from review_bench import Bench, Person, sign_up

from annotator.studio.credentials import Credentials

if TYPE_CHECKING:
    from studio_server import Studio

TESTS = Path(__file__).parents[1]


@pytest.fixture
def fake_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HOI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOI_PIPELINE", "fake_pipeline")
    monkeypatch.setenv("HOI_JOBS", "0")
    monkeypatch.setenv("PYTHONPATH", f"{TESTS / 'annotator'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


@pytest.fixture(scope="session")
def people(studio: Studio) -> list[Person]:
    """Four reviewers of the shared server."""
    return [sign_up(studio, f"{name}@example.org") for name in ("ann", "bo", "cy", "di")]


@pytest.fixture
def ann(people: list[Person]) -> Person:
    return people[0]


@pytest.fixture
def bo(people: list[Person]) -> Person:
    return people[1]


@pytest.fixture
def new_bench(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Bench]]:
    """Makes workspaces. Nothing that was said or logged about them holds a secret."""
    caplog.set_level(logging.INFO)
    made: list[Bench] = []

    def make(account: Credentials, **settings: str) -> Bench:
        made.append(Bench(tmp_path / f"workspace-{len(made)}", account, **settings))
        return made[-1]

    yield make
    for bench in made:
        secrets, written = bench.secrets(), bench.close()
        assert len(secrets) >= 5
        assert [secret for secret in secrets if secret in written] == []


@pytest.fixture
def bench(studio: Studio, new_bench: Callable[..., Bench]) -> Bench:
    return new_bench(studio.server.credentials)
