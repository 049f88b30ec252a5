"""PostgreSQL and S3, as many machines share them: `preannotate --engine queue`, a worker, every photo in one state."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fleet import empty, fleet, until

from annotator.checking import check
from annotator.progress import Silent

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


def test_every_photo_ends_in_one_state_and_its_bytes_in_the_bucket(
    tmp_path: Path, postgres_server: str, s3: str
) -> None:
    gate, gpus = tmp_path / "gate", tmp_path / "gpus"
    with fleet(tmp_path, empty(postgres_server), s3) as bench:
        bench.photos("a-held.png", "bug.png", "c.png", "d-nohand.png", "e-held.png", "f-six.png")  # in chunks of four
        worker = bench.worker("--slots", "2", FAKE_GATE=str(gate), FAKE_GPU_LOG=str(gpus), CUDA_VISIBLE_DEVICES="5,7")
        until(lambda: bench.is_ready(worker), "the worker does not start")
        command = [sys.executable, "-m", "annotator", "preannotate", "--engine", "queue", "--json", "--log-json"]
        command += ["-w", str(bench.workspace.root)]
        with subprocess.Popen(command, env=bench.environment(), stdout=-1, stderr=-1, text=True) as watching:
            assert watching.stderr is not None
            assert any("annotate begins" in line for line in watching.stderr)  # from now on it is told of everything
            until(lambda: {"a-held.png", "e-held.png"} <= {*bench.executed()}, "the slots do not work side by side")
            gate.touch()
            out, said = watching.communicate(timeout=600)
        told = json.loads(out)
        assert watching.returncode == 1, said  # as two photos give nothing
        assert (told["photos"], len(told["published"]), len(told["failed"])) == (6, 8, 2)
        assert bench.states() == {"done": 4, "failed": 2}
        assert set(bench.revisions().values()) == {1}
        bench.is_complete()
        found = check(bench.workspace, deep=True, progress=Silent())
        assert found.broken == []
        assert found.blobs["stored"] == found.blobs["named"] == 6 + 8
        assert not (bench.workspace.root / "store").exists()
        assert set(gpus.read_text().split()) == {"5", "7"}
