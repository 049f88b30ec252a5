"""How far the queue carries: jobs in a second, what they leave in the database, what a photo costs beside its work.

    python benchmarks/scale_jobs.py drain --jobs 100000 --workers 2
    python benchmarks/scale_jobs.py ingest --photos 10000
    python benchmarks/scale_jobs.py overhead
    python benchmarks/scale_jobs.py workers --photos ../shared/photos --count 12

`drain` fills and empties the queue on PostgreSQL with a pipeline that says no at once, and works out what ten million
photos would take. `ingest` takes small photos in. `overhead` is what the queue adds to a photo, and `workers` annotates
real photographs by the cpu recipe with one slot and with two. A throw-away PostgreSQL is
started; HOI_TEST_POSTGRES names another.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the program does
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("IGL_NUM_THREADS", "1")

import numpy as np
import psutil
from PIL import Image
from sqlalchemy import insert, text

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from postgres_cluster import Cluster, binaries  # noqa: E402

from annotator import service, work  # noqa: E402
from annotator.annotating import Annotated, annotate, begun, take_over  # noqa: E402
from annotator.jobs import JobQueue, JobWorker, bulk  # noqa: E402
from annotator.jobs.slots import Slots  # noqa: E402
from annotator.progress import Silent  # noqa: E402
from annotator.workspace import Workspace  # noqa: E402
from db.models import Photo  # noqa: E402
from db.repositories import Photos  # noqa: E402
from pipeline.recipe import Recipe  # noqa: E402

MANY = 10_000_000
A_CHUNK = 20  # photos a worker does in bulk.USUAL_S on a GPU, at a second each
POLL_S = 0.005  # stub jobs are over at once: nobody waits for the next look


@contextmanager
def database() -> Iterator[str]:
    given, programs = os.environ.get("HOI_TEST_POSTGRES"), binaries()
    if given or programs is None:
        yield given or sys.exit("no PostgreSQL: name a server in HOI_TEST_POSTGRES")
        return
    cluster = Cluster(programs)
    try:
        yield cluster.url
    finally:
        cluster.close()


@contextmanager
def workspace(**settings: Any) -> Iterator[Workspace]:
    folder = Path(tempfile.mkdtemp(prefix="hoi-scale-"))
    made = Workspace.create(folder, **settings)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


def size_mb(opened: Workspace) -> float:
    with opened.database.read() as session:
        return float(session.execute(text("SELECT pg_database_size(current_database())")).scalar_one()) / 2**20


def memory_mb(pids: list[int]) -> float:
    return sum(psutil.Process(pid).memory_info().rss for pid in pids) / 2**20


def paint(path: Path, seed: int) -> None:
    patches = np.random.default_rng(seed).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(patches).resize((320, 240), Image.Resampling.BICUBIC).save(path, quality=85)


# drain


def drain(jobs: int, workers: int) -> dict[str, Any]:
    """`jobs` chunks of one photo each, enqueued and carried out by `workers` processes."""
    with database() as url, workspace(database_url=url, pipeline="scale_stub", jobs=0) as opened:
        sha256 = opened.blobs.put(_one_photo())
        with opened.database.write() as session:
            rows = [
                {"sha256": f"{n:064x}" if n else sha256, "name": f"{n}.jpg", "width": 320, "height": 240}
                for n in range(jobs)
            ]
            for start in range(0, jobs, 10_000):
                session.execute(insert(Photo), rows[start : start + 10_000])
        queue, recipe, before = JobQueue(opened), Recipe.load("cpu"), size_mb(opened)
        began = time.perf_counter()
        bulk.enqueue(opened, queue, recipe, size=1)
        enqueued, queued_mb, filler_mb = time.perf_counter() - began, size_mb(opened), memory_mb([os.getpid()])
        context = multiprocessing.get_context("spawn")
        began = time.perf_counter()
        settings = opened.settings.model_dump()
        running = [context.Process(target=_work, args=(opened.root / str(n), settings)) for n in range(workers)]
        for process in running:
            process.start()
        waits, first, grown, seen = jobs, [], [], [(0.0, 0)]
        while waits:
            time.sleep(0.5)
            with opened.database.read() as session:
                now = Photos(session).queued()
            if waits == jobs and now < jobs:
                began, seen = time.perf_counter() - 0.5, [(0.0, 0)]  # the workers have started
            waits = now
            seen.append((time.perf_counter() - began, jobs - now))
            print(f"{waits} wait", end="\r", file=sys.stderr, flush=True)
            grown = [memory_mb([p.pid]) for p in running if p.pid]
            first = first or (grown if now < jobs * 0.9 else [])
        drained = time.perf_counter() - began
        for process in running:
            process.terminate()
            process.join()
        queue.close()
        per_job_kb = (size_mb(opened) - before) * 1024 / jobs
    return {
        "jobs": jobs,
        "workers": workers,
        "enqueued_per_s": jobs / enqueued,
        "drained_per_s": jobs / drained,
        "drained_per_s_by_fifths": [rate(seen, jobs * k / 5, jobs * (k + 1) / 5) for k in range(5)],
        "database_kb_per_job": {"queued": (queued_mb - before) * 1024 / jobs, "done": per_job_kb},
        "memory_mb": {"filler": filler_mb, "workers_at_10_percent": first, "workers_at_end": grown},
    }


def rate(seen: list[tuple[float, int]], low: float, high: float) -> float:
    """Jobs a second between `low` and `high` jobs done, of (seconds, jobs done)."""
    times, done = zip(*seen, strict=True)
    return float((high - low) / max(np.interp(high, done, times) - np.interp(low, done, times), 1e-9))


def _one_photo() -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        paint(Path(file.name), 0)
        return Path(file.name).read_bytes()


def _work(root: Path, settings: dict[str, Any]) -> None:
    root.mkdir()
    shared = {"database_url": settings["database_url"], "store_url": (root.parent / "store").as_uri()}
    worker = JobWorker(Workspace(root, **(settings | shared)), poll_s=POLL_S)
    worker.start()
    worker.ended.wait()


def on_paper(found: dict[str, Any]) -> list[str]:
    """What MANY photos take, from what `drain` measured; the arithmetic is shown."""
    jobs = MANY // A_CHUNK
    rate, size = found["drained_per_s"], found["database_kb_per_job"]["done"]
    return [
        f"{MANY:,} photos / {A_CHUNK} in a chunk = {jobs:,} jobs",
        f"enqueue: {jobs:,} jobs / {found['enqueued_per_s']:.0f} per s = {jobs / found['enqueued_per_s'] / 60:.0f} min",
        f"the queue alone: {jobs:,} jobs / {rate:.0f} per s = {jobs / rate / 3600:.1f} h of {found['workers']} workers",
        f"rows: {jobs:,} jobs x {size:.1f} kB = {jobs * size / 2**20:.1f} GB, a photo's own row and revision apart",
        f"the work: {MANY:,} photos x 1 s on 100 GPUs = {MANY / 100 / 3600:.0f} h, in which {jobs / (MANY / 100):.0f} "
        f"jobs a second begin: {jobs / (MANY / 100) / rate:.0%} of what was measured here",
    ]


# ingest


def ingest(photos: int) -> dict[str, Any]:
    """Small photos from a folder, on SQLite; memory as it was at a tenth and at the end."""
    with workspace() as opened:
        folder = opened.root / "photos"
        folder.mkdir()
        for number in range(photos):
            paint(folder / f"{number:06d}.jpg", number)

        class Watch(Silent):
            count, at_tenth = 0, 0.0

            def done(self, name: str, said: str) -> None:
                self.count += 1
                if self.count == photos // 10:
                    self.at_tenth = memory_mb([os.getpid()])

        watch = Watch()
        began = time.perf_counter()
        service.ingest(opened, [str(folder)], progress=watch)
        took = time.perf_counter() - began
    end = memory_mb([os.getpid()])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"photos": photos, "per_s": photos / took, "memory_mb": {"tenth": watch.at_tenth, "end": end, "peak": peak}}


# workers


def compare_workers(folder: Path, count: int) -> dict[str, Any]:
    """The cpu recipe on real photographs by one slot and by two."""
    chosen = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[:count]
    took = {}
    for slots in (1, 2):
        with database() as url, workspace(database_url=url, jobs=1) as opened:
            service.ingest(opened, [str(path) for path in chosen], progress=Silent())
            took[slots] = by_queue(opened, slots, size=1)
    return {"photos": len(chosen), "one_slot_s": took[1], "two_slots_s": took[2], "gain": took[1] / took[2]}


def overhead(photos: int, seconds: float, size: int) -> dict[str, Any]:
    """What the queue adds to photos that take `seconds`, in chunks of `size`, against a loop in the same kind of
    process that records them as well."""
    os.environ["STUB_SECONDS"] = str(seconds)
    took = {}
    for slots in (0, 1):
        with database() as url, workspace(database_url=url, jobs=1, pipeline="scale_stub") as opened:
            folder = opened.root / "photos"
            folder.mkdir()
            for number in range(photos):
                paint(folder / f"{number:06d}.jpg", number)
            service.ingest(opened, [str(folder)], progress=Silent())
            took[slots] = by_queue(opened, 1, size) if slots else without_queue(opened)
    added = 1000 * (took[1] - took[0]) / photos
    return {"photos": photos, "in_a_chunk": size, "loop_s": took[0], "queue_s": took[1], "added_ms_per_photo": added}


def by_queue(opened: Workspace, slots: int, size: int) -> float:
    """Seconds until everything is done, from the moment the slots are ready."""
    queue, ready = JobQueue(opened), threading.Event()
    with Slots(opened, slots, lambda _: ready.set()):
        ready.wait()
        began = time.perf_counter()
        bulk.enqueue(opened, queue, Recipe.load("cpu"), size=size)
        bulk.watch(opened, Silent(), every_s=0.25)  # looking costs the slots time
        took = time.perf_counter() - began
    queue.close()
    return took


def without_queue(opened: Workspace) -> float:
    pool = work.Pool(1, opened.root / "worker.log", 3600)
    pool.warm_up()
    began = time.perf_counter()
    photos = take_over(opened, ("pending",), None)
    tasks = begun(opened, Recipe.load("cpu"), photos)
    annotate(opened, tasks, lambda some: map(pool.perform, some), "preannotate", Annotated(), Silent())
    took = time.perf_counter() - began
    pool.close()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("drain")
    one.add_argument("--jobs", type=int, default=100_000)
    one.add_argument("--workers", type=int, default=2)
    two = commands.add_parser("ingest")
    two.add_argument("--photos", type=int, default=10_000)
    three = commands.add_parser("workers")
    three.add_argument("--photos", type=Path, required=True)
    three.add_argument("--count", type=int, default=12)
    four = commands.add_parser("overhead")
    four.add_argument("--photos", type=int, default=100)
    four.add_argument("--seconds", type=float, default=0.5)
    four.add_argument("--chunk", type=int, help="photos in a chunk; default: as the queue does when it knows the time")
    given = parser.parse_args()
    match given.command:
        case "drain":
            found = drain(given.jobs, given.workers)
            found["on_paper"] = on_paper(found)
        case "ingest":
            found = ingest(given.photos)
        case "overhead":
            found = overhead(given.photos, given.seconds, given.chunk or int(bulk.USUAL_S / given.seconds))
        case _:
            found = compare_workers(given.photos, given.count)
    print(json.dumps(found, indent=2, default=lambda value: round(value, 2)))


if __name__ == "__main__":
    main()
