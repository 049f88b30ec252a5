"""`evaluate --dataset`: many cases in worker processes, each kept once it is measured.

RESULTS/<dataset>/sample-<key>.json                      which cases a root, a number and a seed mean
RESULTS/<dataset>/<system>-<key>/<case>.json, .npz       figures, and the meshes for the page

The key is a digest of what decides the figures: root, the hand models that are here, protocol, and of a recipe its
settings, mode, and the versions of the pipeline and its adapters. Another system's files are noted in each case's own
record. The data set itself is taken to stay as it is.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from annotator.cache import DiskCache
from exports.hands import files_digest
from pipeline.errors import HoiError
from pipeline.evaluate.benchmark import Mode
from pipeline.evaluate.datasets import BadDataset, Case, reader
from pipeline.evaluate.datasets.case import Surface
from pipeline.evaluate.pair import Pair
from pipeline.evaluate.predictions import Predictions
from pipeline.evaluate.protocol import ANSWERED, LOSSES, PROTOCOL_VERSION, Measured, run_case, run_pair
from pipeline.evaluate.sample import Sample, draw, listed, usable
from pipeline.recipe import Recipe
from pipeline.requirements import adapters
from pipeline.run import PIPELINE_VERSION


@dataclass(frozen=True)
class Job:
    """What a worker needs for every case: the data, and the system that is measured on it."""

    dataset: str
    root: Path
    results: Path
    system: Recipe | Predictions
    mode: Mode = "full"
    losses: bool = False  # also the loss ablation
    cache: Path | None = None

    @cached_property
    def folder(self) -> Path:
        """Where this system's figures are kept. Raises UnknownAdapter, or what an adapter says of its settings."""
        if isinstance(self.system, Recipe):
            used = [] if self.mode == "oracle-shape" else adapters(self.system)
            versions = [f"{adapter.name} {adapter.version}" for adapter in used]
            decides = [self.system.digest, PIPELINE_VERSION, self.mode, *versions]
        else:
            decides = [str(self.system.folder.resolve())]
        return self.results / self.dataset / f"{file_name(self.system.name)}-{_key(self.root, decides)}"


def sample_of(
    dataset: str,
    root: Path,
    results: Path,
    n: int,
    seed: int,
    held_only: bool,
    split: Path | None,
    looked: Callable[[int, int], None],
) -> Sample:
    """The cases to measure; they are kept, for finding them looks at many. Raises BadDataset."""
    read = reader(dataset)
    given = None if split is None else listed(read, split)
    decides = [n, seed, held_only] if given is None else [given.rule, *given.names]
    kept = results / dataset / f"sample-{_key(root, decides)}.json"
    if kept.is_file():
        held = json.loads(kept.read_text())
        return Sample(tuple(held.pop("names")), **held)
    chosen = given or draw(read, root, n, seed, held_only, looked)
    if given is not None or not held_only:
        chosen = usable(chosen, read, root)
    if not chosen.names:
        raise BadDataset(f"{root}: none of the {chosen.looked_at} cases looked at is usable; rule: {chosen.rule}")
    _write(kept, json.dumps(asdict(chosen), indent=1).encode())
    return chosen


def shard(names: Sequence[str], text: str) -> list[str]:
    """Every n-th case, from 'i/n' (1/4 .. 4/4). Raises BadDataset."""
    first, _, of = text.partition("/")
    if not (first.isdigit() and of.isdigit() and 1 <= int(first) <= int(of)):
        raise BadDataset(f"shard '{text}': not i/n with 1 <= i <= n, such as 2/8")
    return list(names[int(first) - 1 :: int(of)])


def measured_before(job: Job, names: Sequence[str]) -> list[str]:
    """Those whose figures are kept already."""
    return [name for name in names if _held(job, name) is not None]


