"""A worker that does what its options say: obeys, hangs, crashes, prints garbage, answers nonsense."""

from __future__ import annotations

import os
import sys
import time

import numpy as np

sys.path.insert(0, os.environ["HOI_TEST_WORKERS"])  # pipeline/workers
import worker_base

FRAME = {"axes": "opencv", "units": "metres"}


def load(options):
    mood = options.get("mood", "obey")
    if mood == "no module":
        import a_package_that_is_nowhere  # noqa: F401

    def handle(what, arrays, values):
        print("libraries print", what)
        print("and complain", file=sys.stderr)
        if what == "crash":
            print("Traceback (most recent call last):\n  somewhere\nRuntimeError: CUDA out of memory", file=sys.stderr)
            os._exit(7)
        if what == "slow":
            time.sleep(600)
        if what == "raise":
            raise ValueError("this photo\nis odd")
        if what == "garbage":
            os.write(OUT, b"\x00\xff no message\n{not json\n{}\n")
        if what == "flood":
            while True:
                os.write(OUT, b"noise\n" * 1000)
        if what == "nan":
            return {}, {"double": np.full((2, 3), np.nan)}
        if what == "shape":
            return {}, {"double": np.zeros((3, 2))}
        if what == "text":
            return {}, {"double": np.full((2, 3), "x")}
        if what == "lack":
            return {}, {}
        return {"pid": os.getpid(), "echo": values}, {"double": 2 * arrays["numbers"]}

    return handle


def main():
    options = __import__("json").loads(sys.argv[-1])
    mood = options.get("mood", "obey")
    if mood == "silent":
        time.sleep(60)
    if mood == "dies":
        sys.exit("ImportError: libcuda.so.1 is missing")
    if mood == "other":
        sys.stdout.write('{"hoi": 99, "hello": "fake", "conventions": {}}\n')
        sys.stdout.flush()
        time.sleep(60)
    frame = {"wrong frame": dict(FRAME, axes="opengl"), "no frame": {"units": "metres"}}.get(mood, FRAME)
    worker_base.serve("fake", frame, ["numpy", "os"], load)


if __name__ == "__main__":
    OUT = os.dup(1)  # where the protocol's messages go
    main()
