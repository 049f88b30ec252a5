"""Signed distance, depth layers, transport, registration: ours against the libraries, in one run.

    PYTHONPATH=. .venv-rivals/bin/python benchmarks/speed_geometry.py

Everything runs in this interpreter (requirements-rivals.txt lists the libraries); what is not installed says so in its
row. Times are CPU milliseconds, threads added up, the fastest of the repeats; every row's error is against an
exact reference named in the row above it. `--memory` prints the peak memory of a process per function instead.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("IGL_NUM_THREADS", "1")

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from speed_shapes import RADIUS, Mesh, bumpy, open_hand, shapes

from pipeline.geometry.raster import Topology, depth_layers, silhouette
from pipeline.geometry.registration import similarity_icp, translation_icp
from pipeline.geometry.sdf import SignedDistance
from pipeline.geometry.transport import Sinkhorn

F64 = NDArray[np.float64]

CHECKED_RAYS = 300
GRID = 32  # cells of the transport's masks
LAYERS = 4


class Row(NamedTuple):
    """One method of one task: a call to time, and a verdict on what it returned."""

    task: str
    method: str
    prepare: Callable[[], Callable[[], Any]]  # what may be built once; returns the call
    judge: Callable[[Any], str]


# --- signed distance -----------------------------------------------------------------------------------------


def distance_rows(name: str, mesh: Mesh, points: F64) -> list[Row]:
    """Reference: every point against every face, and the exact winding number for the sign."""
    vertices, faces = mesh
    exact = exact_distance(points, vertices, faces)

    def judge(distance: F64) -> str:
        off = np.abs(np.abs(distance) - np.abs(exact)).max()
        wrong = int(((distance < 0) != (exact < 0)).sum())
        return f"{1e6 * off:.3g} um, {wrong} of {len(exact)} signs wrong"

    def ours() -> Callable[[], F64]:
        distance = SignedDistance(vertices, faces)
        return lambda: distance.query(points)[0]

    def ours_with_gradient() -> Callable[[], F64]:
        distance = SignedDistance(vertices, faces)

        def call() -> F64:
            at = torch.tensor(points, requires_grad=True)
            found = distance(at)
            found.sum().backward()
            return np.asarray(found.detach().numpy())

        return call

    def one_shot() -> Callable[[], F64]:
        import igl

        kind = igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER
        return lambda: np.asarray(igl.signed_distance(points, vertices, faces, sign_type=kind)[0])

    def with_trimesh() -> Callable[[], F64]:
        import rtree  # noqa: F401 - trimesh looks for it only when asked

        solid = trimesh.Trimesh(vertices, faces, process=False)
        return lambda: -np.asarray(trimesh.proximity.signed_distance(solid, points))  # type: ignore[no-untyped-call]

    def with_open3d() -> Callable[[], F64]:
        import open3d

        scene, as_tensor = open3d_scene(vertices, faces), open3d.core.Tensor
        asked = as_tensor(points.astype(np.float32))

        def call() -> F64:  # the closest points too, as ours: the gradient needs them
            scene.compute_closest_points(asked, nthreads=1)
            return np.asarray(scene.compute_signed_distance(asked, nthreads=1).numpy().astype(np.float64))

        return call

    task = f"signed distance, {len(points)} points, {name}"
    return [
        Row(task, "ours", ours, judge),
        Row(task, "ours, with the gradient", ours_with_gradient, judge),
        Row(task, "libigl, one call", one_shot, judge),
        Row(task, "trimesh", with_trimesh, judge),
        Row(task, "open3d, distance and closest point", with_open3d, judge),
    ]


def exact_distance(points: F64, vertices: F64, faces: NDArray[np.int64]) -> F64:
    import igl

    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    distance = np.empty(len(points))
    for i, p in enumerate(points):
        height = ((p - a) * normal).sum(1)
        foot = p - height[:, None] * normal
        inside = np.ones(len(faces), dtype=bool)
        edge = np.full(len(faces), np.inf)
        for start, end in ((a, b), (b, c), (c, a)):
            along = end - start
            inside &= (np.cross(along, foot - start) * normal).sum(1) >= 0
            t = np.clip(((p - start) * along).sum(1) / (along**2).sum(1), 0, 1)
            edge = np.minimum(edge, np.linalg.norm(p - start - t[:, None] * along, axis=1))
        distance[i] = np.where(inside, np.abs(height), edge).min()
    return np.where(np.asarray(igl.winding_number(vertices, faces, points)) > 0.5, -distance, distance)


def open3d_scene(vertices: F64, faces: NDArray[np.int64]) -> Any:
    import open3d

    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    as_tensor = open3d.core.Tensor
    scene.add_triangles(as_tensor(vertices.astype(np.float32)), as_tensor(faces.astype(np.uint32)))
    return scene


# --- depth layers --------------------------------------------------------------------------------------------


def layer_rows(name: str, mesh: Mesh, size: int) -> list[Row]:
    """Reference: a seeded choice of rays against every face. Ours returns faces and their weights as well."""
    vertices, faces = mesh[0] + [0, 0, 5 * RADIUS], mesh[1]
    K = np.array([[1.8 * size, 0, size / 2], [0, 1.8 * size, size / 2], [0, 0, 1]])
    x, y = np.meshgrid((np.arange(size) + 0.5 - size / 2) / K[0, 0], (np.arange(size) + 0.5 - size / 2) / K[1, 1])
    rays = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)  # a hit at parameter t is at depth t
    chosen = np.random.default_rng(0).choice(len(rays), min(CHECKED_RAYS, len(rays)), replace=False)
    exact = np.stack([exact_hits(ray, vertices, faces) for ray in rays[chosen]])

    def judge(depth: F64) -> str:
        found = np.asarray(depth, dtype=np.float64).reshape(-1, LAYERS)[chosen]
        both = np.isfinite(found) & np.isfinite(exact)
        wrong = int((np.isfinite(found) != np.isfinite(exact)).any(1).sum())
        off = np.abs(found[both] - exact[both]).max()
        return f"{1e6 * off:.3g} um, {wrong} of {len(exact)} rays with other hits"

    def in_layers(ray: NDArray[np.integer], depth: F64) -> F64:
        order = np.lexsort((depth, ray))
        ray, depth = ray[order], depth[order]
        rank = np.arange(len(ray)) - np.searchsorted(ray, ray)
        layers = np.full((len(rays), LAYERS), np.inf)
        layers[ray[rank < LAYERS], rank[rank < LAYERS]] = depth[rank < LAYERS]
        return layers

    def ours() -> Callable[[], F64]:
        return lambda: depth_layers(vertices, faces, K, size, size, LAYERS).depth

    def with_embree() -> Callable[[], F64]:
        import embreex  # noqa: F401 - trimesh takes it where it is

        solid = trimesh.Trimesh(vertices, faces, process=False)
        origins = np.zeros_like(rays)

        def call() -> F64:
            at, ray, _ = solid.ray.intersects_location(origins, rays, multiple_hits=True)
            return in_layers(ray, at[:, 2])

        return call

    def with_open3d() -> Callable[[], F64]:
        import open3d

        scene = open3d_scene(vertices, faces)
        asked = open3d.core.Tensor(np.concatenate([np.zeros_like(rays), rays], 1).astype(np.float32))

        def call() -> F64:
            hits = scene.list_intersections(asked, nthreads=1)
            return in_layers(hits["ray_ids"].numpy().astype(np.int64), hits["t_hit"].numpy().astype(np.float64))

        return call

    task = f"{LAYERS} depth layers, {size} px, {name}"
    return [
        Row(task, "ours", ours, judge),
        Row(task, "trimesh with embreex", with_embree, judge),
        Row(task, "open3d", with_open3d, judge),
    ]


def exact_hits(ray: F64, vertices: F64, faces: NDArray[np.int64]) -> F64:
    """(LAYERS,) depths of a ray from the origin with z = 1, nearest first (Moeller and Trumbore)."""
    a, ab, ac = vertices[faces[:, 0]], *(vertices[faces[:, i]] - vertices[faces[:, 0]] for i in (1, 2))
    across = np.cross(ray, ac)
    determinant = (ab * across).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = -(a * across).sum(1) / determinant
        around = np.cross(-a, ab)
        v = (around @ ray) / determinant
        t = (ac * around).sum(1) / determinant
    hits = np.sort(t[(u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)])[:LAYERS]
    return np.concatenate([hits, np.full(LAYERS - len(hits), np.inf)])


# --- transport -----------------------------------------------------------------------------------------------


def transport_rows() -> list[Row]:
    """Reference: equal discs, moved by whole cells, are exactly |shift|^2 apart; so is the debiased divergence."""
    shift = (11, 8)
    source = disc(10, 11)
    target = torch.roll(source, (shift[1], shift[0]), (0, 1))
    cost = (shift[0] ** 2 + shift[1] ** 2) / GRID**2
    pulls = [2 * s / GRID**2 for s in shift]  # of the cost, per cell of approach along x and y

    def judge(result: tuple[float, torch.Tensor]) -> str:
        value, gradient = result
        found = []
        for axis in (1, 0):
            moved = (torch.roll(source, -1, axis) - torch.roll(source, 1, axis)) / 2  # one cell back, away
            found.append(float((gradient * moved).sum()))
        off = float(np.linalg.norm(np.subtract(found, pulls)) / np.linalg.norm(pulls))
        return f"cost {100 * abs(value / cost - 1):.2g} %, gradient {100 * off:.2g} %"

    def differentiated(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], tuple[float, torch.Tensor]]:
        def call() -> tuple[float, torch.Tensor]:
            mask = source.clone().requires_grad_()
            value = function(mask)
            value.backward()
            assert mask.grad is not None
            return float(value.detach()), mask.grad

        return call

    x = (torch.arange(GRID) + 0.5) / GRID
    cells = torch.stack(torch.meshgrid(x, x, indexing="xy"), -1).reshape(-1, 2)

    def cold() -> Callable[[], Any]:
        return differentiated(lambda mask: Sinkhorn(target, GRID)(mask))

    def warm() -> Callable[[], Any]:
        sinkhorn = Sinkhorn(target, GRID)
        sinkhorn(source)
        return differentiated(sinkhorn)

    def with_geomloss() -> Callable[[], Any]:
        from geomloss import SamplesLoss

        loss = SamplesLoss("sinkhorn", p=2, blur=0.03, scaling=0.6, backend="tensorized")
        there = (target > 1e-3).reshape(-1)

        def function(mask: torch.Tensor) -> torch.Tensor:
            here = (mask.detach() > 1e-3).reshape(-1)
            a, b = (mask / mask.sum()).reshape(-1)[here], (target / target.sum()).reshape(-1)[there]
            return 2 * loss(a / a.sum(), cells[here], b / b.sum(), cells[there])  # its cost is half the square

        return differentiated(function)

    def with_pot() -> Callable[[], Any]:
        import ot

        costs = torch.cdist(cells, cells).double() ** 2

        def function(mask: torch.Tensor) -> torch.Tensor:
            a, b = (mask / mask.sum()).reshape(-1).double(), (target / target.sum()).reshape(-1).double()
            return ot.emd2(a / a.sum(), b / b.sum(), costs, numItermax=10**6)

        return differentiated(function)

    task = f"transport cost and gradient, {GRID} x {GRID} cells"
    return [
        Row(task, "ours, every later step", warm, judge),
        Row(task, "ours, first step", cold, judge),
        Row(task, "geomloss, on the supports", with_geomloss, judge),
        Row(task, "POT, exact", with_pot, judge),
    ]


def disc(x: float, y: float, radius: float = 4.5) -> torch.Tensor:
    """(GRID, GRID) a disc with a soft rim; cells."""
    at = torch.arange(GRID) + 0.5
    return torch.sigmoid(4 * (radius - ((at[None] - x) ** 2 + (at[:, None] - y) ** 2).sqrt())) * (
        ((at[None] - x) ** 2 + (at[:, None] - y) ** 2).sqrt() < radius + 2
    )


# --- registration --------------------------------------------------------------------------------------------


def registration_rows(mesh: Mesh) -> list[Row]:
    """Reference: the motion that was applied; the error is the rms distance of the points from where they belong."""
    solid = trimesh.Trimesh(*mesh, process=False)
    target = np.array(trimesh.sample.sample_surface(solid, 3000, seed=1)[0])
    source = np.array(trimesh.sample.sample_surface(solid, 1500, seed=2)[0])
    motion = trimesh.transformations.euler_matrix(0.15, -0.1, 0.12)  # type: ignore[no-untyped-call]
    motion[:3, :3] *= 0.9
    motion[:3, 3] = 0.012, -0.008, 0.01
    moved = source @ motion[:3, :3].T + motion[:3, 3]
    half, quarter = target[target[:, 0] > 0], source[source[:, 0] > 0.012]
    shift = np.array([0.012, -0.008, 0.01])

    def judge(wanted: F64, found: F64) -> str:
        return f"{1e3 * float(np.sqrt(((found - wanted) ** 2).sum(1).mean())):.2f} mm"

    def ours() -> Callable[[], F64]:
        def call() -> F64:
            scale, R, translation, _ = similarity_icp(moved, target, rotation=True)
            return np.asarray(scale * moved @ R.T + translation)

        return call

    def with_trimesh(a: F64, b: F64, scale: bool) -> Callable[[], F64]:
        def call() -> F64:
            icp = trimesh.registration.icp
            return np.asarray(icp(a, b, max_iterations=50, scale=scale, reflection=False)[1])  # type: ignore[no-untyped-call]

        return call

    def with_open3d(a: F64, b: F64, scale: bool) -> Callable[[], F64]:
        import open3d

        clouds = [open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points)) for points in (a, b)]
        tools = open3d.pipelines.registration
        estimate = tools.TransformationEstimationPointToPoint(scale)
        criteria = tools.ICPConvergenceCriteria(1e-9, 1e-9, 50)

        def call() -> F64:
            found = tools.registration_icp(*clouds, 0.05, np.eye(4), estimate, criteria).transformation
            return np.asarray(a @ found[:3, :3].T + found[:3, 3])

        return call

    def ours_translation() -> Callable[[], F64]:
        return lambda: quarter - shift + translation_icp(quarter - shift, half)[0]

    whole, patch = "similarity ICP, 1500 to 3000 points", f"translation ICP, {len(quarter)} to {len(half)} points"
    return [
        Row(whole, "ours (both ways)", ours, partial(judge, source)),
        Row(whole, "trimesh", partial(with_trimesh, moved, target, True), partial(judge, source)),
        Row(whole, "open3d", partial(with_open3d, moved, target, True), partial(judge, source)),
        Row(patch, "ours (trimmed)", ours_translation, partial(judge, quarter)),
        Row(patch, "trimesh (rigid)", partial(with_trimesh, quarter - shift, half, False), partial(judge, quarter)),
        Row(patch, "open3d (rigid)", partial(with_open3d, quarter - shift, half, False), partial(judge, quarter)),
    ]


def chamfer_rows(mesh: Mesh, count: int = 10_000) -> list[Row]:
    """Reference: every point of the one set against every point of the other. metrics.py uses scipy's tree."""
    solid = trimesh.Trimesh(*mesh, process=False)
    a, b = (np.array(trimesh.sample.sample_surface(solid, count, seed=seed)[0]) for seed in (3, 4))
    exact = nearest_by_force(a, b).mean() + nearest_by_force(b, a).mean()

    def judge(found: float) -> str:
        return f"{1e6 * abs(found - exact):.2g} um"

    def with_scipy() -> Callable[[], float]:
        from scipy.spatial import cKDTree

        return lambda: float(cKDTree(b).query(a)[0].mean() + cKDTree(a).query(b)[0].mean())

    def with_open3d() -> Callable[[], float]:
        import open3d

        def call() -> float:
            first, second = (open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points)) for points in (a, b))
            there, back = first.compute_point_cloud_distance(second), second.compute_point_cloud_distance(first)
            return float(np.mean(there) + np.mean(back))

        return call

    task = f"Chamfer distance, {count:,} points each"
    return [Row(task, "ours (scipy)", with_scipy, judge), Row(task, "open3d", with_open3d, judge)]


