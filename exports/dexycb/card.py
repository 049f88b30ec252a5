"""What the README.md of a DexYCB export says of DexYCB: how to load it, what the toolkit's own lists mean for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exports.text import counted

# Takes the place of DexYCBDataset.__init__, which asks for the public set's folders.
TOOLKIT_CODE = """import json, os
from pathlib import Path
import numpy as np, yaml
from dex_ycb_toolkit import dex_ycb, factory

root = Path(os.environ["DEX_YCB_DIR"])
lists = json.loads((root / "dataset.json").read_text())
classes = {int(number): name for number, name in lists["ycb_classes"].items()}
dex_ycb._YCB_CLASSES.clear()
dex_ycb._YCB_CLASSES.update(classes)

def read(path):
    return yaml.safe_load((root / path).read_text())

class Photos(dex_ycb.DexYCBDataset):
    def __init__(self, split):
        self._setup, self._split, self._data_dir = "photos", split, str(root)
        self._calib_dir, self._model_dir = str(root / "calibration"), str(root / "models")
        self._color_format, self._label_format = "color_{:06d}.jpg", "labels_{:06d}.npz"
        self._depth_format = "aligned_depth_to_color_{:06d}.png"
        self._h, self._w = 480, 640
        self._obj_file = {n: str(root / "models" / name / "textured_simple.obj") for n, name in classes.items()}
        self._sequences, self._serials = lists["splits"][split], lists["serials"]
        self._intrinsics = [read(f"calibration/intrinsics/{s}_640x480.yml")["color"] for s in self._serials]
        metas = [read(f"{sequence}/meta.yml") for sequence in self._sequences]
        camera = {serial: index for index, serial in enumerate(self._serials)}
        self._mapping = np.array([[i, camera[meta["serials"][0]], 0] for i, meta in enumerate(metas)])
        self._ycb_ids = [meta["ycb_ids"] for meta in metas]
        self._ycb_grasp_ind = [meta["ycb_grasp_ind"] for meta in metas]
        self._mano_side = [meta["mano_sides"][0] for meta in metas]
        self._mano_betas = [read(f"calibration/mano_{meta['mano_calib'][0]}/mano.yml")["betas"] for meta in metas]

for split in lists["splits"]:
    factory._sets[f"photos_{split}"] = lambda split=split: Photos(split)
"""

_BODY = f"""## Loading
By walking the folders, with PyYAML and numpy alone:

    import numpy as np, yaml
    from pathlib import Path
    root = Path("ROOT")
    for path in sorted(root.glob("*/*/meta.yml")):
        meta = yaml.safe_load(path.read_text())
        serial = meta["serials"][0]
        label = np.load(path.parent / serial / "labels_000000.npz")
        camera = yaml.safe_load((root / f"calibration/intrinsics/{{serial}}_640x480.yml").read_text())["color"]
        betas = yaml.safe_load((root / f"calibration/mano_{{meta['mano_calib'][0]}}/mano.yml").read_text())["betas"]
        mesh = root / "models" / meta["models"][0] / "textured_simple.obj"
        seen = label["seg"] == meta["ycb_ids"][meta["ycb_grasp_ind"]]  # the object; the hand is 255

With a checkout of https://github.com/NVlabs/dex-ycb-toolkit and `DEX_YCB_DIR=ROOT`, run this first; then
`factory.get_dataset("photos_train")` gives items as `s0_train` does:

```python
{TOOLKIT_CODE}```

## What the toolkit has hard-coded, and what that means here
`dex_ycb_toolkit/dex_ycb.py` pins the public set; `dataset.json` has the same lists for this export. Without the
lines above:

- 10 subjects by name: `get_dataset("s0_train")` and all other setups look for folders that are not here, and stop.
- 100 sequences a subject, asserted: a subject here has as many as it has pairs.
- s0 .. s3 choose train, val and test by position in these 10 x 100 and by camera. Here `splits` in `dataset.json` does
  (`split` in each meta.yml), so that no object, subject or photo is in two of them.
- 8 serials, each of which sees every sequence: here one camera sees one sequence; take `serials` of its meta.yml.
- 21 objects: **number 1 here is not 002_master_chef_can**. Objects are numbered from 1 by sorted name, in `ycb_ids`, in
  `ycb_classes` and in `seg`; the first 21 are in the toolkit's range. 255 is the hand's and no object's. `seg` is uint8
  as in the public set, but uint16 where the number is above 254. More data changes numbers, not `models` in meta.yml.
- Readers that carry these tables along (BOP and COCO evaluation, grasps, other people's copies of the toolkit) need the
  same change. Copied into the public set's own folder, this export breaks its count of sequences.
- `SequenceLoader("<subject>/<id>")` reads meta.yml, and needs MANO's files. Its meshes come through
  `layers/ycb_layer.py`, which has the 21 names once more in `__init__`: put
  `self._classes = ("__background__", *dex_ycb._YCB_CLASSES.values())` there.

## What a sequence says
- Frames: metres, OpenCV camera (x right, y down, z forward). A photo is a sequence with the one frame `000000` and one
  camera, which is the world too: its extrinsics are the identity. Photos with equal intrinsics share a serial.
- 640 x 480 is a window of the photo (`window` in `hoi_annotate.json`: x, y, width, height in photo pixels; what lies
  beyond the photo is black). The intrinsics are the window's: the principal point is not the picture's centre. They
  count pixels as OpenCV does, (0, 0) being the centre of the first; the photo's `K` counts that centre as (0.5, 0.5).
- `pose_y` (1, 3, 4): X_camera = R X + t for the mesh in `models/`, which is in metres. In `pose.npz` (1, 1, 7):
  quaternion x, y, z, w, then t.
- `pose_m` (1, 51): orientation 3, PCA 45, translation 3. mean + PCA @ components is the absolute pose (what
  `flat_hand_mean=True` takes); betas are in `calibration/mano_*/mano.yml`; the hand turns about its wrist joint.
  **The basis is that of `hand_model` in meta.yml**: for the open hand the file `pca_basis` (faces, components, mean,
  tip_ids). Unless that is MANO, manopth with MANO's files makes another hand of `pose_m`: take `joint_3d`, and
  `hand_verts` (1, 778, 3) in the labels, a key of ours, which are the same for every reader.
- `joint_3d` (1, 21, 3), `joint_2d` (1, 21, 2): wrist, thumb .. little, base to tip, the toolkit's order. Joints that
  are hidden or outside the picture are given too. Fingertips are the vertices `tip_ids`, which are not manopth's.
- Both sides: `mano_sides`.
- `aligned_depth_to_color_*.png` (millimetres, 16 bit, 0: nothing) and `seg` are rendered from the reconstruction: no
  background, no sensor noise. `seg` is what is seen of each. Where the window goes beyond the photo, both go on over
  the black: a pair that the photo's border cuts off is whole in them.
- `apriltag` in the extrinsics is no tag on a table. It is set so that the toolkit's viewer keeps the pair's points.
- `hoi_annotate.json`: photo and its camera, parameters as reconstructed, verdict, provenance.

## What is not there
Sequences in time, several cameras, sensor depth, objects that nobody holds, the public set's grasps, BOP and COCO
files.
"""


def text(header: Mapping[str, Any]) -> str:
    """DexYCB's part of the card."""
    small = sum(sample["scale"] < 0.25 for sample in header["samples"])
    objects = len({sample["model"] for sample in header["samples"]})
    note = f"{counted(objects, 'object')}."
    if small:
        note += f" {counted(small, 'photo')} shrunk to less than a quarter."
    return f"Not part of DexYCB, and not made by its authors. {note}\n\n{_BODY}"
