"""Frozen workers, photos that kill, SIGTERM: what each costs, with real processes.

HOI_TEST_FREEZE_S sets for how long a worker is frozen, and after which silence it counts as dead.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fleet import Fleet, empty, fleet, until

from annotator import service
from annotator.reviewing import Change
from db.repositories import Pairs, Revisions

pytestmark = pytest.mark.slow
FREEZE_S = os.environ.get("HOI_TEST_FREEZE_S", "3")


def fix(bench: Fleet, pair: str, part: str) -> None:
    service.submit_fix(bench.workspace, bench.queue, pair, Change(touching=(part,)), reviewer="bo")


@pytest.mark.postgres
def test_a_frozen_worker_that_wakes_publishes_nothing_over_what_is_newer(tmp_path: Path, postgres_server: str) -> None:
    with fleet(tmp_path, empty(postgres_server)) as bench:
        bench.photos("first.png", "second.png")
        preannotate(bench)
        with bench.workspace.database.read() as session:
            pair, other = (found.public_id for found in Pairs(session).all())
        fix(bench, pair, "index")
        gate = tmp_path / "gate"
        frozen = bench.worker(FAKE_REOPTIMISE_GATE=str(gate), HOI_WORKER_TIMEOUT=FREEZE_S)
        until(lambda: bench.executed() == ["first.png"], "the job was not begun")
        bench.signal(frozen, signal.SIGSTOP)
        time.sleep(float(FREEZE_S))
        awake = bench.worker(HOI_WORKER_TIMEOUT=FREEZE_S)
        until(lambda: bench.jobs() == ["done"], "nobody took the job up")
        fix(bench, pair, "little")
        until(lambda: bench.jobs() == ["done", "done"], "the newer fix was not carried out")
        bench.enqueue(1, redo=True)
        until(lambda: bench.states() == {"done": 2}, "the photos were not done again")
        bench.kill(awake)
        gate.touch()
        bench.signal(frozen, signal.SIGCONT)
        fix(bench, other, "index")  # done by the one that woke: by then it has ended what it was frozen in
        until(lambda: bench.jobs() == ["done"] * 3, "the frozen worker does not work again")
        with bench.workspace.database.read() as session:
            newest = Revisions(session).get(Pairs(session).find(pair))
            assert newest.number == 3
            assert {"index", "little"} <= set(newest.contacts["touching"])
        assert sorted(bench.revisions().values()) == [2, 3]
        assert bench.executed().count("first.png") == 4  # the frozen one, its substitute, the newer fix, the redo
        bench.is_complete()


def preannotate(bench: Fleet) -> None:
    """`preannotate` here, as a command."""
    command = [sys.executable, "-m", "annotator", "preannotate", "-w", str(bench.workspace.root)]
    environment = bench.environment(HOI_JOBS="0", FAKE_LOG="")
    subprocess.run(command, env=environment, check=True, capture_output=True)


def test_photos_that_kill_end_as_failed_and_the_rest_goes_on(tmp_path: Path) -> None:
    with fleet(tmp_path) as bench:
        bench.photos("a.png", "crash.png", "killer.png", "z.png")
        bench.enqueue(4)
        worker = bench.worker("--slots", "1", own_folder=False)
        until(lambda: not bench.states()["pending"], "the queue stands")
        log = bench.workspace.root / "worker.log"
        assert bench.reasons() == {
            "a.png": None,
            "crash.png": f"the worker process died 3 times in a row (out of memory?); see {log}",
            "killer.png": "its worker died 3 times while it was annotated",
            "z.png": None,
        }
        assert bench.said(worker).count("a slot died (signal SIGKILL)") == 3
        bench.is_complete()
        bench.signal(worker, signal.SIGTERM)
        assert worker.wait(240) == 0


def test_a_photo_without_end_is_given_up(tmp_path: Path) -> None:
    with fleet(tmp_path) as bench:
        bench.photos("slow.png", "z.png")
        bench.enqueue(2)
        bench.worker(own_folder=False, FAKE_SECONDS="600", HOI_PHOTO_TIMEOUT="10")
        until(lambda: not bench.states()["pending"], "the queue stands")
        assert bench.reasons() == {"slow.png": "took longer than 10 s (setting photo_timeout)", "z.png": None}


def test_a_worker_without_weights_says_so_and_hands_back(tmp_path: Path) -> None:
    with fleet(tmp_path) as bench:
        bench.photos("weights.png")
        bench.enqueue(1)
        worker = bench.worker(own_folder=False)
        assert worker.wait(240) == 1
        assert "error: this worker cannot go on: hand_detector: no weights" in bench.said(worker)
        assert bench.states() == {"pending": 1}
        assert bench.tries() == [0]


def test_sigterm_ends_the_photo_in_work_and_hands_back_the_rest(tmp_path: Path) -> None:
    with fleet(tmp_path) as bench:
        bench.photos("held-1.png", "held-2.png", "held-3.png")
        bench.enqueue(3)
        gate = tmp_path / "gate"
        worker = bench.worker(own_folder=False, FAKE_GATE=str(gate))
        until(bench.executed, "it does not begin")
        bench.signal(worker, signal.SIGTERM)
        until(lambda: "slot takes nothing more" in bench.said(worker), "it does not stop")
        gate.touch()
        assert worker.wait(240) == 0
        assert bench.states() == {"done": 1, "pending": 2}
        assert len(bench.executed()) == 1  # it was not cut short, and no other begun
        assert bench.tries() == [0, 0, 0]
        doctor = [sys.executable, "-m", "annotator", "doctor", "--json", "-w", str(bench.workspace.root)]
        found = json.loads(subprocess.run(doctor, env=bench.environment(), capture_output=True).stdout)
        (queue,) = [entry for entry in found if entry["check"] == "queue"]
        assert queue["said"].startswith("2 photos and 0 jobs of reviewers waiting, 0 jobs running; no worker lives")

        command = [sys.executable, "-m", "annotator", "preannotate", "--engine", "queue", "--json"]
        command += ["-w", str(bench.workspace.root)]
        with subprocess.Popen(command, env=bench.environment(), stdout=-1, stderr=-1, text=True) as watching:
            assert watching.stderr is not None
            assert "0 photos queued" in watching.stderr.readline()
            assert "no worker lives" in watching.stderr.readline()
            watching.send_signal(signal.SIGINT)
            _, said = watching.communicate(timeout=240)
        assert watching.returncode == 1
        assert "2 photos left queued for the workers" in said

        with subprocess.Popen(command, env=bench.environment(), stdout=-1, stderr=-1, text=True) as watching:
            assert watching.stderr is not None
            assert any("no worker lives" in line for line in watching.stderr)  # it has looked
            bench.worker(own_folder=False, FAKE_GATE=str(gate))
            out, _ = watching.communicate(timeout=600)
        told = json.loads(out)
        assert (watching.returncode, told["photos"], len(told["published"])) == (0, 2, 2)
        assert bench.states() == {"done": 3}
        bench.is_complete()