def nearest_by_force(a: F64, b: F64) -> F64:
    return np.concatenate([np.linalg.norm(part[:, None] - b, axis=2).min(1) for part in np.array_split(a, 100)])


# --- the tables ----------------------------------------------------------------------------------------------


def rows(tiny: bool) -> list[Row]:
    found: list[Row] = []
    hand = open_hand()[0] + [0.02, 0.03, 0.04]
    solids = {name: mesh for name, mesh in shapes(tiny).items() if name != "hand"}
    for name, mesh in solids.items():
        found += distance_rows(name, mesh, hand[:50] if tiny else hand)
    for name, mesh in solids.items():
        found += layer_rows(name, mesh, 32 if tiny else 256)
    first = next(iter(solids.values()))
    return found + transport_rows() + registration_rows(first) + chamfer_rows(first, 500 if tiny else 10_000)


def fastest(call: Callable[[], Any], seconds: float) -> tuple[float, Any]:
    """CPU milliseconds of the fastest of up to 50 calls, and what the last one returned."""
    result = call()
    times: list[float] = []
    begun = time.perf_counter()
    while not times or (len(times) < 50 and time.perf_counter() - begun < seconds):
        start = time.process_time()
        result = call()
        times.append(time.process_time() - start)
    return 1e3 * min(times), result


