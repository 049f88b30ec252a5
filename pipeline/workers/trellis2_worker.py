"""Runs in TRELLIS.2's environment, in its clone (microsoft/TRELLIS.2, example.py)."""

from __future__ import annotations

import os

from worker_base import mesh_arrays, seed_all, serve

CONVENTIONS = {"up": "+y", "camera": "unknown azimuth", "handed": "right"}


def load(options):
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    import o_voxel
    from PIL import Image
    from trellis2.pipelines import Trellis2ImageTo3DPipeline

    model = Trellis2ImageTo3DPipeline.from_pretrained(options["weights"])
    model.cuda()

    def handle(what, arrays, values):
        if what != "mesh":
            raise ValueError("it can only reconstruct, not " + what)
        seed = int(options.get("seed", 0))
        seed_all(seed)
        mesh = model.run(Image.fromarray(arrays["picture"]), seed=seed)[0]
        mesh.simplify(16777216)  # the most that its rasteriser takes
        glb = o_voxel.postprocess.to_glb(
            vertices=mesh.vertices,
            faces=mesh.faces,
            attr_volume=mesh.attrs,
            coords=mesh.coords,
            attr_layout=mesh.layout,
            voxel_size=mesh.voxel_size,
            aabb=[[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]],
            decimation_target=int(options.get("faces", 60000)),
            texture_size=int(options.get("texture", 1024)),
            remesh=True,
            remesh_band=1,
            remesh_project=0,
            verbose=False,
        )
        return {}, mesh_arrays(glb)

    return handle


if __name__ == "__main__":
    serve("trellis2", CONVENTIONS, ["trellis2", "o_voxel", "torch"], load)
