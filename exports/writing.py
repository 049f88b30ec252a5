"""The way of an export, the same for every format.

    entries -> leave out repetitions -> split by groups -> number -> [load -> prepare -> format -> files] in workers
            -> what belongs to all together -> card, statistics, manifest -> in place

Everything about a sample is decided before the first one is loaded, so a sample depends on its record alone: any number
of processes, and any interruption, give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from exports import card, croissant, folder, hands, manifest, statistics, statistics_page
from exports.atomic import atomic_folder
from exports.base import (
    Entry,
    ExportError,
    ExportInterrupted,
    ExportSummary,
    Format,
    Place,
    Record,
    Sample,
    UnsuitableRecord,
)
from exports.folder import Folder, Written
from exports.prepare import Preparation
from exports.splits import assign, groups_of, parse_split

Progress = Callable[[str, str | None], None]  # a pair's id, and why it was left out or None
IN_FLIGHT = 4  # records per worker that wait for it
WORTH_A_WORKER = 40  # records; to write these takes less time than to start a process


@dataclass(frozen=True)
class _Task:
    """One sample's work, as it goes to a worker process."""

    format: Format
    options: Mapping[str, Any]
    preparation: Preparation
    root: Path
    entry: Entry
    place: Place


def write(
    format: Format,
    entries: Sequence[Entry],
    out: Path,
    *,
    split: str | None = None,
    seed: int = 0,
    duplicates: str = "drop",
    mirror_left: bool = False,
    hand_model: str | None = None,
    jobs: int = 1,
    progress: Progress = lambda pair, reason: None,
    **options: Any,
) -> ExportSummary:
    """Write all entries below `out`, completely or not at all.

    `duplicates`: 'drop' leaves out photos that show the same picture as an earlier one, 'keep' keeps them in one
    split. `mirror_left` mirrors left hands with photo and object, for readers that know only right ones. `hand_model`
    names the model to express the hands in (default: the one they were made with). `options` are the format's own.
    Raises ExportError; what an interrupted call has done is taken up by the next one with the same arguments.
    """
    parsed = format.parse(options)
    ratios = _ratios(format, split or format.split)
    if duplicates not in ("drop", "keep"):
        raise ExportError(f"duplicates '{duplicates}': is neither drop nor keep")
    format.refuse(out)
    preparation = Preparation(mirror_left, hand_model)
    taken, skipped = _without_repetitions(entries, duplicates)
    asked = {"split": ratios, "seed": seed, "duplicates": duplicates, **preparation.asked(), "options": parsed}
    splits = assign([groups_of(entry.photo_sha256, entry.provenance) for entry in taken], ratios, seed)
    places = [Place(number, name) for number, name in zip(_numbers(taken), splits, strict=True)]
    for pair, reason in skipped:
        progress(pair, reason)
    with atomic_folder(out, lambda path: manifest.is_export(path, format.name)) as root:
        done = folder.begin(root, _fingerprint(format, taken, asked))
        tasks = []
        for entry, place in zip(taken, places, strict=True):
            if place.id in done:
                progress(entry.pair_id, folder.read_line(root, place.id).get("skipped"))
            else:
                tasks.append(_Task(format, parsed, preparation, root, entry, place))
        for pair, failure in _carried_out(tasks, jobs):
            progress(pair, failure)
        made, left_out = _collect(root, taken, places)
        skipped = sorted(skipped + left_out)
        format.finish(made, parsed)
        figures = statistics.collect(folder.read_line(root, sample.id)["statistics"] for sample in made.samples)
        header = {
            "format": format.name,
            **asked,
            "samples": [sample.entry for sample in made.samples],
            "skipped": skipped,
        }
        made.write("statistics.html", statistics_page.page(figures, header))
        made.write("README.md", card.text(format, header, figures))
        made.write(croissant.NAME, croissant.document(header, made.digests, format.tables()))
        folder.tidy(made)
        digest = manifest.write(root, header, made.digests)
    return ExportSummary(len(made.samples), skipped, out, digest)


def _ratios(format: Format, split: str) -> dict[str, float]:
    ratios = parse_split(split)
    unknown = set(ratios) - set(format.splits or ratios)
    if unknown:
        known = ", ".join(format.splits)
        raise ExportError(f"split '{split}': readers of {format.name} know {known}, not {', '.join(sorted(unknown))}")
    return ratios


