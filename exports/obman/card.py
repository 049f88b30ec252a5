"""What the README.md of an ObMan export says of ObMan: how to load it, what its keys mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exports.obman.camera import FOV_DEG
from exports.text import counted

_BODY = """## Loading
With a checkout of https://github.com/hassony2/obman as the working directory:

    from obman.obman import ObMan
    dataset = ObMan("ROOT", "ROOT/ShapeNetCore.v2", split="train", use_cache=False)
    image, hand = dataset.get_image(0), dataset.get_verts3d(0)  # metres, OpenCV camera
    vertices, faces = dataset.get_obj_verts_faces(0)

- The path of this folder must contain neither `rgb` nor `jpg`: the loaders replace those words anywhere in it.
- **Cache trap**: with `use_cache`, obman and obman_train keep `./data/cache/obman/<split>_..._mode_<mode>.pkl` below
  the working directory, under a name that does not say which root it was made of. Delete `data/cache/obman` when you
  change the root or export again, or you will train on the old samples.
- `affine_transform` includes the scale. obman_train's `get_obj_verts_faces` multiplies by `obj_scale` once more; use
  its surface points (`use_external_points=True`, the default) or obman's own loader.
- The open hand has MANO's number of vertices, not its faces: draw `verts_3d` with `hand_models/open-hand/faces_*.pkl`
  (of the same form as obman's `mano_faces_*.pkl`); the pose components lie beside them.
- `ObMan(mode="all", override_scale=True)` of obman_train needs a pixel of the object that the hand does not hide: leave
  out samples whose `obj_visibility_ratio` is 0.
- Put nothing else into `meta/`: the loaders read every file name there as a number.

## What a sample says
- Frames: `coords_3d`, `verts_3d` and `affine_transform` are metres in ObMan's OpenGL camera (x right, y up, looking
  along -z); K = [[480, 0, 128], [0, 480, 128], [0, 0, 1]], 256 x 256 pixels.
- `pca_pose` = `hand_pose` are coefficients in the components of the hand model named in `hoi_annotate.hand_model`:
  `pca_pose @ components` is the absolute axis-angle pose (`flat_hand_mean=True`). They are not MANO's components
  unless that model is MANO; joints and vertices are the same for every reader.
- Depth names are swapped as in ObMan: `*_min` is the far plane and `*_max` the near one.
- `segm` and `depth` are rendered from the reconstruction; `rgb` is the photograph, `rgb_hand` its visible hand,
  `rgb_obj` the object with the hand painted out. ObMan's keys about its synthetic body, light and background are
  absent.
- `hoi_annotate` holds the truth in the photo's own camera: K, hand parameters, object pose, homography photo ->
  picture, rigid transform photo -> ObMan, residual in pixels, field of view, metrics, verdict, provenance, groups.

"""


def text(header: Mapping[str, Any]) -> str:
    """ObMan's part of the card."""
    samples, mode = header["samples"], header["options"]["camera"]
    wide = sum(sample["wider_than_obman"] for sample in samples)
    note = f"Camera {mode}; {counted(wide, 'pair')} wider than ObMan's {FOV_DEG:.2f} degrees (flagged)"
    if mode == "refit" and samples:
        residuals = sorted(sample["residual_px"] for sample in samples)
        note += f"; median residual {residuals[len(residuals) // 2]:.2f} px, worst {residuals[-1]:.2f} px"
    return f"Not part of ObMan, and not made by its authors. {note}.\n\n{_BODY}"
