"""What the README.md of a FiftyOne export says of FiftyOne."""

from __future__ import annotations

TEXT = """Made without FiftyOne, in its own on-disk format; needs FiftyOne 1.1 or newer.

## Loading
    import fiftyone as fo
    dataset = fo.Dataset.from_dir(dataset_dir="ROOT", dataset_type=fo.types.FiftyOneDataset, name="pairs")
    fo.launch_app(dataset)

- The dataset is grouped: slice `photo` (the default) and slice `scene` of each pair. `dataset.group_slice = "scene"`
  or `dataset.select_group_slices("photo")` choose one; in the App the group's window shows both.
- Splits are tags: `dataset.match_tags("train")`. Nothing is copied: keep the folder where it is, or import it again.
- Pairs of one photo are groups of their own that share the photo's file. The key of a pair is `pair_id`, not
  `filepath`.
- Worth a look: `dataset.sort_by("metrics.hand_iou")`, `dataset.match(fo.ViewField("side") == "left")`.

## What a sample says
- `instances`: hand and object as seen, with masks; `amodal`: the object as completed behind the hand; `segmentation`:
  the photo's pixels, 1 hand, 2 object; all on disk below `fields/`.
- `keypoints`: wrist, then thumb .. little from base to tip, with a skeleton. `visible` of each point: 2 seen, 1
  hidden (by the object, anything else or the hand itself), 0 outside of the photo, where the point is NaN.
- `K` (pixels) and `joints_3d` (metres) are of the photo's OpenCV camera. The scene's GLB has the meshes `hand` (778
  vertices in the hand model's order) and `object` in metres, turned to y up (y and z change sign), and its camera is
  the photo's.
- `metrics`, `verdict`, `licence`, `source`, `provenance`: as the tool stored them. Dots and dollar signs in names
  became underscores, which MongoDB needs.

## What is missing
Hand parameters and the object's pose as numbers (canonical has them), contact maps, and a link between the hand's box
and its keypoints, which FiftyOne before 1.4 does not know.
"""
