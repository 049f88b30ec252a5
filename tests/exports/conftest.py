from __future__ import annotations

from pathlib import Path

import pytest
import torch
from synthetic_pairs import make_record

from exports.base import Record, get_format

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def records() -> list[Record]:
    """Four pairs, both sides, box and cylinder, off the photo's centre."""
    centres = [(0.06, -0.03, 0.5), (-0.1, 0.02, 0.45), (0.0, 0.05, 0.6), (0.12, 0.06, 0.7)]
    return [make_record(i, "right" if i < 2 else "left", centre=centre) for i, centre in enumerate(centres)]


@pytest.fixture(scope="session", params=["refit", "exact"])
def root(request: pytest.FixtureRequest, records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ObMan export of the four pairs; read only."""
    out = tmp_path_factory.mktemp("obman") / request.param
    summary = get_format("obman").write(records, out, camera=request.param)
    assert summary.count == 4
    assert summary.skipped == []
    return out
