"""evaluate: the benchmark with ground truth."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from annotator.cli import output
from annotator.cli.options import JsonOption, examples

if TYPE_CHECKING:
    from annotator.evaluating import Work
    from pipeline.evaluate.benchmark import Case
    from pipeline.evaluate.grasps import Grasp

Mode = Literal["oracle-shape", "oracle-masks", "full"]


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "hoi-annotate evaluate --grasps grasps/ --meshes meshes/ --n 60",
            "hoi-annotate evaluate --grasps grasps/ --meshes meshes/ --mode full -o benchmark.html",
            "hoi-annotate evaluate --grasps grasps/ --meshes meshes/ --ablation",
            "hoi-annotate evaluate --grasps grasps/ --meshes meshes/ --set optimise.size=256 --json",
        )
    )(evaluate)


def evaluate(
    grasps: Annotated[Path, typer.Option(help="Folder of .npz: object_id (N,), joints_obj (N, 21, 3) metres.")],
    meshes: Annotated[Path, typer.Option(help="Folder of meshes named <object_id> or *_<object_id>, metres.")],
    mode: Annotated[Mode, typer.Option(help="What is given; full: a picture only.")] = "oracle-shape",
    n: Annotated[int, typer.Option("--n", min=1, help="Grasps to draw.")] = 60,
    seed: Annotated[int, typer.Option(help="Decides grasps, cameras, noise and light.")] = 0,
    recipe: Annotated[str, typer.Option(help="A shipped recipe or the path of a .toml file.")] = "cpu",
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.NAME=VALUE", help="Change a setting; repeatable.")
    ] = None,
    ablation: Annotated[bool, typer.Option("--ablation", help="Take the recipe's terms away one by one.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write a page with worst and best cases.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps rendered pictures and masks.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Scenes at the same time.")] = None,
    json: JsonOption = False,
) -> None:
    """Measure the pipeline against ground truth: recorded grasps, drawn cameras, exact masks."""
    from annotator.evaluating import ABLATION, Work, grasps_of
    from pipeline.evaluate.figures import LONG_STEPS
    from pipeline.recipe import Recipe

    chosen = grasps_of(grasps, meshes, n, seed)
    loaded = Recipe.load(recipe).changed(change or [])
    workers = jobs or os.cpu_count() or 1
    if ablation:
        tables = {}
        for name, settings in ABLATION.items():
            work = Work(mode, loaded.changed(settings), seed, cache)
            tables[name] = _measure(chosen, work, workers, name)[1]["stages"]["refined"]
        output.data_json({"mode": mode, "n": len(chosen), "seed": seed, "ablation": tables}) if json else _print(tables)
        return
    work = Work(mode, loaded, seed, cache)
    cases, table = _measure(chosen, work, workers, mode)
    if out is not None:
        from annotator.report.benchmark_page import write_page

        write_page(out, cases, table, work)
        output.say(f"page: {out}")
    if json:
        output.data_json(table)
        return
    _print(table["stages"])
    held = table["stages"]["refined"].get("held")
    truth = table["stages"]["truth"]
    output.data(f"{len(cases)} scenes, {table['failures']} failed; median / mean")
    output.data(f"the open hand is {truth['residual_mm']['median']:.1f} mm from the recorded joints (median of means)")
    if held:
        output.data(f"held for {LONG_STEPS} simulated steps: {held['mean']:.0%} (truth: {truth['held']['mean']:.0%})")


def _measure(chosen: list[Grasp], work: Work, jobs: int, what: str) -> tuple[list[Case], dict[str, Any]]:
    from annotator.evaluating import evaluate as run
    from pipeline.evaluate.benchmark import summarise

    cases = []
    with output.Bar(what) as bar:
        bar.begin(len(chosen))
        for case in run(chosen, work, jobs):
            cases.append(case)
            if case.failure:
                bar.failed(case.name, case.failure)
            else:
                refined = case.stages["refined"]
                bar.done(case.name, f"wrist {refined['wrist_error_mm']:.0f} mm, hand IoU {refined['hand_iou']:.2f}")
    return cases, summarise(cases, work.mode, work.seed)


def _print(stages: dict[str, Any]) -> None:
    from annotator.evaluating import COLUMNS, rows_of

    output.table(["", *COLUMNS.values()], rows_of(stages))
