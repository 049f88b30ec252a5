"""The pipeline in worker processes: tasks in, outcomes out, in the order of the tasks.

A worker knows no database. It reads the photo from the blob store, keeps stage results in the disk cache and sends
back plain bytes and JSON; the parent writes the rows, so ids never depend on which worker was faster. A worker that
dies (out of memory, a fault in a native library) costs its photo, not the batch.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotator.cache import DiskCache
from annotator.hints import to_hints
from annotator.records import columns
from db.blobs import BlobStore
from db.errors import BlobCorrupt, BlobMissing, StorageError
from pipeline.errors import HoiError, MissingWeights, PipelineError
from pipeline.photo import original_size, read_photo
from pipeline.recipe import Recipe
from pipeline.types import Edits

MOST_TRIES = 3  # of what ends its process every time

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class HandedBack(BaseException):
    """The worker ends, and what it was doing is for another one. No Exception: nothing may take it for an outcome."""


@dataclass(frozen=True)
class Task:
    """One photo to annotate, or one of its pairs to do again under `edits`."""

    photo_id: int
    sha256: str
    name: str
    hands: list[dict[str, Any]]  # a person's help (annotator.hints)
    recipe: Recipe
    store_url: str
    cache_folder: Path
    pipeline: str  # module that offers annotate_photo and reoptimise
    index: int = 0
    edits: Edits | None = None
    chunk_id: int | None = None  # what the photo waits in


@dataclass(frozen=True)
class Answer:
    """What became of one hand."""

    index: int
    reason: str | None  # why there is no reconstruction
    digest: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    reused: tuple[str, ...] = ()
    columns: dict[str, Any] = field(default_factory=dict)  # of the revision's row
    npz: bytes = b""  # the whole reconstruction


@dataclass(frozen=True)
class Outcome:
    """What became of one photo: its hands, or why there are none."""

    task: Task
    answers: tuple[Answer, ...] = ()
    failure: str | None = None
    trace: str = ""  # of a failure nobody expected


def perform(task: Task) -> Outcome:
    """Runs the pipeline on one task. Raises only what concerns every photo: no weights, a bad recipe, no room."""
    from pipeline.codec import encode

    try:
        results = _results(task)
    except MissingWeights:
        raise
    except (PipelineError, BlobMissing, BlobCorrupt) as error:
        return Outcome(task, failure=str(error))
    except (HoiError, StorageError):
        raise
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        return _unexpected(task, error)
    except Exception as error:  # a bug in one stage must not cost the other photos
        return _unexpected(task, error)
    answers = [
        Answer(r.index, r.reason)
        if r.reconstruction is None
        else Answer(r.index, None, r.digest, r.seconds, r.reused, columns(r.reconstruction), encode(r.reconstruction))
        for r in results
    ]
    return Outcome(task, tuple(answers))


def _results(task: Task) -> list[Any]:
    data = BlobStore(task.store_url).get(task.sha256)
    photo = read_photo(data, task.name, task.recipe.max_side)
    hints = to_hints(task.hands, max(photo.size) / max(original_size(data, task.name)))
    cache = DiskCache(task.cache_folder)
    pipeline = importlib.import_module(task.pipeline)
    if task.edits is None:
        return list(pipeline.annotate_photo(photo, task.recipe, hints, cache))
    return [pipeline.reoptimise(photo, task.recipe, task.index, task.edits, hints, cache)]


def _unexpected(task: Task, error: Exception) -> Outcome:
    return Outcome(task, failure=unexpected(error), trace=traceback.format_exc())


def unexpected(error: Exception) -> str:
    """What is told of an error that is a bug."""
    said = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    return f"internal error, please report it with worker.log: {type(error).__name__}: {said}"


def run(tasks: Iterable[Task], jobs: int, log: Path) -> Iterator[Outcome]:
    """The outcomes of all tasks, in their order. `jobs` 0 works in this process. Tracebacks go to `log`."""
    for outcome in map(perform, tasks) if jobs == 0 else _in_workers(tasks, jobs, log):
        _log_trace(outcome, log)
        yield outcome


def _in_workers(tasks: Iterable[Task], jobs: int, log: Path) -> Iterator[Outcome]:
    """As `run`; a worker that dies is replaced."""
    waiting = deque(tasks)
    while waiting:
        try:
            for outcome in _pooled(tuple(waiting), min(jobs, len(waiting)), log):
                waiting.popleft()
                yield outcome
        except BrokenProcessPool:  # one of the photos being worked on killed its worker: each alone, to see which
            for _ in range(min(jobs + 1, len(waiting))):
                yield _alone(waiting.popleft(), log)


def _alone(task: Task, log: Path) -> Outcome:
    try:
        return next(_pooled((task,), 1, log))
    except BrokenProcessPool:
        return Outcome(task, failure=f"the worker process died (out of memory?); see {log}")


class Pool:
    """Worker processes that stay warm between tasks. `jobs` 0: no processes."""

    def __init__(self, jobs: int, log: Path, longest_s: float) -> None:
        self._jobs, self._log, self._longest = jobs, log, longest_s
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._closed = False

    def perform(self, task: Task) -> Outcome:
        """As `perform`, in a worker. A task that ends its process is tried again, MOST_TRIES times in all.

        Raises HandedBack when the pool is closed meanwhile.
        """
        outcome = perform(task) if self._jobs == 0 else self._in_process(task)
        if self._closed:
            raise HandedBack
        _log_trace(outcome, self._log)
        return outcome

    def _in_process(self, task: Task) -> Outcome:
        for _ in range(MOST_TRIES):
            try:
                return self._started().submit(perform, task).result(self._longest)
            except TimeoutError:
                self._end()
                return Outcome(task, failure=f"took longer than {self._longest:.0f} s (setting photo_timeout)")
            except BrokenProcessPool:
                self._end()
        return Outcome(
            task, failure=f"the worker process died {MOST_TRIES} times in a row (out of memory?); see {self._log}"
        )

    def warm_up(self) -> None:
        """Starts the workers, so that the first task need not wait for their imports."""
        if self._jobs:
            self._started()

    def close(self) -> None:
        """Ends the workers; what they are doing is lost."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        """The workers, when they have imported what a task needs: that does not count as its time, or its death."""
        with self._lock:
            if self._closed:
                raise HandedBack
            if self._pool is None:
                self._pool = _workers(self._jobs, self._log)
                wait([self._pool.submit(_import_pipeline) for _ in range(self._jobs)])
            return self._pool


def _import_pipeline() -> None:
    importlib.import_module("pipeline.run")


def _workers(jobs: int, log: Path) -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_begin_worker, initargs=(log,))


def _log_trace(outcome: Outcome, log: Path) -> None:
    if outcome.trace:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{outcome.task.name}\n{outcome.trace}\n")


def _pooled(tasks: Sequence[Task], jobs: int, log: Path) -> Iterator[Outcome]:
    """Keeps `jobs` workers busy and no more: what is finished is handed on before more is started."""
    pool = _workers(jobs, log)
    remaining = iter(tasks)
    running: deque[Future[Outcome]] = deque()
    try:
        for task in remaining:
            running.append(pool.submit(perform, task))
            if len(running) > jobs:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    except BaseException:
        for child in multiprocessing.active_children():  # interrupted: nobody waits for half-done photos
            child.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker(log: Path) -> None:
    """One thread, deaf to Ctrl-C and SIGTERM (the parent decides), and what native libraries print goes to the log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent()
    with contextlib.suppress(OSError):
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def end_with_parent() -> None:
    """Ends this process when the one that spawned it ends."""
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A killed parent cannot stop its workers, and they would go on for a photo nobody records."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
