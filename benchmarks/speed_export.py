"""How fast datasets are written, and whether memory stays flat: synthetic pairs, stored as a workspace stores them.

    python benchmarks/speed_export.py [--formats obman canonical] [--counts 100 1000 10000] [--jobs 2]

Prints, per format and number of pairs: pairs per second from the start of a new process to its end (Python and its
imports, reading the store, starting the workers and the digests included), and the peak memory of that process and of
the largest worker.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

DIFFERENT = 64  # records made; more pairs repeat them under other names, as other photos


def store(folder: Path) -> list[tuple[dict[str, Any], str, str]]:
    """Different pairs in a blob store: provenance, sha256 of the reconstruction, sha256 of the photo."""
    import cv2

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "exports"))
    from synthetic_pairs import make_record

    from db.blobs import BlobStore
    from pipeline.codec import encode

    blobs = BlobStore(folder.as_uri())
    stored = []
    for number in range(DIFFERENT):
        record = make_record(number, "left" if number % 3 == 0 else "right")
        ok, photo = cv2.imencode(".jpg", record.photo.image[..., ::-1])
        assert ok
        stored.append((record.provenance, blobs.put(encode(record.reconstruction)), blobs.put(photo.tobytes())))
    return stored


def measure(name: str, count: int, jobs: int, stored: Path, out: Path) -> None:
    """One export, in a process of its own so that its peak memory is its own."""
    from annotator.stored import Stored
    from exports.base import Entry, get_format

    work = []
    pairs = json.loads((stored / "pairs.json").read_text())
    for number in range(count):
        provenance, arrays, photo = pairs[number % len(pairs)]
        pair = f"pair-{number}"
        load = Stored(stored.as_uri(), arrays, photo, "photo.jpg", pair, 1, provenance)
        digest = hashlib.sha256(pair.encode()).hexdigest()
        work.append(replace(Entry(pair, 1, digest, provenance, load), digest=digest))
    workers, looked = 0.0, time.perf_counter()

    def look(pair: str, reason: str | None) -> None:
        nonlocal workers, looked
        if time.perf_counter() - looked > 1:
            workers, looked = max([workers, *descendants(os.getpid())]), time.perf_counter()

    summary = get_format(name).write(work, out, jobs=jobs, progress=look)
    told = {"written": summary.count, "skipped": len(summary.skipped), "own": peak(os.getpid()), "workers": workers}
    print(json.dumps(told))


def descendants(pid: int) -> Iterator[float]:
    """Peak memory, MB, of every process below one: workers are the children of a fork server."""
    begun = [child for thread in Path(f"/proc/{pid}/task").iterdir() for child in _children(thread)]
    for child in begun:
        with contextlib.suppress(OSError):  # it has just ended
            yield peak(int(child))
            yield from descendants(int(child))


def peak(pid: int) -> float:
    """MB; not `ru_maxrss`, which a new process has from the one that started it."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


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
    parser.add_argument("--one", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.formats[0], arguments.counts[0], arguments.jobs, *arguments.one)
        return
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "pairs.json").write_text(json.dumps(store(folder)))
        print("| format | pairs | left out | s | pairs/s | parent MB | largest worker MB | size MB |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
        for name in arguments.formats:
            for count in arguments.counts:
                print(row(name, count, arguments.jobs, folder), flush=True)
    finally:
        shutil.rmtree(folder)


def row(name: str, count: int, jobs: int, folder: Path) -> str:
    """Measure one export and say it as a line of the table."""
    out = folder / "dataset"
    command = [sys.executable, __file__, "--formats", name, "--counts", str(count), "--jobs", str(jobs)]
    start = time.perf_counter()
    told = subprocess.run([*command, "--one", str(folder), str(out)], check=True, stdout=subprocess.PIPE).stdout
    seconds, made = time.perf_counter() - start, json.loads(told)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    shutil.rmtree(out)
    figures = (made["written"], made["skipped"], f"{seconds:.1f}", *map(round, (count / seconds, made["own"])))
    return f"| {name} | {' | '.join(map(str, figures))} | {made['workers']:.0f} | {size:.0f} |"


if __name__ == "__main__":
    main()
