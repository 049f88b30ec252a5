"""Runs in InstantMesh's environment, in its clone (TencentARC/InstantMesh, run.py).

Answers the mesh as its triplanes hold it; the .obj files that its own run.py writes are mirrored (z negated).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from worker_base import as_array, seed_all, serve, torch_device

CONVENTIONS = {"up": "+z", "camera": "+x", "handed": "right"}


def load(options):
    import torch
    from diffusers import DiffusionPipeline, EulerAncestralDiscreteScheduler
    from einops import rearrange
    from omegaconf import OmegaConf
    from PIL import Image
    from src.utils.camera_util import get_zero123plus_input_cameras
    from src.utils.train_util import instantiate_from_config
    from torchvision.transforms import v2

    device = torch_device(options)
    repo, weights = Path(options["repo"]), Path(options["weights"])
    variant = options.get("variant", "instant-mesh-large")
    config = OmegaConf.load(str(repo / "configs" / (variant + ".yaml")))
    painter = DiffusionPipeline.from_pretrained(
        options.get("zero123plus", "sudo-ai/zero123plus-v1.2"),
        custom_pipeline=str(repo / "zero123plus"),
        torch_dtype=torch.float16,
    )
    painter.scheduler = EulerAncestralDiscreteScheduler.from_config(
        painter.scheduler.config, timestep_spacing="trailing"
    )
    unet = torch.load(str(weights / "diffusion_pytorch_model.bin"), map_location="cpu")
    painter.unet.load_state_dict(unet, strict=True)
    painter = painter.to(device)
    model = instantiate_from_config(config.model_config)
    checkpoint = weights / (variant.replace("-", "_") + ".ckpt")
    state = torch.load(str(checkpoint), map_location="cpu")["state_dict"]
    prefix = "lrm_generator."
    model.load_state_dict({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}, strict=True)
    model = model.to(device)
    if variant.startswith("instant-mesh"):
        model.init_flexicubes_geometry(device, fovy=30.0)
    model = model.eval()
    cameras = get_zero123plus_input_cameras(batch_size=1, radius=4.0).to(device)

    def handle(what, arrays, values):
        if what != "mesh":
            raise ValueError("it can only reconstruct, not " + what)
        seed_all(int(options.get("seed", 0)))
        picture = Image.fromarray(arrays["picture"])  # RGBA; the pipeline puts it on its own background
        sheet = painter(picture, num_inference_steps=int(options.get("steps", 75))).images[0]
        views = torch.from_numpy(np.asarray(sheet, np.float32) / 255).permute(2, 0, 1)
        views = rearrange(views, "c (n h) (m w) -> (n m) c h w", n=3, m=2)[None].to(device)
        views = v2.functional.resize(views, 320, interpolation=3, antialias=True).clamp(0, 1)
        with torch.no_grad():
            planes = model.forward_planes(views, cameras)
            vertices, faces, colours = model.extract_mesh(planes, use_texture_map=False, **config.infer_config)
        return {}, {"vertices": as_array(vertices), "faces": as_array(faces), "colours": as_array(colours)}

    return handle


if __name__ == "__main__":
    serve("instantmesh", CONVENTIONS, ["src.utils.train_util", "diffusers", "omegaconf", "torch"], load)
