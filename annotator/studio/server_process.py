"""Our own Label Studio: a process of its own that listens on loopback, keeps its files in one folder, and ends with us.

port checked -> folder claimed -> tables copied -> process -> /health -> our token works
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO

from annotator.studio import install, launching, login
from annotator.studio.credentials import Credentials
from annotator.studio.errors import StudioError

HOST = "127.0.0.1"
START_TIMEOUT_S = 300.0  # tables of an older version may be migrated, on a busy machine
STOP_TIMEOUT_S = 10.0
CLAIM_TIMEOUT_S = 5.0  # a server whose parent was killed needs a moment to notice
POLL_S = 0.2
LOG_KEPT_BYTES = 5_000_000
LOG_READ_BYTES = 64_000


class StudioServer:
    """Label Studio on http://127.0.0.1:port. Port 0 is a free one, the same for every start of this object."""

    def __init__(self, data_dir: Path, venv: Path, port: int, credentials: Credentials) -> None:
        self.data_dir = data_dir.absolute()
        self.venv = venv
        self.port = port
        self.credentials = credentials
        """The account; after start() with the server's real address and a token that works."""
        self._process: subprocess.Popen[bytes] | None = None
        self._claim: IO[str] | None = None
        self._log_start = 0

    @property
    def url(self) -> str:
        """Where it answers, once it was started."""
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.data_dir / "server.log"

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def __enter__(self) -> StudioServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Returns when it answers and takes our token; does nothing when it runs. Raises StudioError."""
        if self.pid is not None:
            return
        self.stop()
        install.check(self.venv)
        try:
            self._claim_folder()
            self.port = _checked_port(self.port)
            self._prepare_folder()
            self._launch()
            self._wait_until_up(time.monotonic() + timeout_s)
            self._check_account()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends it and everything it started; nothing is lost, it commits before it answers."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._process = None
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def wait(self) -> None:
        """Returns never, unless it ends by itself: then raises StudioError."""
        if self._process is None:
            raise StudioError("Label Studio was not started")
        self._process.wait()
        raise self._ended("stopped")

    def _claim_folder(self) -> None:
        """One server per folder. The server inherits the lock, so that it holds for as long as either of us lives."""
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._claim = (self.data_dir / ".lock").open("w")
        deadline = time.monotonic() + CLAIM_TIMEOUT_S
        while True:
            try:
                fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise StudioError(
                        f"a Label Studio runs on {self.data_dir} already: use that one, or stop it first"
                    ) from error
                time.sleep(POLL_S)

    def _prepare_folder(self) -> None:
        (self.data_dir / "home").mkdir(exist_ok=True)
        database = self.data_dir / "label_studio.sqlite3"
        if not database.exists():
            copied = database.with_suffix(".new")
            shutil.copyfile(install.empty_database(self.venv), copied)
            copied.chmod(0o600)
            copied.replace(database)
        if self.log.exists() and self.log.stat().st_size > LOG_KEPT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))

    def _launch(self) -> None:
        assert self._claim is not None
        options = ("--no-browser", "--internal-host", HOST, "--port", str(self.port))
        account = {
            "LABEL_STUDIO_HOST": self.url,
            "LABEL_STUDIO_USERNAME": self.credentials.user,
            "LABEL_STUDIO_PASSWORD": self.credentials.password,
            "LABEL_STUDIO_USER_TOKEN": self.credentials.token,
        }
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                launching.command(self.venv, "start", *options),
                cwd=self.data_dir,
                env=launching.environment(self.data_dir) | account,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: we stop it, in our order
                pass_fds=(self._claim.fileno(),),
            )

    def _wait_until_up(self, deadline: float) -> None:
        assert self._process is not None
        while not login.is_up(self.url):
            if self._process.poll() is not None:
                raise self._ended("stopped while it started")
            if time.monotonic() > deadline:
                raise self._ended("does not answer")
            time.sleep(POLL_S)

    def _check_account(self) -> None:
        """A token that was reset in Label Studio is fetched anew with the password."""
        account = replace(self.credentials, url=self.url)
        try:
            if login.user_of(self.url, account.token) is None:
                fresh = login.current_token(self.url, account.user, account.password)
                if fresh is None or login.user_of(self.url, fresh) is None:
                    raise StudioError(
                        f"the Label Studio at {self.url} refuses the account '{account.user}': its data in "
                        f"{self.data_dir} was made with other credentials; put those back, or move that folder away"
                    )
                account = replace(account, token=fresh)
        except OSError as error:
            raise self._ended(f"does not answer as it should ({error})") from error
        self.credentials = account

    def _ended(self, how: str) -> StudioError:
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, self.log.stat().st_size - LOG_READ_BYTES))
            lines = log.read().decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return StudioError(f"Label Studio {how}: {last} (all of it: {self.log})")


def _checked_port(port: int) -> int:
    """Label Studio would take the next port without a word when this one is busy."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself does
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise StudioError(
                f"port {port} cannot be used ({error.strerror}): stop what uses it, or choose another with --port, "
                f"HOI_STUDIO_PORT or studio_port in hoi-annotate.toml"
            ) from error
        return int(probe.getsockname()[1])
