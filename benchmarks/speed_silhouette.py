"""Silhouette forward + backward: ours against deodr and pytorch3d's CPU rasteriser, in one run.

    python benchmarks/speed_silhouette.py --python .venv-rivals/bin/python --python .venv-pytorch3d/bin/python

Every renderer draws the same meshes from the same poses and differentiates 1 - IoU with a target mask, the same
mesh 5 degrees and 6 % of its size away. Printed per renderer:

- time: CPU milliseconds of one thread from projected points to their gradient, the fastest of the repeats;
- cosine and length of the gradient, against central differences of the exact loss (masks of 16 x 16 samples per
  pixel), over the six numbers of the pose: rotation vector (rad) and translation (in radii of the mesh);
- area: how far the area of its mask is off the exact one.

A renderer that this interpreter lacks is run by the first `--python` that has it, on the same saved scenes; if none
does, its row says so. Cosine is the lowest of the poses, length and area are means. Requirements:
requirements-rivals.txt and requirements-pytorch3d.txt, each in a venv of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from speed_rivals import RENDERERS, Render
from torch import Tensor

SIZES = (128, 256, 512)
REFERENCE_SAMPLES = 16  # per pixel and axis
PATIENCE = 10  # budgets; a renderer that takes longer for one pass is not asked for a second one
STEP = 0.01  # of the central differences: radians, and radii of the mesh
FOCAL, DISTANCE = 1.1, 3.2  # in image sides; in radii of the mesh: it fills two thirds of the picture
AWAY = (0.06, -0.05, 0.04, 0.05, -0.03, 0.04)  # from the target's pose to the first of the measured ones

F64 = NDArray[np.float64]
Scene = dict[str, Any]


def rotation(vector: Tensor) -> Tensor:
    """(3,) rotation vector -> (3, 3)."""
    x, y, z = vector
    zero = torch.zeros_like(x)
    return torch.matrix_exp(torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3))


def place(scene: Scene, pose: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (V, 2) and depths (V,) of the scene's mesh, moved by a pose (6,) from where it stands."""
    size, radius = scene["size"], scene["radius"]
    base = torch.as_tensor(scene["verts"], dtype=pose.dtype)
    verts = base @ rotation(pose[:3]).T + radius * (pose[3:] + pose.new_tensor([0, 0, DISTANCE]))
    return verts[:, :2] / verts[:, 2:] * FOCAL * size + size / 2, verts[:, 2]


def loss_of(mask: Tensor, target: Tensor) -> Tensor:
    both = (mask * target).sum()
    return 1 - both / (mask.sum() + target.sum() - both)


def exact_mask(scene: Scene, pose: F64) -> F64:
    from pipeline.geometry.raster import coverage

    points, _ = place(scene, torch.as_tensor(pose, dtype=torch.float64))
    return coverage(points.numpy(), scene["faces"], scene["size"], scene["size"], REFERENCE_SAMPLES).astype(np.float64)


def scenes(sizes: tuple[int, ...], poses: int, tiny: bool = False) -> Iterator[Scene]:
    """Meshes, poses, targets and the reference gradients at the poses."""
    from speed_shapes import shapes

    rng = np.random.default_rng(0)
    stand = rotation(torch.tensor([0.9, 0.5, 0.3], dtype=torch.float64)).numpy()
    at = np.array(AWAY) * np.concatenate([np.ones((1, 6)), rng.choice([-1, 1], (poses - 1, 6))])
    for name, (verts, faces) in shapes(tiny).items():
        radius = float(np.linalg.norm(verts, axis=1).max())
        for size in sizes:
            scene = {
                "name": name,
                "size": size,
                "verts": verts @ stand.T,
                "faces": faces,
                "radius": radius,
                "poses": at,
            }
            scene["target"] = exact_mask(scene, np.zeros(6))
            scene["areas"] = np.array([exact_mask(scene, pose).sum() for pose in at])
            scene["gradients"] = np.stack([reference_gradient(scene, pose) for pose in at])
            yield scene


def reference_gradient(scene: Scene, pose: F64) -> F64:
    target = torch.from_numpy(scene["target"])

    def loss(moved: F64) -> float:
        return float(loss_of(torch.from_numpy(exact_mask(scene, moved)), target))

    return np.array([(loss(pose + step) - loss(pose - step)) / (2 * STEP) for step in STEP * np.eye(6)])


