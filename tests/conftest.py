"""Fixtures of the whole suite: a PostgreSQL server.

It is the server HOI_TEST_POSTGRES names, else a throw-away one, started once per test session and stopped at its end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from postgres_cluster import Cluster, binaries


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
