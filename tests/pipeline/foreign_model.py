"""Adapters whose worker is a real process with a file for a model."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import device, hub
from pipeline.worker_protocol import SCRIPTS

SCRIPT = Path(__file__).parent / "fake_model_worker.py"


def with_model(
    adapter_class: Any, answer: Mapping[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> Any:
    """The adapter, whose model answers the given arrays."""
    device.release()  # the process of the test before
    monkeypatch.setenv("HOI_TEST_WORKERS", str(SCRIPTS))
    folder.mkdir(exist_ok=True)
    np.savez(folder / "answer.npz", **answer)
    monkeypatch.setenv("HOI_CACHE", str(folder.parent / f"{folder.name}-cache"))
    foreign = replace(adapter_class.foreign, script=str(SCRIPT))
    hello = {"name": foreign.name, "conventions": dict(foreign.conventions)}
    (folder / "hello.json").write_text(json.dumps(hello))
    monkeypatch.setattr(adapter_class, "foreign", foreign)
    hub.adopt(foreign.name, folder)
    place = {"python": sys.executable, "repo": str(folder)}
    return adapter_class(place | settings)


def asked(folder: Path) -> dict[str, np.ndarray]:
    """The arrays the model was asked about."""
    with np.load(folder / "asked.npz") as data:
        return {name: data[name] for name in data.files}
