"""A throw-away cluster of Debian's PostgreSQL on a free loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from ports import free_port


def binaries() -> Path | None:
    """The folder of the newest server's programs; None without a server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


class Cluster:
    """Started when made; `restart` as an administrator would, `close` for good."""

    def __init__(self, programs: Path) -> None:
        self._ctl = str(programs / "pg_ctl")
        self._folder = Path(tempfile.mkdtemp(prefix="hoi-postgres-"))
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        self._port = free_port()
        self._data = self._folder / "data"
        make = (str(programs / "initdb"), "-D", str(self._data), "-A", "trust", "-U", "hoi", "-E", "UTF8", "--no-sync")
        _as_server_user(*make)
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://hoi@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = str(self._folder / "log")
        _as_server_user(self._ctl, "-D", str(self._data), "-o", options, "-l", log, "-w", "-t", "300", "start")

    def stop(self, how: str = "fast") -> None:
        _as_server_user(self._ctl, "-D", str(self._data), "-m", how, "-w", "-t", "300", "stop")

    def close(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self._folder)


def _as_server_user(*command: str) -> None:
    """PostgreSQL refuses to run as root; Debian's package brings the user `postgres`."""
    if os.geteuid() == 0:
        command = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command)
    done = subprocess.run(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def empty(url: str) -> None:
    """Drops our tables and the job engine's."""
    from sqlalchemy import create_engine, text  # here, for conftest.py is also loaded where it is not installed

    engine = create_engine(url)
    with engine.begin() as connection:
        for schema in ("public", "dbos"):
            connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
