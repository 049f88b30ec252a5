"""Real processes: a worker that obeys the protocol, and ones that break it in every way we could think of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import worker_protocol
from pipeline.worker_protocol import SCRIPTS, MissingEnvironment, Worker, WorkerFailed

FAKE = Path(__file__).parent / "fake_worker.py"
FRAME = {"axes": "opencv", "units": "metres"}
NUMBERS = {"numbers": np.arange(6.0).reshape(2, 3)}
Start = Any


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setenv("HOI_TEST_WORKERS", str(SCRIPTS))
    started: list[Worker] = []

    def make(mood: str = "obey", python: str = sys.executable, **times: float) -> Worker:
        started.append(Worker("fake", python, FAKE, FRAME, {"mood": mood}, **times))
        return started[-1]

    yield make
    for worker in started:
        worker.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_process_answers_question_after_question_and_ends_when_told(start: Start) -> None:
    worker = start()
    first = worker.ask("double", NUMBERS, {"seed": 3})
    second = worker.ask("double", {"numbers": np.ones((2, 3), np.float32)})
    assert first.values["echo"] == {"seed": 3}
    np.testing.assert_array_equal(first.required("double", 2, 3), 2 * NUMBERS["numbers"])
    np.testing.assert_array_equal(second.required("double", None, 3), np.full((2, 3), 2.0))
    assert first.array("colours", None, 3, optional=True) is None
    assert second.values["pid"] == first.values["pid"]
    worker.close()
    assert not alive(first.values["pid"])
    assert worker.ask("double", NUMBERS).values["pid"] != first.values["pid"]


def test_questions_leave_no_files_behind(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    start().ask("double", NUMBERS)
    with pytest.raises(WorkerFailed):
        start().ask("raise", NUMBERS)
    assert not list(tmp_path.iterdir())


def test_an_error_of_one_photo_is_one_line_and_the_worker_goes_on(start: Start) -> None:
    worker = start()
    pid = worker.ask("double", NUMBERS).values["pid"]
    with pytest.raises(WorkerFailed, match=r"^fake: ValueError: this photo is odd$"):
        worker.ask("raise", NUMBERS)
    assert worker.ask("double", NUMBERS).values["pid"] == pid


def test_a_crash_says_its_last_line_and_the_next_photo_gets_a_new_worker(start: Start) -> None:
    worker = start()
    pid = worker.ask("double", NUMBERS).values["pid"]
    with pytest.raises(WorkerFailed) as caught:
        worker.ask("crash", NUMBERS)
    assert str(caught.value) == "fake: its worker ended (exit status 7): RuntimeError: CUDA out of memory"
    assert worker.ask("double", NUMBERS).values["pid"] != pid


def test_a_worker_that_dies_twice_in_a_row_is_left_alone(start: Start) -> None:
    worker = start()
    for _ in range(2):
        with pytest.raises(WorkerFailed, match="out of memory"):
            worker.ask("crash", NUMBERS)
    with pytest.raises(WorkerFailed, match="twice in a row"):
        worker.ask("double", NUMBERS)


def test_a_worker_killed_between_two_photos_is_started_again(start: Start) -> None:
    worker = start()
    pid = worker.ask("double", NUMBERS).values["pid"]
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert worker.ask("double", NUMBERS).values["pid"] != pid


def test_a_worker_that_falls_silent_is_stopped(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = start()
    pid = worker.ask("double", NUMBERS).values["pid"]
    os.kill(pid, 19)  # SIGSTOP: not even its beats go on
    worker.silence_s = 3.0  # from now on: a busy machine may keep a beat of the living back for longer
    with pytest.raises(WorkerFailed, match=r"said nothing for 3 s and was stopped$"):
        worker.ask("double", NUMBERS)
    assert not alive(pid)


def test_a_worker_that_only_beats_is_stopped_when_its_time_is_up(start: Start) -> None:
    worker = start()
    pid = worker.ask("double", NUMBERS).values["pid"]
    worker.timeout_s = 3.0
    with pytest.raises(WorkerFailed, match=r"took more than 3 s and was stopped$"):
        worker.ask("slow", NUMBERS)
    assert not alive(pid)


def test_garbage_between_messages_is_overlooked_and_a_flood_of_it_is_not(start: Start) -> None:
    worker = start()
    np.testing.assert_array_equal(worker.ask("garbage", NUMBERS).required("double", 2, 3), 2 * NUMBERS["numbers"])
    with pytest.raises(WorkerFailed, match="no messages and was stopped"):
        worker.ask("flood", NUMBERS)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("nan", "numbers that are not finite in 'double'"),
        ("shape", "'double' as 3 x 2, not 2 x 3"),
        ("lack", "answer has no 'double'"),
        ("text", "is no number"),
    ],
)
def test_arrays_are_not_believed_unchecked(start: Start, what: str, reason: str) -> None:
    answer = start().ask(what, NUMBERS)
    with pytest.raises(WorkerFailed, match=reason):
        answer.required("double", 2, 3)


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("wrong frame", r"declares axes = 'opengl', not 'opencv'"),
        ("no frame", r"does not declare axes = 'opencv'"),
        ("other", r"speaks protocol 99, not 1"),
        ("dies", r"ended \(exit status 1\): ImportError: libcuda.so.1 is missing"),
        ("no module", r"needs a_package_that_is_nowhere, not installed in "),
    ],
)
def test_a_worker_that_does_not_fit_is_one_line(start: Start, mood: str, reason: str) -> None:
    with pytest.raises(WorkerFailed, match=reason) as caught:
        start(mood).ask("double", NUMBERS)
    assert "\n" not in str(caught.value)


def test_a_worker_that_never_says_hello_is_stopped(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_protocol, "HELLO_S", 1.0)
    with pytest.raises(WorkerFailed, match="was stopped"):
        start("silent").ask("double", NUMBERS)


def test_a_python_that_is_not_there_is_said(start: Start) -> None:
    with pytest.raises(MissingEnvironment, match=r"fake: cannot run /nowhere/python"):
        start(python="/nowhere/python").ask("double", NUMBERS)


def test_the_weights_digest_is_known_before_anything_is_loaded(tmp_path: Path, start: Start) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"1" * 3_000_000)
    worker = Worker("fake", sys.executable, FAKE, FRAME, {"mood": "no module", "weights": str(tmp_path)})
    first = worker.weights_digest
    worker.close()
    (tmp_path / "model.ckpt").write_bytes(b"1" * 2_999_999 + b"2")
    second = worker.weights_digest
    worker.close()
    assert len(first) == 64
    assert first != second
    assert start().weights_digest == ""


def test_secrets_and_our_own_python_do_not_reach_a_worker(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPO_API_KEY", "tsk_secret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    worker = start()
    pid = worker.ask("double", NUMBERS).values["pid"]
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"tsk_secret" not in environment
    assert b"PYTHONPATH" not in environment


@pytest.mark.parametrize("script", sorted(p.name for p in SCRIPTS.glob("*_worker.py")))
def test_every_worker_describes_itself_and_says_what_it_lacks_without_its_package(script: str) -> None:
    command = [sys.executable, str(SCRIPTS / script)]
    described = subprocess.run([*command, "--describe"], capture_output=True, text=True, check=True)
    hello = json.loads(described.stdout)
    assert hello["hoi"] == worker_protocol.PROTOCOL
    assert hello["conventions"]
    worker = Worker(hello["hello"], sys.executable, script, hello["conventions"], {"weights": "/nowhere", "repo": "/x"})
    assert "not installed" in worker.check()
    try:
        with pytest.raises(WorkerFailed, match=rf"^{hello['hello']}: needs .+, not installed in ") as caught:
            worker.ask("mesh", {})
        assert "\n" not in str(caught.value)
    finally:
        worker.close()


def test_workers_need_nothing_of_ours_and_an_old_python_reads_them() -> None:
    import ast

    for path in SCRIPTS.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
        names = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        names |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
        assert not [name for name in names if name.split(".")[0] in ("pipeline", "annotator", "db", "exports")]


def test_a_worker_whose_asker_was_killed_stops_in_the_middle_of_its_work(start: Start, tmp_path: Path) -> None:
    start()  # tells the script where the workers are
    np.save(tmp_path / "ask_numbers.npy", NUMBERS["numbers"])
    worker = subprocess.Popen([sys.executable, str(FAKE), "{}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdin is not None
    assert worker.stdout is not None
    question = {"id": 1, "ask": "slow", "folder": str(tmp_path), "arrays": ["numbers"], "values": {}}
    try:
        worker.stdin.write(json.dumps(question).encode() + b"\n")
        worker.stdin.flush()
        assert b"hello" in worker.stdout.readline()
        assert b"beat" in worker.stdout.readline()
        worker.stdin.close()
        worker.stdout.close()
        assert worker.wait(240) == 1
    finally:
        worker.kill()
        worker.wait()
