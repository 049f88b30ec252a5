"""The paper's three tables out of measured cases, with the paper's own figures beside them.

    1  reconstruction and grasp of every system       mean, 95 % interval
    2  after every stage of the optimisation           mean and standard deviation
    3  with every loss term taken away                 mean and standard deviation

Intervals are percentiles of the mean over resampled cases (bootstrap, seeded). A failed case counts with its worst
score where a figure has one (F-scores: 0) and is left to `failures` where it has none (distances, volumes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.evaluate.figures import HELD_CM, LONG_STEPS
from pipeline.evaluate.protocol import ANSWERED, LOSSES, Measured

RESAMPLES = 2000
LAST = ANSWERED[-1]
UNALIGNED = "_unaligned"
# Key, heading, which way is better.
SHAPE = (("f5", "F5", "up"), ("f10", "F10", "up"), ("cd_tenth", "CD cm2/10", "down"))
CD = (("cd_cm2", "CD cm2", "down"),)
GRASP = (("displacement_cm", "SD cm", "down"), ("intersection_cm3", "IV cm3", "down"))
LONG = (("displacement_1000_cm", f"median SD {LONG_STEPS} cm", "down"), ("held", "held", "up"))
VOXEL = (("intersection_voxel_cm3", "IV voxel cm3", "down"),)
STAGE_ROWS = {
    "initial": "no optimisation",
    "camera": "+ camera setup",
    "aligned": "+ contact alignment",
    "refined": "+ hand refinement",
}

# The paper's figures, as printed (EasyHOI, CVPR 2025).
PAPER_1: Mapping[str, Mapping[str, tuple[float, ...]]] = {  # F5 F10 CD SD IV
    "arctic": {
        "IHOI": (0.083, 0.164, 1.375, 2.79, 4.94),
        "AlignSDF": (0.102, 0.196, 1.289, 2.46, 4.73),
        "gSDF": (0.115, 0.247, 1.247, 2.31, 4.89),
        "MOHO": (0.072, 0.136, 12.878, 3.94, 4.72),
        "EasyHOI": (0.155, 0.272, 1.089, 2.25, 4.67),
    },
    "oakink": {
        "IHOI": (0.097, 0.152, 1.742, 3.14, 4.66),
        "AlignSDF": (0.095, 0.148, 1.813, 3.27, 4.61),
        "gSDF": (0.106, 0.173, 1.992, 3.15, 4.16),
        "MOHO": (0.175, 0.323, 3.883, 3.55, 4.86),
        "EasyHOI": (0.247, 0.445, 1.035, 3.08, 4.11),
    },
    "dexycb": {
        "IHOI": (0.084, 0.143, 1.897, 2.59, 4.93),
        "MOHO": (0.119, 0.249, 1.695, 2.62, 4.61),
        "EasyHOI": (0.134, 0.253, 1.628, 2.43, 4.52),
    },
}
PAPER_2: Mapping[str, Mapping[str, tuple[float, ...]]] = {  # SD mean, std, IV mean, std
    "arctic": {"initial": (5.79, 6.35, 0.49, 1.63), "camera": (5.79, 6.35, 0.49, 1.63)}
    | {"aligned": (2.87, 2.84, 8.36, 9.06), "refined": (2.25, 2.09, 4.67, 4.54)},
    "oakink": {"initial": (5.81, 5.94, 0.47, 1.82), "camera": (5.81, 5.94, 0.47, 1.82)}
    | {"aligned": (3.57, 3.66, 10.13, 11.74), "refined": (3.08, 2.92, 4.11, 4.77)},
    "dexycb": {"initial": (6.32, 6.29, 0.44, 1.76), "camera": (6.32, 6.29, 0.44, 1.76)}
    | {"aligned": (2.93, 2.86, 9.64, 9.75), "refined": (2.43, 2.41, 4.52, 4.64)},
}
PAPER_3: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "oakink": {
        "full losses": (3.08, 2.92, 4.11, 4.77),
        "w/o L_hand-mask": (3.21, 3.69, 4.28, 4.69),
        "w/o L_penetr": (2.95, 3.16, 9.62, 10.13),
        "w/o L_reg": (3.24, 3.73, 4.47, 4.82),
        "w/o L_contact": (3.94, 3.81, 4.26, 4.79),
    },
}
PAPER_CD = (
    "CD cm2 is the sum of the two mean squared distances. The paper's public code prints a tenth of it, and the "
    "paper's CD beside its F10 looks like that tenth too: the paper's CD stands in that column."
)
PAPER_SD = (
    "SD: 35 steps of 1/240 s, as the paper's public code simulates (gravity down the picture); the paper's text says "
    f"{LONG_STEPS}: the column of that name, where what nothing holds falls 46 m, so it shows the median, and how "
    f"many are held (moved less than {HELD_CM:g} cm)."
)


@dataclass(frozen=True)
class Cell:
    """One figure: its mean over n cases, their spread, and the interval of the mean."""

    mean: float
    std: float = math.nan
    median: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0  # 0: from the paper

    def json(self) -> dict[str, Any]:
        """Without what is not known."""
        return {key: number for key, number in vars(self).items() if not math.isnan(number)}


@dataclass(frozen=True)
class Row:
    """One line: where it comes from ('paper', 'measured', 'truth', 'prediction') and its cells by column key."""

    name: str
    source: str
    cells: dict[str, Cell]
    cases: int = 0
    failures: int = 0


@dataclass(frozen=True)
class Table:
    """A table of the paper."""

    number: int
    title: str
    columns: tuple[tuple[str, str, str], ...]
    rows: tuple[Row, ...]
    spread: str  # what stands behind a mean: 'interval' or 'std'
    notes: tuple[str, ...] = field(default=())

    def json(self) -> dict[str, Any]:
        """For a script."""
        rows = [
            {"name": row.name, "source": row.source, "cases": row.cases, "failures": row.failures}
            | {"figures": {key: cell.json() for key, cell in row.cells.items()}}
            for row in self.rows
        ]
        columns = [{"key": key, "name": name, "better": better} for key, name, better in self.columns]
        return {"table": self.number, "title": self.title, "columns": columns, "rows": rows, "notes": list(self.notes)}


def table_1(dataset: str, ours: Sequence[Measured], others: Mapping[str, Sequence[Measured]], seed: int) -> Table:
    """Every system's shape and grasp; ours and others' also unaligned, and what the truth scores by the same code."""
    columns = (*SHAPE, *GRASP, *CD, *LONG, *VOXEL)
    keys = [key for key, _, _ in columns]
    short = [key for key, _, _ in (*SHAPE, *GRASP)]
    published = PAPER_1.get(dataset, {})
    rows = [
        Row(f"{name} (paper)", "paper", {key: Cell(number) for key, number in zip(short, given, strict=True)})
        for name, given in published.items()
    ]
    for name, measured, source in [
        *((name, cases, "prediction") for name, cases in others.items()),
        *([("ours", ours, "measured")] if ours else []),
    ]:
        rows.append(_row(name, source, measured, LAST, keys, seed))
        rows.append(
            _row(f"{name}, unaligned", source, measured, LAST, [key for key, _, _ in (*SHAPE, *CD)], seed, UNALIGNED)
        )
    if ours:
        rows.append(_row("the truth itself", "truth", ours, "truth", keys, seed))
    notes = (PAPER_CD, PAPER_SD) if published else (f"The paper has no figures for '{dataset}'.",)
    return Table(1, "Reconstruction and grasp", columns, tuple(rows), "interval", notes)


def table_2(dataset: str, ours: Sequence[Measured], seed: int) -> Table:
    """After every stage."""
    return _ablation(2, "Stages of the optimisation", PAPER_2.get(dataset, {}), STAGE_ROWS, ours, seed)


def table_3(dataset: str, ours: Sequence[Measured], seed: int) -> Table:
    """Without each loss of the refinement."""
    rows = {LAST: "full losses"} | {name: name for name in LOSSES}
    published = {LAST if name == "full losses" else name: given for name, given in PAPER_3.get(dataset, {}).items()}
    return _ablation(3, "Losses of the hand refinement", published, rows, ours, seed)


def _ablation(
    number: int,
    title: str,
    published: Mapping[str, tuple[float, ...]],
    names: Mapping[str, str],
    ours: Sequence[Measured],
    seed: int,
) -> Table:
    keys = [key for key, _, _ in GRASP]
    rows = []
    for stage, name in names.items():
        if stage in published:
            sd, sd_std, iv, iv_std = published[stage]
            rows.append(Row(f"{name} (paper)", "paper", {keys[0]: Cell(sd, sd_std), keys[1]: Cell(iv, iv_std)}))
        rows.append(_row(name, "measured", ours, stage, keys, seed))
    return Table(number, title, GRASP, tuple(rows), "std", (PAPER_SD,) if published else ())


def _row(
    name: str,
    source: str,
    measured: Sequence[Measured],
    stage: str,
    keys: Sequence[str],
    seed: int,
    which: str = "",
) -> Row:
    """The figures `key + which` under `key`."""
    figures = [case.figures.get(stage, {}) for case in measured]
    cells = {key: cell for key in keys if (cell := _cell(figures, key, which, seed)) is not None}
    failures = 0 if stage == "truth" else sum(case.failure is not None for case in measured)
    return Row(name, source, cells, len(measured), failures)


def _cell(figures: Sequence[Mapping[str, float]], key: str, which: str, seed: int) -> Cell | None:
    """None where no case has the figure."""
    source, factor = ("cd_cm2", 0.1) if key == "cd_tenth" else (key, 1.0)
    found = [f[source + which] for f in figures if source + which in f]
    values = factor * np.array([number for number in found if np.isfinite(number)])
    if not len(values):
        return None
    low, high = interval(values, seed)
    return Cell(float(values.mean()), float(values.std()), float(np.median(values)), low, high, len(values))


def interval(values: np.ndarray, seed: int, share: float = 0.95) -> tuple[float, float]:
    """Bootstrap interval of the mean: percentiles over RESAMPLES draws of as many cases with replacement."""
    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(1), [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
