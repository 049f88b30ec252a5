"""The paper's tables as text: Markdown, CSV, LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from pipeline.evaluate.tables import Cell, Row, Table

Style = Literal["markdown", "csv", "latex"]
STYLES: tuple[Style, ...] = get_args(Style)
ARROWS = {"up": "↑", "down": "↓"}
LATEX_ARROWS = {"up": r"$\uparrow$", "down": r"$\downarrow$"}
MEDIANS = ("displacement_1000_cm",)  # a mean says how many fell, and nothing of those that are held
SPREAD = {"interval": "mean [95 % interval of the mean]", "std": "mean ± standard deviation"}


def table_text(table: Table, style: Style) -> str:
    """One table with its title and notes (CSV: rows only)."""
    return _WRITERS[style](table)


def digits(key: str) -> int:
    """Decimals, as the paper prints them."""
    return 3 if key.startswith(("f5", "f10", "cd_")) else 2


def figure(key: str, cell: Cell | None, spread: str) -> str:
    """'0.247 [0.221, 0.270]', '3.08 ± 2.92', '-'."""
    if cell is None:
        return "-"
    n = digits(key)
    if key in MEDIANS:
        return f"{cell.median:.{n}f}"
    if spread == "std":
        return f"{cell.mean:.{n}f} ± {cell.std:.{n}f}"
    return f"{cell.mean:.{n}f}" if not cell.n else f"{cell.mean:.{n}f} [{cell.low:.{n}f}, {cell.high:.{n}f}]"


def cells_of(table: Table, row: Row) -> list[str]:
    """A row's figures as text."""
    return [figure(key, row.cells.get(key), table.spread) for key, _, _ in table.columns]


def counts(row: Row) -> str:
    """'60 (2 failed)'; nothing for a published row."""
    return "" if row.source == "paper" else f"{row.cases} ({row.failures} failed)" if row.failures else str(row.cases)


def _markdown(table: Table) -> str:
    heads = ["", *(f"{name} {ARROWS[better]}" for _, name, better in table.columns), "cases"]
    rows = [[row.name, *cells_of(table, row), counts(row)] for row in table.rows]
    widths = [max(len(line[i]) for line in (heads, *rows)) for i in range(len(heads))]

    def line(words: Sequence[str]) -> str:
        return "| " + " | ".join(word.ljust(width) for word, width in zip(words, widths, strict=True)) + " |"

    rule = "| " + " | ".join("-" * max(3, width) for width in widths) + " |"
    notes = [f"\n{note}" for note in table.notes]
    title = f"**Table {table.number}. {table.title}** ({SPREAD[table.spread]})\n"
    return "\n".join([title, line(heads), rule, *map(line, rows), *notes]) + "\n"


def _csv(table: Table) -> str:
    """One line per row; every figure with what is known of its spread in columns of its own."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    parts = ("mean", "std", "median", "low", "high", "n")
    heads = [f"{key}_{part}" for key, _, _ in table.columns for part in parts]
    writer.writerow(["table", "row", "source", "cases", "failures", *heads])
    for row in table.rows:
        known = {key: cell.json() for key, cell in row.cells.items()}
        numbers = [known.get(key, {}).get(part, "") for key, _, _ in table.columns for part in parts]
        writer.writerow([table.number, row.name, row.source, row.cases, row.failures, *numbers])
    return out.getvalue()


def _latex(table: Table) -> str:
    """A booktabs tabular."""

    def safe(text: str) -> str:
        for plain, written in (
            ("_", r"\_"),
            ("%", r"\%"),
            ("&", r"\&"),
            ("#", r"\#"),
            ("±", r"$\pm$"),
            ("cm2", "cm$^2$"),
            ("cm3", "cm$^3$"),
        ):
            text = text.replace(plain, written)
        return text

    def line(words: Sequence[str]) -> str:
        return " & ".join(words) + r" \\"

    heads = ["", *(f"{safe(name)} {LATEX_ARROWS[better]}" for _, name, better in table.columns)]
    body = [line([safe(row.name), *map(safe, cells_of(table, row))]) for row in table.rows]
    return "\n".join(
        [
            f"% Table {table.number}: {table.title}; {SPREAD[table.spread]}",
            *(f"% {note}" for note in table.notes),
            rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
            r"\toprule",
            line(heads),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


_WRITERS: dict[Style, Callable[[Table], str]] = {"markdown": _markdown, "csv": _csv, "latex": _latex}
