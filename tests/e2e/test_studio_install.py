"""`studio install`, with a real virtual environment and a real pip; what pip finds is a stand-in of a few lines.

The real thing is a gigabyte: CI installs it once, before the tests, with the same command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from annotator.studio.errors import StudioError
from annotator.studio.install import LOG, VERSION, empty_database, install, is_installed

pytestmark = pytest.mark.slow

SERVER = """
import os, pathlib, sys
from label_studio_needs import NAME
def main():
    assert sys.argv[1:] == ["init", "--quiet"] and NAME == "needed" and "HOI_CANARY" not in os.environ
    (pathlib.Path(os.environ["LABEL_STUDIO_BASE_DATA_DIR"]) / "label_studio.sqlite3").write_text("tables")
"""


def wheel(folder: Path, name: str, version: str, files: dict[str, str], needs: str = "") -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = files | {
        f"{info}/METADATA": metadata + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that pip can find."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("HOI_CANARY", "must not reach Label Studio")
    wheel(folder, "label_studio_needs", "1.0", {"label_studio_needs.py": "NAME = 'needed'"})
    files = {"label_studio/__init__.py": "", "label_studio/server.py": SERVER}
    wheel(folder, "label_studio", VERSION, files, needs="label_studio_needs")
    return folder


def test_an_installation_is_made_once(index: Path, tmp_path: Path) -> None:
    venv = tmp_path / "a folder" / "venv"
    said: list[str] = []
    assert install(venv, said.append)
    assert is_installed(venv)
    assert empty_database(venv).read_text() == "tables"
    assert any("1.23.2" in line for line in said)
    assert not install(venv, pytest.fail)
    assert not list(venv.glob("tables-*"))


def test_a_package_that_was_installed_by_half_is_installed_again(index: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    install(venv, lambda line: None)
    (packages,) = venv.glob("lib/python*/site-packages")
    empty_database(venv).unlink()
    (packages / "label_studio_needs.py").unlink()
    (packages / "label_studio_needs-1.0.dist-info" / "INSTALLER").unlink()  # as pip leaves it when it is killed
    assert install(venv, lambda line: None)
    assert is_installed(venv)


def test_what_pip_could_not_find_is_named_and_the_next_try_goes_on(index: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    needed = index / "label_studio_needs-1.0-py3-none-any.whl"
    kept = needed.rename(index / "kept")
    with pytest.raises(StudioError, match=r"label_studio_needs.*install\.log.*studio install") as refused:
        install(venv, lambda line: None)
    assert "\n" not in str(refused.value)
    assert not is_installed(venv)
    assert "No matching distribution" in (venv / LOG).read_text()
    kept.rename(needed)
    assert install(venv, lambda line: None)


def test_a_label_studio_that_does_not_run_is_not_installed(index: Path, tmp_path: Path) -> None:
    files = {"label_studio/__init__.py": "", "label_studio/server.py": "raise SystemExit('Error: no such table')"}
    wheel(index, "label_studio", VERSION, files)
    with pytest.raises(StudioError, match="no such table"):
        install(tmp_path / "venv", lambda line: None)
    assert not is_installed(tmp_path / "venv")


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cup.jpg").write_bytes(b"x")
    with pytest.raises(StudioError, match="HOI_STUDIO_VENV"):
        install(tmp_path / "photos", pytest.fail)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cup.jpg"]


def test_two_at_once_do_not_meet_and_a_killed_one_is_taken_up(index: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    slow = f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.1)\n{SERVER}"
    files = {"label_studio/__init__.py": "", "label_studio/server.py": slow}
    wheel(index, "label_studio", VERSION, files, needs="label_studio_needs")
    venv = tmp_path / "venv"
    code = "import sys; from pathlib import Path; from annotator.studio.install import install\n"
    code += "install(Path(sys.argv[1]), lambda line: print(line, flush=True))"
    with subprocess.Popen([sys.executable, "-c", code, str(venv)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert any("for the first time" in line for line in first.stdout)
        with pytest.raises(StudioError, match="another process"):
            install(venv, pytest.fail)
        first.send_signal(signal.SIGKILL)
    assert not is_installed(venv)
    gate.touch()
    deadline = time.monotonic() + 240
    while not finished(venv):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert is_installed(venv)
    assert not list(venv.glob("tables-*"))


def finished(venv: Path) -> bool:
    """One more try; the last child of a killed installation needs a moment to notice."""
    try:
        return install(venv, lambda line: None)
    except StudioError as error:
        if "another process" in str(error):
            return False
        raise
