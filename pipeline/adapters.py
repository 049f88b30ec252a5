"""Which class does a stage: the shipped adapters by name, and third parties' through entry points.

An adapter is made once per process and set of settings: `Class(settings)`, its stage's section of the recipe. Making
one loads no weights. It has `name`, `version`, `weights_digest` ('' without weights), and its stage's method (base.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from pipeline.errors import HoiError

# stage -> adapter name -> 'module:Class'; imported on first use, so that a recipe loads only what it needs
SHIPPED = {
    "camera": {
        "exif-fov": "pipeline.camera.exif_fov:ExifFovCamera",
        "moge": "pipeline.camera.moge:MogeCamera",
    },
    "detect": {
        "mediapipe": "pipeline.hand.mediapipe:MediapipeDetector",
        "vitpose": "pipeline.hand.vitpose:VitposeDetector",
    },
    "segment": {
        "landmark": "pipeline.segment.landmark:LandmarkSegmenter",
        "sam": "pipeline.segment.sam:SamSegmenter",
        "sam2": "pipeline.segment.sam2:Sam2Segmenter",
        "sam3": "pipeline.segment.sam3:Sam3Segmenter",
        "grounded-sam2": "pipeline.segment.grounded_sam2:GroundedSam2Segmenter",
        "masks": "pipeline.segment.given:GivenMasks",
        "lisa": "pipeline.segment.lisa:LisaSegmenter",
    },
    "hand": {
        "landmark-fit": "pipeline.hand.fit:LandmarkFitter",
        "hamer": "pipeline.hand.hamer:HamerFitter",
        "wilor": "pipeline.hand.wilor:WilorFitter",
        "given": "pipeline.hand.given:GivenHand",
    },
    "inpaint": {
        "silhouette": "pipeline.inpaint.silhouette:SilhouetteInpainter",
        "sd-inpaint": "pipeline.inpaint.sd_inpaint:SdInpainter",
        "sdxl-inpaint": "pipeline.inpaint.sdxl_inpaint:SdxlInpainter",
        "flux-fill": "pipeline.inpaint.flux_fill:FluxFillInpainter",
        "flux2-klein": "pipeline.inpaint.flux2_klein:Flux2KleinInpainter",
        "qwen-edit": "pipeline.inpaint.qwen_edit:QwenEditInpainter",
        "lama": "pipeline.inpaint.lama:LamaInpainter",
    },
    "reconstruct": {
        "single-view": "pipeline.reconstruct.single_view:SingleViewReconstructor",
        "instantmesh": "pipeline.reconstruct.instantmesh:InstantMeshReconstructor",
        "triposr": "pipeline.reconstruct.triposr:TripoSRReconstructor",
        "sam3d-objects": "pipeline.reconstruct.sam3d_objects:Sam3DObjectsReconstructor",
        "trellis2": "pipeline.reconstruct.trellis2:Trellis2Reconstructor",
        "hunyuan3d": "pipeline.reconstruct.hunyuan3d:Hunyuan3DReconstructor",
        "tripo3d": "pipeline.reconstruct.tripo3d:Tripo3DReconstructor",
        "mesh": "pipeline.reconstruct.given_mesh:GivenMesh",
    },
}


class UnknownAdapter(HoiError):
    """A recipe names an adapter that is neither shipped nor installed."""


def load_adapter(stage: str, name: str, settings: Mapping[str, Any]) -> Any:
    """One shared instance of an adapter per process and settings. Third parties register under `hoi_annotate.<stage>`.

    Raises UnknownAdapter, or what the adapter says of settings that it cannot use.
    """
    return _made(stage, name, json.dumps(settings, sort_keys=True))


@lru_cache(maxsize=64)
def _made(stage: str, name: str, settings: str) -> Any:
    return _class_of(stage, name)(json.loads(settings))


def _class_of(stage: str, name: str) -> Any:
    target = SHIPPED[stage].get(name)
    if target is not None:
        module, _, attribute = target.partition(":")
        return getattr(import_module(module), attribute)
    others = entry_points(group=f"hoi_annotate.{stage}")
    for entry in others:
        if entry.name == name:
            return entry.load()
    known = ", ".join(dict.fromkeys([*SHIPPED[stage], *(entry.name for entry in others)]))
    raise UnknownAdapter(f"recipe: no adapter '{name}' for stage '{stage}'; known: {known}")
