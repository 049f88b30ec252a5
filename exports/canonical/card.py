"""What the README.md of a canonical export says: how to load it, what is in a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from exports.text import counted

_BODY = """## Loading
With HF `datasets`, offline (decodes pictures to PIL, GLB to trimesh scenes, arrays to lists):

    from datasets import load_dataset
    pairs = load_dataset("ROOT"){split}
    pair = pairs[0]
    pair["photo.{pictures}"], pair["json"]["hand"]["hand_pose"], pair["pair.glb"].geometry["hand"]

With `webdataset`, for training:

    import io, numpy, PIL.Image, webdataset

    def depth(key, data):  # before "pil", which makes every picture 8 bit and so cuts depth off at 255
        return numpy.array(PIL.Image.open(io.BytesIO(data))) if key.endswith("depth.png") else None

    pairs = webdataset.WebDataset("ROOT/{shards}", shardshuffle=False).decode(depth, "pil")
    for pair in pairs:
        verts = pair["hand_verts.npy"]  # (778, 3) float32, metres, OpenCV camera
        metres = pair["depth.png"] * pair["json"]["depth_unit"]  # 0: nothing there

As a table, with any reader of parquet, or with the GLBs in `datasets`:

    import pandas
    table = pandas.read_parquet("ROOT/glb/{first}/metadata.parquet")
    load_dataset("meshfolder", data_dir="ROOT/glb/{first}", split="train")  # its own name for the only part

One sample by its id, without reading the shard: `shard`, `offset` and `size` in the table give the bytes of its members
(a tar without an end). With this tool: `exports.canonical.read.record_of(members)` gives the record back.

## What a sample holds
Everything is in metres and the photograph's own OpenCV camera (x right, y down, z forward); pixel (0.5, 0.5) is the
centre of the first one; rotations are axis-angle unless they are 3 x 3.

| member | |
| --- | --- |
| `json` | ids, verdict, licence, groups; camera K; hand parameters; object pose: X_camera = scale R X + transl |
| `details.txt` | JSON text: provenance, metrics, diagnostics, first estimate of the hand, prior of the object |
| `photo.{pictures}`, `completion.{pictures}` | the photograph; the same with the hand painted out of the object |
| `hand_mask.png` `object_mask.png` `arm_mask.png` | what is visible (1 bit) |
| `amodal_mask.png` | the object's whole silhouette |
| `contact_front.png` `contact_back.png` | where the hand hides the object; where the object hides the hand |
| `depth.png` | 16 bit, `depth_unit` metres per step, 0: nothing; rendered from `pair.glb`, not measured |
| `hand_verts.npy` `hand_joints.npy` | (778, 3) and (21, 3) metres; joints in OpenPose order |
| `contact_distance.npy` | (778,) metres from each hand vertex to the object, negative inside |
| `object.glb` | the object in its own frame; the mesh is as reconstructed, the node's scale makes it metres |
| `pair.glb` | nodes `hand` and `object` in the camera frame, metres: y is down, so viewers show it upside down |

- `hand_pose` is absolute (`flat_hand_mean=True`), 15 joints in MANO's order. It belongs to the model in `hand.model`;
  the open hand has MANO's layout, not its faces or shapes: `hand_models/OPEN_HAND_*.npz` (smplx reads it as MANO with
  `use_pca=False, flat_hand_mean=True`) turns parameters into these vertices.
- With a user's own MANO, `pair.glb` holds MANO's faces: its licence says whom you may give them to.
- The members of all samples are the same, and `json` has the same keys and types in all, because `datasets` takes the
  features from the first samples. What differs from sample to sample is in `details.txt`.
- `id` is from the hash of the pair's id and stays when data is added; the shard it is in does not.
- A photograph as jpg is not the original bytes; `photo.sha256` names those. `pictures=png` gives exact pixels.

"""


def text(header: Mapping[str, Any]) -> str:
    """The format's part of the card."""
    counts = Counter(sample["split"] for sample in header["samples"])
    size, pictures = header["options"]["shard"], header["options"]["pictures"]
    first = "train" if "train" in counts or not counts else sorted(counts)[0]
    last = max(0, -(-counts[first] // size) - 1)
    shards = f"{first}-{{000000..{last:06d}}}.tar"
    body = _BODY
    for name, value in (("split", f'["{first}"]'), ("pictures", pictures), ("shards", shards), ("first", first)):
        body = body.replace(f"{{{name}}}", value)
    return f"{counted(len(counts), 'split')}, {counted(size, 'sample')} a shard.\n\n{body}"
