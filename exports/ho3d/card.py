"""What the README.md of an HO-3D export says of HO-3D: how to load it, what its keys mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exports.text import counted

_BODY = """## Loading
With a checkout of https://github.com/shreyashampali/ho3d as the working directory:

    from utils.vis_utils import read_annotation, read_depth_img, read_obj, project_3D_points
    import cv2, numpy as np
    sequence, frame = open("ROOT/train.txt").readline().strip().split("/")
    meta = read_annotation("ROOT", sequence, frame, "train")
    uv = project_3D_points(meta["camMat"], meta["handJoints3D"], is_OpenGL_coords=True)
    mesh = read_obj("ROOT/models/" + meta["objName"] + "/textured_simple.obj")
    verts = mesh.v @ cv2.Rodrigues(meta["objRot"])[0].T + meta["objTrans"]      # OpenGL camera, metres

- `vis_HO3D.py ROOT ROOT` finds the models below `ROOT/models`. Version v3 has photographs as `.jpg`, as the public v3;
  older copies of the code ask for `.png`: give them version v2.
- `read_depth_img` multiplies a uint8 array by 256, which numpy 2 refuses: use numpy 1, or
  `depth[:, :, 2] + depth[:, :, 1].astype("uint16") * 256`.
- `db_size` and the sequence names in `handobjectconsist` and `homan` are the public set's. Read `train.txt` and
  `evaluation.txt` instead (`split_mode="paper"` does); set `db_size` to their number of lines.
- Loaders that want `textured_simple_2000.obj` make it from `textured_simple.obj` with their own script.
- Every pair is a sequence of its own with the one frame `0000`: stills have no neighbours in time.

## What a frame says
- Frames: metres, HO-3D's OpenGL camera (x right, y up, looking along -z); right hands only.
- `camMat` is of the 640 x 480 picture, a window of the photo (`hoi_annotate.window`: x, y, width, height in photo
  pixels; what lies beyond the photo is black). Its principal point is not the picture's centre. It counts pixels as
  OpenCV does, (0, 0) being the centre of the first; `hoi_annotate.K` of the photo counts that centre as (0.5, 0.5).
- `handPose`: 48 axis-angle numbers, absolute (`flat_hand_mean=True`), joints in MANO's order. They, `handTrans` and
  `handBeta` belong to the hand model named in `hoi_annotate.hand_model`. **Unless that is MANO, MANO_RIGHT.pkl makes
  another hand of them**: take `handJoints3D` (21, MANO's order, then the tips thumb .. little, at the vertices
  `hoi_annotate.tip_ids`, which are not HO-3D's 744 333 444 555 672) and `hoi_annotate.hand_verts` (778), which are the
  same for every reader; faces are in `hand_models/open-hand/right.npz`.
- `objRot` is a column (3, 1) as in the public files. `objLabel` numbers this export's objects by sorted name from 1; it
  is no YCB number. Objects have their scale in the mesh; the pose is rigid.
- Evaluation frames have, as public ones, the wrist alone in `handJoints3D` (3,), and `handBoundingBox`. The truth is in
  `evaluation_xyz.json` and `evaluation_verts.json` (in the order of `evaluation.txt`), in `hoi_annotate`, and in
  `handPose`, `handTrans`, `handBeta`. `evaluation_joints=all` writes (21, 3) for readers of your own.
- `depth` and `seg` are rendered from the reconstruction, so there is no background. Depth: (R + 256 G) *
  0.00012498664727900177 m. Segmentation, a quarter of the size, what is seen: v2 (JPEG) hand red, object blue; v3
  (PNG) hand blue, object red, as readers of the two public sets take them.
- v3: `handVertContact` (nearer than 4 mm), `handVertDist` (metres, never negative), `handVertIntersec` (inside),
  `handVertObjSurfProj` (nearest point of the surface, OpenGL camera).

## What is not there
Sequences in time, several cameras (`calibration/`), sensor depth, `manual_annotations/`. Left hands were left out
unless the export was made with `--mirror-left`.
"""


def text(header: Mapping[str, Any]) -> str:
    """HO-3D's part of the card."""
    small = sum(sample["scale"] < 0.25 for sample in header["samples"])
    note = f"Version {header['options']['version']}."
    if small:
        note += f" {counted(small, 'photo')} shrunk to less than a quarter."
    return f"Not part of HO-3D, and not made by its authors. {note}\n\n{_BODY}"
