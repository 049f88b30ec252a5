"""evaluate --dataset: the paper's tables on a data set with ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotator.cli import output
from exports.text import counted

if TYPE_CHECKING:
    from annotator.evaluating_datasets import Job
    from annotator.report.side_by_side import Shown
    from annotator.report.table_text import Style
    from pipeline.evaluate.benchmark import Mode
    from pipeline.evaluate.predictions import Frame, Predictions, Unit
    from pipeline.evaluate.protocol import Measured
    from pipeline.evaluate.sample import Sample
    from pipeline.evaluate.tables import Table
    from pipeline.recipe import Recipe


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    dataset: str
    root: Path
    recipe: Recipe
    mode: Mode
    tables: tuple[int, ...]
    n: int
    seed: int
    held_only: bool
    split: Path | None
    shard: str | None
    predictions: tuple[str, ...]
    frame: Frame
    unit: Unit
    ours: bool
    results: Path
    cache: Path | None
    jobs: int
    style: Style
    json: bool
    out: Path | None
    shown: int


def evaluate_dataset(asked: Request) -> None:
    """Measure, then print the tables; with --shard only measure."""
    from annotator.evaluating_datasets import Job, shard
    from pipeline.evaluate.predictions import predictions

    others = [predictions(text, asked.frame, asked.unit) for text in asked.predictions]
    _told_apart([*(["ours"] if asked.ours else []), *(other.name for other in others)])
    sample = _sample(asked)
    for other in others:
        _answers_some(other, sample.names)
    names = list(sample.names) if asked.shard is None else shard(sample.names, asked.shard)
    losses = 3 in asked.tables
    about = (asked.dataset, asked.root, asked.results)
    jobs = [Job(*about, asked.recipe, asked.mode, losses, asked.cache)] if asked.ours else []
    jobs += [Job(*about, other) for other in others]
    measured = [_measure(job, names, asked.jobs) for job in jobs]
    if asked.shard is not None:
        output.say(f"shard {asked.shard}: {len(names)} of {len(sample.names)} cases are in {asked.results}")
        output.say("when all shards are done, the same command without --shard prints the tables")
        return
    mine, theirs = (measured[0], measured[1:]) if asked.ours else ([], measured)
    tables = _tables(asked, mine, dict(zip((other.name for other in others), theirs, strict=True)))
    if asked.out is not None:
        _page(asked, tables, jobs, measured, _facts(asked, sample, mine))
    if asked.json:
        output.data_json(_json(asked, sample, tables, jobs, measured))
        return
    from annotator.report.table_text import table_text

    output.data("\n".join(table_text(table, asked.style) for table in tables).rstrip())
    if asked.style == "markdown":
        output.data("")
        for fact in _facts(asked, sample, mine):
            output.data(fact)
    for job, cases in zip(jobs, measured, strict=True):
        for case in cases:
            if case.failure is not None:
                output.say(f"failed: {job.system.name}: {case.case}: {case.failure}")


def _told_apart(names: Sequence[str]) -> None:
    """Raises BadDataset when two systems would have one row."""
    from pipeline.evaluate.datasets import BadDataset

    for name in names:
        if names.count(name) > 1:
            raise BadDataset(f"two systems are named '{name}': tell them apart with --predictions NAME=DIR")


def _answers_some(other: Predictions, names: Sequence[str]) -> None:
    """Raises BadDataset for a folder that has no case's: it is another one, or its cases are named otherwise."""
    from pipeline.evaluate.datasets import BadDataset

    if not any((other.folder / name).is_dir() for name in names):
        raise BadDataset(
            f"{other.folder}: has a folder for none of the {len(names)} cases; the first is expected in "
            f"{other.folder / names[0]}"
        )


def _sample(asked: Request) -> Sample:
    from annotator.evaluating_datasets import sample_of

    with output.Bar("cases that are held", quiet=True) as bar:
        bar.begin(asked.n)
        found = 0

        def looked(held: int, seen: int) -> None:
            nonlocal found
            if held > found:
                found = held
                bar.done("", "")

        split = (asked.n, asked.seed, asked.held_only, asked.split, looked)
        return sample_of(asked.dataset, asked.root, asked.results, *split)


def _measure(job: Job, names: Sequence[str], workers: int) -> list[Measured]:
    from annotator.evaluating_datasets import measure, measured_before

    before = measured_before(job, names)
    if before:
        output.say(f"{job.system.name}: {len(before)} of {len(names)} cases were measured before ({job.folder})")
    found = []
    with output.Bar(job.system.name) as bar:
        bar.begin(len(names))
        for case in measure(job, names, workers):
            found.append(case)
            if case.failure is not None:
                bar.failed(case.case, case.failure)
            else:
                bar.done(case.case, _said(case))
    return found