def speed_table(tiny: bool, seconds: float) -> str:
    lines = ["| task | method | time | times ours | error |", "| --- | --- | ---: | ---: | --- |"]
    ours: dict[str, float] = {}
    for row in rows(tiny):
        try:
            milliseconds, result = fastest(row.prepare(), seconds)
        except ImportError as missing:
            lines.append(f"| {row.task} | {row.method} | not installed: {missing} | | |")
            continue
        ratio = milliseconds / ours.setdefault(row.task, milliseconds)
        lines.append(f"| {row.task} | {row.method} | {milliseconds:,.2f} ms | {ratio:,.1f} | {row.judge(result)} |")
    return "\n".join(lines)


def draw(size: int) -> None:
    vertices, faces = bumpy(5)
    topology = Topology(torch.as_tensor(faces))
    points = torch.tensor(vertices[:, :2] / RADIUS * size / 3 + size / 2, requires_grad=True)
    silhouette(points, topology, size, size).sum().backward()


MEMORY: dict[str, Callable[[], Any]] = {
    "imports alone": lambda: None,
    "silhouette and gradient, 20k faces, 512 px": lambda: draw(512),
    "silhouette and gradient, 20k faces, 1024 px": lambda: draw(1024),
    "4 depth layers, 20k faces, 512 px": lambda: layer_rows("", bumpy(5), 512)[0].prepare()(),
    "signed distance, 778 points, 20k faces": lambda: SignedDistance(*bumpy(5)).query(open_hand()[0]),
    "transport": lambda: transport_rows()[1].prepare()(),
    "similarity ICP": lambda: registration_rows(bumpy(4))[0].prepare()(),
}


def memory_table() -> str:
    """Peak resident memory of one fresh process per function, numba's compiler left out where its cache is warm."""
    lines = ["| function | peak memory of the process |", "| --- | ---: |"]
    for name in MEMORY:
        for _ in range(2):  # the first fills the compiler's cache
            command = [sys.executable, __file__, "--memory-of", name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines.append(f"| {name} | {int(done.stdout) / 1024:,.0f} MB |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of repeats per row")
    parser.add_argument("--tiny", action="store_true", help="small sizes: is everything in place?")
    parser.add_argument("--memory", action="store_true", help="peak memory instead of times")
    parser.add_argument("--memory-of", choices=list(MEMORY), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if args.memory_of:
        MEMORY[args.memory_of]()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    else:
        print(memory_table() if args.memory else speed_table(args.tiny, args.seconds))


if __name__ == "__main__":
    main()
