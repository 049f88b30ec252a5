"""What the HaMeR and WiLoR workers have in common: their models, data sets and outputs are one family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from worker_base import as_array, torch_device

CONVENTIONS = {
    "hand": "mano right, absolute angles",
    "left": "mirrored crop",
    "axes": "opencv",
    "units": "metres",
    "camera": "weak perspective, focal 5000 for 256 pixels",
}
RESCALE = 2.0  # of the box around the keypoints, as in both demos


def find(name, options):
    """The checkpoint in the folder of weights."""
    found = sorted(Path(options["weights"]).rglob(name))
    if not found:
        raise FileNotFoundError("there is no {} in {}".format(name, options["weights"]))
    return found[0]


def handler(model, config, dataset_class, recursive_to, options):
    """Answers "hands": image (H, W, 3) RGB, boxes (N, 4) pixels, right (N,) -> a right hand for each, as predicted."""
    import torch

    if (config.EXTRA.FOCAL_LENGTH, config.MODEL.IMAGE_SIZE) != (5000, 256):
        raise ValueError("its camera is not the one that this worker declares")
    device = torch_device(options)
    model = model.to(device).eval()

    def handle(what, arrays, values):
        if what != "hands":
            raise ValueError("it can only predict hands, not " + what)
        bgr = np.ascontiguousarray(arrays["image"][:, :, ::-1])
        hands = dataset_class(config, bgr, arrays["boxes"], arrays["right"], rescale_factor=RESCALE)
        loader = torch.utils.data.DataLoader(hands, batch_size=int(options.get("batch", 8)), num_workers=0)
        found = []
        for batch in loader:
            batch = recursive_to(batch, device)
            with torch.no_grad():
                out = model(batch)
            count = len(batch["box_size"])
            found.append(
                {
                    "global_orient": as_array(out["pred_mano_params"]["global_orient"]).reshape(count, 3, 3),
                    "hand_pose": as_array(out["pred_mano_params"]["hand_pose"]).reshape(count, 15, 3, 3),
                    "betas": as_array(out["pred_mano_params"]["betas"]).reshape(count, 10),
                    "pred_cam": as_array(out["pred_cam"]).reshape(count, 3),
                    "verts": as_array(out["pred_vertices"]),
                    "joints": as_array(out["pred_keypoints_3d"]),
                    "box_center": as_array(batch["box_center"]).reshape(count, 2),
                    "box_size": as_array(batch["box_size"]).reshape(count),
                }
            )
        return {}, {key: np.concatenate([part[key] for part in found]) for key in found[0]}

    return handle
