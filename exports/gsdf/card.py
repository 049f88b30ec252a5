"""What the README.md of a gSDF export says of gSDF: how to load it, what its keys mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from exports.text import counted

_BODY = """## Loading with gSDF
With a checkout of https://github.com/zerchen/gSDF as the working directory (its `obman.py` looks beside itself):

    cp -r ROOT/obman_*.json ROOT/splits ROOT/data datasets/obman/     # or symbolic links
    cd tools && python - <<'EOF'
    import sys; sys.path[:0] = ["../datasets", "../datasets/obman", "../common"]
    from obman import obman
    database = obman("train_all")          # splits/train_all.json; test: obman("test_all")
    sample = database.data[0]
    EOF

To train, set `trainset_3d_split all`, `testset_split all` and `num_testset_samples {test}`. The same lists are there as
`train_87k` and `test_6k`, the names that gSDF's configuration and its `create_lmdb` have written in, however many
samples they hold. `use_lmdb True` needs `create_lmdb` of `preprocess/cocoify_obman.py` to be run on these folders
first; it does not write over old `*.lmdb` folders, so remove them when you export again.

## Loading with AlignSDF
    ln -s ROOT/data data/obman             # in a checkout of https://github.com/zerchen/AlignSDF
    # experiments: "TrainSplit": "ROOT/alignsdf/obman.json", "LMDB": false; to test: -i ROOT/alignsdf/input.json

## What a sample says
- Metres in the OpenCV camera (x right, y down, z forward) with ObMan's K = [[480, 0, 128], [0, 480, 128], [0, 0, 1]]
  and 256 x 256 pixels, which the readers have written in: the photograph was placed before that camera as `camera` says
  (table above). Only `meta/*.pkl` is in ObMan's OpenGL camera, as ObMan's own.
- `hand_joints_3d`: 21 joints in OpenPose order. `hand_poses`: 48 numbers, the wrist's rotation and 15 absolute
  axis-angles (`flat_hand_mean=True`) of the hand model named in `hoi_annotate.hand_model`.
- **betas**: the readers set the shape to zero, and hold that against nobody's joints. Joints and meshes here are those
  of the reconstruction, with its own shape: posing a hand model with `hand_poses` and zero betas gives a slightly
  different hand (and with MANO, when the model is `open-hand`, another one). The true `betas` and `transl` are under
  `hoi_annotate`; gSDF reads neither.
- `obj_transform` is rigid: object at rest in metres (box centred) -> camera. Corners: z slowest, then x, then y.
- `mesh_hand` is closed at the wrist (778 vertices); `mesh_obj` is closed. Objects that are not were left out.
- `sdf_*`: X = X_norm / sdf_scale - sdf_offset, distance = d_norm / sdf_scale. {points} points about each surface: 47 in
  50 on it with noise of variance 0.005 or 0.0005 (normalised units), the others uniform in [-1, 1]^3, as AlignSDF's
  PreprocessMesh draws them. Distances are exact and signed by the winding number, so no point is dropped as doubtful.
  `pos` > 0 >= `neg`; `*_other` is the signed distance to the other surface.
- `lab_*` are four numbers of the closest face: finger (0 palm, 1 thumb .. 5 little), joint in MANO's order, contact
  zone (0 none, 1-5 pads, 6 palm), 1 on the wrist's cap. The columns are AlignSDF's; that
  its fingers are numbered alike was not checked. Objects have 0.
- `segm` is rendered from the reconstruction: 22 / 24 hand and fingers, 100 object (channel B: both together).
- `meta/*.pkl` holds ObMan's keys with `obj_corners_3d` and `obj_rest_corners_3d` for AlignSDF, and under `hoi_annotate`
  the truth in the photograph's own camera, the metrics and the provenance.

## What you will miss
`train` and `val` have signed distances, `test` has none (as in the public data). No backgrounds, videos or depth.
AlignSDF's own PreprocessMesh must not be run on `mesh_hand` of an open hand: its face labels are MANO's.

"""


def text(header: Mapping[str, Any]) -> str:
    """gSDF's part of the card."""
    samples, options = header["samples"], header["options"]
    stages = Counter(sample["split"] for sample in samples)
    body = _BODY.replace("{test}", str(stages["test"])).replace("{points}", str(options["points"]))
    wide = sum(sample["wider_than_obman"] for sample in samples)
    note = f"Camera {options['camera']}; {counted(wide, 'pair')} wider than ObMan's view (flagged)"
    if samples:
        note += f"; worst median residual {max(sample['residual_px'] for sample in samples):.2f} px"
    return f"Not part of ObMan, gSDF or AlignSDF, and not made by their authors. {note}.\n\n{body}"
