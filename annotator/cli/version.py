"""What runs here, in one line."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def line() -> str:
    """Of the program, of Python, of torch, and the commit where it runs from a clone."""
    said = [f"hoi-annotate {version('hoi-annotate')}", f"Python {platform.python_version()}"]
    said += [f"torch {version('torch')}"]
    commit = _commit(Path(__file__).parents[2])
    return ", ".join([*said, f"commit {commit}"] if commit else said)


def _commit(clone: Path) -> str:
    """Of a clone, with '-dirty' after it when files were changed; '' when the folder is none."""
    if not (clone / ".git").exists():
        return ""
    command = ["git", "-C", str(clone), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
