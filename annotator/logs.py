"""How logs look, in one place: lines for a person at a terminal, JSON for a machine.

Whoever works on a job or a pair says so once (`bound`), and everything that is logged meanwhile carries the ids, also
what libraries log. Until `configure` is called, nothing below a warning is shown.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Literal

import structlog
from structlog.contextvars import bound_contextvars as bound
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from annotator.progress import Progress

__all__ = ["Told", "bound", "configure", "get_logger", "teller"]

Style = Literal["auto", "json", "text"]

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]

structlog.configure(  # everything goes through the standard library, which shows nothing until it is told to
    processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)


def get_logger(name: str) -> Any:
    """A logger that takes ids: `log.info("revision published", pair=..., revision=...)`."""
    return structlog.stdlib.get_logger(name)


def is_json(style: Style) -> bool:
    """'auto': JSON unless a person watches."""
    return style == "json" or (style == "auto" and not sys.stderr.isatty())


def configure(style: Style) -> None:
    """What this program logs goes to stderr from now on; of libraries only warnings."""
    if is_json(style):
        rendered: list[Processor] = [
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),  # they may be secrets
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    else:
        rendered = [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("annotator").setLevel(logging.INFO)


def teller(style: Style, say: Callable[[str], None]) -> Callable[[str], None]:
    """Where lines for a person go: to the terminal, or among the JSON."""
    return get_logger("annotator").info if is_json(style) else say  # type: ignore[no-any-return]


class Told(Progress):
    """Progress as logs."""

    def __init__(self, what: str) -> None:
        self._log, self._what = get_logger("annotator"), what
        self._total = self._count = 0

    def begin(self, total: int) -> None:
        self._total = total
        self._log.info(f"{self._what} begins", total=total)

    def done(self, name: str, said: str) -> None:
        self._count += 1
        self._log.info(f"{self._what}: done", name=name, said=said, count=self._count, total=self._total)

    def failed(self, name: str, reason: str) -> None:
        self._count += 1
        self._log.warning(f"{self._what}: failed", name=name, reason=reason, count=self._count, total=self._total)
