"""evaluate: the benchmark with ground truth."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from annotator.cli import output
from annotator.cli.options import JsonOption, examples
from exports.text import counted

if TYPE_CHECKING:
    from annotator.evaluating import Work
    from pipeline.evaluate.benchmark import Case
    from pipeline.evaluate.grasps import Grasp
    from pipeline.recipe import Recipe

Mode = Literal["oracle-shape", "oracle-masks", "full"]
Dataset = Literal["arctic", "oakink", "dexycb", "ho3d", "obman", "rendered"]
Frame = Literal["camera", "opengl", "wrist", "object"]
Unit = Literal["m", "cm", "mm"]
Style = Literal["markdown", "csv", "latex"]
OF_GRASPS = ("grasps", "meshes", "ablation")
OF_DATASET = (
    *("root", "table", "predictions", "frame", "unit", "ours", "held", "split", "shard", "results", "style", "shown"),
)


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "hoi-annotate evaluate --grasps grasps/ --meshes meshes/ --n 60",
            "hoi-annotate evaluate --grasps grasps/ --meshes meshes/ --mode full -o benchmark.html",
            "hoi-annotate evaluate --grasps grasps/ --meshes meshes/ --ablation",
            "hoi-annotate evaluate --grasps grasps/ --meshes meshes/ --set optimise.size=256 --json",
            "hoi-annotate evaluate --dataset oakink --root OakInk/ --recipe easyhoi-paper --table 1",
            "hoi-annotate evaluate --dataset dexycb --root DexYCB/ --predictions IHOI=ihoi/ --frame wrist -o it.html",
            "hoi-annotate evaluate --dataset arctic --root arctic/ --shard 3/8",
        )
    )(evaluate)


def evaluate(
    context: typer.Context,
    grasps: Annotated[
        Path | None, typer.Option(help="Folder of .npz: object_id (N,), joints_obj (N, 21, 3) metres.")
    ] = None,
    meshes: Annotated[
        Path | None, typer.Option(help="Folder of meshes named <object_id> or *_<object_id>, metres.")
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(help="What is given; full: a picture only. Default: oracle-shape; with --dataset full."),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Cases to draw. Default: 60; with --dataset 500.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Decides which cases (with --grasps also cameras, noise and light).")
    ] = 0,
    recipe: Annotated[str, typer.Option(help="A shipped recipe or the path of a .toml file.")] = "cpu",
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.NAME=VALUE", help="Change a setting; repeatable.")
    ] = None,
    ablation: Annotated[bool, typer.Option("--ablation", help="Change one thing of the recipe at a time.")] = False,
    dataset: Annotated[Dataset | None, typer.Option(help="A data set with ground truth: the paper's tables.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where the data set lies, in its own layout.")] = None,
    table: Annotated[
        list[int] | None, typer.Option("--table", min=1, max=3, help="1 systems, 2 stages, 3 losses; repeatable.")
    ] = None,
    predictions: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]DIR", help="Meshes of another system: DIR/<case>/{hand,object}.obj; repeatable."),
    ] = None,
    frame: Annotated[Frame, typer.Option(help="The frame of --predictions.")] = "camera",
    unit: Annotated[Unit, typer.Option(help="The unit of --predictions.")] = "m",
    ours: Annotated[bool, typer.Option("--ours/--no-ours", help="Measure the pipeline too.")] = True,
    held: Annotated[
        bool, typer.Option("--held/--any", help="Draw only cases whose hand holds the object (force closure).")
    ] = True,
    split: Annotated[
        Path | None, typer.Option(help="Measure the cases of this list instead: .txt, .csv or .json.")
    ] = None,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help="Measure the I-th of N parts, no table.")] = None,
    results: Annotated[Path, typer.Option(help="Folder that keeps what was measured.")] = Path("evaluation"),
    style: Annotated[Style, typer.Option(help="How tables are printed.")] = "markdown",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", dir_okay=False, help="Also write a page with cases as pictures.")
    ] = None,
    shown: Annotated[int, typer.Option(min=0, help="Cases on the page of --dataset.")] = 20,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps rendered pictures and masks.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Cases at the same time.")] = None,
    json: JsonOption = False,
) -> None:
    """Measure the pipeline against ground truth: recorded grasps before drawn cameras, or a public data set."""
    from pipeline.recipe import Recipe

    loaded = Recipe.load(recipe).changed(change or [])
    workers = jobs or os.cpu_count() or 1
    if out is not None and not out.parent.is_dir():
        raise typer.BadParameter(f"there is no folder '{out.parent}'", ctx=context, param=_options(context)["out"])
    if dataset is None:
        if grasps is None or meshes is None:
            raise typer.BadParameter("give --dataset and --root, or --grasps and --meshes")
        _refuse(context, OF_DATASET, "only with --dataset")
        if ablation:
            _refuse(context, ("out",), "an ablation has no page; the table with its page is made without --ablation")
        _grasps(grasps, meshes, mode or "oracle-shape", n or 60, seed, loaded, ablation, out, cache, workers, json)
        return
    _refuse(context, OF_GRASPS, "not with --dataset")
    if root is None:
        raise typer.BadParameter(f"--dataset {dataset} needs --root, the folder where it lies")
    if not ours and not predictions:
        raise typer.BadParameter("--no-ours leaves nothing to measure: give --predictions")
    from annotator.cli.evaluate_dataset import Request, evaluate_dataset

    asked = Request(
        dataset=dataset,
        root=root,
        recipe=loaded,
        mode=mode or "full",
        tables=tuple(table or [1]),
        n=n or 500,
        seed=seed,
        held_only=held,
        split=split,
        shard=shard,
        predictions=tuple(predictions or []),
        frame=frame,
        unit=unit,
        ours=ours,
        results=results,
        cache=cache,
        jobs=workers,
        style=style,
        json=json,
        out=out,
        shown=shown,
    )
    evaluate_dataset(asked)


def _refuse(context: typer.Context, names: tuple[str, ...], why: str) -> None:
    """Raises BadParameter for an option that was given and would not be used."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise typer.BadParameter(why, ctx=context, param=_options(context)[name])


