"""A worker whose model is a file: it answers what `answer.npz` in its weights holds, and keeps what it was shown."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, os.environ["HOI_TEST_WORKERS"])  # pipeline/workers
from worker_base import serve


def load(options):
    folder = Path(options["weights"])

    def handle(what, arrays, values):
        np.savez(folder / "asked.npz", **arrays)
        (folder / "asked.json").write_text(json.dumps({"what": what, "values": values}))
        with np.load(folder / "answer.npz") as data:
            return {"pid": os.getpid()}, {name: data[name] for name in data.files}

    return handle


if __name__ == "__main__":
    hello = json.loads((Path(json.loads(sys.argv[-1])["weights"]) / "hello.json").read_text())
    serve(hello["name"], hello["conventions"], ["numpy"], load)
