"""The command line: parses, calls a use case, prints. One file per command group.

Heavy imports happen inside the commands, so that help and a command with nothing to do answer at once.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from annotator.cli import annotate, dataset, doctor, evaluate, keeping, models, review, running, studio, workspace
from db.errors import StorageError
from pipeline.errors import HoiError

_ENVIRONMENT = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


class Commands(TyperGroup):
    """Turns an error raised on purpose into its one line and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (HoiError, StorageError) as error:
            line = str(error)
        except KeyboardInterrupt:
            line = "interrupted; the same command goes on where this one stopped"
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has left; nothing to say
            raise typer.Exit(1) from None
        except OSError as error:
            if error.errno not in _ENVIRONMENT:
                raise
            line = f"cannot write{f' {error.filename}' if error.filename else ''}: {error.strerror}"
        typer.echo(f"error: {line}", err=True)
        raise typer.Exit(1)


app = typer.Typer(
    cls=Commands,
    name="hoi-annotate",
    help="From photographs of hands holding objects to a curated 3D hand-object dataset.",
    epilog="\b\nFirst steps:\n  hoi-annotate models pull\n  hoi-annotate run photos/ -o out\n  open out/report.html",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for group in (workspace, annotate, review, studio, running, dataset, keeping, evaluate, models, doctor):
    group.register(app)


def _tell_version(asked: bool) -> None:
    if asked:
        from annotator.cli import version

        typer.echo(version.line())
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="What runs here, and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The console script.

    Native libraries take one thread a process: processes share the work, and sums are the same on any number of cores.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "IGL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    app(prog_name="hoi-annotate")
