"""Installing Label Studio: its own virtual environment, never ours (it pins some 150 packages, about 1 GB).

    python -m venv -> pip install with pinned versions -> its tables, made once

The last step runs it for the first time. The tables take it the better part of a minute; every workspace starts with a
copy of them. That file is also the mark of a finished installation.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from annotator.config import Settings
from annotator.studio import launching
from annotator.studio.errors import StudioError

VERSION = "1.23.2"
REQUIREMENT = f"label-studio=={VERSION}"
CONSTRAINTS = Path(__file__).with_name("label_studio_constraints.txt")
LOG = "install.log"
AGAIN = "'hoi-annotate studio install' goes on from here"

Progress = Callable[[str], None]


def venv_of(settings: Settings) -> Path:
    """Where Label Studio is, or would be, installed."""
    if settings.studio_venv is not None:
        return settings.studio_venv.expanduser().absolute()
    given = os.environ.get("XDG_DATA_HOME")
    data = Path(given) if given else Path.home() / ".local" / "share"
    return data / "hoi-annotate" / f"label-studio-{VERSION}"


def empty_database(venv: Path) -> Path:
    """The SQLite file with Label Studio's tables and nothing in them."""
    return venv / f"label_studio-{VERSION}.sqlite3"


def is_installed(venv: Path) -> bool:
    """Whether an installation in this folder was finished."""
    return empty_database(venv).is_file() and launching.python(venv).exists()


def check(venv: Path) -> None:
    """Raises StudioError when Label Studio is not installed in this folder."""
    if not is_installed(venv):
        raise StudioError(f"Label Studio {VERSION} is not installed in {venv}: 'hoi-annotate studio install' does that")


def install(venv: Path, progress: Progress) -> bool:
    """Installs what is not there yet; False when all of it was. Raises StudioError."""
    with _alone(venv) as lock:
        if is_installed(venv):
            return False
        if venv.exists() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists() and not (venv / LOG).exists():
            raise StudioError(f"{venv} holds other files: name another folder in HOI_STUDIO_VENV")
        venv.mkdir(parents=True, exist_ok=True)
        empty_database(venv).unlink(missing_ok=True)  # it may be there without its interpreter
        with (venv / LOG).open("a", encoding="utf-8") as log:
            _forget_half_installed(venv)
            progress(f"making the virtual environment {venv}")
            _run([sys.executable, "-m", "venv", str(venv)], lock, log)
            _pip_install(venv, lock, log, progress)
            progress("running it for the first time: it makes its tables")
            _make_tables(venv, lock, log)
    return True


@contextmanager
def _alone(venv: Path) -> Iterator[int]:
    """Holds a lock; our children inherit it, so that it outlives us when they do."""
    path = venv.with_name(f"{venv.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StudioError(f"another process is installing Label Studio in {venv}: wait until it is done") from error
        yield handle.fileno()


def _forget_half_installed(venv: Path) -> None:
    """pip takes a package for installed when it was killed in the middle of it; INSTALLER is what it writes last."""
    for info in venv.glob("lib/python*/site-packages/*.dist-info"):
        if not (info / "INSTALLER").exists():
            shutil.rmtree(info)


def _pip_install(venv: Path, lock: int, log: IO[str], progress: Progress) -> None:
    total = sum(1 for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if "==" in line)
    progress(f"fetching {REQUIREMENT} and what it needs: {total} packages, about 1 GB when unpacked")
    seen = 0

    def follow(line: str) -> None:
        nonlocal seen
        if line.startswith(("Collecting ", "Requirement already satisfied: ")):
            seen += 1
            if seen % 50 == 0:
                progress(f"{min(seen, total)} of {total} packages found")
        elif line.startswith("Installing collected packages"):
            progress("unpacking")

    options = ("--disable-pip-version-check", "--no-input", "--progress-bar=off", "--constraint", str(CONSTRAINTS))
    _run([str(launching.python(venv)), "-I", "-m", "pip", "install", *options, REQUIREMENT], lock, log, follow)


def _make_tables(venv: Path, lock: int, log: IO[str]) -> None:
    for left in venv.glob("tables-*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix="tables-", dir=venv) as folder:
        data_dir = Path(folder)
        _run(launching.command(venv, "init", "--quiet"), lock, log, env=launching.environment(data_dir))
        (data_dir / "label_studio.sqlite3").replace(empty_database(venv))


def _run(
    command: list[str],
    lock: int,
    log: IO[str],
    follow: Progress = lambda line: None,
    env: dict[str, str] | None = None,
) -> None:
    """Runs a command; its output goes to the log. Raises StudioError with the line that says most."""
    said: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=env,
        pass_fds=(lock,),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            said.append(line.strip())
            follow(line)
    log.flush()
    if process.returncode:
        lines = [line for line in said if line]
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith(("ERROR: ", "Error: "))]
        what = (errors or lines or [f"exit code {process.returncode}"])[-1]
        raise StudioError(f"Label Studio cannot be installed: {what} (all of it: {log.name}); {AGAIN}")
