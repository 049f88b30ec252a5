"""Fixtures of the whole suite: a PostgreSQL server and an S3 server.

PostgreSQL is the server HOI_TEST_POSTGRES names, else a throw-away one, started once per test session and stopped at
its end. S3 is moto's server (`make s3-server`), likewise.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest
from local_s3 import S3Server, s3_running
from postgres_cluster import Cluster, binaries

with suppress(ImportError):  # where tests/with_torchvision runs there is none
    from hypothesis import HealthCheck, settings

    settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any machine")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a server this session may create tables in."""
    given = os.environ.get("HOI_TEST_POSTGRES")
    if given:
        yield given
        return
    cluster = _new_cluster()
    try:
        yield cluster.url
    finally:
        cluster.close()


@pytest.fixture
def postgres_cluster() -> Iterator[Cluster]:
    """A server of the test's own, to stop and start."""
    cluster = _new_cluster()
    try:
        yield cluster
    finally:
        cluster.close()


def _new_cluster() -> Cluster:
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL: install Debian's postgresql, or name a server in HOI_TEST_POSTGRES")
    return Cluster(programs)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with s3_running() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of its own on that server, to which the environment now leads."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_server.bucket}/{uuid.uuid4().hex}"
