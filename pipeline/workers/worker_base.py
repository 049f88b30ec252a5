"""The worker's side of the protocol (pipeline/worker_protocol.py). Standard library and numpy, Python 3.8 on.

A script defines `load(options) -> handle` and says `serve(NAME, CONVENTIONS, MODULES, load)`;
`handle(what, arrays, values) -> (values, arrays)` answers one question.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np

PROTOCOL = 1
BEAT_S = 2.0
SAMPLE = 1 << 20  # bytes at either end of a file that its digest looks at: weights have gigabytes


def serve(name, conventions, modules, load):
    """Until the input ends: read a question, answer it.

    modules: what has to be importable; conventions: in which frames and units answers are. The command line is the
    options as JSON; before them `--describe` only says hello, `--check` only says which modules are not there.
    """
    words = sys.argv[1:]
    only = words.pop(0) if words[:1] in (["--describe"], ["--check"]) else ""
    options = json.loads(words[0]) if words else {}
    out = _private_output()
    hello = {"hello": name, "weights": weights_digest(options), "conventions": conventions}
    here = Path(__file__).resolve().parent
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != here]  # hamer_worker is not hamer
    if options.get("repo"):
        sys.path.insert(0, str(options["repo"]))
    missing = [] if only == "--describe" else [module for module in modules if not _is_there(module)]
    lacks = f"needs {', '.join(missing)}, not installed in {sys.executable}"
    _say(out, {"error": lacks} if only == "--check" and missing else hello)
    if only:
        return
    handle = None
    for line in sys.stdin:
        question = json.loads(line)
        beats = _Beats(out)
        try:
            if handle is None:
                if missing:
                    raise ImportError(lacks)
                handle = load(options)
            folder = Path(question["folder"])
            arrays = {key: np.load(str(folder / f"ask_{key}.npy")) for key in question["arrays"]}
            values, answers = handle(question["ask"], arrays, question["values"])
            for key, array in answers.items():
                np.save(str(folder / f"answer_{key}.npy"), np.ascontiguousarray(array), allow_pickle=False)
            reply = {"id": question["id"], "answer": values, "arrays": list(answers)}
        except Exception as error:
            traceback.print_exc()
            reply = {"id": question["id"], "error": _reason(error)}
        finally:
            beats.stop()
        _say(out, reply)


def _is_there(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


def weights_digest(options):
    """Names, sizes and both ends of the weight files in `options`, as a sha256; '' without any."""
    place = options.get("weights")
    if not place:
        return ""
    root = Path(place)
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file() and ".cache" not in p.parts)
    state = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        state.update(f"{path.relative_to(root) if path != root else path.name} {size}\n".encode())
        with path.open("rb") as file:
            state.update(file.read(SAMPLE))
            if size > SAMPLE:
                file.seek(max(SAMPLE, size - SAMPLE))
                state.update(file.read(SAMPLE))
    return state.hexdigest()


def torch_device(options):
    """The recipe's device; 'auto' is CUDA where there is one."""
    import torch

    wanted = options.get("device", "auto")
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted)


def seed_all(seed):
    """Every generator the foreign code may draw from."""
    import random

    import torch

    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def as_array(value):
    """A torch tensor, or anything else, as a numpy array."""
    if hasattr(value, "detach"):
        value = value.detach().float().cpu() if value.is_floating_point() else value.detach().cpu()
    return np.asarray(value)


def mesh_arrays(mesh):
    """A trimesh mesh or scene as vertices, faces and, where it has them, colours or uv and texture."""
    if hasattr(mesh, "geometry"):
        mesh = mesh.to_geometry() if hasattr(mesh, "to_geometry") else mesh.dump(concatenate=True)
    found = {"vertices": np.asarray(mesh.vertices, np.float64), "faces": np.asarray(mesh.faces, np.int64)}
    uv = getattr(mesh.visual, "uv", None)
    material = getattr(mesh.visual, "material", None)
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if uv is not None and picture is not None:
        found["uv"] = np.asarray(uv, np.float64)
        found["texture"] = np.asarray(picture.convert("RGB"), np.uint8)
    elif mesh.visual.kind == "vertex":
        found["colours"] = np.asarray(mesh.visual.vertex_colors, np.uint8)[:, :3]
    return found


def _private_output():
    """The protocol's own output; what any library prints goes to the error output instead."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


_speaking = threading.Lock()


def _say(out, message):
    with _speaking:
        out.write(json.dumps(dict({"hoi": PROTOCOL}, **message)) + "\n")
        out.flush()


def _reason(error):
    """One line; a missing module is the commonest reason."""
    if isinstance(error, ModuleNotFoundError):
        return f"needs {error.name}, not installed in {sys.executable}"
    if isinstance(error, ImportError):
        return re.sub(r"\s+", " ", str(error))
    return re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")


class _Beats:
    """Says that the worker lives while it loads and works."""

    def __init__(self, out):
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(out, time.monotonic()), daemon=True)
        self._thread.start()

    def _run(self, out, began):
        while not self._done.wait(BEAT_S):
            try:
                _say(out, {"beat": round(time.monotonic() - began, 1)})
            except OSError:  # who asked is gone: what it waited for must not keep a GPU busy
                os._exit(1)

    def stop(self):
        self._done.set()
        self._thread.join()
