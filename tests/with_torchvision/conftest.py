"""What needs torchvision, which does not import beside the other tests' torch: .ci/torchvision-tests runs these."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "pipeline"))  # its photo


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache without models; the first guess is the truth."""
    pytest.importorskip("torchvision", reason="needs torchvision: run .ci/torchvision-tests", exc_type=ImportError)
    import held_can

    from pipeline import device
    from pipeline.segment import by_prompts

    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(by_prompts, "LandmarkSegmenter", held_can.Guessed)
    yield
    device.release()
