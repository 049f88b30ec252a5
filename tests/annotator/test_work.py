"""Worker processes: order, death, Ctrl-C. Real processes, a pipeline that answers at once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from annotator import overview, service, work
from annotator.progress import Silent
from annotator.workspace import Workspace
from pipeline.errors import MissingWeights
from pipeline.recipe import Recipe

PhotoMaker = Callable[..., Path]
HERE = Path(__file__).parent


def tasks(workspace: Workspace, photo: PhotoMaker, *names: str) -> list[work.Task]:
    paths = [str(photo(name, shade)) for shade, name in enumerate(names)]
    service.ingest(workspace, paths, progress=Silent())
    recipe = Recipe.load("cpu")
    made = []
    for shade, path in enumerate(paths):
        sha256 = workspace.blobs.put(Path(path).read_bytes())
        name = Path(path).name
        task = work.Task(shade, sha256, name, [], recipe, workspace.store_url, workspace.cache_folder, "fake_pipeline")
        made.append(task)
    return made


def test_outcomes_come_in_order_whoever_is_faster(workspace: Workspace, photo: PhotoMaker) -> None:
    todo = tasks(workspace, photo, "slow.png", "b.png", "c.png", "d.png", "e.png")
    outcomes = list(work.run(todo, 2, workspace.root / "worker.log"))
    assert [outcome.task.name for outcome in outcomes] == [task.name for task in todo]
    alone = [work.perform(task) for task in todo]
    digests = [[answer.digest for answer in outcome.answers] for outcome in outcomes]
    assert digests == [[answer.digest for answer in outcome.answers] for outcome in alone]


def test_a_worker_that_dies_costs_its_photo_only(workspace: Workspace, photo: PhotoMaker) -> None:
    todo = tasks(workspace, photo, "a.png", "crash.png", "c.png", "d.png", "e.png")
    outcomes = list(work.run(todo, 2, workspace.root / "worker.log"))
    assert [outcome.task.name for outcome in outcomes] == [task.name for task in todo]
    assert [outcome.failure is None for outcome in outcomes] == [True, False, True, True, True]
    assert "worker process died" in str(outcomes[1].failure)


def test_what_concerns_every_photo_stops_the_batch(workspace: Workspace, photo: PhotoMaker) -> None:
    todo = tasks(workspace, photo, "a.png", "weights.png", "c.png")
    with pytest.raises(MissingWeights, match="models pull"):
        list(work.run(todo, 1, workspace.root / "worker.log"))


def test_what_a_library_prints_does_not_reach_the_terminal(
    workspace: Workspace, photo: PhotoMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    (task,) = tasks(workspace, photo, "loud.png")
    (outcome,) = work.run([task], 1, workspace.root / "worker.log")
    assert outcome.failure is None
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert (workspace.root / "worker.log").read_text() == "a native library says hello\n"


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file for which photos named "held" wait."""
    path = tmp_path / "gate"
    monkeypatch.setenv("FAKE_GATE", str(path))
    return path


@pytest.fixture
def batch(workspace: Workspace, photo: PhotoMaker, gate: Path) -> Iterator[tuple[Workspace, "subprocess.Popen[str]"]]:
    """`preannotate` in a process of its own on four photos: the first is done, the others take until the gate opens."""
    paths = [
        str(photo(name, shade)) for shade, name in enumerate(("first.png", "held 1.png", "held 2.png", "held 3.png"))
    ]
    service.ingest(workspace, paths, progress=Silent())
    python_path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    environment = {**os.environ, "HOI_JOBS": "1", "PYTHONPATH": python_path}
    command = [sys.executable, "-m", "annotator", "preannotate"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=workspace.root, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 240
        while overview.waiting(workspace) == 4 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        yield workspace, process
        if process.poll() is None:
            process.kill()


def finish(workspace: Workspace) -> None:
    service.preannotate(workspace, Recipe.load("cpu"), progress=Silent())
    found = overview.status(workspace)
    assert (found["photos"], found["by_status"], found["failed"]) == (4, {"preannotated": 4}, [])


def test_ctrl_c_stops_at_once_and_the_next_run_goes_on(
    batch: tuple[Workspace, "subprocess.Popen[str]"], gate: Path
) -> None:
    workspace, process = batch
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to parent and workers
    _, said = process.communicate(timeout=240)
    assert process.returncode == 1
    assert said.splitlines()[-1] == "error: interrupted; the same command goes on where this one stopped"
    assert "Traceback" not in said
    assert overview.waiting(workspace) == 3
    gate.touch()
    finish(workspace)


def test_a_killed_process_leaves_nothing_behind(batch: tuple[Workspace, "subprocess.Popen[str]"], gate: Path) -> None:
    workspace, process = batch
    process.kill()
    process.wait()
    assert overview.waiting(workspace) == 3
    gate.touch()
    finish(workspace)  # nobody holds the lock any more
    deadline = time.monotonic() + 240
    while _members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _members(process.pid)


def test_a_second_process_gets_a_clear_line(batch: tuple[Workspace, "subprocess.Popen[str]"], gate: Path) -> None:
    workspace, process = batch
    second = subprocess.run(
        [sys.executable, "-m", "annotator", "preannotate", "-w", str(workspace.root)],
        capture_output=True, text=True, cwd=HERE.parents[1],
    )  # fmt: skip
    assert second.returncode == 1
    assert f"is in use by process {process.pid} (preannotate)" in second.stderr
    gate.touch()
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    assert "4 photos annotated" in out
    status = [sys.executable, "-m", "annotator", "status", "--json", "-w", str(workspace.root)]
    found = json.loads(subprocess.run(status, capture_output=True, check=True, cwd=HERE.parents[1]).stdout)
    assert found["pairs"] == 4


def _members(session: int) -> list[int]:
    """Live processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found
