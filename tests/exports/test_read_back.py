"""Our own DexYCB, HO-3D and ObMan folders through the benchmark's readers: two descriptions of a layout must agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from exports.base import Record, get_format
from pipeline.evaluate.datasets import reader


@pytest.mark.parametrize("dataset", ["dexycb", "ho3d", "obman"])
def test_an_export_reads_as_the_data_set_it_imitates(
    dataset: str, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "no-mano"))
    given = [record for record in records if dataset != "ho3d" or record.reconstruction.hand.side == "right"]
    summary = get_format(dataset).write(given, tmp_path / "out")
    assert summary.count == len(given)
    read = reader(dataset)
    cases = [read.load(tmp_path / "out", name) for name in read.names(tmp_path / "out")]
    assert sorted(case.side for case in cases) == sorted(record.reconstruction.hand.side for record in given)
    for case in cases:
        made = min((r.reconstruction for r in given), key=lambda m: _gap(case.joints, m.hand_joints))
        # The formats move the pair rigidly before their own camera: the hand keeps its shape and the object its place.
        assert _gap(case.joints, made.hand_joints) < 1e-5
        placed = made.object_pose.place(made.object.mesh.vertices)
        reach = np.linalg.norm(placed - made.hand_joints[0], axis=1)
        found = np.linalg.norm(case.placed - case.joints[0], axis=1)
        assert found.max() == pytest.approx(reach.max(), abs=1e-5)
        assert found.min() == pytest.approx(reach.min(), abs=1e-5)
        pixels = case.joints @ case.camera.K.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        assert case.hand_mask is not None
        on_hand = np.argwhere(case.hand_mask)[:, ::-1]
        # hand-held by its own mask: most joints are seen within the hand's silhouette, give or take its thickness
        assert np.median(cKDTree(on_hand).query(pixels)[0]) < 0.02 * case.camera.width


def _gap(a: np.ndarray, b: np.ndarray) -> float:
    """Metres between two hands' bones, whichever way they are turned."""
    pairs = [np.linalg.norm(j[:, None] - j[None], axis=2) for j in (a, b)]
    return float(np.abs(pairs[0] - pairs[1]).max())