def measure(render: Render, scene: Scene, seconds: float) -> dict[str, float]:
    """Milliseconds, gradient and area of one renderer in one scene, from as many passes as `seconds` allow."""
    target = torch.as_tensor(scene["target"], dtype=torch.float32)
    times: list[float] = []
    cosines, lengths, areas = [], [], []
    first = time.perf_counter()
    for repeat in range(200):
        index = repeat % len(scene["poses"])
        pose = torch.tensor(scene["poses"][index], dtype=torch.float32, requires_grad=True)
        placed, depth = place(scene, pose)
        points, depth = placed.detach().requires_grad_(), depth.detach()
        begun = time.process_time()
        mask = render(points, depth, scene["size"], scene["size"])
        loss_of(mask, target).backward()
        times.append(time.process_time() - begun)
        placed.backward(points.grad)
        if repeat < len(scene["poses"]):
            found, wanted = pose.grad.double().numpy(), scene["gradients"][index]  # type: ignore[union-attr]
            cosines.append(float(found @ wanted / np.linalg.norm(found) / np.linalg.norm(wanted)))
            lengths.append(float(np.linalg.norm(found) / np.linalg.norm(wanted)))
            areas.append(abs(float(mask.detach().double().sum()) / scene["areas"][index] - 1))
        spent = time.perf_counter() - first
        if spent > (seconds if repeat else PATIENCE * seconds):
            break
    return {
        "ms": 1e3 * min(times),
        "cosine": min(cosines),
        "length": float(np.mean(lengths)),
        "area": float(np.mean(areas)),
        "poses": len(cosines),
    }


def measure_all(made: list[Scene], names: list[str], seconds: float) -> dict[str, Any]:
    """Per renderer: a list of measurements, one per scene, or why there is none."""
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for name in names:
        try:
            RENDERERS[name](torch.as_tensor(made[0]["faces"]))
        except (ImportError, OSError) as missing:
            results[name] = f"not installed: {missing}".splitlines()[0]
            continue
        measure(RENDERERS[name](torch.as_tensor(made[0]["faces"])), made[0], 0.0)  # compiles, loads, warms up
        results[name] = [measure(RENDERERS[name](torch.as_tensor(s["faces"])), s, seconds) for s in made]
    return results


def measure_elsewhere(python: Path, made: Path, names: list[str], seconds: float) -> dict[str, Any]:
    """`measure_all` in another interpreter, on saved scenes."""
    command = [python, __file__, "--worker", made, "--only", *names, "--seconds", str(seconds)]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if done.returncode:
        return {name: f"{python} failed: {done.stderr.strip().splitlines()[-1:]}" for name in names}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(made: list[Scene], results: dict[str, Any]) -> str:
    lines = [
        "| mesh | px | renderer | forward + backward | times ours | gradient cosine | gradient length | area error |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for i, scene in enumerate(made):
        faces = len(scene["faces"])
        for name, found in results.items():
            start = f"| {scene['name']} ({faces:,} faces) | {scene['size']} | {name} |"
            if isinstance(found, str):
                lines.append(f"{start} {found} | | | | |")
                continue
            row = found[i]
            ratio = f"{row['ms'] / results['ours'][i]['ms']:,.1f}" if not isinstance(results["ours"], str) else ""
            figures = f"{row['cosine']:.4f} | {row['length']:.3f} | {100 * row['area']:.2f} %"
            lines.append(f"{start} {row['ms']:,.2f} ms | {ratio} | {figures} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="PX")
    parser.add_argument("--only", nargs="+", choices=list(RENDERERS), default=list(RENDERERS))
    parser.add_argument("--python", type=Path, action="append", default=[], help="another interpreter to look in")
    parser.add_argument("--poses", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0, help="of repeats per renderer and scene")
    parser.add_argument("--tiny", action="store_true", help="one mesh of 320 faces: is everything in place?")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.worker:
        saved = list(np.load(args.worker, allow_pickle=True)["scenes"])
        print(json.dumps(measure_all(saved, args.only, args.seconds)))
        return
    made = list(scenes(tuple(args.sizes), args.poses, args.tiny))
    results = measure_all(made, args.only, args.seconds)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenes.npz"
        np.savez(path, scenes=np.array(made, dtype=object))
        for python in args.python:
            missing = [name for name, found in results.items() if isinstance(found, str)]
            if missing:
                results.update(measure_elsewhere(python, path, missing, args.seconds))
    print(table(made, results))


if __name__ == "__main__":
    main()
