"""Which class does a stage: the shipped adapters by name, and third parties' through entry points."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from pipeline.errors import HoiError

# stage -> adapter name -> 'module:Class'; imported on first use, so that a recipe loads only what it needs
SHIPPED = {
    "detect": {"mediapipe": "pipeline.hand.mediapipe:MediapipeDetector"},
    "segment": {"landmark": "pipeline.segment.landmark:LandmarkSegmenter"},
    "hand": {"landmark-fit": "pipeline.hand.fit:LandmarkFitter"},
    "inpaint": {"silhouette": "pipeline.inpaint.silhouette:SilhouetteInpainter"},
    "reconstruct": {"single-view": "pipeline.reconstruct.single_view:SingleViewReconstructor"},
}


class UnknownAdapter(HoiError):
    """A recipe names an adapter that is neither shipped nor installed."""


@lru_cache(maxsize=32)
def load_adapter(stage: str, name: str) -> Any:
    """One shared instance of an adapter per process. Third parties register under `hoi_annotate.<stage>`."""
    target = SHIPPED[stage].get(name)
    if target is not None:
        module, _, attribute = target.partition(":")
        return getattr(import_module(module), attribute)()
    for entry in entry_points(group=f"hoi_annotate.{stage}"):
        if entry.name == name:
            return entry.load()()
    raise UnknownAdapter(f"recipe: no adapter '{name}' for stage '{stage}'; known: {', '.join(SHIPPED[stage])}")