def _said(case: Measured) -> str:
    """The figures of the last stage in a line."""
    from pipeline.evaluate.tables import LAST

    heads = [("f5", "F5", ".2f"), ("f10", "F10", ".2f"), ("cd_cm2", "CD", ".2f")]
    heads += [("displacement_cm", "SD", ".1f"), ("intersection_cm3", "IV", ".1f")]
    figures = case.figures.get(LAST, {})
    return ", ".join(f"{name} {figures[key]:{form}}" for key, name, form in heads if key in figures)


def _tables(asked: Request, mine: Sequence[Measured], theirs: dict[str, Sequence[Measured]]) -> list[Table]:
    from pipeline.evaluate.tables import table_1, table_2, table_3

    made = {
        1: lambda: table_1(asked.dataset, mine, theirs, asked.seed),
        2: lambda: table_2(asked.dataset, mine, asked.seed),
        3: lambda: table_3(asked.dataset, mine, asked.seed),
    }
    return [made[number]() for number in dict.fromkeys(asked.tables)]


def _facts(asked: Request, sample: Sample, mine: Sequence[Measured]) -> list[str]:
    """What a reader of the figures must know."""
    recipe = f"{asked.recipe.name} ({asked.recipe.digest[:12]})"
    facts = [
        f"{asked.dataset}: {counted(len(sample.names), 'case')}, {sample.rule}; recipe {recipe}, mode {asked.mode}",
    ]
    if sample.looked_at > len(sample.names):
        facts.append(
            f"{sample.not_held} of {sample.looked_at} cases looked at were not held; the data set has {sample.listed}"
        )
    stood_in = [case.hand_residual_mm for case in mine if case.hand_residual_mm is not None]
    if stood_in:
        mean = sum(stood_in) / len(stood_in)
        facts.append(
            f"in {counted(len(stood_in), 'case')} the open hand stands for the true hand's skin, {mean:.1f} mm from "
            "its joints; with your MANO added (models add-mano) the data set's own skin does"
        )
    return facts


def _json(
    asked: Request, sample: Sample, tables: Sequence[Table], jobs: Sequence[Job], measured: Sequence[Sequence[Measured]]
) -> dict[str, Any]:
    return {
        "dataset": asked.dataset,
        "recipe": asked.recipe.name,
        "recipe_digest": asked.recipe.digest,
        "mode": asked.mode,
        "seed": asked.seed,
        "sample": {
            "rule": sample.rule,
            "cases": list(sample.names),
            "listed": sample.listed,
            "looked_at": sample.looked_at,
            "not_held": sample.not_held,
        },
        "tables": [table.json() for table in tables],
        "systems": [
            {
                "name": job.system.name,
                "failed": [{"case": case.case, "reason": case.failure} for case in cases if case.failure is not None],
                "cases": {case.case: case.figures for case in cases},
            }
            for job, cases in zip(jobs, measured, strict=True)
        ],
    }


def _page(
    asked: Request,
    tables: Sequence[Table],
    jobs: Sequence[Job],
    measured: Sequence[Sequence[Measured]],
    facts: Sequence[str],
) -> None:
    from annotator.report.side_by_side import write_page

    assert asked.out is not None
    numbers = range(min(asked.shown, len(measured[0]) if measured else 0))
    lines = [_shown(asked, jobs, [cases[i] for cases in measured]) for i in numbers]
    write_page(asked.out, f"Evaluation: {asked.dataset}", tables, lines, facts)
    output.say(f"page: {asked.out}")


def _shown(asked: Request, jobs: Sequence[Job], found: Sequence[Measured]) -> Shown:
    from annotator.cache import DiskCache
    from annotator.evaluating_datasets import pair_of
    from annotator.report.side_by_side import Answer, Shown
    from pipeline.evaluate.datasets import reader
    from pipeline.evaluate.protocol import photo_of_case
    from pipeline.evaluate.render_mitsuba import MissingRenderer

    case = reader(asked.dataset).load(asked.root, found[0].case)
    cache = None if asked.cache is None else DiskCache(asked.cache)
    photo = None
    try:
        photo = photo_of_case(case, asked.recipe.max_side, cache).image
    except MissingRenderer as error:
        output.say(f"no photo on the page: {error}")
    answers = []
    for job, measured in zip(jobs, found, strict=True):
        pair, K = pair_of(job, measured.case)
        answers.append(Answer(job.system.name, pair, K, measured.failure or _said(measured)))
    return Shown(case, photo, answers)
