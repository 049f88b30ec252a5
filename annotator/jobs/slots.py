"""The slots of a worker, each a process: the engine wants one of its own, and what kills one leaves the others."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any

from annotator import logs, work
from annotator.jobs.queue import prepare
from annotator.jobs.worker import JobWorker
from annotator.workspace import Workspace
from db.errors import DatabaseBusy, StorageError, StorageUnwritable
from exports.text import counted
from pipeline.errors import HoiError

GRACE_S = 30  # for what is in work when it is to stop
_PAUSE_S = 2.0  # before a slot is started again
_DEVICES = Path("/dev")
_UNFIT = 3  # exit code of a slot that has said why it cannot work


class Slots:
    """Runs `count` slots while it is entered, and starts those again that die.

    `ended` is set when it is to stop, and when none can work (`is_unfit`).
    """

    def __init__(self, workspace: Workspace, count: int, say: Callable[[str], None]) -> None:
        self._workspace, self._count, self._say = workspace, count, say
        self._context = multiprocessing.get_context("spawn")
        self._slots: list[BaseProcess] = []
        self._ready = [self._context.Event() for _ in range(count)]
        self._stopping, self._hurry = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="slots", daemon=True)
        self.ended = threading.Event()
        self.is_unfit = False

    def __enter__(self) -> Slots:
        prepare(self._workspace)
        self._slots = [self._started(number) for number in range(self._count)]
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is in work may end, for GRACE_S; the rest is handed back."""
        self._stopping.set()
        self._thread.join()
        for slot in self._slots:
            slot.terminate()
        end = time.monotonic() + GRACE_S + 10
        while any(slot.is_alive() for slot in self._slots) and time.monotonic() < end and not self._hurry.is_set():
            time.sleep(0.05)
        for slot in self._slots:
            slot.kill()
            slot.join()

    def hurry(self) -> None:
        """Somebody does not want to wait for what is in work."""
        self._hurry.set()

    def _started(self, number: int) -> BaseProcess:
        gpu = own_gpu(number) if self._count > 1 else None
        about = (self._workspace.root, self._workspace.settings.model_dump(), self._ready[number], gpu)
        slot = self._context.Process(target=_slot, args=about, name=f"slot {number}")
        slot.start()
        return slot

    def _look_after(self) -> None:
        fit = set(range(self._count))
        said = False
        while not self._stopping.is_set():
            multiprocessing.connection.wait([self._slots[number].sentinel for number in fit], timeout=0.2)
            for number in [number for number in fit if not self._slots[number].is_alive()]:
                code = self._slots[number].exitcode
                if code == _UNFIT:
                    fit.discard(number)
                    continue
                self._say(f"a slot died ({_how(code)}) and is started again; what it had begun goes on")
                if self._stopping.wait(_PAUSE_S):
                    return
                self._slots[number] = self._started(number)
            if not fit:
                self.is_unfit = True
                self.ended.set()
                return
            if not said and all(self._ready[number].is_set() for number in fit):
                said = True
                self._say(f"worker with {counted(len(fit), 'slot')} is ready")


def _how(code: int | None) -> str:
    return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"


def own_gpu(number: int) -> str | None:
    """Which of the GPUs that CUDA shows here is a slot's, the next one for the next; None where there is none."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        shown = ",".join(str(at) for at, _ in enumerate(_DEVICES.glob("nvidia[0-9]*")))
    gpus = [gpu.strip() for gpu in shown.split(",") if gpu.strip()]
    return gpus[number % len(gpus)] if gpus else None


def _slot(root: Path, settings: dict[str, Any], ready: Any, gpu: str | None) -> None:
    """A slot's process, until SIGTERM. `gpu`: the only one that it and what it starts may see; None: as it comes."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    work.end_with_parent()
    workspace = Workspace(root, **settings)
    logs.configure(workspace.settings.log)
    worker = JobWorker(workspace)
    signal.signal(signal.SIGTERM, lambda *_: worker.ended.set())
    try:
        worker.start()
        ready.set()
        worker.ended.wait()
        worker.stop(0 if worker.trouble else GRACE_S)
    except (HoiError, StorageError) as error:
        if ready.is_set() and isinstance(error, StorageUnwritable | DatabaseBusy):  # it worked before: try again
            sys.exit(str(error))
        worker.trouble = error
    if worker.trouble is not None:
        print(f"error: this worker cannot go on: {worker.trouble}", file=sys.stderr, flush=True)
        sys.exit(_UNFIT)
