"""A model of an optional library, in its place, one per process: every failure is one line that says what to do."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from pipeline import hub
from pipeline.device import Placement, shared
from pipeline.errors import MissingExtra, MissingWeights, PipelineError

T = TypeVar("T")


class OutOfMemory(PipelineError):
    """A model does not fit on its device."""


def pretrained(adapter: str, model: str, library: str, kind: str, settings: Mapping[str, Any], **options: Any) -> Any:
    """`library.kind.from_pretrained` of the local files of `model`, evaluated where the settings say.

    Raises MissingExtra, MissingWeights (also for files that are no such model), BadPlacement, OutOfMemory.
    """
    maker = _class(adapter, library, kind)
    placement = Placement.of(settings)

    def load(folder: Path) -> Any:
        made = maker.from_pretrained(folder, local_files_only=True, dtype=placement.torch_dtype, **options)
        return placement.apply(made)

    return loaded(adapter, model, f"{library}.{kind}", placement, load)


def processor(adapter: str, model: str, kind: str) -> Any:
    """A transformers tokenizer or processor that lies with the weights of `model`."""
    maker = _class(adapter, "transformers", kind)

    def load(folder: Path) -> Any:
        return maker.from_pretrained(folder, local_files_only=True)

    return loaded(adapter, model, f"transformers.{kind}", Placement(device="cpu"), load)


def loaded(adapter: str, model: str, what: str, placement: Placement, load: Callable[[Path], T]) -> T:
    """What `load` makes of the model's local folder, once per process and placement."""
    folder = hub.folder(model)

    def checked() -> T:
        with enough_memory(adapter):
            try:
                return load(folder)
            except (PipelineError, torch.OutOfMemoryError):
                raise
            except Exception as error:  # a loader's complaints have any type
                said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
                raise MissingWeights(
                    f"{adapter}: the files in {folder} do not load as {what} ({said[:200]}); "
                    f"run again: hoi-annotate models pull {model}"
                ) from error

    return shared(f"{what} {model} {hub.digest(model)} {placement}", checked)


def only_file(folder: Path, pattern: str) -> Path:
    """The one file in a folder that matches. Raises ValueError."""
    found = sorted(folder.rglob(pattern))
    if len(found) != 1:
        raise ValueError(f"one {pattern} is needed, there are {len(found)}")
    return found[0]


@contextmanager
def enough_memory(adapter: str) -> Iterator[None]:
    """A full GPU becomes one line."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            f'{adapter}: the GPU\'s memory is full; set offload = "model" or "sequential" in the recipe\'s [placement]'
        ) from error


def _class(adapter: str, library: str, kind: str) -> Any:
    found = getattr(hub.require(library, adapter=adapter, extra="large"), kind, None)
    said = importlib.import_module(f"{library}.utils.logging")
    said.disable_progress_bar()  # the batch has one of its own
    said.set_verbosity_error()
    if found is None:
        raise MissingExtra(f"{adapter}: this {library} has no {kind}; run: pip install -U 'hoi-annotate[large]'")
    return found
