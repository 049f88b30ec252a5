"""Runs in SAM 3D Objects' environment, in its clone (facebookresearch/sam-3d-objects, demo.py, notebook/inference.py).

Its mesh is y-up; rotation, translation and scale are those of the z-up object into PyTorch3D's camera (x left, y up),
applied to rows: points * scale @ rotation + translation. They are answered as they are.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from worker_base import as_array, mesh_arrays, seed_all, serve

CONVENTIONS = {
    "mesh": "y-up of the z-up object",
    "pose": "z-up object to camera, rows",
    "camera": "pytorch3d",
    "quaternion": "wxyz",
}


def load(options):
    sys.path.append(str(Path(options["repo"]) / "notebook"))
    from inference import Inference

    model = Inference(str(Path(options["weights"]) / "checkpoints" / "pipeline.yaml"), compile=False)

    def handle(what, arrays, values):
        if what != "mesh":
            raise ValueError("it can only reconstruct, not " + what)
        seed = int(options.get("seed", 0))
        seed_all(seed)
        out = model(arrays["image"], arrays["mask"].astype(bool), seed=seed)
        pose = {key: as_array(out[key]).reshape(-1).astype(np.float64) for key in ("rotation", "translation", "scale")}
        return {}, dict(mesh_arrays(out["glb"]), **pose)

    return handle


if __name__ == "__main__":
    serve("sam3d-objects", CONVENTIONS, ["sam3d_objects", "torch"], load)
