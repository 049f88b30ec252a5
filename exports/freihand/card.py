"""What the README.md of a FreiHAND export says of FreiHAND."""

from __future__ import annotations

TEXT = """Not part of FreiHAND, and not made by its authors.

## Loading
With a checkout of https://github.com/lmb-freiburg/freihand as the working directory:

    import numpy as np
    from utils.fh_utils import load_db_annotation, projectPoints, read_img, read_msk
    annotations = list(load_db_annotation("ROOT", "training"))     # (K, mano, xyz) of every sample
    image, mask = read_img(0, "ROOT", "training"), read_msk(0, "ROOT")
    K, mano, xyz = (np.array(value) for value in annotations[0])
    uv = projectPoints(xyz, K)                                      # (21, 2) pixels of the 224 x 224 picture

- **Sizes are hard-coded in the toolbox**: `db_size` says 32,560 and 3,960 whatever is there. Run `view_samples.py` with
  `--num2show N`, and set `db_size` to your numbers (the length of `training_K.json`) for `pred.py` and `eval.py`.
- `list(...)` is needed in Python 3: `load_db_annotation` returns a `zip`, which `view_samples.py` then indexes.
- There is one version of each picture (`gs`, the toolbox's default). `hom`, `sample` and `auto`, at id + 32,560 n, are
  FreiHAND's recoloured green screens and do not exist here; loaders that draw from 4 x 32,560 pictures must be told so.
- Sets: train -> `training`, test -> `evaluation` (with all lists, as in the later public release), val -> `validation`,
  which FreiHAND does not have but `load_db_annotation` and `read_img` take.

## What a sample says
- Metres, OpenCV camera of the 224 x 224 crop (`K`); 21 joints: wrist, thumb .. little, base to tip. Right hands only.
- `mano` (1, 61): 48 axis-angle numbers, of which the last 45 are relative to the model's mean pose
  (`flat_hand_mean=False`, no PCA), 10 betas, `uv_root` and `scale` of joint 9: its place is
  `[uv_root - (cx, cy), f] / scale`, so `scale` is f / Z. `*_scale.json` is another scale: the length in metres of the
  bone from joint 9 to joint 10.
- **These are parameters of the hand model that `*_hoi_annotate.json` names**, and the fingertips are the vertices
  `tip_ids` of that model, thumb to little; FreiHAND's own are 744, 320, 443, 555, 672. The open hand has MANO's number
  of vertices, joints and parameters but not its faces, basis or mean pose: put into MANO, its pose and betas give
  another hand. `verts` and `xyz` are right for every reader; draw `verts` with the faces of
  `hand_models/open-hand/right.json`, where the mean pose is, too.
- `mask` is the *visible* hand (white, three channels), not the hand with its object. Beyond the photo's border pictures
  are black.
- `K` has the principal point of the photo, moved with the crop. FreiHAND's own is near the middle of the
  picture.
- `*_hoi_annotate.json`, in the same order: pair, photo, crop (left, top, side in photo pixels), hand model,
  provenance.

## What is missing
The object (FreiHAND has none: take obman, ho3d or canonical for it), views of the same hand from other cameras, and the
recoloured versions. Numbers are given in order of the hashed ids, so they move when pairs are added; `sample` stays.
"""
