"""What only a GPU can show. Without one every test here is skipped with the reason.

HOI_TEST_DEVICE names another device than `cuda`; `cpu` runs the same code against itself, to see that the tests work.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "pipeline"))  # its scenes and tiny models
DEVICE = os.environ.get("HOI_TEST_DEVICE", "cuda")


@pytest.fixture
def device() -> torch.device:
    here = torch.device(DEVICE)
    if here.type == "cuda" and not torch.cuda.is_available():
        pytest.skip(f"no CUDA device, or a torch without CUDA ({torch.__version__}); see: hoi-annotate doctor --gpu")
    if here.type == "mps" and not torch.backends.mps.is_available():
        pytest.skip("no Apple GPU")
    return here
