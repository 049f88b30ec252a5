"""This project's own benchmark: recorded grasps before drawn cameras, path traced: <number>-<object>.

ROOT/grasps/*.npz, ROOT/meshes/         see `pipeline.evaluate.grasps`; cameras, light and noise are drawn from SEED
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.errors import BadMesh
from pipeline.evaluate.datasets.case import BadDataset, Case, Surface
from pipeline.evaluate.datasets.files import folder
from pipeline.evaluate.grasps import Grasp, load_grasps
from pipeline.evaluate.scenes import make_scene
from pipeline.hand_model.model import OPEN_HAND

LAYOUT = "grasps/*.npz and meshes/"
SEED = 0


def names(root: Path) -> Iterator[str]:
    """<number>-<object>."""
    yield from _grasps(root)


def named(entry: Any) -> list[str]:
    """A case's name."""
    return [str(entry)]


def load(root: Path, name: str) -> Case:
    """One scene; the picture itself is rendered when it is asked for."""
    grasp = _grasps(root).get(name)
    if grasp is None:
        raise BadDataset(f"{root}: '{name}' is none of its {len(_grasps(root))} grasps (<number>-<object>)")
    try:
        scene = make_scene(grasp, SEED)
    except BadMesh as error:
        raise BadDataset(f"{grasp.mesh_file}: {error}") from error
    return Case(
        name=name,
        photo_file=None,
        camera=scene.camera,
        side=scene.hand.side,
        joints=scene.hand_joints,
        hand=Surface(scene.hand_verts, scene.model.faces),
        object_name=grasp.object_id,
        object=Surface(*scene.solid),
        pose=scene.object_pose,
        hand_mask=scene.masks.hand,
        object_mask=scene.masks.object,
        hand_model=OPEN_HAND,
        down=scene.down,
        scene=scene,
    )


@lru_cache(maxsize=2)
def _grasps(root: Path) -> dict[str, Grasp]:
    folder(root / "grasps", "the rendered benchmark", LAYOUT)
    folder(root / "meshes", "the rendered benchmark", LAYOUT)
    return {f"{grasp.number:05d}-{grasp.object_id}": grasp for grasp in load_grasps(root / "grasps", root / "meshes")}