def measure(job: Job, names: Sequence[str], jobs: int) -> Iterator[Measured]:
    """In the order of the names, whichever worker is faster; what is kept already is read. Raises HoiError."""
    if jobs <= 1:
        yield from (_measure(job, name) for name in names)
        return
    try:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield from pool.map(_measure, [job] * len(names), names)
    except BrokenProcessPool:
        raise HoiError(
            "a worker process was killed, perhaps for want of memory; the same command goes on from here"
        ) from None


def pair_of(job: Job, name: str) -> tuple[Pair | None, Any]:
    """The kept answer of a case and the K (3, 3) that it assumed; None for a failure."""
    file = job.folder / f"{file_name(name)}.npz"
    if not file.is_file():
        return None, None
    with np.load(file, allow_pickle=False) as data:
        kept = {key: np.asarray(data[key]) for key in data.files}

    def surface(what: str) -> Surface | None:
        return Surface(kept[what].astype(np.float64), kept[f"{what}_faces"].astype(np.int64)) if what in kept else None

    return Pair(surface("hand"), None, surface("object")), kept["K"]


def file_name(name: str) -> str:
    """A case's or system's name as one part of a path."""
    return "".join(c if c.isalnum() or c in "-_.@" else "__" if c == "/" else "_" for c in name)


def _measure(job: Job, name: str) -> Measured:
    import torch

    torch.set_num_threads(1)
    held = _held(job, name)
    if held is not None:
        return held
    case = reader(job.dataset).load(job.root, name)
    found = _run(job, case)
    meshes = job.folder / f"{file_name(name)}.npz"
    if found.pair is None:
        meshes.unlink(missing_ok=True)  # of an answer that was there before
    else:
        _write(meshes, lambda file: np.savez_compressed(file, **_arrays(found)))
    record = {"case": name, "failure": found.failure, "seconds": found.seconds, "figures": found.figures}
    record |= {"hand_residual_mm": found.hand_residual_mm, "decides": _decides(job, name)}
    _write(job.folder / f"{file_name(name)}.json", json.dumps(record, indent=1).encode())
    return found


def _run(job: Job, case: Case) -> Measured:
    if isinstance(job.system, Predictions):
        return run_pair(case, job.system, ANSWERED[-1])
    cache = None if job.cache is None else DiskCache(job.cache)
    return run_case(case, job.mode, job.system, LOSSES if job.losses else {}, cache)


def _held(job: Job, name: str) -> Measured | None:
    """The kept figures, if they are whole and still mean this job."""
    file = job.folder / f"{file_name(name)}.json"
    try:
        kept = json.loads(file.read_text())
        figures = kept["figures"]
        if kept["case"] != name or kept["decides"] != _decides(job, name):
            return None
        if job.losses and not all(row in figures for row in LOSSES):
            return None
        return Measured(name, figures, kept["failure"], kept["hand_residual_mm"], kept["seconds"])
    except (OSError, ValueError, KeyError):
        return None


def _decides(job: Job, name: str) -> str:
    """What of a case may change while its folder stays: another system's files."""
    return job.system.digest(name) if isinstance(job.system, Predictions) else ""


def _arrays(found: Measured) -> dict[str, Any]:
    assert found.pair is not None
    arrays: dict[str, Any] = {"K": np.eye(3) if found.K is None else found.K}
    for what, surface in (("hand", found.pair.hand), ("object", found.pair.placed)):
        if surface is not None:
            arrays |= {what: surface.vertices.astype(np.float32), f"{what}_faces": surface.faces.astype(np.int32)}
    return arrays


def _key(root: Path, decides: Sequence[Any]) -> str:
    content = [str(root.resolve()), files_digest(), PROTOCOL_VERSION, *decides]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def _write(path: Path, content: bytes | Callable[[Any], None]) -> None:
    """Written beside and renamed, so that shards which share the folder see the whole or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as part:
        try:
            part.write(content) if isinstance(content, bytes) else content(part)
            part.close()
            Path(part.name).replace(path)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
