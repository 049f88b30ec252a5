"""The figures `tests/pipeline/test_benchmark_regression.py` holds the pipeline to, from tables `evaluate` made.

    hoi-annotate evaluate --grasps GRASPS --meshes MESHES --mode full --n 6 --json > six.json     # and the other modes
    hoi-annotate evaluate --grasps GRASPS --meshes MESHES --mode full --n 12 --json > many.json
    python benchmarks/baseline.py six.json many.json ... > tests/pipeline/benchmark_baseline.json

Files come in twos: the six scenes to hold to, and a larger table of the same mode. The noise of a metric is the
standard error of a mean of six: its standard deviation over the scenes that seeds draw, by the root of six.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

SHAPE = ("cd_cm2", "f5", "f10")
PLACE = ("wrist_error_mm", "mpjpe_mm", "displacement_cm")
METRICS = ("object_iou", "hand_iou", "intersection_cm3", "contact_f1")


def baseline(six: dict[str, Any], many: dict[str, Any]) -> dict[str, Any]:
    """One mode's entry: {"n", "seed", "failures", "metrics": {name: [mean, noise]}}."""
    names = METRICS + (PLACE if six["mode"] == "oracle-shape" else SHAPE)
    means, spreads = six["stages"]["refined"], many["stages"]["refined"]
    metrics = {n: [round(means[n]["mean"], 4), round(spreads[n]["std"] / math.sqrt(six["n"]), 4)] for n in names}
    return {"n": six["n"], "seed": six["seed"], "failures": six["failures"], "metrics": metrics}


def main() -> None:
    tables = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    if not tables or len(tables) % 2:
        sys.exit(__doc__)
    table = {six["mode"]: baseline(six, many) for six, many in zip(tables[::2], tables[1::2], strict=True)}
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
