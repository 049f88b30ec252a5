"""Runs in Hunyuan3D 2.1's environment, in its clone (Tencent-Hunyuan/Hunyuan3D-2.1, hy3dshape/minimal_demo.py)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from worker_base import mesh_arrays, seed_all, serve, torch_device

CONVENTIONS = {"up": "+y", "camera": "+z", "handed": "right"}


def load(options):
    sys.path.insert(0, str(Path(options["repo"]) / "hy3dshape"))  # the package lies one folder down
    import torch
    from hy3dshape.pipelines import Hunyuan3DDiTFlowMatchingPipeline
    from PIL import Image

    model = Hunyuan3DDiTFlowMatchingPipeline.from_pretrained(options["weights"])
    device = torch_device(options)

    def handle(what, arrays, values):
        if what != "mesh":
            raise ValueError("it can only reconstruct, not " + what)
        seed = int(options.get("seed", 0))
        seed_all(seed)
        mesh = model(
            image=Image.fromarray(arrays["picture"]),
            num_inference_steps=int(options.get("steps", 30)),
            generator=torch.Generator(device=device).manual_seed(seed),
        )[0]
        faces = int(options.get("faces", 60000))
        if len(mesh.faces) > faces and hasattr(mesh, "simplify_quadric_decimation"):
            mesh = mesh.simplify_quadric_decimation(face_count=faces)
        found = mesh_arrays(mesh)
        found.pop("colours", None)  # the shape pipeline paints nothing
        return {}, {key: np.asarray(value) for key, value in found.items()}

    return handle


if __name__ == "__main__":
    serve("hunyuan3d", CONVENTIONS, ["hy3dshape", "torch"], load)
