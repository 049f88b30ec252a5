"""What the README.md of a COCO export says of COCO."""

from __future__ import annotations

TEXT = """Not part of COCO, and not made by its authors.

## Loading
    from pycocotools.coco import COCO
    coco = COCO("ROOT/annotations/instances_train.json")
    image = coco.loadImgs(coco.getImgIds())[0]                 # its file: ROOT/images/train/<file_name>
    annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
    mask = coco.annToMask(annotations[0])                      # (h, w) uint8

- `instances_*.json` has both categories: `hand` (1, with its 21 keypoints) and `object` (2). `hand_keypoints_*.json`
  has the hands alone: open it with readers that want keypoints of every annotation, as `COCOeval(..., "keypoints")`.
- `COCOeval(..., "keypoints")` knows the 17 sigmas of bodies: set `params.kpt_oks_sigmas` to 21 of your own, for
  example those that COCO-WholeBody gives for hands.
- detectron2: `register_coco_instances(name, {}, json, image_root)` with `cfg.INPUT.MASK_FORMAT = "bitmask"`, for masks
  are compressed RLE, never polygons. FiftyOne: `COCODetectionDataset` with `data_path` and `labels_path`.

## What an annotation says
- Pixels count from the top left corner of the photo; the centre of the first pixel is (0.5, 0.5). Photos are JPEGs at
  the working size at which they were annotated.
- Several pairs may share a photo: one image, two annotations for each pair, tied by `pair_id` and `partner_id`. Ids of
  annotations are 2 n + 1 (hand) and 2 n + 2 (object) of the sample's eight digits n, and stay when data is added.
- `segmentation`, `area` and `bbox` are of the *visible* part; `amodal_segmentation` of an object is its completed
  outline. All have `iscrowd` 0.
- `keypoints`: wrist, then thumb .. little from base to tip. v = 2: visible; 1: hidden by the object or anything else in
  front of the hand (hand mask), or by the hand itself (depth of the reconstructed hand); 0: outside of the picture,
  with x = y = 0. The places of hidden joints are those of the reconstruction.
- `side` is the person's. `hoi_annotate` of a hand: the camera `K`, `joints_3d` (metres, OpenCV camera), hand model and
  the vertices that are its fingertips, revision, provenance.

## What is missing
COCO is 2D: for meshes, hand parameters and object poses take another format. Objects have no category of their own;
`class_id` and `object_id` are there where somebody gave them. Other hands and things in the photo are not annotated, so
a detector trained on it learns that an empty hand is background.
"""
