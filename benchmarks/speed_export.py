"""How fast datasets are written, and whether memory stays flat: synthetic pairs, stored as a workspace stores them.

    python benchmarks/speed_export.py [--formats obman canonical] [--counts 100 1000 10000] [--jobs 2]

Prints, per format and number of pairs: pairs per second from the start of the work to the finished folder (reading the
store, starting the workers and the digests included), and the peak memory of the parent and of the largest worker.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "exports"))

from synthetic_pairs import make_record

from annotator.datasets import Stored
from db.blobs import BlobStore
from exports.base import Entry, get_format
from pipeline.codec import encode

DIFFERENT = 64  # records made; more pairs repeat them under other names, as other photos


def entries(store: Path, count: int) -> list[Entry]:
    """Entries whose bytes lie in a blob store."""
    blobs = BlobStore(store.as_uri())
    stored = []
    for number in range(min(DIFFERENT, count)):
        record = make_record(number, "left" if number % 3 == 0 else "right")
        ok, photo = cv2.imencode(".jpg", record.photo.image[..., ::-1])
        assert ok
        stored.append((record.provenance, blobs.put(encode(record.reconstruction)), blobs.put(photo.tobytes())))
    made = []
    for number in range(count):
        provenance, arrays, photo = stored[number % len(stored)]
        pair = f"pair-{number}"
        load = Stored(blobs.url, arrays, photo, "photo.jpg", pair, 1, provenance)
        digest = hashlib.sha256(pair.encode()).hexdigest()
        made.append(replace(Entry(pair, 1, digest, provenance, load), digest=digest))
    return made


def measure(name: str, count: int, jobs: int, folder: Path) -> None:
    """One export, in a process of its own so that its peak memory is its own."""
    work = entries(folder / "store", count)
    start, workers = time.perf_counter(), 0.0
    looked = start

    def look(pair: str, reason: str | None) -> None:
        nonlocal workers, looked
        if time.perf_counter() - looked > 1:
            workers, looked = max([workers, *descendants(os.getpid())]), time.perf_counter()

    summary = get_format(name).write(work, folder / "dataset", jobs=jobs, progress=look)
    seconds = time.perf_counter() - start
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(path.stat().st_size for path in (folder / "dataset").rglob("*") if path.is_file()) / 1e6
    print(
        f"| {name} | {summary.count} | {len(summary.skipped)} | {seconds:.1f} | {count / seconds:.0f} | {own:.0f} | "
        f"{workers:.0f} | {size:.0f} |",
        flush=True,
    )


def descendants(pid: int) -> Iterator[float]:
    """Peak memory, MB, of every process below one: workers are the children of a fork server."""
    begun = [child for thread in Path(f"/proc/{pid}/task").iterdir() for child in _children(thread)]
    for child in begun:
        with contextlib.suppress(OSError):  # it has just ended
            status = dict(line.split(":", 1) for line in Path(f"/proc/{child}/status").read_text().splitlines())
            yield int(status["VmHWM"].split()[0]) / 1024
            yield from descendants(int(child))


def _children(thread: Path) -> list[str]:
    """A process belongs to the thread that started it."""
    with contextlib.suppress(OSError):
        return (thread / "children").read_text().split()
    return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", nargs="+", default=["obman", "canonical"])
    parser.add_argument("--counts", nargs="+", type=int, default=[100, 1000, 10_000])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.formats[0], arguments.counts[0], arguments.jobs, Path(arguments.one))
        return
    print("| format | pairs | left out | s | pairs/s | parent MB | largest worker MB | size MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name in arguments.formats:
        for count in arguments.counts:
            folder = Path(tempfile.mkdtemp())
            try:
                command = [sys.executable, __file__, "--one", str(folder), "--formats", name, "--counts", str(count)]
                subprocess.run([*command, "--jobs", str(arguments.jobs)], check=True)
            finally:
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
