"""The wheel carries everything: installed into a clean place it works from another folder, without the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked by pip into an empty target folder; its dependencies come from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=600)
    (wheel,) = folder.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("db/_alembic/versions/") for name in names)
    assert any(name.startswith("annotator/_ui_templates/") for name in names)
    assert any(name.endswith("OPEN_HAND_LEFT.npz") for name in names)
    assert not any("shared" in name or name.startswith("tests") for name in names)
    target = folder / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=600)
    return target


def hoi(site: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.argv[0] = 'hoi-annotate'; from annotator.cli import main; main()"
    # -P and the path order: the unpacked wheel comes before the editable install of this checkout
    env = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600, check=False)


def test_the_console_script_makes_a_workspace_from_another_folder(site: Path, tmp_path: Path) -> None:
    made = hoi(site, tmp_path, "init", "ws")
    assert made.returncode == 0, made.stderr
    status = hoi(site, tmp_path / "ws", "status", "--json")
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["photos"] == 0
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import db.migrate; print(db.migrate.__file__)"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(site))


@pytest.mark.weights
def test_the_main_job_runs_from_the_wheel(site: Path, tmp_path: Path) -> None:
    photo = sorted((ROOT / "demo").glob("*.jpg"))[0]
    done = hoi(site, tmp_path, "run", str(photo), "-o", "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").stat().st_size > 100_000
