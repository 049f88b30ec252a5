"""Runs in TripoSR's environment, in its clone (VAST-AI-Research/TripoSR, run.py)."""

from __future__ import annotations

import numpy as np
from worker_base import mesh_arrays, seed_all, serve, torch_device

CONVENTIONS = {"up": "+z", "camera": "+x", "handed": "right"}


def load(options):
    import torch
    from PIL import Image
    from tsr.system import TSR

    device = torch_device(options)
    model = TSR.from_pretrained(options["weights"], config_name="config.yaml", weight_name="model.ckpt")
    model.renderer.set_chunk_size(int(options.get("chunk", 8192)))
    model.to(device)

    def handle(what, arrays, values):
        if what != "mesh":
            raise ValueError("it can only reconstruct, not " + what)
        seed_all(int(options.get("seed", 0)))
        rgba = arrays["picture"].astype(np.float32) / 255
        grey = rgba[..., :3] * rgba[..., 3:] + 0.5 * (1 - rgba[..., 3:])
        with torch.no_grad():
            codes = model([Image.fromarray((grey * 255).astype(np.uint8))], device=str(device))
        mesh = model.extract_mesh(codes, resolution=int(options.get("resolution", 256)))[0]
        found = mesh_arrays(mesh)
        if found.get("colours") is not None and found["colours"].max() <= 1:  # some versions keep 0 .. 1
            found["colours"] = (found["colours"] * 255).astype(np.uint8)
        return {}, found

    return handle


if __name__ == "__main__":
    serve("triposr", CONVENTIONS, ["tsr", "torch"], load)