def _options(context: typer.Context) -> dict[str, Any]:
    """By their names; an error that is told of one names it as typer's own do."""
    return {str(parameter.name): parameter for parameter in context.command.params}


def _grasps(
    grasps: Path,
    meshes: Path,
    mode: Mode,
    n: int,
    seed: int,
    recipe: Recipe,
    ablation: bool,
    out: Path | None,
    cache: Path | None,
    workers: int,
    json: bool,
) -> None:
    from annotator.evaluating import ABLATION, Work, grasps_of
    from pipeline.evaluate.figures import LONG_STEPS

    chosen = grasps_of(grasps, meshes, n, seed)
    if ablation:
        changed = {name: recipe.changed(each) for name, each in ABLATION.items()}
        rows = {
            name: Work(mode, other, seed, cache, ("refined",))
            for name, other in changed.items()
            if not ABLATION[name] or other.digest != recipe.digest  # what the recipe does not have is not taken away
        }
        tables = _measure(chosen, rows, workers)[1]
        if json:
            output.data_json({"mode": mode, "n": len(chosen), "seed": seed, "ablation": tables})
        else:
            _print({_named(name, table): table["stages"]["refined"] for name, table in tables.items()}, len(chosen))
        _end_if_none(tables.values())
        return
    work = Work(mode, recipe, seed, cache)
    cases, tables = _measure(chosen, {mode: work}, workers)
    table = tables[mode]
    if json:
        output.data_json(table)
    else:
        _print(table["stages"], len(cases))
        held, truly = (table["stages"][stage].get("held") for stage in ("refined", "truth"))
        residual = table["stages"]["truth"]["residual_mm"]["median"]
        scenes = f"{counted(len(cases), 'scene')}, {table['failures']} failed"
        output.data(f"{scenes}; median / mean, in brackets of how many scenes if not of all")
        output.data(f"the open hand is {residual:.1f} mm from the recorded joints (median of means)")
        if held and truly:
            output.data(f"held for {LONG_STEPS} simulated steps: {held['mean']:.0%} (truth: {truly['mean']:.0%})")
    if out is not None:
        from annotator.report.benchmark_page import write_page

        write_page(out, cases, table, work)
        output.say(f"page: {out}")
    _end_if_none([table])


def _named(row: str, table: dict[str, Any]) -> str:
    return f"{row} ({table['failures']} failed)" if table["failures"] else row


def _end_if_none(tables: Iterable[dict[str, Any]]) -> None:
    """Exit 1 when no scene of any table has an answer."""
    if all(table["failures"] == table["n"] for table in tables):
        output.say("error: every scene failed")
        raise typer.Exit(1)


def _measure(chosen: list[Grasp], rows: dict[str, Work], jobs: int) -> tuple[list[Case], dict[str, dict[str, Any]]]:
    """All cases, and a table of each row's."""
    from annotator.evaluating import evaluate as run
    from pipeline.evaluate.benchmark import summarise

    cases = []
    with output.Bar("scenes") as bar:
        bar.begin(len(chosen) * len(rows))
        for number, case in enumerate(run(chosen, list(rows.values()), jobs)):
            cases.append(case)
            name = case.name if len(rows) == 1 else f"{case.name}, {list(rows)[number % len(rows)]}"
            if case.failure:
                bar.failed(name, case.failure)
            else:
                refined = case.stages["refined"]
                bar.done(name, f"wrist {refined['wrist_error_mm']:.0f} mm, hand IoU {refined['hand_iou']:.2f}")
    works = enumerate(rows.items())
    return cases, {name: summarise(cases[at :: len(rows)], work.mode, work.seed) for at, (name, work) in works}


def _print(rows: dict[str, Any], scenes: int) -> None:
    from annotator.evaluating import COLUMNS, rows_of

    output.table(["", *COLUMNS.values()], rows_of(rows, scenes))
