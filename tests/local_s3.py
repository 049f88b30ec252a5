"""Starts the S3 server of the tests: `s3_server.py`, by the Python of `make s3-server`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class S3Server:
    """One bucket behind one key."""

    endpoint: str
    key: str
    secret: str
    bucket: str = "hoi-tests"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
        }


@contextmanager
def s3_running(host: str = "127.0.0.1", inside: tuple[str, ...] = (), **environment: str) -> Iterator[S3Server]:
    """moto's server; `inside` is put before its command, as to run it in another network namespace."""
    python = Path(os.environ.get("HOI_TEST_S3_PYTHON", Path(__file__).parents[1] / ".s3-server/bin/python"))
    if not python.exists():
        if os.environ.get("HOI_REQUIRE_S3"):
            pytest.fail(f"no S3 server: {python} is not there; 'make s3-server' makes it")
        pytest.skip("no S3 server: 'make s3-server' fetches one")
    command = [*inside, str(python), str(Path(__file__).with_name("s3_server.py")), host]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=os.environ | environment, **pipes) as server:  # closing its stdin ends it
        assert server.stdout is not None
        yield S3Server(**json.loads(server.stdout.readline()))
