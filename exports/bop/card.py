"""What the README.md of a BOP export says of BOP: how to load it, what its keys mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

DATASET_INFO = """# Dataset information

Single photographs of hands holding objects; models and poses were reconstructed from the photograph, not measured.
Depth and masks are rendered from the reconstruction. See README.md.
"""

_BODY = """## Loading
The bop_toolkit (https://github.com/thodan/bop_toolkit) knows datasets by name. Put this folder into its `datasets_path`
under a name of your own, for example `hoi`, and read it by path, as the toolkit's own scripts do:

    from bop_toolkit_lib import inout
    scene = "ROOT/train/000000"
    cameras = inout.load_scene_camera(f"{scene}/scene_camera.json")
    gt = inout.load_scene_gt(f"{scene}/scene_gt.json")
    depth = inout.load_depth(f"{scene}/depth/000000.png") * cameras[0]["depth_scale"]      # mm
    model = inout.load_ply(f"ROOT/models/obj_{gt[0][0]['obj_id']:06d}.ply")                 # mm

For `dataset_params.get_split_params` / `get_model_params` add the name with `obj_ids` from 1 to the last number in
`models`, `symmetric_obj_ids` [], the scene ids of the folders, `im_size` of `camera.json`, and `rgb_ext` `.{photo}`.
The evaluation scripts look for `models_eval`: copy `models` to it.

## What an image says
- Millimetres; OpenCV camera (x right, y down, z forward); X_camera = cam_R_m2c X_model + cam_t_m2c; u = K X / z with
  the *corner* of the first pixel at (0, 0) and its centre at (0.5, 0.5), as BOP's renderers have it. For code that puts
  the centre at (0, 0) subtract 0.5 from cx and cy.
- Every image has its own `cam_K`, and images of different sizes are in different scenes. A scene is a folder of up to
  1,000 such images, not a place. `camera.json` is the camera of the first image.
- One object per image: the one that the hand holds. A photograph with several pairs appears once for each of them, and
  other objects in it are not annotated.
- `depth` is rendered: object and hand, the nearer one; 0 elsewhere. It is not a sensor's, and holds no background.
  `depth_scale` is 0.1 mm, or 1 mm for what is farther than 6.5 m.
- `mask` is the silhouette of the model in its pose, `mask_visib` what the hand leaves of it, both rendered as the
  toolkit's `calc_gt_masks` does with an exact depth (no tolerance of 15 mm: a held object is nearer to the hand than
  that). `scene_gt_info.json` follows `calc_gt_info`: boxes are (x, y, last - first pixel), `bbox_obj` and
  `px_count_all` count what leaves the picture, up to one picture's width on each side.
- `models`: one model for each mesh *at its size*. BOP's poses have no scale, so an object that was reconstructed twice
  is two models. Origin in the middle of the box; texture coordinates grow upward. `obj_id` counts the models in the
  order of their content: it changes when data is added.
- `scene_hoi_annotate.json` is ours: per image the pair, photograph, hand (parameters in metres), metrics, provenance.

## What you will miss
No symmetries in `models_info.json`, no `models_eval`, no Z-up convention of models (they have the frame of their
reconstruction), no sensor depth, nothing hand-related in BOP's own files. The size is as good as the hand's, which
is what it was scaled by. For masks that follow the photograph's edges take the coco export.

"""


def text(header: Mapping[str, Any]) -> str:
    """BOP's part of the card."""
    stages = Counter(sample["split"] for sample in header["samples"])
    counts = ", ".join(f"{name} {count}" for name, count in sorted(stages.items())) or "none"
    body = _BODY.replace("{photo}", header["options"]["photo"])
    return f"Not a dataset of the BOP challenge, and not made by its organisers. Images: {counts}.\n\n{body}"
