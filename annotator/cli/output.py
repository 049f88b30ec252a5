"""Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def data(text: str) -> None:
    """A line of the answer."""
    typer.echo(text)


def data_json(value: Any) -> None:
    """The answer for a script."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=not _speaks_unicode()))


def say(text: str) -> None:
    """A line for a person who is watching."""
    typer.echo(text, err=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Rows as aligned columns; numbers are right-aligned, None is a dash."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells)) if cells else len(name) for i, name in enumerate(columns)]
    right = [all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(columns))]

    def line(words: Sequence[str]) -> str:
        padded = (w.rjust(n) if r else w.ljust(n) for w, n, r in zip(words, widths, right, strict=True))
        return "  ".join(padded).rstrip()

    data(line(columns))
    for row in cells:
        data(line(row))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _speaks_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def size(count: int) -> str:
    """Bytes as a person reads them."""
    power = min(len(str(count)) - 1, 12) // 3
    return f"{count / 1000**power:.{1 if power else 0}f} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


class Bar:
    """A progress bar on a terminal, one line per item elsewhere; failures are always a line."""

    def __init__(self, what: str, quiet: bool = False) -> None:
        self._what = what
        self._quiet = quiet  # no lines for what went well
        self._total = 0
        self._count = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, total: int) -> None:
        self._total = total
        if total and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(self._what, total=total)
            self._bar.start()

    def done(self, name: str, said: str) -> None:
        self._step(f"{name}: {said}", shown=self._bar is None and not self._quiet)

    def failed(self, name: str, reason: str) -> None:
        """One clear line, named once even when the reason begins with the name."""
        self._step(reason if reason.startswith(f"{name}:") else f"{name}: {reason}", shown=True, mark="failed: ")

    def _step(self, text: str, shown: bool, mark: str = "") -> None:
        self._count += 1
        if self._bar is None:
            if shown:
                counted = f"[{min(self._count, self._total)}/{self._total}] " if self._total else ""
                say(f"{counted}{mark}{text}")
            return
        if shown:
            self._bar.console.print(f"{mark}{text}", markup=False, highlight=False, soft_wrap=True)
        if self._task is not None:
            self._bar.update(self._task, completed=self._count)