def _without_repetitions(entries: Sequence[Entry], duplicates: str) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Each pair once, each picture once: the first stays."""
    taken: list[Entry] = []
    skipped: list[tuple[str, str]] = []
    pairs: set[str] = set()
    shown: dict[str, Entry] = {}
    for entry in entries:
        first = shown.setdefault(entry.same_picture or entry.photo_sha256, entry)
        if entry.pair_id in pairs:
            skipped.append((entry.pair_id, "another revision of this pair is already in the export"))
        elif duplicates == "drop" and first.photo_sha256 != entry.photo_sha256:
            skipped.append((entry.pair_id, f"its photo shows the same picture as that of {first.pair_id}"))
        else:
            taken.append(entry)
        pairs.add(entry.pair_id)
    return taken, skipped


def _numbers(entries: Sequence[Entry]) -> list[str]:
    """Eight digits from the hash of each pair's id, the next free ones if another pair has them."""
    used: set[int] = set()
    numbers = []
    for entry in entries:
        digest = hashlib.sha256(entry.pair_id.encode("utf-8", "surrogatepass")).digest()
        number = int.from_bytes(digest[:8], "big") % 10**8
        while number in used:
            number = (number + 1) % 10**8
        used.add(number)
        numbers.append(f"{number:08d}")
    return numbers


def _fingerprint(format: Format, entries: Sequence[Entry], asked: Mapping[str, Any]) -> str:
    """What two exports must have in common for one to go on where the other stopped; '' for never."""
    if not all(entry.digest for entry in entries):
        return ""
    code = type(format)
    records = [(entry.pair_id, entry.revision, entry.digest, entry.provenance) for entry in entries]
    made_by = [manifest.VERSION, f"{code.__module__}.{code.__qualname__}", hands.files_digest()]
    content = [*made_by, asked, records]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _carried_out(tasks: Sequence[_Task], jobs: int) -> Iterator[tuple[str, str | None]]:
    """Each pair's id and why it was left out, as they end."""
    if jobs <= 1 or len(tasks) < WORTH_A_WORKER:
        for task in tasks:
            yield task.entry.pair_id, _carry_out(task)
        return
    context = multiprocessing.get_context("forkserver")  # a server of one thread: what it imports, workers need not
    needed = {type(tasks[0].format).__module__, type(tasks[0].entry.load).__module__}
    context.set_forkserver_preload(sorted(needed))
    with (
        ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker) as pool,
        ThreadPoolExecutor(1) as starter,
    ):
        rest = iter(tasks)
        first = list(islice(rest, IN_FLIGHT * jobs))
        # The first submit waits until the server has imported. Meanwhile this process is a worker itself.
        started = starter.submit(lambda: {pool.submit(_carry_out, task): task.entry.pair_id for task in first})
        try:
            while not (started.done() and any(future.done() for future in started.result())):
                if (own := next(rest, None)) is None:
                    break
                yield own.entry.pair_id, _carry_out(own)
            waiting = started.result()
            for task in rest:
                if len(waiting) >= IN_FLIGHT * jobs:
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        yield waiting.pop(future), future.result()
                waiting[pool.submit(_carry_out, task)] = task.entry.pair_id
            for future in list(waiting):
                yield waiting.pop(future), future.result()
        except BrokenProcessPool:
            raise ExportInterrupted(
                "a worker process was killed, perhaps for want of memory; the same command goes on from here"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """A worker is one of many: its libraries take one thread each. Ctrl-C is for the parent, which then stops it."""
    import signal

    import cv2

    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # for torch, where a hand is refitted


def _end_with_the_parent() -> None:
    """A killed parent cannot stop its workers: they would wait for it for ever, or write beside its successor."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _carry_out(task: _Task) -> str | None:
    """Write one sample; why not, if its record does not fit."""
    entry, place = task.entry, task.place
    try:
        record = task.preparation(entry.load())
        if record.photo.size != (record.reconstruction.camera.height, record.reconstruction.camera.width):
            raise UnsuitableRecord("the photo's size is not the camera's")
        sample = task.format.sample(record, place, task.options)
        line = {"statistics": statistics.of(record)}
        sample = Sample(sample.files, _entry(record, place) | sample.entry, sample.row)
        folder.write_sample(task.root, place.id, sample, line)
    except UnsuitableRecord as error:
        folder.write_line(task.root, place.id, {"skipped": str(error)})
        return str(error)
    return None


def _entry(record: Record, place: Place) -> dict[str, Any]:
    """A sample in the manifest, whatever the format."""
    known = {name: str(record.provenance.get(name) or "unknown") for name in ("licence", "source", "recipe")}
    return {
        "id": place.id,
        "split": place.split,
        "pair_id": record.pair_id,
        "revision": record.revision,
        "photo": record.photo.sha256,
        "side": record.reconstruction.hand.side,
        "hand_model": record.reconstruction.estimate.model,
        **known,
        "groups": groups_of(record.photo.sha256, record.provenance),
    }


def _collect(root: Path, entries: Sequence[Entry], places: Sequence[Place]) -> tuple[Folder, list[tuple[str, str]]]:
    """The folder with all that is in it, and the records that were left out."""
    made = Folder(root)
    left_out = []
    for entry, place in sorted(zip(entries, places, strict=True), key=lambda pair: pair[1].id):
        line = folder.read_line(root, place.id)
        if "skipped" in line:
            left_out.append((entry.pair_id, line["skipped"]))
        else:
            made.samples.append(Written(place.id, place.split, line["entry"]))
            made.digests |= line["files"]
    return made, left_out
